"""What rules say of fields, held against the schema: fields that there are not, and types that do not go together.

The engine knows values only when it has them. So for each chain of fields in a rule (`self.spec.size`) that the schema
gives a type, a variable of that very name and type is declared, and the rule compiled once more: the engine takes the
longest name that it knows, and its checker does the rest. Called when a definition is written; never for objects.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Final

from kube_core.api.structural import Structural
from kube_core.cel.engine import CelError, check_expression

__all__ = ["fields_of", "type_problem", "typed"]

_STRINGS = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")
_CHAIN = re.compile(r"(?<![\w.])([A-Za-z_]\w*)((?:\s*\.\s*[A-Za-z_]\w*)*)(\s*\()?", re.ASCII)
_PRESENCE = re.compile(r"\bhas\s*\(\s*\w+(?:\s*\.\s*\w+)+\s*\)", re.ASCII)
_TYPES: Final = {"string": "STRING", "integer": "INT", "number": "DOUBLE", "boolean": "BOOL"}
_FORMATS: Final = {"date-time": "TIMESTAMP", "datetime": "TIMESTAMP", "date": "TIMESTAMP", "duration": "DURATION",
                   "byte": "BYTES"}  # fmt: skip
_UNESCAPES: Final = {"__dot__": ".", "__dash__": "-", "__slash__": "/", "__underscores__": "__"}
#: What an object always has, where it is one.
_IDENTITY = Structural(
    {
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}},
            },
        },
    }
)


def type_problem(text: str, schema: Structural, *, root: bool, optional: bool) -> str:
    """Why a rule on values of a schema does not compile; "" where it does. `root`: they are whole objects."""
    schemas = {"self": schema} if optional else {"self": schema, "oldSelf": schema}
    try:
        fields_of(text, schemas, root=root) if optional else typed(text, schemas, ("self", "oldSelf"), root=root)
    except CelError as error:
        return str(error)
    return ""


def typed(text: str, schemas: Mapping[str, Structural], variables: Sequence[str], *, root: bool = False) -> str:
    """The type of an expression, by those of the fields that it names; "" where none of them says more than a value.

    `schemas`: of the variables that have one; `variables`: all of them. Raises `CelError`.
    """
    types = fields_of(text, schemas, root=root)
    if not types:
        return ""
    # Whether a field is there is no question of its type, and the checker takes it for one.
    asked = _PRESENCE.sub(lambda found: "true".ljust(len(found[0])), text)
    return check_expression(asked, {**dict.fromkeys(variables, "DYN"), **types})


def fields_of(text: str, schemas: Mapping[str, Structural], *, root: bool) -> Mapping[str, str]:
    """The types of the chains of fields in an expression. Raises `CelError` for a field that there is not."""
    types: dict[str, str] = {}
    plain = _STRINGS.sub(lambda found: " " * len(found[0]), text)
    for found in _CHAIN.finditer(plain):
        schema = schemas.get(found[1])
        if schema is None:
            continue
        names = [(step[0], step.start() + found.start(2)) for step in re.finditer(r"[A-Za-z_]\w*", found[2])]
        if found[3] and names:
            names.pop()  # a method
        missing = _declare(found[1], names, schema, root=root, types=types)
        if missing is not None:
            line = text.count("\n", 0, missing[1]) + 1
            start = text.rfind("\n", 0, missing[1]) + 1
            dot = plain.rfind(".", start, missing[1])
            column = (dot if dot >= 0 else missing[1]) - start
            shown = text[start:].partition("\n")[0]
            raise CelError(
                f"ERROR: <input>:{line}:{column + 1}: undefined field '{missing[0]}'\n | {shown}\n | {'.' * column}^"
            )
    return types


def _declare(
    variable: str, names: list[tuple[str, int]], schema: Structural, *, root: bool, types: dict[str, str]
) -> tuple[str, int] | None:
    """Give the chain its type, where it has one; the first name that is no field, and where it is."""
    chain, at = variable, schema
    whole = root or schema.embedded
    for name, place in names:
        if at.type != "object" or at.int_or_string:
            return None if not at.type else (name, place)
        below = _member(at, name, whole=whole)
        if below is None:
            return None if at.open or (at.preserves and not at.properties) else (name, place)
        chain, at, whole = f"{chain}.{name}", below, below.embedded
    kind = _type_of(at)
    if kind:
        types[chain] = kind
    return None


def _member(schema: Structural, name: str, *, whole: bool) -> Structural | None:
    if schema.values is not None:
        return schema.values
    if whole and name in _IDENTITY.properties:
        return _IDENTITY.properties[name]
    return schema.properties.get(_unescaped(name))


def _type_of(schema: Structural) -> str:
    if schema.nullable or schema.int_or_string:
        return ""
    if schema.type == "string":
        return _FORMATS.get(schema.document.get("format") or "", "STRING")
    if schema.type == "array":
        return "LIST"
    return _TYPES.get(schema.type, "")


@functools.lru_cache(maxsize=1024)
def _unescaped(name: str) -> str:
    if len(name) > 4 and name.startswith("__") and name.endswith("__") and name not in _UNESCAPES:
        bare = name[2:-2]
        if bare.isalpha():
            return bare
    return re.sub("|".join(_UNESCAPES), lambda found: _UNESCAPES[found[0]], name)

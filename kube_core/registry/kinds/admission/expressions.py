"""The expressions of admission: what they see, what they must give, and what is wrong with them.

Match conditions of webhooks and policies, and the validations, mutations, variables and messages of policies, are CEL
over `object`, `oldObject`, `request`, `namespaceObject`, and where it is said `params`, `variables` and `authorizer`
(documented under "Validating Admission Policy"). `request` and `namespaceObject` have the types that upstream gives
them; the rest is what it is when it is evaluated.

`compiled` is for those who evaluate (`kube_core.admission.expressions`), `problems` for those who write.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from kube_core.cel.admission_types import schemas_of
from kube_core.cel.engine import CelError, Program, compile_expression
from kube_core.cel.field_types import typed
from kube_core.meta import fields
from kube_core.meta.fields import Path
from kube_core.registry.kinds.checks import Errors

__all__ = ["BOOL", "CONDITIONS", "MESSAGE", "TEXT_OR_NULL", "Compiled", "Scope", "compiled", "declare", "mutation",
           "mutation_problems", "problems", "type_name"]  # fmt: skip

BOOL: Final = ("BOOL",)
MESSAGE: Final = ("STRING",)
TEXT_OR_NULL: Final = ("STRING", "NULL")
_STRINGS = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")
_VARIABLE = re.compile(r"(?<![\w.])variables\s*\.\s*([A-Za-z_]\w*)", re.ASCII)


@attrs.frozen
class Scope:
    """What an expression may name besides what all may. `variables`: of the policy, so far, with their types."""

    params: bool = False
    authorizer: bool = True
    variables: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        given = [("params", self.params), ("authorizer", self.authorizer), ("variables", bool(self.variables))]
        return ("object", "oldObject", "request", "namespaceObject", *(name for name, there in given if there))


#: Of match conditions of webhooks.
CONDITIONS: Final = Scope()


@attrs.frozen
class Compiled:
    """An expression that can be evaluated. `uses`: the policy's variables that it names. `returns`: its type."""

    text: str
    program: Program
    returns: str
    uses: tuple[str, ...]


def compiled(text: str, scope: Scope) -> Compiled:
    """Raises `CelError`."""
    return _compiled(text, scope)


def declare(variables: Sequence[Mapping[str, Any]], scope: Scope) -> Scope:
    """A scope with the variables of a policy; each may name those before it. Those that do not compile have no type."""
    for variable in variables:
        try:
            returns = compiled(variable.get("expression") or "", scope).returns
        except CelError:
            returns = "DYN"
        scope = attrs.evolve(scope, variables=(*scope.variables, (variable.get("name") or "", returns)))
    return scope


def problems(path: Path, text: str, wanted: Sequence[str], scope: Scope) -> Errors:
    """What is wrong with an expression, as upstream says it. `wanted`: the types that it may have; empty for any."""
    try:
        found = compiled(text, scope)
    except CelError as error:
        yield fields.invalid(path, text, f"compilation failed: {error}")
        return
    if wanted and found.returns not in wanted:
        names = [type_name(each) for each in wanted]
        kinds = names[0] if len(names) == 1 else f"one of [{' '.join(names)}]"
        yield fields.invalid(path, text, f"must evaluate to {kinds} but got {type_name(found.returns)}")


def type_name(name: str) -> str:
    """A type of the engine, as upstream writes it."""
    if name in ("LIST", "MAP"):
        return "list(dyn)" if name == "LIST" else "map(dyn, dyn)"
    lower = re.sub("[A-Z_]{3,}", lambda found: found[0].lower(), name).replace("<", "(").replace(">", ")")
    return "null_type" if lower == "null" else lower


@functools.lru_cache(maxsize=2048)
def _compiled(text: str, scope: Scope) -> Compiled:
    program = compile_expression(text, scope.names)
    returns = typed(text, schemas_of(scope.variables), scope.names) or program.returns
    uses = tuple(dict.fromkeys(_VARIABLE.findall(_STRINGS.sub("''", text)))) if scope.variables else ()
    return Compiled(text, program, returns, uses)


# -- mutations ---------------------------------------------------------------------------------------------------------


def mutation_problems(path: Path, text: str, kind: str, scope: Scope) -> Errors:
    """What is wrong with the expression of a mutation; `kind`: its `patchType`."""
    wanted = "list(JSONPatch)" if kind == "JSONPatch" else "Object"
    try:
        found = mutation(text, scope)
    except CelError as error:
        yield fields.invalid(path, text, f"compilation failed: {error}")
        return
    returns = type_name(found.returns)
    if kind == "JSONPatch":
        fits = returns == "dyn" or (returns.startswith("list(") and "JSONPatch" in text) or text.strip() == "[]"
    else:
        fits = returns == "dyn" or (returns.startswith("map(") and "Object" in text)
    if not fits:
        yield fields.invalid(path, text, f"must evaluate to {wanted} but got {returns}")


def mutation(text: str, scope: Scope) -> Compiled:
    """An expression with `Object{…}` and `JSONPatch{…}`, which give maps. Raises `CelError`."""
    return compiled(_as_maps(text), scope)


_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
    |(?P<text>[rRbB]{0,2}(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"))
    |(?P<made>(?:Object(?:\s*\.\s*[A-Za-z_]\w*)*|JSONPatch)\s*\{)
    |(?P<name>[A-Za-z_]\w*|`[^`]*`)
    |(?P<sign>[\s\S])""",
    re.VERBOSE | re.ASCII,
)
_PATCH_FIELDS: Final = frozenset(("op", "path", "from", "value"))


@functools.lru_cache(maxsize=512)
def _as_maps(text: str) -> str:
    """The engine makes objects of types that it knows, and none is known of these: write them as maps."""
    written: list[str] = []
    open_braces: list[str] = []
    expects_field = False
    for token in _TOKEN.finditer(text):
        said = token[0]
        if token["space"]:
            written.append(said)
            continue
        if token["made"]:
            open_braces.append("patch" if said.startswith("JSONPatch") else "object")
            written.append("{")
            expects_field = True
            continue
        here = open_braces[-1] if open_braces else ""
        if token["name"] and expects_field:
            name = said.strip("`")
            if here == "patch" and name not in _PATCH_FIELDS:
                raise CelError(_undefined(text, token.start(), name))
            written.append(f"'{name}'")
        else:
            written.append(said)
            if said in "([{":
                open_braces.append(said)
            elif said in ")]}" and open_braces:
                open_braces.pop()
        expects_field = (said == "," and here in ("object", "patch")) or (said == "?" and expects_field)
    return "".join(written)


def _undefined(text: str, place: int, name: str) -> str:
    line, start = text.count("\n", 0, place) + 1, text.rfind("\n", 0, place) + 1
    shown = text[start:].partition("\n")[0]
    return (
        f"ERROR: <input>:{line}:{place - start + 1}: undefined field '{name}'\n | {shown}\n | {'.' * (place - start)}^"
    )

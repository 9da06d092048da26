"""How large values of a schema can be: what the estimate of an expression's cost starts from.

A `Sized` says of a type how many characters, items or entries a value has at most, and how many bytes of JSON it takes
at least. Where a schema sets no limit, the largest request does: that many of the smallest items fit into it. The
numbers are upstream's, as they decide which rules may be written; they are documented under "Resource use by validation
functions" of CustomResourceDefinitions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from kube_core.api.structural import NOTHING, Structural

__all__ = ["ANY", "LARGEST_REQUEST", "Sized", "escaped", "of_type", "of_value", "sized"]

#: Bytes of the largest request that upstream counts with, whatever the server takes.
LARGEST_REQUEST: Final = 3 * 1024 * 1024
_LARGEST_TEXT: Final = LARGEST_REQUEST - 2
#: By format: the name of the type, the smallest size in bytes, and the largest number of characters.
_FORMATS: Final = {"duration": ("duration", 3, 32), "date": ("timestamp", 12, 12), "date-time": ("timestamp", 21, 32)}
_RESERVED: Final = frozenset(
    ["true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import",
     "let", "loop", "package", "namespace", "return", "var", "void", "while"]
)  # fmt: skip
_ESCAPES: Final = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_TO_ESCAPE = re.compile("|".join(re.escape(each) for each in _ESCAPES))
_PARAMETERS = re.compile(r"(?P<name>[\w.]+)\((?P<inner>.*)\)", re.DOTALL)


@attrs.frozen(eq=False)
class Sized:
    """A type. `kind`: its name in CEL, `object` for one with fields; `inner`: of items, values, or what is optional."""

    kind: str
    #: Characters, items or entries; 0 for what has none.
    most: int = 0
    #: Bytes of JSON.
    least_bytes: int = 1
    fields: Mapping[str, Sized] = attrs.field(factory=dict)
    inner: Sized | None = None
    key: Sized | None = None

    @property
    def scalar(self) -> bool:
        """Whether all values are of one size."""
        if self.kind == "optional_type":
            return self.inner is not None and self.inner.scalar
        return self.kind in ("bool", "double", "duration", "int", "timestamp", "uint")


ANY: Final = Sized("dyn")
_BOOL: Final = Sized("bool", least_bytes=4)
_INT: Final = Sized("int")
_DOUBLE: Final = Sized("double")
_TEXT: Final = Sized("string", least_bytes=2)
_NAME: Final = Sized("string", _LARGEST_TEXT, 2)
#: Characters of an object's name.
_LONGEST_NAME: Final = 253


def sized(schema: Structural, *, root: bool) -> Sized | None:
    """None for what expressions do not see. `root`: values are whole objects."""
    document = schema.document
    if schema.int_or_string:
        longest = document.get("maxLength")
        return Sized("dyn", 4 * max(longest, 0) if longest is not None else _LARGEST_TEXT)
    match schema.type:
        case "array":
            item = sized(schema.items, root=schema.items.embedded) if schema.items is not None else None
            if item is None:
                return None
            most = document.get("maxItems")
            most = max(most, 0) if most is not None else _LARGEST_TEXT // (item.least_bytes + 1)
            return Sized("list", most, 2, inner=item)
        case "object" if schema.values is not None:
            value = sized(schema.values, root=schema.values.embedded)
            if value is None:
                return None
            most = document.get("maxProperties")
            most = max(most, 0) if most is not None else _LARGEST_TEXT // (value.least_bytes + 6)
            return Sized("map", most, 2, inner=value, key=_TEXT)
        case "object":
            return _object(schema, root=root)
        case "string":
            return _text(schema)
        case "boolean":
            return Sized("bool", least_bytes=4)
        case "integer" | "number":
            return Sized("int" if schema.type == "integer" else "double")
    return None


def of_type(text: str) -> Sized:
    """A type as the engine's checker writes it; nothing is known of its size."""
    found = _PARAMETERS.fullmatch(text)
    if found is None:
        return Sized(text) if text else ANY
    inner = found["inner"]
    if found["name"] == "map":
        key, _, value = inner.partition(", ")  # keys are of simple types
        return Sized("map", inner=of_type(value), key=of_type(key))
    return Sized(found["name"], inner=of_type(inner))


def of_value(value: Any, deep: int = 64) -> Sized:
    """The type of a value, with the sizes that it has; of what is in a list or map the largest."""
    match value:
        case bool():
            return _BOOL
        case int() | float():
            return _INT if isinstance(value, int) else _DOUBLE
        case str():
            return Sized("string", len(value))
        case bytes():
            return Sized("bytes", len(value))
        case list() if deep:
            return Sized("list", len(value), inner=_joined([of_value(each, deep - 1) for each in value]))
        case dict() if deep:
            members = {name: of_value(each, deep - 1) for name, each in value.items()}
            key = Sized("string", max((len(name) for name in value if isinstance(name, str)), default=0))
            return Sized("map", len(value), fields=members, inner=_joined([*members.values()]), key=key)
    return ANY


def _joined(found: Sequence[Sized]) -> Sized:
    """One type for all of them."""
    first = found[0] if found else ANY
    if len(found) < 2:
        return first
    kinds = {each.kind for each in found}
    if len(kinds) == 1 and first.scalar:
        return first
    inner = [each.inner for each in found if each.inner is not None]
    most = max(each.most or each.scalar for each in found)
    return Sized(
        first.kind if len(kinds) == 1 else "dyn",
        most,
        fields=_members(found),
        inner=_joined(inner) if inner else None,
        key=_key(found),
    )


def _members(found: Sequence[Sized]) -> Mapping[str, Sized]:
    members: dict[str, list[Sized]] = {}
    for each in found:
        for name, member in each.fields.items():
            members.setdefault(name, []).append(member)
    return {name: _joined(those) for name, those in members.items()}


def _key(found: Sequence[Sized]) -> Sized | None:
    keys = [each.key for each in found if each.key is not None]
    return _joined(keys) if keys else None


def escaped(name: str) -> str:
    """A field's name as expressions write it."""
    if name in _RESERVED:
        return f"__{name}__"
    return _TO_ESCAPE.sub(lambda found: _ESCAPES[found[0]], name)


def _object(schema: Structural, *, root: bool) -> Sized:
    fields = {}
    least = 2
    for name, member in schema.properties.items():
        below = sized(member, root=member.embedded)
        if below is None:
            continue
        fields[escaped(name)] = below
        if name in schema.required and member.default is NOTHING:
            least += len(name.encode()) + below.least_bytes + 4
    if root:
        fields = {**fields, "metadata": _metadata(schema.member("metadata")), "kind": _NAME, "apiVersion": _NAME}
    return Sized("object", least_bytes=least, fields=fields)


def _metadata(schema: Structural | None) -> Sized:
    """What expressions see of it. A name is no longer than names may be, or than the schema lets it."""
    fields = {}
    for name, longest in (("name", _LONGEST_NAME), ("generateName", _LONGEST_NAME - 1)):
        declared = schema.properties.get(name) if schema is not None else None
        said = declared.document.get("maxLength") if declared is not None else None
        fields[name] = Sized("string", 4 * (longest if said is None else min(said, longest)), 2)
    return Sized("object", least_bytes=2, fields=fields)


def _text(schema: Structural) -> Sized:
    document = schema.document
    form, longest = document.get("format") or "", document.get("maxLength")
    if form in _FORMATS:
        kind, least, most = _FORMATS[form]
        return Sized(kind, most, least)
    if form == "byte":
        return Sized("bytes", max(longest, 0) if longest is not None else _LARGEST_TEXT, 2)
    if longest is not None:
        return Sized("string", 4 * max(longest, 0), 2)
    choices = document.get("enum") or ()
    if choices:
        return Sized("string", max((len(each.encode()) for each in choices if isinstance(each, str)), default=0), 2)
    return Sized("string", _LARGEST_TEXT, 2)

"""From the types of an attrs class to a structural schema (documented upstream under "Specifying a structural schema").

| type | schema |
| --- | --- |
| `str`, `int`, `float`, `bool` | string, integer (int64), number, boolean |
| `bytes`, `datetime` | string in base64 (`byte`, or empty), `date-time` |
| an `Enum`, `Literal` | `enum` |
| `X | None` | X, not required where the default is None |
| `tuple[X, ...]`, `list[X]` | array |
| `frozenset[X]` | array, a set |
| `Mapping[str, X]` | object with `additionalProperties` |
| an attrs class | object with its fields |
| `int | str` | `x-kubernetes-int-or-string` |
| `Any` | anything, kept as it is |

A field without a default is required; a default that says something is the schema's. Anything else is a `KindError`
that names class and field.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import attrs

from kube_core.api.models import Model, json_name
from kube_core.api.models.conversion import unstructure
from kube_core.kinds.comments import description_of, field_descriptions
from kube_core.kinds.markers import Atomic, Immutable, Marker, Rule, rules_of
from kube_core.kinds.validators import constrain

__all__ = ["KindError", "Namespace", "object_schema", "resolve"]

#: Names that annotations may use besides those of a class's module: those of the function that it is declared in.
Namespace = Mapping[str, Any]
Schema = dict[str, Any]

_SCALARS: Final[Mapping[Any, Schema]] = {
    str: {"type": "string"},
    int: {"type": "integer", "format": "int64"},
    float: {"type": "number", "format": "double"},
    bool: {"type": "boolean"},
    # Upstream's format does not take the empty text, which is how no bytes are written.
    bytes: {"type": "string", "anyOf": [{"format": "byte"}, {"maxLength": 0}]},
    datetime: {"type": "string", "format": "date-time"},
}
_JSON_TYPES: Final = {str: "string", int: "integer", float: "number", bool: "boolean"}
_KNOWN: Final = "str, int, float, bool, bytes, datetime, enums, Literal, lists, maps, attrs classes, int | str, Any"
_RULES: Final = "x-kubernetes-validations"


class KindError(TypeError):
    """A class cannot be a kind; the message names class and field, and says why."""


def resolve(cls: type, names: Namespace) -> Sequence[attrs.Attribute[Any]]:
    """The fields of a class, with their annotations evaluated. Raises `KindError`."""
    if not attrs.has(cls):
        raise KindError(f"{cls.__qualname__} is not an attrs class: put @attrs.frozen below")
    try:
        attrs.resolve_types(cls, localns=dict(names), include_extras=True)
    except NameError as error:
        raise KindError(f"{cls.__qualname__}: {error}; its annotations need it when the class is declared") from None
    fields: Sequence[attrs.Attribute[Any]] = attrs.fields(cls)
    return fields


def object_schema(
    cls: type, names: Namespace, *, without: Sequence[str] = (), within: tuple[type, ...] = (), described: bool = False
) -> Schema:
    """The schema of a class. `without`: names of fields to leave out. `described`: with the words that it has.

    Raises `KindError`.
    """
    if cls in within:
        raise KindError(f"{cls.__qualname__} has itself among its fields, which a structural schema cannot say")
    properties: Schema = {}
    required: list[str] = []
    rules = [rule.document() for rule in rules_of(cls)]
    words = field_descriptions(cls) if described else {}
    for attribute in resolve(cls, names):
        if attribute.name in without:
            continue
        name = json_name(attribute)
        where = f"{cls.__qualname__}.{attribute.name}"
        found = _of(attribute.type, where, _Scope(names, (*within, cls), described))
        if attribute.validator is not None:
            constrain(found, attribute.validator)
        if attribute.name in words:
            found = {"description": words[attribute.name], **found}
        if attribute.default is attrs.NOTHING:
            required.append(name)
        elif not issubclass(cls, Model) and (default := _default(attribute, where)) is not None:
            found["default"] = default
        if "default" not in found and name not in required and _is_immutable(attribute.type):
            message = f"{name} is immutable"
            rules.append({"rule": f"has(self.{name}) == has(oldSelf.{name})", "message": message})
        properties[name] = found
    schema: Schema = {"type": "object"}
    if described and (description := description_of(cls)):
        schema = {"description": description, **schema}
    if properties:
        schema["properties"] = properties
    if required:
        schema["required"] = required
    if rules:
        schema[_RULES] = rules
    return schema


@attrs.frozen
class _Scope:
    names: Namespace
    within: tuple[type, ...]
    described: bool


def _of(kind: Any, where: str, scope: _Scope) -> Schema:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _marked(_of(arguments[0], where, scope), arguments[1:], where)
    if kind is Any:
        return {"x-kubernetes-preserve-unknown-fields": True}
    if kind in _SCALARS:
        return copy.deepcopy(_SCALARS[kind])
    if origin is Literal:
        return _enum(arguments, where)
    if origin in (Union, types.UnionType):
        return _union(arguments, where, scope)
    plain = origin or kind
    if isinstance(plain, type):
        if issubclass(plain, Enum):
            return _enum([each.value for each in plain], where)
        if attrs.has(plain):
            return object_schema(plain, scope.names, within=scope.within, described=scope.described)
        if issubclass(plain, tuple) and len(arguments) == 2 and arguments[1] is Ellipsis:
            return {"type": "array", "items": _of(arguments[0], where, scope)}
        if issubclass(plain, Set) and len(arguments) == 1:
            items = _of(arguments[0], where, scope)
            return {"type": "array", "items": items, "x-kubernetes-list-type": "set"}
        if plain in (list, Sequence) and len(arguments) == 1:
            return {"type": "array", "items": _of(arguments[0], where, scope)}
        if issubclass(plain, Mapping) and len(arguments) == 2 and arguments[0] is str:
            return {"type": "object", "additionalProperties": _of(arguments[1], where, scope)}
    raise KindError(f"{where}: a field cannot be {_named(kind)}; there are {_KNOWN}")


def _union(arguments: Sequence[Any], where: str, scope: _Scope) -> Schema:
    members = [each for each in arguments if each is not types.NoneType]
    if len(members) == 1:
        return _of(members[0], where, scope)
    if set(members) == {int, str}:
        return {"x-kubernetes-int-or-string": True}
    shown = " | ".join(_named(each) for each in members)
    raise KindError(f"{where}: a field cannot be {shown}; of unions there are X | None and int | str")


def _enum(values: Sequence[Any], where: str) -> Schema:
    kinds = {type(value) for value in values}
    if len(kinds) != 1 or not kinds <= _JSON_TYPES.keys():
        raise KindError(f"{where}: the values of an enum must be all texts, or all numbers")
    return {"type": _JSON_TYPES[kinds.pop()], "enum": list(values)}


def _marked(schema: Schema, markers: Sequence[Any], where: str) -> Schema:
    for marker in markers:
        if isinstance(marker, Rule):
            schema.setdefault(_RULES, []).append(marker.document())
        elif isinstance(marker, Immutable):
            schema.setdefault(_RULES, []).append({"rule": "self == oldSelf", "message": "Value is immutable"})
        elif isinstance(marker, Marker):
            kind = schema.get("type", "")
            if marker.of and marker.of != kind:
                raise KindError(f"{where}: {', '.join(marker.extensions)} goes with {marker.of}, not {kind or 'this'}")
            schema.update(marker.extensions)
        elif isinstance(marker, Atomic):
            kind = schema.get("type", "")
            if kind not in ("array", "object"):
                raise KindError(f"{where}: atomic goes with lists and objects, not {kind or 'this'}")
            schema["x-kubernetes-list-type" if kind == "array" else "x-kubernetes-map-type"] = "atomic"
    return schema


def _is_immutable(kind: Any) -> bool:
    return get_origin(kind) is Annotated and any(isinstance(each, Immutable) for each in get_args(kind)[1:])


def _default(attribute: attrs.Attribute[Any], where: str) -> Any:
    """What the server is to fill in; None where that is nothing."""
    default: Any = attribute.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        if default.takes_self:
            return None
        default = default.factory()
    if default is None:
        return None
    try:
        document = unstructure(default)
    except Exception as error:
        raise KindError(f"{where}: its default cannot be written: {error}") from None
    return document if document not in ((), [], {}) or attrs.has(type(default)) else None


def _named(kind: Any) -> str:
    return kind.__qualname__ if isinstance(kind, type) and not get_args(kind) else str(kind).replace("typing.", "")

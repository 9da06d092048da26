"""From models to documents and back.

A document that cannot be read as its class is refused by a `ConversionError` that names the field. What a document has
beyond its class's fields is left out, and a required field that it lacks gets its type's zero, as in upstream's own
clients. In the other direction what is None, or an empty list or map, is left out.

A frozen document is read once: the same object gives the same model as long as it lives.
"""

from __future__ import annotations

import base64
import functools
import types
import weakref
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar, Union, cast, get_args, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from kube_core.api.models.classes import json_name, resource_of
from kube_core.api.models.times import MicroTime
from kube_core.meta.documents import Document, FrozenDict, MutableDocument

__all__ = ["ConversionError", "from_document", "structure", "to_document", "unstructure"]

T = TypeVar("T")

_SCALARS = {str, int, float, bool}


class ConversionError(ValueError):
    """A document does not fit a class; the message names the field."""


def to_document(value: object) -> MutableDocument:
    """The document of an object: a model, or an instance of a registered class."""
    resource = resource_of(type(value))
    content = unstructure(value)
    metadata = content.pop("metadata", {})
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **content}


def from_document(kind: type[T], document: Document) -> T:
    """The object of a document. Raises `ConversionError`."""
    if not isinstance(document, FrozenDict):
        return structure(kind, document)
    known = _READ.get(id(document))
    if known is None:
        # The number is the document's own until it goes, and then this forgets it.
        known = _READ[id(document)] = _Read(weakref.ref(document, functools.partial(_forget, id(document))))
    found = known.models.get(kind)
    if found is None:
        found = known.models[kind] = structure(kind, document)
    return cast(T, found)


def structure(kind: type[T], value: Any) -> T:
    """A value of any type that a model has, from JSON. Raises `ConversionError`."""
    try:
        return _quick().structure(value, kind)
    except Exception:
        # Once more, by a converter that takes its time to note where it was.
        try:
            return _precise().structure(value, kind)
        except Exception as error:
            problems = "; ".join(cattrs.transform_error(error, path=kind.__name__))
            raise ConversionError(problems) from error


def unstructure(value: Any) -> Any:
    """The JSON of a value of any type that a model has."""
    return _quick().unstructure(value)


@attrs.frozen
class _Read:
    document: weakref.ref[FrozenDict]
    models: dict[type, Any] = attrs.field(factory=dict)


_READ: dict[int, _Read] = {}


def _forget(number: int, _: object) -> None:
    _READ.pop(number, None)


@functools.cache
def _quick() -> cattrs.Converter:
    return _make(detailed=False)


@functools.cache
def _precise() -> cattrs.Converter:
    return _make(detailed=True)


def _make(*, detailed: bool) -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=detailed)
    converter.register_structure_hook_factory(attrs.has, functools.partial(_reader, converter))
    converter.register_unstructure_hook_factory(attrs.has, functools.partial(_writer, converter))
    converter.register_structure_hook(bytes, lambda value, _: base64.b64decode(value, validate=True))
    converter.register_unstructure_hook(bytes, lambda value: base64.b64encode(value).decode())
    converter.register_structure_hook(datetime, _read_time)
    converter.register_unstructure_hook(datetime, _write_time)
    converter.register_structure_hook_func(lambda kind: kind == MicroTime, _read_time)
    converter.register_unstructure_hook_func(lambda kind: kind == MicroTime, _write_micro_time)
    converter.register_structure_hook_func(_is_scalar_union, _read_scalar)
    for kind in _SCALARS:
        converter.register_structure_hook(kind, _read_scalar_of)
    return converter


def _reader(converter: cattrs.Converter, cls: type) -> Any:
    """Reads a class: by its fields' names in JSON, with zeros for what is required and not there."""
    attributes = _resolved(cls)
    renamed: Any = {each.name: override(rename=json_name(each)) for each in attributes}
    read: Any = make_dict_structure_fn(cls, converter, **renamed)
    zeros = {json_name(each): _zero(each.type) for each in attributes if each.default is attrs.NOTHING}
    # An empty list or map may come as null.
    plural = [json_name(each) for each in attributes if _is_plural(each.type)]

    def whole(document: Any, kind: Any) -> Any:
        if not isinstance(document, Mapping):
            raise TypeError(f"expected an object, not {_shown(document)}")
        nulls = [name for name in plural if name in document and document[name] is None]
        if nulls or not zeros.keys() <= document.keys():
            document = {**zeros, **{name: value for name, value in document.items() if name not in nulls}}
        return read(document, kind)

    return whole


def _writer(converter: cattrs.Converter, cls: type) -> Any:
    """Writes a class: without what is None, or empty where that is the default."""
    renamed: Any = {
        each.name: override(rename=json_name(each), omit_if_default=_is_empty(each.default)) for each in _resolved(cls)
    }
    return make_dict_unstructure_fn(cls, converter, **renamed)


def _resolved(cls: type) -> Sequence[attrs.Attribute[Any]]:
    attrs.resolve_types(cls, include_extras=True)
    attributes: Sequence[attrs.Attribute[Any]] = attrs.fields(cls)
    return attributes


def _is_empty(default: Any) -> bool:
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        made = default.factory()
        return made in ({}, []) or attrs.has(type(made))
    return default is None or default == ()


def _is_plural(kind: Any) -> bool:
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, tuple | list | Mapping)


def _zero(kind: Any) -> Any:
    origin = get_origin(kind) or kind
    if isinstance(origin, type):
        if issubclass(origin, tuple | list):
            return ()
        if issubclass(origin, Mapping) or attrs.has(origin):
            return {}
        if origin in (str, int, float, bool):
            return origin()
    return None


def _is_scalar_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType) and set(get_args(kind)) - {types.NoneType} <= _SCALARS


def _read_scalar(value: Any, kind: Any) -> Any:
    kinds = get_args(kind)
    if isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)):
        return value
    raise TypeError(f"expected {' or '.join(each.__name__ for each in kinds)}, not {_shown(value)}")


def _read_scalar_of(value: Any, kind: type) -> Any:
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if fits or (kind is float and isinstance(value, int)):
        return value
    raise TypeError(f"expected {kind.__name__}, not {_shown(value)}")


def _read_time(value: Any, _: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone")
    return moment


def _write_time(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _write_micro_time(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _shown(value: Any) -> str:
    return "null" if value is None else f"{type(value).__name__} {value!r}"[:80]

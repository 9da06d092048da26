"""From models to documents and back.

A document that cannot be read as its class is refused by a `ConversionError` that names the field. What a document has
beyond its class's fields is left out, and a required field that it lacks gets its type's zero, as in upstream's own
clients. In the other direction what is None, or an empty list or map, is left out.

A frozen document is read once: the same object gives the same model as long as it lives.

Of a class that is laid out otherwise than its documents (`classes.Layout`: its fields are those of `spec`) an instance
that was read remembers the metadata and the status that it has no fields for: `metadata_of` and `status_of` tell them.
"""

from __future__ import annotations

import base64
import functools
import types
import weakref
from collections.abc import Mapping, Sequence, Set
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, cast, get_args, get_origin

import attrs

from kube_core.api.models.classes import Layout, json_name, layout_of, resource_of
from kube_core.api.models.times import MicroTime
from kube_core.meta.documents import Document, FrozenDict, MutableDocument, thaw

if TYPE_CHECKING:
    import cattrs

    from kube_core.api.generated.models.meta import ObjectMeta

__all__ = [
    "ConversionError",
    "from_document",
    "metadata_of",
    "status_of",
    "structure",
    "to_document",
    "unstructure",
]

T = TypeVar("T")

_SCALARS = {str, int, float, bool}


class ConversionError(ValueError):
    """A document does not fit a class; the message names the field."""


def to_document(value: object) -> MutableDocument:
    """The document of an object: a model, or an instance of a registered class."""
    resource = resource_of(type(value))
    layout = layout_of(type(value))
    content = unstructure(value)
    metadata = content.pop("metadata", {})
    if layout is not None:
        if not layout.metadata and (origin := _origin(value)) is not None:
            metadata = thaw(origin.metadata)
        status = {"status": content.pop("status")} if layout.has_status and "status" in content else {}
        content = {"spec": content, **status}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **content}


def metadata_of(value: object) -> ObjectMeta:
    """The metadata of an object, also of one whose class has no field for it, where it was read from a document."""
    from kube_core.api.generated.models.meta import ObjectMeta

    own = getattr(value, "metadata", None)
    if isinstance(own, ObjectMeta):
        return own
    origin = _origin(value)
    return ObjectMeta() if origin is None else from_document(ObjectMeta, origin.metadata)


def status_of(value: object) -> Any:
    """The status of an object, as the status class of its kind; None where it has none.

    Also of one whose class has no field for it, where it was read from a document.
    """
    layout, origin = layout_of(type(value)), _origin(value)
    if layout is None or layout.has_status or layout.status is None:
        return getattr(value, "status", None)
    return None if origin is None or origin.status is None else from_document(layout.status, origin.status)


def from_document(kind: type[T], document: Document) -> T:
    """The object of a document. Raises `ConversionError`."""
    if not isinstance(document, FrozenDict):
        return _read_document(kind, document)
    known = _READ.get(id(document))
    if known is None:
        # The number is the document's own until it goes, and then this forgets it.
        known = _READ[id(document)] = _Read(weakref.ref(document, functools.partial(_lose, _READ, id(document))))
    found = known.models.get(kind)
    if found is None:
        found = known.models[kind] = _read_document(kind, document)
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
            import cattrs

            problems = "; ".join(cattrs.transform_error(error, path=kind.__name__))
            raise ConversionError(problems) from error


def unstructure(value: Any) -> Any:
    """The JSON of a value of any type that a model has."""
    return _quick().unstructure(value)


def _read_document(kind: type[T], document: Document) -> T:
    layout = layout_of(kind)
    if layout is None:
        return structure(kind, document)
    found = structure(kind, _laid_out(document, layout))
    if not (layout.metadata and layout.has_status):
        number = id(found)
        reference = weakref.ref(found, functools.partial(_lose, _ORIGINS, number))
        _ORIGINS[number] = _Origin(reference, document.get("metadata") or {}, document.get("status"))
    return found


def _laid_out(document: Document, layout: Layout) -> Document:
    """The fields of a class, gathered from where they are in a document."""
    fields = dict(document.get("spec") or {})
    if layout.metadata:
        fields["metadata"] = document.get("metadata") or {}
    if layout.has_status and document.get("status") is not None:
        fields["status"] = document["status"]
    return fields


@attrs.frozen(eq=False)
class _Origin:
    """What an object's document had besides the object's fields. Not the document, which keeps the object itself."""

    object: weakref.ref[Any]
    metadata: Document
    status: Document | None


_ORIGINS: dict[int, _Origin] = {}


def _origin(value: object) -> _Origin | None:
    origin = _ORIGINS.get(id(value))
    return origin if origin is not None and origin.object() is value else None


@attrs.frozen
class _Read:
    document: weakref.ref[FrozenDict]
    models: dict[type, Any] = attrs.field(factory=dict)


_READ: dict[int, _Read] = {}


def _lose(known: dict[int, Any], number: int, _: object) -> None:
    # Given its table, as the module's own names may be gone when the interpreter ends.
    known.pop(number, None)


@functools.cache
def _quick() -> cattrs.Converter:
    return _make(detailed=False)


@functools.cache
def _precise() -> cattrs.Converter:
    return _make(detailed=True)


def _make(*, detailed: bool) -> cattrs.Converter:
    import cattrs  # every client can convert models, few do, and this takes a while

    converter = cattrs.Converter(detailed_validation=detailed)
    converter.register_structure_hook_factory(attrs.has, functools.partial(_reader, converter))
    converter.register_unstructure_hook_factory(attrs.has, functools.partial(_writer, converter))
    converter.register_structure_hook(bytes, lambda value, _: base64.b64decode(value, validate=True))
    converter.register_unstructure_hook(bytes, lambda value: base64.b64encode(value).decode())
    converter.register_structure_hook(datetime, _read_time)
    converter.register_unstructure_hook(datetime, _write_time)
    converter.register_structure_hook_func(lambda kind: kind == MicroTime, _read_time)
    converter.register_unstructure_hook_func(lambda kind: kind == MicroTime, _write_micro_time)
    # A set has no order, and a document must always be the same.
    converter.register_unstructure_hook_func(
        _is_set, lambda value: sorted(converter.unstructure(each) for each in value)
    )
    converter.register_structure_hook_func(_is_scalar_union, _read_scalar)
    for kind in _SCALARS:
        converter.register_structure_hook(kind, _read_scalar_of)
    return converter


def _reader(converter: cattrs.Converter, cls: type) -> Any:
    """Reads a class: by its fields' names in JSON, with zeros for what is required and not there."""
    from cattrs.gen import make_dict_structure_fn, override

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
    from cattrs.gen import make_dict_unstructure_fn, override

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
    origin = get_origin(_bare(kind))
    return isinstance(origin, type) and issubclass(origin, tuple | list | Set | Mapping)


def _is_set(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, Set)


def _bare(kind: Any) -> Any:
    """A type without what is noted at it."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _zero(kind: Any) -> Any:
    kind = _bare(kind)
    origin = get_origin(kind) or kind
    if isinstance(origin, type):
        if issubclass(origin, tuple | list | Set):
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
    return value.astimezone(UTC).isoformat()[:19] + "Z"


def _write_micro_time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def _shown(value: Any) -> str:
    return "null" if value is None else f"{type(value).__name__} {value!r}"[:80]

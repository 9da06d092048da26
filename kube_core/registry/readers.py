"""Readers: one for each kind of field, made from a schema, that take a JSON value to its canonical form.

What a reader is, and those of single values, is in `scalars.py`; here are those of lists, maps and objects, and
`reader_for`, which makes them of a schema. Only `decoding.py` and the strategies of built-in kinds use this module.
Which empty values fields keep comes from `zeros.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from kube_core.api.schemas import Schema
from kube_core.registry import zeros
from kube_core.registry.scalars import (
    ABSENT,
    ODD,
    BytesReader,
    FlagReader,
    IntegerReader,
    IntOrStringReader,
    NumberReader,
    OpenReader,
    Place,
    Problems,
    QuantityReader,
    Reader,
    TextReader,
    TimeReader,
)

__all__ = ["StructReader", "reader_for"]


class ListReader(Reader):
    def __init__(self, items: Reader, *, keeps_empty: bool = False) -> None:
        self.items = items
        self.target = f"[]{items.target}"
        self.read_item = items.read
        self.keeps_empty = keeps_empty

    def read(self, value: Any) -> Any:
        if not isinstance(value, list):
            raise ODD
        if not value and not self.keeps_empty:
            return ABSENT
        read = self.read_item
        return [self.items.nothing() if item is None else read(item) for item in value]

    def explain(self, value: Any, place: Place, problems: Problems) -> Any:
        if not isinstance(value, list):
            return super().explain(value, place, problems)
        if not value and not self.keeps_empty:
            return ABSENT
        return [
            self.items.nothing() if item is None else self.items.explain(item, place.item(index), problems)
            for index, item in enumerate(value)
        ]


class MapReader(Reader):
    def __init__(self, values: Reader, *, keeps_empty: bool = False) -> None:
        self.values = values
        self.target = f"map[string]{values.target}"
        self.keeps_empty = keeps_empty
        self.texts = type(values) is TextReader

    def read(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ODD
        if not value and not self.keeps_empty:
            return ABSENT
        if self.texts:
            for item in value.values():
                if type(item) is not str:
                    break
            else:
                return dict(value)
        read = self.values.read
        return {name: self.values.nothing() if item is None else read(item) for name, item in value.items()}

    def explain(self, value: Any, place: Place, problems: Problems) -> Any:
        if not isinstance(value, dict):
            return super().explain(value, place, problems)
        if not value and not self.keeps_empty:
            return ABSENT
        return {
            name: self.values.nothing()
            if item is None
            else self.values.explain(item, attrs.evolve(place, path=f"{place.path}.{name}"), problems)
            for name, item in value.items()
        }


class StructReader(Reader):
    """An object with declared fields. Its readers are made when it is first used: schemas refer to each other."""

    def __init__(self, name: str, schema: Schema) -> None:
        """`name` is the schema's (`io.k8s.api.core.v1.PodSpec`); `schema` has its fields."""
        self.full_name = name
        self.name = name.rpartition(".")[2]
        self.target = ".".join(name.split(".")[-2:])
        self.schema = schema
        self._members: dict[str, Reader] | None = None
        #: Fields that are written even when they were not given, and what makes their value.
        self.fills: list[tuple[str, Callable[[], Any]]] = []

    @property
    def members(self) -> dict[str, Reader]:
        if self._members is None:
            self._members = self._compile()
        return self._members

    def read(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ODD
        members = self._members
        if members is None:
            members = self.members
        result: dict[str, Any] = {}
        for name, item in value.items():
            reader = members.get(name)
            if reader is None:
                raise ODD
            if item is None:
                continue
            canonical = reader.read(item)
            if canonical is not ABSENT:
                result[name] = canonical
        for name, make in self.fills:
            if name not in result:
                result[name] = make()
        return result

    def explain(self, value: Any, place: Place, problems: Problems) -> Any:
        if not isinstance(value, dict):
            return super().explain(value, place, problems)
        members = self.members
        result: dict[str, Any] = {}
        for name, item in value.items():
            here = place.field(self.name, name)
            reader = members.get(name)
            if reader is None:
                problems.unknown.append(f'unknown field "{here.path}"')
                continue
            canonical = reader.explain(item, here, problems)
            if canonical is not ABSENT and (item is not None or isinstance(reader, QuantityReader)):
                result[name] = canonical
        for name, make in self.fills:
            if name not in result:
                result[name] = make()
        return result

    def nothing(self) -> Any:
        return self.filled()

    def filled(self) -> dict[str, Any]:
        """The object that nothing was said about."""
        self.members  # noqa: B018 (makes the fills)
        return {name: make() for name, make in self.fills}

    def _compile(self) -> dict[str, Reader]:
        properties: Mapping[str, Any] = self.schema.document.get("properties") or {}
        required = frozenset(self.schema.required)
        owner = zeros.owner_of(self.full_name)
        members: dict[str, Reader] = {}
        fills: list[tuple[str, Callable[[], Any]]] = []
        for name, document in properties.items():
            field = _Field(owner, name, document, self.schema.library, name in required)
            members[name] = field.reader()
            if (fill := field.fill(members[name])) is not None:
                fills.append((name, fill))
        if {"kind", "apiVersion"} <= members.keys() and self.schema.document.get("x-kubernetes-group-version-kind"):
            # The root's are handled by its caller; an embedded object's are kept as they are.
            members["kind"] = members["apiVersion"] = TextReader(keeps_empty=False)
        self.fills = fills
        return members


class EitherReader(Reader):
    """An object of one type, a list of such, or anything else: what some places in schemas of schemas may hold."""

    def __init__(self, one: Reader) -> None:
        self.one = one
        self.many = ListReader(one, keeps_empty=True)

    def read(self, value: Any) -> Any:
        return self._of(value).read(value)

    def explain(self, value: Any, place: Place, problems: Problems) -> Any:
        return self._of(value).explain(value, place, problems)

    def _of(self, value: Any) -> Reader:
        if isinstance(value, dict):
            return self.one
        return self.many if isinstance(value, list) and all(isinstance(each, dict) for each in value) else OpenReader()


@attrs.frozen
class _Field:
    """A field of a type, before its reader is made."""

    owner: str
    name: str
    document: Mapping[str, Any]
    library: Mapping[str, Mapping[str, Any]]
    required: bool

    def reader(self) -> Reader:
        default = self.document.get("default") if zeros.is_written(self.owner, self.name) else None
        kind = self.document.get("type") or ""
        keeps = self.required or default is not None or zeros.keeps_zero(self.owner, self.name, kind)
        empty = zeros.keeps_empty_list(self.owner, self.name)
        return _reader(self.document, self.library, keeps_zero=keeps, keeps_empty=empty, default=default)

    def fill(self, reader: Reader) -> Callable[[], Any] | None:
        default = self.document.get("default")
        if default is not None and zeros.is_written(self.owner, self.name):
            if isinstance(reader, StructReader):
                return reader.filled
            return (lambda: {}) if default == {} else (lambda: default)
        if (quantity := zeros.always_zero(self.owner, self.name)) is not None:
            return lambda: quantity
        ref = _reference(self.document).rpartition(".")[2]
        kind = self.document.get("type") or ""
        if zeros.always_null(self.owner, self.name, required=self.required, kind=kind, ref=ref):
            return lambda: None
        return None


def reader_for(schema: Schema) -> Reader:
    """The reader of a whole schema."""
    name = _name_of(schema)
    if name:
        return _struct(name, schema.library)
    if schema.document.get("properties"):
        return StructReader("", schema)
    return _reader(schema.document, schema.library)


#: For each library of schemas that was met, by identity: itself (so that it stays what it is), and its names.
_NAMES: dict[int, tuple[Mapping[str, Any], Mapping[int, str]]] = {}


def _name_of(schema: Schema) -> str:
    """What its library calls a schema, or ""."""
    library = schema.library
    if id(library) not in _NAMES:
        _NAMES[id(library)] = library, {id(document): name for name, document in library.items()}
    return _NAMES[id(library)][1].get(id(schema.document), "")


_STRUCTS: dict[tuple[int, str], StructReader] = {}


def _struct(name: str, library: Mapping[str, Mapping[str, Any]]) -> StructReader:
    """One reader for each named type, so that types that contain themselves come to an end."""
    key = (id(library), name)
    found = _STRUCTS.get(key)
    if found is None:
        found = _STRUCTS[key] = StructReader(name, Schema(library[name], library))
    return found


def _reference(document: Mapping[str, Any]) -> str:
    reference = document.get("$ref")
    members = document.get("allOf")
    if reference is None and isinstance(members, list) and len(members) == 1:
        reference = members[0].get("$ref")
    return str(reference or "").removeprefix("#/components/schemas/")


def _reader(
    document: Mapping[str, Any],
    library: Mapping[str, Mapping[str, Any]],
    *,
    keeps_zero: bool = True,
    keeps_empty: bool = False,
    default: Any = None,
) -> Reader:
    reference = _reference(document)
    if reference:
        package, _, name = reference.rpartition(".")
        if special := _SPECIAL.get(name):
            return special
        if name in _EITHER:
            return EitherReader(_struct(f"{package}.{_EITHER[name]}", library))
        target = library.get(reference, {})
        if target.get("properties"):
            return _struct(reference, library)
        return _reader(target, library, keeps_zero=keeps_zero, keeps_empty=keeps_empty) if target else OpenReader()
    match document.get("type"):
        case "string" if document.get("format") == "byte":
            return BytesReader(keeps_empty=keeps_zero)
        case "string":
            return TextReader(keeps_empty=keeps_zero, default=default if isinstance(default, str) else "")
        case "boolean":
            return FlagReader(keeps_false=keeps_zero)
        case "integer":
            return IntegerReader(bits=32 if document.get("format") == "int32" else 64, keeps_zero=keeps_zero)
        case "number":
            return NumberReader()
        case "array":
            # What is empty inside of a list or map is there all the same.
            items = _reader(document.get("items") or {}, library, keeps_empty=True)
            return ListReader(items, keeps_empty=keeps_empty)
        case "object" if isinstance(document.get("additionalProperties"), Mapping):
            values = _reader(document["additionalProperties"], library, keeps_empty=True)
            return MapReader(values, keeps_empty=keeps_empty)
        case "object" if document.get("properties"):
            return StructReader("", Schema(document, library))
    return OpenReader()


#: Types without fields of their own that hold one or several of another.
_EITHER: Final[Mapping[str, str]] = {
    "JSONSchemaPropsOrArray": "JSONSchemaProps",
    "JSONSchemaPropsOrBool": "JSONSchemaProps",
    "JSONSchemaPropsOrStringArray": "JSONSchemaProps",
}
_SPECIAL: Final[Mapping[str, Reader]] = {
    "Quantity": QuantityReader(),
    "IntOrString": IntOrStringReader(),
    "Time": TimeReader(micro=False),
    "MicroTime": TimeReader(micro=True),
    "RawExtension": OpenReader(),
    "FieldsV1": OpenReader(),
}

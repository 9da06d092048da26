"""Readers: one for each kind of field, made from a schema, that take a JSON value to its canonical form.

`Reader.read` is the fast way for good values: it raises `Odd` for anything else, and knows no paths. `Reader.explain`
is the slow way: the same result, and everything that is wrong noted in `Problems` with its place, as upstream's decoder
words it. A reader answers `ABSENT` for a value that is as good as none.

Only `decoding.py` uses this module. Which empty values fields keep comes from `zeros.py`.
"""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from kube_core.api.schemas import Schema
from kube_core.meta import quantities
from kube_core.meta.documents import shareable
from kube_core.meta.times import format_micro_time, format_time, parse_time
from kube_core.registry import zeros

__all__ = ["ABSENT", "Odd", "Place", "Problems", "Reader", "StructReader", "reader_for"]

ABSENT: Final = object()


class Odd(Exception):
    """The value needs explaining."""


_ODD: Final = Odd()


@attrs.define
class Problems:
    """What is wrong with a document: the first value of a wrong type, and every unknown field."""

    mismatch: str = ""
    unknown: list[str] = attrs.field(factory=list)

    def mismatched(self, text: str) -> Any:
        self.mismatch = self.mismatch or text
        return ABSENT


@attrs.frozen(slots=True)
class Place:
    """Where a value is: `owner` is the type that has the field, `names` leads to it, `path` has indices too."""

    owner: str
    names: str = ""
    path: str = ""

    def field(self, owner: str, name: str) -> Place:
        return Place(
            owner, f"{self.names}.{name}" if self.names else name, f"{self.path}.{name}" if self.path else name
        )

    def item(self, index: int) -> Place:
        return Place(self.owner, self.names, f"{self.path}[{index}]")

    def cannot(self, what: str, target: str) -> str:
        field = f"Go struct field {self.owner}.{self.names}" if self.names else "Go value"
        return f"json: cannot unmarshal {what} into {field} of type {target}"


class Reader:
    """How values of one kind are read. `target` is the name of that kind in messages."""

    target: str = ""

    def read(self, value: Any) -> Any:
        """The canonical value, or `ABSENT`. Raises `Odd`."""
        raise NotImplementedError

    def explain(self, value: Any, place: Place, problems: Problems) -> Any:
        """Like `read`, for values that may be wrong."""
        if value is None:
            return ABSENT
        try:
            return self.read(value)
        except Odd:
            return problems.mismatched(place.cannot(_kind(value), self.target))

    def nothing(self) -> Any:
        """What null means as an item of a list or map."""
        return None


class OpenReader(Reader):
    """Any JSON value, of which the document gets a copy of its own; one that nobody can change is shared."""

    def read(self, value: Any) -> Any:
        return shareable(value)


class TextReader(Reader):
    target = "string"

    def __init__(self, *, keeps_empty: bool, default: str = "") -> None:
        self.keeps_empty = keeps_empty
        self.default = default

    def read(self, value: Any) -> Any:
        if type(value) is not str:
            raise _ODD
        if value or self.keeps_empty:
            return value or self.default
        return ABSENT

    def nothing(self) -> Any:
        return ""


class FlagReader(Reader):
    target = "bool"

    def __init__(self, *, keeps_false: bool) -> None:
        self.keeps_false = keeps_false

    def read(self, value: Any) -> Any:
        if value is True or (value is False and self.keeps_false):
            return value
        if value is False:
            return ABSENT
        raise _ODD

    def nothing(self) -> Any:
        return False


class IntegerReader(Reader):
    def __init__(self, *, bits: int, keeps_zero: bool) -> None:
        self.keeps_zero = keeps_zero
        self.target = f"int{bits}"
        self.limit = 1 << (bits - 1)

    def read(self, value: Any) -> Any:
        if type(value) is not int or not -self.limit <= value < self.limit:
            raise _ODD
        return value if value or self.keeps_zero else ABSENT

    def explain(self, value: Any, place: Place, problems: Problems) -> Any:
        if type(value) in (int, float):
            try:
                return self.read(value)
            except Odd:
                return problems.mismatched(place.cannot(f"number {_number(value)}", self.target))
        return super().explain(value, place, problems)

    def nothing(self) -> Any:
        return 0


class NumberReader(Reader):
    target = "float64"

    def read(self, value: Any) -> Any:
        if type(value) not in (int, float):
            raise _ODD
        return value


class QuantityReader(Reader):
    target = "string"

    def read(self, value: Any) -> Any:
        try:
            return quantities.canonical(value)
        except (quantities.QuantityError, TypeError):
            raise _ODD from None

    def explain(self, value: Any, place: Place, problems: Problems) -> Any:
        if value is None:
            return "0"
        try:
            return quantities.canonical(value if isinstance(value, str | int | float) else str(value))
        except quantities.QuantityError as error:
            return problems.mismatched(str(error))

    def nothing(self) -> Any:
        return "0"


class IntOrStringReader(Reader):
    target = "int32"

    def read(self, value: Any) -> Any:
        if type(value) is str or (type(value) is int and -(1 << 31) <= value < 1 << 31):
            return value
        raise _ODD

    def explain(self, value: Any, place: Place, problems: Problems) -> Any:
        if type(value) in (int, float):
            try:
                return self.read(value)
            except Odd:
                return problems.mismatched(place.cannot(f"number {_number(value)}", self.target))
        return super().explain(value, place, problems)

    def nothing(self) -> Any:
        return 0


_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
#: As long as a time with nanoseconds and an offset gets.
_LONGEST_TIME = 35


# An object says when it was made, and its fields written, in each of its writes.
@functools.lru_cache(maxsize=4096)
def _canonical_time(value: str, micro: bool) -> str | None:
    """A time as it is written; None for what is none, or not precise enough."""
    found = _TIME.fullmatch(value)
    if found is None or (micro and len(found[1] or "") != 7):
        return None
    try:
        seconds = parse_time(value)
    except ValueError:
        return None
    return format_micro_time(seconds) if micro else format_time(seconds)


class TimeReader(Reader):
    """`Time` (to the second) or `MicroTime`; an empty text is no time."""

    target = "string"

    def __init__(self, *, micro: bool) -> None:
        self.micro = micro
        self.layout = "2006-01-02T15:04:05.000000Z07:00" if micro else "2006-01-02T15:04:05Z07:00"

    def read(self, value: Any) -> Any:
        if type(value) is not str:
            raise _ODD
        # Nobody's nonsense of a megabyte is to be remembered.
        read = _canonical_time if len(value) <= _LONGEST_TIME else _canonical_time.__wrapped__
        canonical = read(value, self.micro)
        if canonical is None:
            raise _ODD
        return canonical

    def explain(self, value: Any, place: Place, problems: Problems) -> Any:
        if type(value) is not str:
            return super().explain(value, place, problems)
        try:
            return self.read(value)
        except Odd:
            rest, wanted = self._stumble(value)
            return problems.mismatched(
                f'parsing time "{value}" as "{self.layout}": cannot parse "{rest}" as "{wanted}"'
            )

    def _stumble(self, value: str) -> tuple[str, str]:
        """Where reading the time stopped, and which part of the layout was wanted there."""
        position = 0
        parts = (r"\d{4}", "2006"), ("-", "-"), (r"\d\d", "01"), ("-", "-"), (r"\d\d", "02"), ("T", "T"), \
            (r"\d\d", "15"), (":", ":"), (r"\d\d", "04"), (":", ":"), (r"\d\d", "05")  # fmt: skip
        micro = ((r"\.\d{6}(?!\d)", ".000000"),) if self.micro else ((r"(?:\.\d+)?", ""),)
        for pattern, wanted in (*parts, *micro, (r"Z|[+-]\d\d:\d\d", "Z07:00")):
            found = re.compile(pattern, re.ASCII).match(value, position)
            if found is None:
                return value[position:], wanted
            position = found.end()
        return value[position:], ""


class BytesReader(Reader):
    """Base64 text."""

    target = "[]uint8"

    def __init__(self, *, keeps_empty: bool) -> None:
        self.keeps_empty = keeps_empty

    def read(self, value: Any) -> Any:
        if type(value) is not str or _bad_base64(value) is not None:
            raise _ODD
        if not value and not self.keeps_empty:
            return ABSENT
        return value.replace("\n", "").replace("\r", "")

    def explain(self, value: Any, place: Place, problems: Problems) -> Any:
        if type(value) is str and (position := _bad_base64(value)) is not None:
            return problems.mismatched(f"illegal base64 data at input byte {position}")
        return super().explain(value, place, problems)

    def nothing(self) -> Any:
        return None


class ListReader(Reader):
    def __init__(self, items: Reader, *, keeps_empty: bool = False) -> None:
        self.items = items
        self.target = f"[]{items.target}"
        self.read_item = items.read
        self.keeps_empty = keeps_empty

    def read(self, value: Any) -> Any:
        if not isinstance(value, list):
            raise _ODD
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
    def __init__(self, values: Reader) -> None:
        self.values = values
        self.target = f"map[string]{values.target}"
        self.texts = type(values) is TextReader

    def read(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise _ODD
        if not value:
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
        if not value:
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
            raise _ODD
        members = self._members
        if members is None:
            members = self.members
        result: dict[str, Any] = {}
        for name, item in value.items():
            reader = members.get(name)
            if reader is None:
                raise _ODD
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
        return _reader(target, library, keeps_zero=keeps_zero) if target else OpenReader()
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
            return ListReader(_reader(document.get("items") or {}, library), keeps_empty=keeps_empty)
        case "object" if isinstance(document.get("additionalProperties"), Mapping):
            return MapReader(_reader(document["additionalProperties"], library))
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


def _kind(value: Any) -> str:
    """What the source language's JSON decoder calls the kind of a value."""
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


def _number(value: float) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}", re.ASCII)


@functools.lru_cache(maxsize=256)
def _bad_base64(text: str) -> int | None:
    """The byte at which decoding stops, or None."""
    text = text.replace("\n", "").replace("\r", "")
    try:
        base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error, or what is not ASCII
        found = _BASE64.match(text)
        stop = found.end() if found is not None else 0
        if stop < len(text):
            return stop
        # A group of four that is not complete fails where it begins to lack something.
        return len(text.rstrip("=")) if "=" in text else len(text) - len(text) % 4
    return None

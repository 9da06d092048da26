"""Objects in protobuf, as the API's binary form has them: documents in, documents out.

A body is the magic `k8s\\0` and an envelope with the object's apiVersion and kind (documented upstream under
"Alternate representations of resources"). Field numbers are generated into `generated/protobuf.json`.

What a document says is kept both ways, but for what protobuf cannot tell apart: a text, number or flag with its zero
value is written only where the message demands it and read back as that zero, which decoding against the schema drops
where JSON would leave it out. Some messages have a JSON form of their own (times, quantities, raw JSON); they are in
`_SPECIAL`.

Codecs are compiled for each message when it is first met, so nothing is paid for in programs that speak JSON only.
"""

from __future__ import annotations

import functools
import importlib.resources
import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs
import orjson

from kube_core._kit.varints import read_varint, varint
from kube_core.meta.times import parse_time

__all__ = ["MAGIC", "ProtobufError", "content", "decode", "encode", "envelope", "frame", "message_list"]

MAGIC = b"k8s\x00"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_MACHINERY = "io.k8s.apimachinery.pkg."
_EXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
_MAXIMUM_DEPTH = 100
#: Of the types that are written otherwise than with a length (2): a varint, and eight bytes.
_WIRE_TYPES: Mapping[str, int] = {"bool": 0, "int32": 0, "int64": 0, "double": 1}


class ProtobufError(ValueError):
    """Bytes that are not an object, or an object that has no protobuf form."""


@attrs.frozen
class _Field:
    number: int
    name: str
    kind: str
    repeated: bool


def decode(data: bytes, schema_of: Callable[[str, str], str]) -> dict[str, Any]:
    """The document in a body. `schema_of(apiVersion, kind)` names the schema, "" where it is unknown.

    Raises `ProtobufError`.
    """
    if not data.startswith(MAGIC):
        raise ProtobufError("the body does not begin with the magic number of protobuf objects")
    try:
        unknown = _envelope_reader().document(data, len(MAGIC), len(data), 0)
        about = unknown.get("typeMeta") or {}
        api_version, kind = about.get("apiVersion", ""), about.get("kind", "")
        raw = unknown.get("raw", b"")
        if unknown.get("contentType") == "application/json":
            document: dict[str, Any] = orjson.loads(raw)
            return document
        name = schema_of(api_version, kind)
        if not name:
            raise ProtobufError(f'no kind "{kind}" is registered for version "{api_version}"')
        return {"kind": kind, "apiVersion": api_version, **_read(name, raw, 0)}
    except ProtobufError:
        raise
    except (IndexError, ValueError, struct.error, OverflowError, OSError) as error:
        raise ProtobufError(f"the body cannot be read: {error}") from error


def encode(document: Mapping[str, Any], schema: str) -> bytes:
    """A body with `document`, whose schema has this name. Raises `ProtobufError`."""
    return envelope(document.get("apiVersion", "v1"), document.get("kind", ""), content(document, schema))


def content(document: Mapping[str, Any], schema: str) -> bytes:
    """`document` as a message, without an envelope: how a list holds its items. Raises `ProtobufError`."""
    try:
        return _write(schema, document)
    except (ValueError, TypeError, AttributeError, struct.error) as error:
        raise ProtobufError(f"the object has no protobuf form: {error}") from error


def envelope(api_version: str, kind: str, content: bytes) -> bytes:
    """A body of an object's message."""
    about = _about(api_version, kind)
    # Two fields with nothing in them end it, as upstream writes it.
    return b"".join((MAGIC, about, _delimited(b"\x12", content), b"\x1a\x00\x22\x00"))


def message_list(api_version: str, kind: str, metadata: Mapping[str, Any], items: Iterable[bytes]) -> bytes:
    """A list of objects' messages, in its envelope."""
    parts = [_delimited(b"\x0a", _write(_META + "ListMeta", metadata))]
    parts += [_delimited(b"\x12", item) for item in items]
    return envelope(api_version, kind, b"".join(parts))


def frame(kind: str, body: bytes) -> bytes:
    """An event of a watch: its length in four bytes, and the event, with an object in its envelope."""
    event = _delimited(b"\x0a", kind.encode()) + _delimited(b"\x12", _delimited(b"\x0a", body))
    return len(event).to_bytes(4, "big") + event


@functools.lru_cache(maxsize=1024)
def _about(api_version: str, kind: str) -> bytes:
    return _delimited(b"\x0a", _write(_MACHINERY + "runtime.TypeMeta", {"apiVersion": api_version, "kind": kind}))


# -- tables ----------------------------------------------------------------------------------------------------------


@functools.cache
def _messages() -> Mapping[str, list[list[Any]]]:
    data = importlib.resources.files("kube_core.api.generated").joinpath("protobuf.json").read_bytes()
    messages: Mapping[str, list[list[Any]]] = orjson.loads(data)
    return messages


@functools.cache
def _fields(message: str) -> tuple[_Field, ...]:
    found = _messages().get(message)
    if found is None:
        raise ProtobufError(f"{message} has no protobuf form")
    return tuple(_Field(*each) for each in found)


# -- reading ---------------------------------------------------------------------------------------------------------

#: Makes a value of the bytes from one place to another, at some depth of the object.
_ValueReader = Callable[[bytes, int, int, int], Any]
#: Makes a value of a number.
_NumberReader = Callable[[int], Any]


class _MessageReader(dict[int, "_FieldReader | None"]):
    """Reads one kind of message: the readers of its fields by their tags, each made when first met.

    A tag is a field's number and its wire type; None stands for a field that the message does not have.
    """

    __slots__ = ("_fields", "_raw")

    def __init__(self, fields: Iterable[_Field], *, raw: bool = False) -> None:
        """`raw` leaves bytes what they are; otherwise they become base64, as JSON has them."""
        self._raw = raw
        self._fields = {field.number: field for field in fields}

    def __missing__(self, tag: int) -> _FieldReader | None:
        wire = tag & 7
        if wire not in (0, 1, 2, 5):
            raise ProtobufError(f"wire type {wire} is not known")
        field = self._fields.get(tag >> 3)
        if field is None:
            return None
        if wire != _WIRE_TYPES.get(field.kind, 2) and not (field.repeated and wire == 2):
            raise ProtobufError(f"a field of type {field.kind} has another wire type")
        made = self[tag] = _FieldReader.of(field, packed=wire != _WIRE_TYPES.get(field.kind, 2), raw=self._raw)
        return made

    def document(self, data: bytes, at: int, end: int, depth: int) -> dict[str, Any]:
        """The message that lies there. Raises `ProtobufError`, IndexError, UnicodeDecodeError."""
        if depth > _MAXIMUM_DEPTH:
            raise ProtobufError("the object is nested too deeply")
        result: dict[str, Any] = {}
        while at < end:
            tag = data[at]
            at += 1
            if tag > 0x7F:
                tag, at = read_varint(data, at - 1)
            field = self[tag]
            wire = tag & 7
            if wire == 0:
                start, stop = read_varint(data, at)
                value = None if field is None else field.read_number(start)
            else:
                if wire == 2:
                    size = data[at]
                    start = at + 1
                    if size > 0x7F:
                        size, start = read_varint(data, at)
                    stop = start + size
                else:
                    start, stop = at, at + (8 if wire == 1 else 4)
                if stop > end:
                    raise ProtobufError("a field is cut short")
                value = None if field is None else field.read(data, start, stop, depth + 1)
            at = stop
            if field is not None:
                field.put(result, value)
        return result


@attrs.frozen
class _FieldReader:
    name: str
    read: _ValueReader
    read_number: _NumberReader
    put: Callable[[dict[str, Any], Any], None]

    @classmethod
    def of(cls, field: _Field, *, packed: bool, raw: bool) -> _FieldReader:
        name = field.name
        number = _number_reader(field.kind)
        if field.kind.startswith("map<"):
            return cls(name, _entry_reader(field.kind[4:-1]), number, _entry_putter(name))
        if packed:
            return cls(name, _packed_reader(field.kind), number, _extender(name))
        read = (lambda data, at, end, _depth: data[at:end]) if raw and field.kind == "bytes" else _reader(field.kind)
        if not name:
            return cls(name, read, number, lambda result, value: result.update(value))
        return cls(name, read, number, _appender(name) if field.repeated else _setter(name))


def _setter(name: str) -> Callable[[dict[str, Any], Any], None]:
    def put(result: dict[str, Any], value: Any) -> None:
        result[name] = value

    return put


def _appender(name: str) -> Callable[[dict[str, Any], Any], None]:
    def put(result: dict[str, Any], value: Any) -> None:
        if name in result:
            result[name].append(value)
        else:
            result[name] = [value]

    return put


def _extender(name: str) -> Callable[[dict[str, Any], Any], None]:
    return lambda result, values: result.setdefault(name, []).extend(values)


def _entry_putter(name: str) -> Callable[[dict[str, Any], Any], None]:
    def put(result: dict[str, Any], entry: tuple[str, Any]) -> None:
        result.setdefault(name, {})[entry[0]] = entry[1]

    return put


@functools.cache
def _envelope_reader() -> _MessageReader:
    return _MessageReader(_fields(_MACHINERY + "runtime.Unknown"), raw=True)


@functools.cache
def _message_reader(message: str) -> _MessageReader:
    return _MessageReader(_fields(message))


def _read(message: str, data: bytes, depth: int) -> dict[str, Any]:
    return _message_reader(message).document(data, 0, len(data), depth)


def _number_reader(kind: str) -> _NumberReader:
    if kind == "bool":
        return bool
    if kind == "int32":
        # What is more than 32 bits is cut off, as upstream's decoder does.
        return lambda value: ((value & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000
    return lambda value: value - (1 << 64) if value >> 63 else value


def _reader(kind: str) -> _ValueReader:
    """How a value is read that is no number."""
    match kind:
        case "string":
            return lambda data, at, end, _depth: data[at:end].decode()
        case "bytes":
            return lambda data, at, end, _depth: _base64(data[at:end])
        case "double":
            return lambda data, at, end, _depth: struct.unpack("<d", data[at:end])[0]
        case "bool" | "int32" | "int64":
            return _never
    special = _SPECIAL.get(kind)
    if special is not None:
        return lambda data, at, end, depth: special.read(data[at:end], depth)
    return _message_reader(kind).document


def _never(_data: bytes, _at: int, _end: int, _depth: int) -> Any:
    raise ProtobufError("a number has another wire type")


def _packed_reader(kind: str) -> _ValueReader:
    """Numbers side by side, in one field."""
    of = _number_reader(kind)

    def read(data: bytes, at: int, end: int, _depth: int) -> list[Any]:
        found = []
        while at < end:
            value, at = read_varint(data, at)
            found.append(of(value))
        return found

    return read


def _entry_reader(kind: str) -> _ValueReader:
    """An entry of a map is a message of two fields, of which either may be missing."""
    entry = _MessageReader((_Field(1, "key", "string", False), _Field(2, "value", kind, False)))

    def read(data: bytes, at: int, end: int, depth: int) -> tuple[str, Any]:
        found = entry.document(data, at, end, depth)
        return found.get("key", ""), found["value"] if "value" in found else _zero(kind)

    return read


def _zero(kind: str) -> Any:
    return {"string": "", "bytes": "", "bool": False, "int32": 0, "int64": 0, "double": 0.0}.get(kind, {})


def _base64(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


# -- writing ---------------------------------------------------------------------------------------------------------

#: Makes one field of its value: tag, length and all.
_FieldWriter = Callable[[Any], bytes]


#: Texts of a field that are kept as they are written: up to so many of up to so many bytes.
_KNOWN_TEXTS, _LONG_TEXT = 256, 64
_IN_ENVELOPE = ("kind", "apiVersion")
#: Nearly every length and number is small.
_SMALL = tuple(varint(value) for value in range(1 << 11))


class _MessageWriter(dict[str, "_FieldWriter"]):
    """Writes one kind of message: the writers of its fields by their names in JSON, each made when first needed."""

    __slots__ = ("_embedded", "_message")

    def __init__(self, message: str) -> None:
        self._message = message
        self._embedded = tuple(
            (varint(field.number << 3 | 2), _writer(field.kind)) for field in _fields(message) if not field.name
        )

    @property
    def has_embedded(self) -> bool:
        """Whether fields of other messages stand beside its own."""
        return bool(self._embedded)

    def __missing__(self, name: str) -> _FieldWriter:
        field = _by_name(self._message).get(name)
        if field is not None:
            made = self[name] = _field_writer(field)
            return made
        # An object says what it is in its envelope, and clients' documents may have any names.
        if name in _IN_ENVELOPE:
            self[name] = _nothing
        return _nothing

    def content(self, document: Mapping[str, Any]) -> bytes:
        """The fields of `document` that the message has."""
        parts = [self[name](value) for name, value in document.items() if value is not None]
        for tag, embedded in self._embedded:
            if content := embedded.content(document):
                parts.append(_delimited(tag, content))
        return b"".join(parts)


@functools.cache
def _writer(message: str) -> _MessageWriter:
    return _MessageWriter(message)


@functools.cache
def _by_name(message: str) -> Mapping[str, _Field]:
    return {field.name: field for field in _fields(message) if field.name}


def _write(message: str, document: Mapping[str, Any]) -> bytes:
    return _writer(message).content(document)


def _nothing(_value: Any) -> bytes:
    return b""


def _delimited(tag: bytes, content: bytes) -> bytes:
    size = len(content)
    return tag + (_SMALL[size] if size < 2048 else varint(size)) + content


def _field_writer(field: _Field) -> _FieldWriter:
    kind = field.kind
    if kind.startswith("map<"):
        return _map_writer(field.number, kind[4:-1])
    write = _single_writer(field.number, kind)
    return (lambda values: b"".join(map(write, values))) if field.repeated else write


def _single_writer(number: int, kind: str) -> _FieldWriter:
    """A field that is there once, or one of those that are repeated."""
    match kind:
        case "bool":
            yes, no = varint(number << 3) + b"\x01", varint(number << 3) + b"\x00"
            return lambda value: yes if value else no
        case "int32" | "int64":
            tag = varint(number << 3)
            return lambda value: tag + (_SMALL[value] if 0 <= value < 2048 else varint(int(value)))
        case "double":
            tag = varint(number << 3 | 1)
            return lambda value: tag + struct.pack("<d", value)
    tag = varint(number << 3 | 2)
    if kind == "string":
        return _text_writer(tag)
    if kind == "bytes":
        return lambda value: _delimited(tag, value if isinstance(value, bytes) else _from_base64(value))
    special = _SPECIAL.get(kind)
    if special is not None:
        written = special.write
        return lambda value: _delimited(tag, written(value))
    return _message_writer(tag, _writer(kind))


def _text_writer(tag: bytes) -> _FieldWriter:
    """Texts of one field. Most are of a few words, and of those most have been written before."""
    known: dict[str, bytes] = {}

    def write(value: Any) -> bytes:
        if type(value) is not str:
            return _delimited(tag, str(value).encode())
        found = known.get(value)
        if found is not None:
            return found
        text = value.encode()
        size = len(text)
        if size > _LONG_TEXT:
            return _delimited(tag, text)
        if len(known) >= _KNOWN_TEXTS:
            known.clear()
        found = known[value] = tag + _SMALL[size] + text
        return found

    return write


def _message_writer(tag: bytes, fields: _MessageWriter) -> _FieldWriter:
    if fields.has_embedded:
        return lambda value: _delimited(tag, fields.content(value))
    join = b"".join

    # As `content` and `_delimited` do it, at once: a pod has two dozen messages in it.
    def write(value: Any) -> bytes:
        content = join([fields[name](each) for name, each in value.items() if each is not None])
        size = len(content)
        return tag + (_SMALL[size] if size < 2048 else varint(size)) + content

    return write


def _map_writer(number: int, kind: str) -> _FieldWriter:
    tag = varint(number << 3 | 2)
    key, item = _single_writer(1, "string"), _single_writer(2, kind)
    return lambda value: b"".join([_delimited(tag, key(name) + item(each)) for name, each in value.items()])


def _tagged(number: int, kind: str, value: Any) -> bytes:
    return _single_writer(number, kind)(value)


def _from_base64(text: str) -> bytes:
    import base64

    return base64.b64decode(text)


# -- messages with a JSON form of their own ----------------------------------------------------------------------------


@attrs.frozen
class _Special:
    read: Callable[[bytes, int], Any]
    write: Callable[[Any], bytes]


def _read_time(digits: int) -> Callable[[bytes, int], str | None]:
    def read(data: bytes, depth: int) -> str | None:
        if not len(data):
            return None
        parts = _read(_META + "Time", data, depth)
        moment = datetime.fromtimestamp(parts.get("seconds", 0), UTC).isoformat()[:19]
        if digits:
            moment += f".{parts.get('nanos', 0) // 1000:06d}"
        return moment + "Z"

    return read


@functools.lru_cache(maxsize=4096)
def _write_time(text: str) -> bytes:
    moment = parse_time(text)
    nanos = round(moment % 1 * 1_000_000) * 1000
    return _write(_META + "Time", {"seconds": int(moment // 1), "nanos": nanos})


def _read_int_or_string(data: bytes, depth: int) -> int | str:
    parts = _read(_MACHINERY + "util.intstr.IntOrString", data, depth)
    value: int | str = parts.get("strVal", "") if parts.get("type") else parts.get("intVal", 0)
    return value


def _write_int_or_string(value: int | str) -> bytes:
    is_text = isinstance(value, str)
    parts = {"type": int(is_text), "intVal": 0 if is_text else value, "strVal": value if is_text else ""}
    return _write(_MACHINERY + "util.intstr.IntOrString", parts)


def _read_quantity(data: bytes, depth: int) -> str:
    return str(_read(_MACHINERY + "api.resource.Quantity", data, depth).get("string", "0"))


def _write_quantity(value: Any) -> bytes:
    return _write(_MACHINERY + "api.resource.Quantity", {"string": str(value)})


def _raw(number: int) -> _Special:
    """JSON as it is, in field `number` of its message."""

    def read(data: bytes, _depth: int) -> Any:
        tag, at = read_varint(data, 0) if len(data) else (0, 0)
        if tag != (number << 3 | 2):
            return None
        length, at = read_varint(data, at)
        return orjson.loads(data[at : at + length])

    return _Special(read, lambda value: _tagged(number, "bytes", orjson.dumps(value)))


def _texts(message: str) -> _Special:
    """A list of texts that is a message (`items`)."""
    return _Special(
        lambda data, depth: _read(message, data, depth).get("items", []),
        lambda value: _write(message, {"items": value}),
    )


def _read_schema_or(message: str, scalar: str, many: str) -> Callable[[bytes, int], Any]:
    def read(data: bytes, depth: int) -> Any:
        parts = _read(message, data, depth)
        if "schema" in parts or "$schema" in parts:
            return parts.get("schema") or parts.get("$schema")
        return parts.get(many, []) if many else bool(parts.get(scalar))

    return read


def _write_schema_or(message: str, scalar: str, many: str) -> Callable[[Any], bytes]:
    def write(value: Any) -> bytes:
        if isinstance(value, Mapping):
            return _write(message, {scalar: True, "schema": value} if scalar else {"schema": value})
        return _write(message, {many: value} if many else {scalar: value})

    return write


def _schema_or(kind: str, *, scalar: str = "", many: str = "") -> tuple[str, _Special]:
    message = _EXTENSIONS + kind
    return message, _Special(_read_schema_or(message, scalar, many), _write_schema_or(message, scalar, many))


_SPECIAL: Mapping[str, _Special] = {
    _META + "Time": _Special(_read_time(0), _write_time),
    _META + "MicroTime": _Special(_read_time(6), _write_time),
    _META + "FieldsV1": _raw(1),
    _MACHINERY + "api.resource.Quantity": _Special(_read_quantity, _write_quantity),
    _MACHINERY + "util.intstr.IntOrString": _Special(_read_int_or_string, _write_int_or_string),
    _MACHINERY + "runtime.RawExtension": _raw(1),
    _EXTENSIONS + "JSON": _raw(1),
    **{
        message: _texts(message)
        for message in (
            "io.k8s.api.authentication.v1.AttestationValue",
            "io.k8s.api.authentication.v1.ExtraValue",
            "io.k8s.api.authorization.v1.ExtraValue",
            "io.k8s.api.certificates.v1.ExtraValue",
            _META + "Verbs",
        )
    },
    **dict(
        (
            _schema_or("JSONSchemaPropsOrArray", many="jSONSchemas"),
            _schema_or("JSONSchemaPropsOrBool", scalar="allows"),
            _schema_or("JSONSchemaPropsOrStringArray", many="property"),
        )
    ),
}

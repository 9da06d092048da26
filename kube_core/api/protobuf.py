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
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs
import orjson

from kube_core.meta.times import parse_time

__all__ = ["MAGIC", "ProtobufError", "decode", "encode"]

MAGIC = b"k8s\x00"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_MACHINERY = "io.k8s.apimachinery.pkg."
_EXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
_MAXIMUM_DEPTH = 100
#: The types that are written as a number; a number where bytes belong could ask for any amount of memory.
_NUMBERS = frozenset({"bool", "int32", "int64"})


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
        envelope = _read(_MACHINERY + "runtime.Unknown", memoryview(data)[len(MAGIC) :], 0)
        about = envelope.get("typeMeta") or {}
        api_version, kind = about.get("apiVersion", ""), about.get("kind", "")
        raw = envelope.get("raw", b"")
        if envelope.get("contentType") == "application/json":
            document: dict[str, Any] = orjson.loads(raw)
            return document
        name = schema_of(api_version, kind)
        if not name:
            raise ProtobufError(f'no kind "{kind}" is registered for version "{api_version}"')
        return {"kind": kind, "apiVersion": api_version, **_in_json(name, _read(name, memoryview(raw), 0))}
    except (IndexError, struct.error, UnicodeDecodeError, OverflowError, OSError, orjson.JSONDecodeError) as error:
        raise ProtobufError(f"the body cannot be read: {error}") from error


def encode(document: Mapping[str, Any], schema: str) -> bytes:
    """A body with `document`, whose schema has this name. Raises `ProtobufError`."""
    about = {"apiVersion": document.get("apiVersion", ""), "kind": document.get("kind", "")}
    envelope = {"typeMeta": about, "raw": _write(schema, document)}
    return MAGIC + _write(_MACHINERY + "runtime.Unknown", envelope)


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


@functools.cache
def _by_number(message: str) -> Mapping[int, _Field]:
    return {field.number: field for field in _fields(message)}


# -- reading ---------------------------------------------------------------------------------------------------------


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ProtobufError("a number is too long")


def _read(message: str, data: memoryview, depth: int) -> dict[str, Any]:
    if depth > _MAXIMUM_DEPTH:
        raise ProtobufError("the object is nested too deeply")
    known = _by_number(message)
    result: dict[str, Any] = {}
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        value: Any
        match tag & 7:
            case 0:
                value, at = _varint(data, at)
            case 1:
                value, at = data[at : at + 8], at + 8
            case 2:
                length, at = _varint(data, at)
                value, at = data[at : at + length], at + length
                if at > end:
                    raise ProtobufError("a field is cut short")
            case 5:
                value, at = data[at : at + 4], at + 4
            case wire:
                raise ProtobufError(f"wire type {wire} is not known")
        field = known.get(tag >> 3)
        if field is not None:
            _put(result, field, value, depth)
    return result


def _put(result: dict[str, Any], field: _Field, value: Any, depth: int) -> None:
    if field.kind.startswith("map<"):
        key, item = _entry(field.kind[4:-1], value, depth)
        result.setdefault(field.name, {})[key] = item
        return
    read = _value(field.kind, value, depth)
    if not field.name:
        result.update(read)
    elif field.repeated:
        result.setdefault(field.name, []).append(read)
    else:
        result[field.name] = read


def _entry(kind: str, data: memoryview, depth: int) -> tuple[str, Any]:
    key: str = ""
    item: Any = _zero(kind)
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        value: Any
        if tag & 7 == 2:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            value, at = _varint(data, at)
        if tag >> 3 == 1:
            key = _value("string", value, depth)
        else:
            item = _value(kind, value, depth)
    return key, item


def _zero(kind: str) -> Any:
    return {"string": "", "bytes": "", "bool": False, "int32": 0, "int64": 0, "double": 0.0}.get(kind, {})


def _value(kind: str, value: Any, depth: int) -> Any:
    if isinstance(value, int) is not (kind in _NUMBERS):
        raise ProtobufError(f"a field of type {kind} has another wire type")
    match kind:
        case "string":
            return str(bytes(value), "utf-8")
        case "bool":
            return bool(value)
        case "int32" | "int64":
            return value - (1 << 64) if value >> 63 else value
        case "bytes":
            return bytes(value)
        case "double":
            return struct.unpack("<d", value)[0]
    special = _SPECIAL.get(kind)
    return special.read(value, depth) if special is not None else _in_json(kind, _read(kind, value, depth + 1))


def _in_json(message: str, document: dict[str, Any]) -> dict[str, Any]:
    """Bytes are base64 in JSON."""
    for field in _fields(message):
        value = document.get(field.name)
        if field.kind == "bytes" and isinstance(value, bytes):
            document[field.name] = _base64(value)
        elif field.kind == "map<bytes>" and value:
            document[field.name] = {
                key: _base64(item) if isinstance(item, bytes) else item for key, item in value.items()
            }
    return document


def _base64(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


# -- writing ---------------------------------------------------------------------------------------------------------


def _number(value: int) -> bytes:
    if value < 0:
        value += 1 << 64
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _write(message: str, document: Mapping[str, Any]) -> bytes:
    parts: list[bytes] = []
    for field in sorted(_fields(message), key=lambda each: each.number):
        value = document if not field.name else document.get(field.name)
        if value is None:
            continue
        if field.kind.startswith("map<"):
            for key, item in value.items():
                entry = _tagged(1, "string", key) + _tagged(2, field.kind[4:-1], item)
                parts.append(_number(field.number << 3 | 2) + _number(len(entry)) + entry)
        elif field.repeated:
            parts.extend(_tagged(field.number, field.kind, item) for item in value)
        elif field.name:
            parts.append(_tagged(field.number, field.kind, value))
        elif embedded := _write(field.kind, value):
            parts.append(_number(field.number << 3 | 2) + _number(len(embedded)) + embedded)
    return b"".join(parts)


def _tagged(number: int, kind: str, value: Any) -> bytes:
    match kind:
        case "bool":
            return _number(number << 3) + (b"\x01" if value else b"\x00")
        case "int32" | "int64":
            return _number(number << 3) + _number(int(value))
        case "double":
            return _number(number << 3 | 1) + struct.pack("<d", value)
        case "string":
            data = str(value).encode()
        case "bytes":
            data = value if isinstance(value, bytes) else _from_base64(value)
        case _:
            special = _SPECIAL.get(kind)
            data = special.write(value) if special is not None else _write(kind, value)
    return _number(number << 3 | 2) + _number(len(data)) + data


def _from_base64(text: str) -> bytes:
    import base64

    return base64.b64decode(text)


# -- messages with a JSON form of their own ----------------------------------------------------------------------------


@attrs.frozen
class _Special:
    read: Callable[[memoryview, int], Any]
    write: Callable[[Any], bytes]


def _read_time(digits: int) -> Callable[[memoryview, int], str | None]:
    def read(data: memoryview, depth: int) -> str | None:
        if not len(data):
            return None
        parts = _read(_META + "Time", data, depth)
        moment = datetime.fromtimestamp(parts.get("seconds", 0), UTC).strftime("%Y-%m-%dT%H:%M:%S")
        if digits:
            moment += f".{parts.get('nanos', 0) // 1000:06d}"
        return moment + "Z"

    return read


def _write_time(text: str) -> bytes:
    moment = parse_time(text)
    nanos = round(moment % 1 * 1_000_000) * 1000
    return _write(_META + "Time", {"seconds": int(moment // 1), "nanos": nanos})


def _read_int_or_string(data: memoryview, depth: int) -> int | str:
    parts = _read(_MACHINERY + "util.intstr.IntOrString", data, depth)
    value: int | str = parts.get("strVal", "") if parts.get("type") else parts.get("intVal", 0)
    return value


def _write_int_or_string(value: int | str) -> bytes:
    is_text = isinstance(value, str)
    parts = {"type": int(is_text), "intVal": 0 if is_text else value, "strVal": value if is_text else ""}
    return _write(_MACHINERY + "util.intstr.IntOrString", parts)


def _read_quantity(data: memoryview, depth: int) -> str:
    return str(_read(_MACHINERY + "api.resource.Quantity", data, depth).get("string", "0"))


def _write_quantity(value: Any) -> bytes:
    return _write(_MACHINERY + "api.resource.Quantity", {"string": str(value)})


def _raw(number: int) -> _Special:
    """JSON as it is, in field `number` of its message."""

    def read(data: memoryview, _depth: int) -> Any:
        tag, at = _varint(data, 0) if len(data) else (0, 0)
        if tag != (number << 3 | 2):
            return None
        length, at = _varint(data, at)
        return orjson.loads(data[at : at + length])

    return _Special(read, lambda value: _tagged(number, "bytes", orjson.dumps(value)))


def _texts(message: str) -> _Special:
    """A list of texts that is a message (`items`)."""
    return _Special(
        lambda data, depth: _read(message, data, depth).get("items", []),
        lambda value: _write(message, {"items": value}),
    )


def _read_duration(data: memoryview, depth: int) -> str:
    return f"{_read(_META + 'Duration', data, depth).get('duration', 0) / 1e9:g}s"


def _read_schema_or(message: str, scalar: str, many: str) -> Callable[[memoryview, int], Any]:
    def read(data: memoryview, depth: int) -> Any:
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
    _META + "Duration": _Special(
        _read_duration, lambda text: _write(_META + "Duration", {"duration": int(float(str(text)[:-1]) * 1e9)})
    ),
    _MACHINERY + "api.resource.Quantity": _Special(_read_quantity, _write_quantity),
    _MACHINERY + "util.intstr.IntOrString": _Special(_read_int_or_string, _write_int_or_string),
    _MACHINERY + "runtime.RawExtension": _raw(1),
    _EXTENSIONS + "JSON": _raw(1),
    **{
        message: _texts(message)
        for message in (
            "io.k8s.api.authentication.v1.ExtraValue",
            "io.k8s.api.authorization.v1.ExtraValue",
            "io.k8s.api.certificates.v1.ExtraValue",
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

"""An OpenAPI v2 document in protobuf, for clients that ask for nothing else: kubectl up to v1.28, and Helm of its age.

The messages are those of gnostic's `openapi.v2` package; the numbers here are its field numbers. Only what our
documents hold is written. Keys that begin with `x-` become vendor extensions, whose values are YAML: JSON is YAML, too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from kube_core._kit.varints import varint

__all__ = ["MEDIA_TYPE", "encode"]

#: What answers say. Clients ask for it with an `@` before the version, which is no valid media type.
MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

Json = Mapping[str, Any]

_VARINT, _FIXED64, _BYTES = 0, 1, 2
_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "options": 6, "head": 7, "patch": 8}
_SCHEMA_TEXTS = {"$ref": 1, "format": 2, "title": 3, "description": 4, "pattern": 13}
_SCHEMA_NUMBERS = {"multipleOf": 6, "maximum": 7, "minimum": 9}
_SCHEMA_COUNTS = {
    "maxLength": 11,
    "minLength": 12,
    "maxItems": 14,
    "minItems": 15,
    "maxProperties": 17,
    "minProperties": 18,
}
_SCHEMA_FLAGS = {"exclusiveMaximum": 8, "exclusiveMinimum": 10, "uniqueItems": 16}
#: By place: which of the messages for parameters, and the number of `uniqueItems` in it.
_PARAMETERS = {"query": (3, {"type": 6, "uniqueItems": 20}), "path": (4, {"type": 5, "uniqueItems": 19})}


def encode(document: Json) -> bytes:
    """The message `Document`, of a document as `v2` writes it."""
    info = document["info"]
    return b"".join(
        (
            _text(1, document["swagger"]),
            _message(2, _text(1, info["title"]) + _text(2, info["version"])),
            _message(8, b"".join(_message(2, _named(path, _path(item))) for path, item in document["paths"].items())),
            _message(9, _schemas(document["definitions"])),
            *(_message(12, b"".join(_message(1, _named(name, b"")) for name in each)) for each in document["security"]),
            _message(
                13,
                b"".join(
                    _message(1, _named(name, _message(2, _api_key(each))))
                    for name, each in document["securityDefinitions"].items()
                ),
            ),
        )
    )


def _api_key(security: Json) -> bytes:
    numbers = {"type": 1, "name": 2, "in": 3, "description": 4}
    return b"".join(_text(number, security[key]) for key, number in numbers.items())


def _path(item: Json) -> bytes:
    methods = (_message(number, _operation(item[method])) for method, number in _METHODS.items() if method in item)
    return b"".join(methods) + _repeated(9, item.get("parameters", ()), _parameter)


def _operation(operation: Json) -> bytes:
    answers = operation["responses"].items()
    return b"".join(
        (
            *(_text(1, tag) for tag in operation["tags"]),
            _text(3, operation["description"]),
            _text(5, operation["operationId"]),
            *(_text(6, each) for each in operation["produces"]),
            *(_text(7, each) for each in operation["consumes"]),
            _repeated(8, operation.get("parameters", ()), _parameter),
            _message(9, b"".join(_message(1, _named(code, _message(1, _answer(each)))) for code, each in answers)),
            *(_text(10, each) for each in operation["schemes"]),
            _extensions(13, operation),
        )
    )


def _answer(answer: Json) -> bytes:
    schema = answer.get("schema")
    return _text(1, answer["description"]) + (_message(2, _message(1, _schema(schema))) if schema is not None else b"")


def _parameter(parameter: Json) -> bytes:
    """A `ParametersItem`: always a parameter in place, never a reference."""
    if parameter["in"] == "body":
        body = (
            _text(2, parameter["name"])
            + _text(3, parameter["in"])
            + _flag(4, parameter.get("required", False))
            + _message(5, _schema(parameter["schema"]))
        )
        return _message(1, _message(1, body))
    which, numbers = _PARAMETERS[parameter["in"]]
    written = (
        _flag(1, parameter.get("required", False))
        + _text(2, parameter["in"])
        + _text(3, parameter["description"])
        + _text(4, parameter["name"])
        + _text(numbers["type"], parameter["type"])
        + _flag(numbers["uniqueItems"], parameter["uniqueItems"])
    )
    return _message(1, _message(2, _message(which, written)))


def _schemas(schemas: Json) -> bytes:
    return b"".join(_message(1, _named(name, _schema(schema))) for name, schema in schemas.items())


def _schema(schema: Json) -> bytes:
    parts = [_text(number, schema[key]) for key, number in _SCHEMA_TEXTS.items() if key in schema]
    parts += [_double(number, schema[key]) for key, number in _SCHEMA_NUMBERS.items() if key in schema]
    parts += [_count(number, schema[key]) for key, number in _SCHEMA_COUNTS.items() if key in schema]
    parts += [_flag(number, schema[key]) for key, number in _SCHEMA_FLAGS.items() if key in schema]
    parts += [_text(19, name) for name in schema.get("required", ())]
    parts += [_message(20, _any(value)) for value in schema.get("enum", ())]
    values = schema.get("additionalProperties")
    if isinstance(values, Mapping):
        parts.append(_message(21, _message(1, _schema(values))))
    elif values is not None:
        parts.append(_message(21, _flag(2, values)))
    if "type" in schema:
        parts.append(_message(22, _text(1, schema["type"])))
    if "items" in schema:
        parts.append(_message(23, _message(1, _schema(schema["items"]))))
    if "properties" in schema:
        parts.append(_message(25, _schemas(schema["properties"])))
    parts.append(_extensions(31, schema))
    return b"".join(parts)


def _extensions(number: int, value: Json) -> bytes:
    return b"".join(
        _message(number, _named(key, _any(extension))) for key, extension in value.items() if key.startswith("x-")
    )


def _any(value: Any) -> bytes:
    return _text(2, orjson.dumps(value).decode())


def _named(name: str, value: bytes) -> bytes:
    """How this package of messages writes an entry of a map."""
    return _text(1, name) + _message(2, value)


def _repeated(number: int, values: Iterable[Json], write: Callable[[Json], bytes]) -> bytes:
    return b"".join(_message(number, write(each)) for each in values)


def _text(number: int, text: str) -> bytes:
    return _message(number, text.encode())


def _message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | _BYTES) + varint(len(content)) + content


def _flag(number: int, flag: bool) -> bytes:
    return varint(number << 3 | _VARINT) + b"\x01" if flag else b""


def _count(number: int, count: int) -> bytes:
    return varint(number << 3 | _VARINT) + varint(count)


def _double(number: int, value: float) -> bytes:
    return varint(number << 3 | _FIXED64) + struct.pack("<d", value)

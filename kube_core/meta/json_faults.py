"""What is wrong with a text that is no JSON, in the words of upstream's parser.

Asked only when the fast parser has refused a text: `json_fault` reads it once more, byte by byte, to say at which
character a JSON text could not go on, and what was expected there. kubectl and client libraries show these words to
people. Upstream's are those of Go's `encoding/json`, documented there as `SyntaxError`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["OBJECT", "json_fault", "unreadable"]

#: How upstream calls any JSON object.
OBJECT: Final = "map[string]interface {}"

_SPACE: Final = b" \t\r\n"
_DIGITS: Final = b"0123456789"
_LITERALS: Final = {ord("t"): b"true", ord("f"): b"false", ord("n"): b"null"}
#: What needs no closer look within a string.
_PLAIN: Final = re.compile(rb'[^"\\\x00-\x1f]*')
_ENDED: Final = "unexpected end of JSON input"
#: Deeper than this nobody writes, and deeper than five times that no parser reads.
_DEPTH: Final = 200
#: Bytes: read in a few milliseconds.
_LONGEST: Final = 16 * 1024


class _Fault(Exception):
    """The text cannot go on here; the message says why."""


def json_fault(text: bytes) -> str:
    """Why `text` is no JSON value; "" if it is one, or too long to be read again here."""
    if len(text) > _LONGEST:
        return ""
    try:
        position = _value(text, _skip(text, 0), 0)
        rest = _skip(text, position)
        if rest < len(text):
            raise _unexpected(text, rest, "after top-level value")
    except _Fault as fault:
        return str(fault)
    return ""


def unreadable(value: Any, wanted: str, field: str = "") -> str:
    """Why a JSON value is not what a program wants to read into its type of this name, or into a field of it."""
    names = {str: "string", bool: "bool", list: "array"}
    # A caller's frozen object is an object too.
    kind = "object" if isinstance(value, Mapping) else names.get(type(value), "number")
    return f"json: cannot unmarshal {kind} into Go {f'struct field {field}' if field else 'value'} of type {wanted}"


def _value(text: bytes, at: int, depth: int) -> int:
    """The position after the value that begins here."""
    first = _byte(text, at)
    if first in b"{[":
        if depth >= _DEPTH:
            raise _Fault("exceeded max depth")
        return _object(text, at + 1, depth + 1) if first == 0x7B else _list(text, at + 1, depth + 1)
    if first == 0x22:
        return _string(text, at + 1)
    if first in b"-0123456789":
        return _number(text, at)
    if first in _LITERALS:
        return _literal(text, at, _LITERALS[first])
    raise _unexpected(text, at, "looking for beginning of value")


def _object(text: bytes, at: int, depth: int) -> int:
    at = _skip(text, at)
    if _byte(text, at) == 0x7D:
        return at + 1
    while True:
        if _byte(text, at) != 0x22:
            raise _unexpected(text, at, "looking for beginning of object key string")
        at = _skip(text, _string(text, at + 1))
        if _byte(text, at) != 0x3A:
            raise _unexpected(text, at, "after object key")
        at = _skip(text, _value(text, _skip(text, at + 1), depth))
        if _byte(text, at) == 0x7D:
            return at + 1
        if text[at] != 0x2C:
            raise _unexpected(text, at, "after object key:value pair")
        at = _skip(text, at + 1)


def _list(text: bytes, at: int, depth: int) -> int:
    at = _skip(text, at)
    if _byte(text, at) == 0x5D:
        return at + 1
    while True:
        at = _skip(text, _value(text, at, depth))
        if _byte(text, at) == 0x5D:
            return at + 1
        if text[at] != 0x2C:
            raise _unexpected(text, at, "after array element")
        at = _skip(text, at + 1)


def _string(text: bytes, at: int) -> int:
    while True:
        match = _PLAIN.match(text, at)
        at = match.end() if match else at
        if _byte(text, at) == 0x22:
            return at + 1
        if text[at] != 0x5C:
            raise _unexpected(text, at, "in string literal")
        escape = _byte(text, at + 1)
        if escape not in b'bfnrt\\/"u':
            raise _unexpected(text, at + 1, "in string escape code")
        at += 2
        if escape == 0x75:
            for position in range(at, at + 4):
                if _byte(text, position) not in b"0123456789abcdefABCDEF":
                    raise _unexpected(text, position, "in \\u hexadecimal character escape")
            at += 4


def _number(text: bytes, at: int) -> int:
    if text[at] == 0x2D:
        at += 1
        if _byte(text, at) not in _DIGITS:
            raise _unexpected(text, at, "in numeric literal")
    at = at + 1 if text[at] == 0x30 else _digits(text, at)
    if text[at : at + 1] == b".":
        if _byte(text, at + 1) not in _DIGITS:
            raise _unexpected(text, at + 1, "after decimal point in numeric literal")
        at = _digits(text, at + 1)
    if text[at : at + 1] in (b"e", b"E"):
        at += 2 if text[at + 1 : at + 2] in (b"+", b"-") else 1
        if _byte(text, at) not in _DIGITS:
            raise _unexpected(text, at, "in exponent of numeric literal")
        at = _digits(text, at)
    return at


def _digits(text: bytes, at: int) -> int:
    while at < len(text) and text[at] in _DIGITS:
        at += 1
    return at


def _literal(text: bytes, at: int, literal: bytes) -> int:
    for offset in range(1, len(literal)):
        if _byte(text, at + offset) != literal[offset]:
            wanted = f"in literal {literal.decode()} (expecting '{chr(literal[offset])}')"
            raise _unexpected(text, at + offset, wanted)
    return at + len(literal)


def _skip(text: bytes, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _byte(text: bytes, at: int) -> int:
    if at >= len(text):
        raise _Fault(_ENDED)
    return text[at]


def _unexpected(text: bytes, at: int, where: str) -> _Fault:
    return _Fault(f"invalid character {_quoted(text[at])} {where}")


def _quoted(byte: int) -> str:
    """One byte as Go quotes it: as the character of that number."""
    if byte == 0x27:
        return "'\\''"
    named = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 0x5C: "\\\\"}
    if byte in named:
        return f"'{named[byte]}'"
    if byte < 0x20 or byte == 0x7F:
        return f"'\\x{byte:02x}'"
    # What no font shows: the controls of Latin-1, its wide space, the mark of a possible hyphen.
    return f"'\\u{byte:04x}'" if 0x80 <= byte <= 0xA0 or byte == 0xAD else f"'{chr(byte)}'"

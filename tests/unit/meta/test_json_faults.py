"""What is said of a text that is no JSON: upstream's words, and a fault exactly where the fast parser refuses."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core.meta.json_faults import json_fault, unreadable

FAULTS = [
    (b"", "unexpected end of JSON input"),
    (b'{"a":{', "unexpected end of JSON input"),
    (b"not json", "invalid character 'o' in literal null (expecting 'u')"),
    (b'{"a":1} extra', "invalid character 'e' after top-level value"),
    (b'{"a" 1}', "invalid character '1' after object key"),
    (b'{"a":1 2}', "invalid character '2' after object key:value pair"),
    (b"{,}", "invalid character ',' looking for beginning of object key string"),
    (b"[1 2]", "invalid character '2' after array element"),
    (b"[1,]", "invalid character ']' looking for beginning of value"),
    (b'"\x01"', "invalid character '\\x01' in string literal"),
    (b'"\\x"', "invalid character 'x' in string escape code"),
    (b'"\\u12g4"', "invalid character 'g' in \\u hexadecimal character escape"),
    (b"-x", "invalid character 'x' in numeric literal"),
    (b"1.x", "invalid character 'x' after decimal point in numeric literal"),
    (b"1ex", "invalid character 'x' in exponent of numeric literal"),
    (b"'", "invalid character '\\'' looking for beginning of value"),
    (b"\xae", "invalid character '\xae' looking for beginning of value"),
    (b"[" * 5000, "exceeded max depth"),
]


@pytest.mark.parametrize(("text", "fault"), FAULTS)
def test_a_fault_is_told_in_upstreams_words(text: bytes, fault: str) -> None:
    assert json_fault(text) == fault


@given(st.text(alphabet='{}[],:"0123456789-. ', max_size=150))
def test_a_text_has_a_fault_exactly_when_it_is_no_json(text: str) -> None:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        assert json_fault(text.encode())
    else:
        assert json_fault(text.encode()) == ""


def test_what_is_too_long_to_be_read_twice_is_not() -> None:
    assert json_fault(b'{"a": "' + b"x" * 20000) == ""


def test_values_of_other_kinds_are_called_what_they_are() -> None:
    assert unreadable([], "T") == "json: cannot unmarshal array into Go value of type T"
    assert unreadable(True, "T") == "json: cannot unmarshal bool into Go value of type T"
    assert unreadable(1.5, "T") == "json: cannot unmarshal number into Go value of type T"

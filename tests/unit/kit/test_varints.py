"""Numbers on protobuf's wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core._kit.varints import read_varint, varint


@pytest.mark.parametrize(
    ("number", "written"),
    [(0, b"\0"), (1, b"\1"), (127, b"\x7f"), (128, b"\x80\1"), (300, b"\xac\2"), (-1, b"\xff" * 9 + b"\1")],
)
def test_numbers_are_written_as_documented(number: int, written: bytes) -> None:
    assert varint(number) == written


@given(st.integers(0, 2**64 - 1), st.binary(), st.binary())
def test_what_is_written_is_read(number: int, before: bytes, after: bytes) -> None:
    written = varint(number)
    assert read_varint(before + written + after, len(before)) == (number, len(before) + len(written))


def test_what_is_cut_short_or_too_long_is_an_error() -> None:
    with pytest.raises(IndexError):
        read_varint(b"\x80\x80", 0)
    with pytest.raises(ValueError, match="too long"):
        read_varint(b"\x80" * 10 + b"\1", 0)

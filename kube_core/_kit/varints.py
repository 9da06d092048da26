"""Numbers as protobuf has them on the wire: seven bits a byte, the lowest first; a bit says whether more follow."""

from __future__ import annotations

__all__ = ["read_varint", "varint"]


def varint(value: int) -> bytes:
    """A number in as few bytes as it takes; one that is negative as 64 bits have it."""
    if value < 0:
        value += 1 << 64
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and the place behind it.

    Raises IndexError where it is cut short, and ValueError for one of more than 64 bits.
    """
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")

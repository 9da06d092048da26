"""What a reader is, and the readers of single values: texts, numbers, times, quantities, bytes.

`Reader.read` is the fast way for good values: it raises `Odd` for anything else, and knows no paths. `Reader.explain`
is the slow way: the same result, and everything that is wrong noted in `Problems` with its place, as upstream's decoder
words it. A reader answers `ABSENT` for a value that is as good as none.

`readers.py` makes them from schemas, and reads what is made of several values.
"""

from __future__ import annotations

import base64
import functools
import re
from typing import Any, Final

import attrs

from kube_core.meta import quantities
from kube_core.meta.documents import shareable
from kube_core.meta.times import format_micro_time, format_time, parse_time

__all__ = [
    "ABSENT",
    "ODD",
    "BytesReader",
    "FlagReader",
    "IntOrStringReader",
    "IntegerReader",
    "NumberReader",
    "Odd",
    "OpenReader",
    "Place",
    "Problems",
    "QuantityReader",
    "Reader",
    "TextReader",
    "TimeReader",
]

ABSENT: Final = object()


class Odd(Exception):
    """The value needs explaining."""


ODD: Final = Odd()


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
            raise ODD
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
        raise ODD

    def nothing(self) -> Any:
        return False


class IntegerReader(Reader):
    def __init__(self, *, bits: int, keeps_zero: bool) -> None:
        self.keeps_zero = keeps_zero
        self.target = f"int{bits}"
        self.limit = 1 << (bits - 1)

    def read(self, value: Any) -> Any:
        if type(value) is not int or not -self.limit <= value < self.limit:
            raise ODD
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
            raise ODD
        return value


class QuantityReader(Reader):
    target = "string"

    def read(self, value: Any) -> Any:
        try:
            return quantities.canonical(value)
        except (quantities.QuantityError, TypeError):
            raise ODD from None

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
        raise ODD

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
            raise ODD
        # Nobody's nonsense of a megabyte is to be remembered.
        read = _canonical_time if len(value) <= _LONGEST_TIME else _canonical_time.__wrapped__
        canonical = read(value, self.micro)
        if canonical is None:
            raise ODD
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
            raise ODD
        if not value and not self.keeps_empty:
            return ABSENT
        return value.replace("\n", "").replace("\r", "")

    def explain(self, value: Any, place: Place, problems: Problems) -> Any:
        if type(value) is str and (position := _bad_base64(value)) is not None:
            return problems.mismatched(f"illegal base64 data at input byte {position}")
        return super().explain(value, place, problems)

    def nothing(self) -> Any:
        return None


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

"""Quantities: amounts of resources as Kubernetes writes them (`500m`, `1Gi`, `12e6`).

A quantity is a fixed-point number with at most nine decimal places and a preference for one of three notations. What
is read and written back takes its canonical form: the largest suffix that needs no fraction, in the notation it was
written in. `0.5` becomes `500m`, `1024Mi` becomes `1Gi`, `1e3` stays `1e3`.

Always true: values are exact integers of billionths (`nano`), what is finer is rounded away from zero, and magnitudes
stop at 2**63 - 1. Mirrors upstream's `k8s.io/apimachinery/pkg/api/resource`, whose grammar the API reference documents
under "Quantity". Parsing is memoised: a cluster knows only so many amounts.

Which resources may be fractional is not a matter of this module.
"""

from __future__ import annotations

import functools
import re
from typing import Final, Literal

__all__ = ["Quantity", "QuantityError", "canonical", "parse", "total"]

Notation = Literal["decimal", "binary", "exponent"]

_NANO: Final = 10**9
_LIMIT: Final = (2**63 - 1) * _NANO
_TEXT = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
_EXPONENT = re.compile(r"[eE]([-+]?[0-9]+)", re.ASCII)
_DECIMAL_SUFFIXES: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_SUFFIXES: Final = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL_NAMES: Final = {power: suffix for suffix, power in _DECIMAL_SUFFIXES.items()}
_BINARY_NAMES: Final = {power: suffix for suffix, power in _BINARY_SUFFIXES.items()}

#: Characters that are looked at; nobody counts in hundreds of digits.
_LONGEST = 512
_WRONG_FORM = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_WRONG_NUMBER = "unable to parse numeric part of quantity"
_WRONG_SUFFIX = "unable to parse quantity's suffix"


class QuantityError(ValueError):
    """A text that is no quantity; the message is upstream's."""


@functools.total_ordering
class Quantity:
    """An amount. Immutable; equal and ordered by value, whatever the notation."""

    __slots__ = ("nano", "notation")

    nano: int
    notation: Notation

    def __init__(self, nano: int, notation: Notation = "decimal") -> None:
        """`nano` is the amount in billionths."""
        object.__setattr__(self, "nano", max(-_LIMIT, min(nano, _LIMIT)))
        object.__setattr__(self, "notation", notation)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a quantity does not change")

    @property
    def value(self) -> int:
        """Whole units, fractions rounded up."""
        return -(-self.nano // _NANO)

    @property
    def milli_value(self) -> int:
        """Thousandths, finer fractions rounded up."""
        return -(-self.nano // 10**6)

    @property
    def is_whole(self) -> bool:
        return self.nano % _NANO == 0

    def __str__(self) -> str:
        """The canonical form."""
        if not self.nano:
            return "0"
        if self.notation == "binary" and abs(self.nano) >= 1024 * _NANO:
            return self._in_binary()
        return self._in_decimal(exponents=self.notation == "exponent")

    def _in_binary(self) -> str:
        # Fractions of a byte are rounded away from zero.
        amount = -(-abs(self.nano) // _NANO)
        power = 0
        while amount % 1024 == 0 and power < 6:
            amount //= 1024
            power += 1
        return f"{'-' if self.nano < 0 else ''}{amount}{_BINARY_NAMES.get(power, '')}"

    def _in_decimal(self, *, exponents: bool) -> str:
        amount, power = self.nano, -9
        while amount % 1000 == 0 and power < 18:
            amount //= 1000
            power += 3
        if exponents:
            return f"{amount}e{power}" if power else str(amount)
        return f"{amount}{_DECIMAL_NAMES[power]}"

    def __repr__(self) -> str:
        return f"Quantity({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return self.nano == other.nano if isinstance(other, Quantity) else NotImplemented

    def __lt__(self, other: Quantity) -> bool:
        return self.nano < other.nano

    def __hash__(self) -> int:
        return hash(self.nano)

    def __bool__(self) -> bool:
        return self.nano != 0

    def __add__(self, other: Quantity) -> Quantity:
        """The sum, in the notation of the first that is not zero."""
        return Quantity(self.nano + other.nano, self.notation if self.nano else other.notation)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.nano - other.nano, self.notation if self.nano else other.notation)

    def __mul__(self, times: int) -> Quantity:
        return Quantity(self.nano * times, self.notation)

    def __neg__(self) -> Quantity:
        return Quantity(-self.nano, self.notation)


ZERO: Final = Quantity(0)


def parse(value: str | float | None) -> Quantity:
    """The quantity that a JSON value means: a text, a number, or null for zero. Raises `QuantityError`."""
    if value is None:
        return ZERO
    return _parse(value if isinstance(value, str) else _number_text(value))


def canonical(value: str | float | None) -> str:
    """The canonical text of a JSON value. Raises `QuantityError`."""
    return _canonical(value) if isinstance(value, str) else str(parse(value))


def total(amounts: list[Quantity]) -> Quantity:
    """The sum of many; zero for none."""
    return functools.reduce(Quantity.__add__, amounts, ZERO)


def _number_text(value: float) -> str:
    if isinstance(value, bool):
        raise QuantityError(_WRONG_FORM)
    # Integers above 2**53 that arrive as floats would print with an exponent that reads the same.
    return repr(value)


@functools.lru_cache(maxsize=4096)
def _canonical(text: str) -> str:
    return str(_parse(text))


@functools.lru_cache(maxsize=4096)
def _parse(text: str) -> Quantity:
    text = text.strip()
    found = _TEXT.fullmatch(text)
    if found is None or not text:
        raise QuantityError(_WRONG_FORM)
    if len(text) > _LONGEST:
        raise QuantityError(_WRONG_NUMBER)
    sign, whole, fraction, suffix = found.groups()
    if not whole and not fraction:
        raise QuantityError(_WRONG_NUMBER)
    base, power, notation = _scale(suffix)
    digits = int((whole or "") + (fraction or "") or "0")
    # amount = digits * base**power / 10**len(fraction), in billionths, rounded away from zero.
    shift = 9 - len(fraction or "")
    if base == 10:
        shift += power
        power = 0
    if shift > 60:  # far beyond the limit: do not build a number of a million digits
        nano = _LIMIT if digits else 0
    elif shift < -400:
        nano = 1 if digits else 0
    else:
        amount = digits * base**power
        nano = amount * 10**shift if shift >= 0 else -(-amount // 10**-shift)
    if notation == "binary" and 0 < nano < _NANO:
        notation = "decimal"
    return Quantity(-nano if sign == "-" else nano, notation)


def _scale(suffix: str) -> tuple[int, int, Notation]:
    if (power := _DECIMAL_SUFFIXES.get(suffix)) is not None:
        return 10, power, "decimal"
    if (power := _BINARY_SUFFIXES.get(suffix)) is not None:
        return 1024, power, "binary"
    if found := _EXPONENT.fullmatch(suffix):
        return 10, int(found[1]), "exponent"
    raise QuantityError(_WRONG_SUFFIX)

"""The one door to chance: unique ids, name suffixes, jitter.

Seeded, so that a test in virtual time gives the same names and the same order twice. Nothing here is a secret:
keys, serial numbers and tokens come from `secrets` and `cryptography`.
"""

from __future__ import annotations

import random

__all__ = ["SUFFIX_ALPHABET", "Random"]

#: Upstream's alphabet for generated names: no vowels and no look-alikes, so no words appear by accident.
SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"

#: The bits of a UUID that say that it is of version 4, and all others.
_MARKS = 0x4000 << 64 | 0x8000 << 48
_UNMARKED = ~(0xF000 << 64 | 0xC000 << 48)


class Random:
    """A source of chance. `seed=None` takes one from the operating system."""

    def __init__(self, seed: int | None = None) -> None:
        self._source = random.Random(seed)

    @property
    def state(self) -> object:
        """Where this source is; `restore` goes on from there, here or in another."""
        return self._source.getstate()

    def restore(self, state: object) -> None:
        """Give from now on what the source that `state` is of would give."""
        self._source.setstate(state)  # type: ignore[arg-type]

    def uid(self) -> str:
        """A version 4 UUID in its text form."""
        bits = self._source.getrandbits(128) & _UNMARKED | _MARKS
        text = f"{bits:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def suffix(self, length: int = 5) -> str:
        """`length` characters that may stand in a name (what `generateName` appends)."""
        return "".join(self._source.choices(SUFFIX_ALPHABET, k=length))

    def jitter(self, duration: float, factor: float) -> float:
        """`duration` lengthened by up to `factor` of itself."""
        return duration * (1.0 + self._source.random() * factor)

    def uniform(self, low: float, high: float) -> float:
        """A float between `low` and `high`."""
        return self._source.uniform(low, high)

    def below(self, bound: int) -> int:
        """A whole number from 0 up to, and without, `bound`."""
        return self._source.randrange(bound)

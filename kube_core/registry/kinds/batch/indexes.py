"""Lists of indexes as Jobs write them: `0-2,5`, in order and without repetition."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["IndexesError", "parse_indexes"]


class IndexesError(ValueError):
    """Why a list of indexes is not one; the message is upstream's."""


def parse_indexes(text: str, completions: int) -> Sequence[range]:
    """The ranges of a list, in order; empty for an empty text. Raises `IndexesError`."""
    if not text:
        return ()
    found: list[range] = []
    last: int | None = None
    for part in text.split(","):
        ends = part.split("-")
        if len(ends) > 2:
            rule = "the requirement that an index interval can have at most two parts separated by '-'"
            raise IndexesError(f'the fragment "{part}" violates {rule}')
        first = _index(ends[0], completions)
        if last is not None and last >= first:
            raise IndexesError(f"non-increasing order, previous: {last}, current: {first}")
        last = first
        if len(ends) == 2:
            end = _index(ends[1], completions)
            if first >= end:
                raise IndexesError(f"non-increasing order, previous: {first}, current: {end}")
            last = end
        found.append(range(first, last + 1))
    return found


def _index(text: str, completions: int) -> int:
    digits = text.removeprefix("+").removeprefix("-")
    if not digits.isascii() or not digits.isdigit():
        raise IndexesError(f'cannot convert string to integer for index: "{text}"')
    if int(text) >= completions:
        raise IndexesError(f'too large index: "{text}"')
    return int(text)

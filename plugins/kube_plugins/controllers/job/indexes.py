"""Completion indexes of an indexed Job: as sets here, as text in its status, as an annotation on its pods.

The text is upstream's form ("Job completion mode"): numbers in order, runs of three or more as a range, `1,3-5,7`.
What of a text cannot be read, or is not below the Job's completions, is left out: an indexed Job may shrink.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kube_core.meta.documents import Document, annotations_of

__all__ = ["INDEX_ANNOTATION", "completion_index", "format_indexes", "parse_indexes"]

#: On a pod, and as its label of the same name: which index it works on.
INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"


def completion_index(pod: Document) -> int | None:
    """The index that a pod works on; None where it says none."""
    text = annotations_of(pod).get(INDEX_ANNOTATION, "")
    return int(text) if text.isascii() and text.isdigit() else None


def parse_indexes(text: str, completions: int) -> frozenset[int]:
    """The indexes that a text like `1,3-5,7` means, below `completions`."""
    return frozenset(index for part in text.split(",") if part for index in _part(part, completions))


def format_indexes(indexes: Iterable[int]) -> str:
    """The text that `parse_indexes` reads."""
    return ",".join(_run_text(first, last) for first, last in _runs(sorted(indexes)))


def _part(text: str, completions: int) -> range:
    first, _, last = text.partition("-")
    try:
        start = int(first)
        return range(start, min(int(last or first) + 1, completions))
    except ValueError:
        return range(0)


def _runs(indexes: list[int]) -> Iterator[tuple[int, int]]:
    start = previous = None
    for index in indexes:
        if previous is not None and start is not None and index != previous + 1:
            yield start, previous
            start = index
        elif start is None:
            start = index
        previous = index
    if start is not None and previous is not None:
        yield start, previous


def _run_text(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"{first},{last}" if last == first + 1 else f"{first}-{last}"

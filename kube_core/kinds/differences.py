"""The change that a function made, as a JSON Patch of the document that was sent.

A class sees a document through its fields: what it has none for, and values that are written in more than one way, are
not in the document that comes of it. So what a function changed is the difference between the object before and after,
and that is carried over to the document as it was sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kube_core.meta.documents import Document

__all__ = ["carry_over", "json_patch"]

_MISSING = object()


def carry_over(sent: Any, before: Any, after: Any) -> Any:
    """What was sent, with what changed from `before` to `after`."""
    if before == after:
        return sent
    if isinstance(sent, Mapping) and isinstance(before, Mapping) and isinstance(after, Mapping):
        merged = {name: value for name, value in sent.items() if name in after or name not in before}
        for name, value in after.items():
            old = before.get(name, _MISSING)
            if old is _MISSING or old != value:
                merged[name] = carry_over(sent.get(name, _MISSING), old, value)
        return merged
    lists = isinstance(sent, list) and isinstance(before, list) and isinstance(after, list)
    if lists and len(sent) == len(before) == len(after):
        return [carry_over(*each) for each in zip(sent, before, after, strict=True)]
    return after


def json_patch(before: Document, after: Document) -> list[dict[str, Any]]:
    """Operations (RFC 6902) that make one document of another. Lists of other lengths are replaced as a whole."""
    return list(_operations(before, after, ""))


def _operations(before: Any, after: Any, path: str) -> Iterator[dict[str, Any]]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in before:
            if name not in after:
                yield {"op": "remove", "path": f"{path}/{_escaped(name)}"}
        for name, value in after.items():
            at = f"{path}/{_escaped(name)}"
            if name in before:
                yield from _operations(before[name], value, at)
            else:
                yield {"op": "add", "path": at, "value": value}
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _operations(old, new, f"{path}/{index}")
    elif before != after or isinstance(before, bool) is not isinstance(after, bool):
        yield {"op": "replace", "path": path, "value": after}


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")

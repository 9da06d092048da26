"""What of an object was handled, how far its handlers are, and what has changed since: pure functions and their record.

What counts of an object is its essence: its labels, its annotations (but for what programs keep of their own there),
and all that is neither metadata nor status. The record is one annotation, in JSON, for each set of handlers:

* `handled`: the essence that the handlers have last come to the end of; absent before they first have;
* while they are at it: `cause`, `target` (the essence that they began with) and, for each handler that was called, how
  often, since when, when again, or that it is done.

When all are done the target is what was handled, not what the object has become meanwhile: that is the next update.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs
import orjson

from kube_core.meta.documents import Document, annotations_of, labels_of

__all__ = ["ANNOTATION_DOMAIN", "DiffItem", "Record", "Tries", "diff", "essence_of", "value_at"]

ANNOTATION_DOMAIN = "handlers.kube-core.dev"
_OWN = (f"{ANNOTATION_DOMAIN}/", "kubectl.kubernetes.io/last-applied-configuration", "kopf.zalando.org/")
_NOT_ESSENTIAL = ("apiVersion", "kind", "metadata", "status")


@attrs.frozen
class DiffItem:
    """One difference. `field` is its path; `before` or `after` is None where there is nothing."""

    operation: Literal["add", "change", "remove"]
    field: tuple[str, ...]
    before: Any
    after: Any


@attrs.define
class Tries:
    """How far one handler is. Times are in seconds since the epoch."""

    started: float
    calls: int = 0
    again_at: float | None = None
    done: bool = False


@attrs.define
class Record:
    """What the annotation says."""

    handled: Mapping[str, Any] | None = None
    cause: str = ""
    target: Mapping[str, Any] | None = None
    handlers: dict[str, Tries] = attrs.field(factory=dict)

    @classmethod
    def of(cls, document: Document, annotation: str) -> Record:
        """The record on an object; an empty one where there is none, or one that nobody can read."""
        text = annotations_of(document).get(annotation)
        if not text:
            return cls()
        try:
            said = orjson.loads(text)
            handlers = {name: Tries(**tries) for name, tries in (said.get("handlers") or {}).items()}
            return cls(said.get("handled"), said.get("cause") or "", said.get("target"), handlers)
        except (ValueError, TypeError, AttributeError):
            return cls()

    def text(self) -> str:
        said = {name: value for name, value in attrs.asdict(self).items() if value}
        return orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode()

    def begin(self, cause: str, target: Mapping[str, Any]) -> None:
        self.cause, self.target, self.handlers = cause, target, {}

    def end(self) -> None:
        """All handlers are done with the target."""
        self.handled, self.cause, self.target, self.handlers = self.target, "", None, {}


def essence_of(document: Document) -> Mapping[str, Any]:
    """What of an object a person or a program wants of it."""
    annotations = {name: value for name, value in annotations_of(document).items() if not name.startswith(_OWN)}
    metadata = {"labels": dict(labels_of(document)), "annotations": annotations}
    essence = {name: value for name, value in document.items() if name not in _NOT_ESSENTIAL}
    return {"metadata": {name: value for name, value in metadata.items() if value}, **essence}


def diff(before: Any, after: Any, field: tuple[str, ...] = ()) -> Iterator[DiffItem]:
    """The differences, down to values that are no maps, in the order of the fields."""
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys((*before, *after)):
            yield from diff(before.get(name), after.get(name), (*field, name))
    elif before is None:
        yield DiffItem("add", field, None, after)
    elif after is None:
        yield DiffItem("remove", field, before, None)
    else:
        yield DiffItem("change", field, before, after)


def value_at(essence: Mapping[str, Any] | None, field: tuple[str, ...]) -> Any:
    """The value of a field; None where there is none."""
    value: Any = essence
    for name in field:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value

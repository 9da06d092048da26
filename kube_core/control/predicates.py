"""Which changes count: predicates on an object before and after, and their combinations.

    kube.Watch(core.Secret, predicate=labels_changed | annotations_changed)
    @kube.controller(Website, predicate=generation_changed & ~is_paused)

A predicate looks at documents, so that a change nobody cares for is not read as a class. A plain function of two
objects can stand wherever a predicate can; where the kind is named by its class it gets instances of that. Each of the
two is None where there was nothing before (creation) or is nothing after (deletion).

The ready-made ones are those of controller-runtime ("predicate" package) and, as there, let every creation and deletion
through. A predicate only saves work: a reconciler must be right without any.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

from kube_core.api.models import from_document
from kube_core.api.types import ResourceType
from kube_core.meta.documents import Document, annotations_of, labels_of, metadata_of, resource_version_of

__all__ = [
    "Change",
    "Predicate",
    "annotations_changed",
    "generation_changed",
    "labels_changed",
    "resource_version_changed",
    "where",
]

#: A question about an object before and after; either may be None.
Change = Callable[[Any, Any], bool]


class Predicate(abc.ABC):
    """Whether a change counts. `&`, `|` and `~` combine predicates with each other and with plain functions."""

    @abc.abstractmethod
    def admits(self, kind: type | ResourceType, before: Document | None, after: Document | None) -> bool:
        """Whether the change of an object of `kind` counts."""

    def __and__(self, other: Predicate | Change) -> Predicate:
        return _Combined(all, (self, as_predicate(other)))

    def __rand__(self, other: Change) -> Predicate:
        return _Combined(all, (as_predicate(other), self))

    def __or__(self, other: Predicate | Change) -> Predicate:
        return _Combined(any, (self, as_predicate(other)))

    def __ror__(self, other: Change) -> Predicate:
        return _Combined(any, (as_predicate(other), self))

    def __invert__(self) -> Predicate:
        return _Not(self)


def as_predicate(question: Predicate | Change) -> Predicate:
    """A plain function as a predicate."""
    return question if isinstance(question, Predicate) else _Asked(question)


def where(question: Callable[[Any], bool]) -> Predicate:
    """Changes of objects for which `question(object)` is true, before the change or after."""

    def either(before: Any, after: Any) -> bool:
        return any(question(each) for each in (after, before) if each is not None)

    return _Asked(either)


class _Asked(Predicate):
    """A function of instances, where the kind is a class, and otherwise of documents."""

    def __init__(self, question: Change) -> None:
        self._question = question

    def admits(self, kind: type | ResourceType, before: Document | None, after: Document | None) -> bool:
        if isinstance(kind, ResourceType):
            return bool(self._question(before, after))
        read = [None if each is None else from_document(kind, each) for each in (before, after)]
        return bool(self._question(*read))


class _Differs(Predicate):
    """Something about an object's document is another than before."""

    def __init__(self, look: Callable[[Document], Any]) -> None:
        self._look = look

    def admits(self, kind: type | ResourceType, before: Document | None, after: Document | None) -> bool:
        return before is None or after is None or self._look(before) != self._look(after)


class _Combined(Predicate):
    def __init__(self, how: Callable[[Any], bool], parts: tuple[Predicate, ...]) -> None:
        self._how = how
        self._parts = parts

    def admits(self, kind: type | ResourceType, before: Document | None, after: Document | None) -> bool:
        return self._how(part.admits(kind, before, after) for part in self._parts)


class _Not(Predicate):
    def __init__(self, denied: Predicate) -> None:
        self._denied = denied

    def admits(self, kind: type | ResourceType, before: Document | None, after: Document | None) -> bool:
        return not self._denied.admits(kind, before, after)


def _wanted(document: Document) -> Any:
    metadata = metadata_of(document)
    return metadata.get("generation"), metadata.get("deletionTimestamp")


#: The wanted state changed (`metadata.generation`), or deletion was asked for; status, labels and the like do not
#: count. Only for kinds that have a generation.
generation_changed: Predicate = _Differs(_wanted)
labels_changed: Predicate = _Differs(labels_of)
annotations_changed: Predicate = _Differs(annotations_of)
#: Every true change; not what is told again.
resource_version_changed: Predicate = _Differs(resource_version_of)

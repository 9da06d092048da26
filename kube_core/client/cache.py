"""The cache behind an informer: the objects of one resource by key, by namespace and by index.

Only a reflector writes it. Every write says what changed, as pairs of the object before and after, so that handlers
are told of each change exactly once; an object that was deleted and made again between two looks is a deletion and a
creation, never a change. Everything in it is frozen, and readers get lists of their own, so a reader that awaits
between two items never sees the cache move under it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableSequence, Sequence

import attrs

from kube_core.meta.documents import (
    Document,
    Key,
    freeze,
    key_of,
    labels_of,
    owner_references_of,
    resource_version_of,
    uid_of,
)

__all__ = ["OWNER_INDEX", "Cache", "Change", "IndexFunction"]

#: The index that every cache has: the uids of an object's owners.
OWNER_INDEX = "owner"

#: An object before and after; either may be None, never both.
Change = tuple[Document | None, Document | None]
IndexFunction = Callable[[Document], Iterable[str]]


@attrs.define
class _Index:
    """Which objects an index function named by which value."""

    function: IndexFunction
    entries: dict[str, dict[Key, Document]] = attrs.field(factory=dict)

    def insert(self, key: Key, document: Document) -> None:
        for value in self.function(document):
            self.entries.setdefault(value, {})[key] = document

    def replace(self, key: Key, before: Document, after: Document) -> None:
        """The same as to remove one and insert the other; nearly always both have the same values."""
        values = [*self.function(before)]
        if values != [*self.function(after)]:
            self.remove(key, before)
            self.insert(key, after)
            return
        for value in values:
            self.entries[value][key] = after

    def remove(self, key: Key, document: Document) -> None:
        for value in self.function(document):
            entries = self.entries.get(value)
            if entries is not None:
                entries.pop(key, None)
                if not entries:
                    del self.entries[value]


class Cache:
    """Frozen objects by key. `replace`, `put` and `remove` are the reflector's; the rest is for readers."""

    def __init__(self) -> None:
        self._objects: dict[Key, Document] = {}
        self._namespaces: dict[str, dict[Key, Document]] = {}
        self._indexes: dict[str, _Index] = {OWNER_INDEX: _Index(_owner_uids)}

    def copy(self) -> Cache:
        """A cache of the same objects, which goes its own way. Further indexes belong to who asked for them."""
        other = Cache()
        other._objects = self._objects.copy()
        other._namespaces = {namespace: objects.copy() for namespace, objects in self._namespaces.items()}
        owners = self._indexes[OWNER_INDEX].entries
        other._indexes[OWNER_INDEX].entries = {uid: objects.copy() for uid, objects in owners.items()}
        return other

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, key: Key) -> Document | None:
        return self._objects.get(key)

    def list(self, namespace: str = "", labels: dict[str, str] | None = None) -> Sequence[Document]:
        """The objects of one namespace, or of all (""), that carry every one of `labels`."""
        found = self._namespaces.get(namespace, {}) if namespace else self._objects
        if not labels:
            return [*found.values()]
        wanted = labels.items()
        return [document for document in found.values() if wanted <= labels_of(document).items()]

    def by_index(self, index: str, value: str) -> Sequence[Document]:
        """The objects for which an index function gave `value`. Raises KeyError for an unknown index."""
        return [*self._indexes[index].entries.get(value, {}).values()]

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Index what is here and what comes. The same name again replaces the function."""
        index = self._indexes[name] = _Index(function)
        for key, document in self._objects.items():
            index.insert(key, document)

    def replace(self, documents: Iterable[Document]) -> Sequence[Change]:
        """Hold exactly `documents`; what is gone comes first in the changes."""
        present = {key_of(document): document for document in documents}
        changes: MutableSequence[Change] = []
        for key in [key for key in self._objects if key not in present]:
            changes += self.remove(key)
        for document in present.values():
            changes += self.put(document)
        return changes

    def put(self, document: Document) -> Sequence[Change]:
        """Hold this version of an object. Nothing changes where it is the one that is here."""
        key = key_of(document)
        before = self._objects.get(key)
        if before is not None:
            if uid_of(before) != uid_of(document):
                return [*self.remove(key), *self.put(document)]
            if resource_version_of(before) == resource_version_of(document):
                return ()
        frozen = freeze(document)
        for index in self._indexes.values():
            if before is not None:
                index.replace(key, before, frozen)
            else:
                index.insert(key, frozen)
        self._objects[key] = frozen
        self._namespaces.setdefault(key.namespace, {})[key] = frozen
        return ((before, frozen),)

    def remove(self, key: Key, last: Document | None = None) -> Sequence[Change]:
        """Forget an object; `last` is its final state where that is known."""
        before = self._objects.pop(key, None)
        if before is None:
            return ()
        for index in self._indexes.values():
            index.remove(key, before)
        siblings = self._namespaces[key.namespace]
        del siblings[key]
        if not siblings:
            del self._namespaces[key.namespace]
        if last is not None and uid_of(last) == uid_of(before):
            before = freeze(last)
        return ((before, None),)


def _owner_uids(document: Document) -> Iterable[str]:
    return [str(reference.get("uid")) for reference in owner_references_of(document)]

"""What a reconciler reads: the shared informers' caches, as objects of a class.

A lister never asks the server. What it gives is read from frozen documents, once for each, and shared by everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from kube_core.api.models import from_document
from kube_core.meta.documents import Document, Key

if TYPE_CHECKING:
    from kube_core.client.informer import Lister

__all__ = ["ObjectLister"]

T = TypeVar("T")


class ObjectLister(Generic[T]):
    """Objects of one kind, as the program last heard of them."""

    def __init__(
        self, kind: type[T], documents: Lister, namespace: str = "", index: Callable[[str], str] = str
    ) -> None:
        """`namespace`: of what is asked for by its name alone; `index`: what the informer calls an index."""
        self._kind = kind
        self._namespace = namespace
        self._index = index
        #: The same as documents.
        self.documents = documents

    def __len__(self) -> int:
        return len(self.documents)

    def get(self, name: str, namespace: str | None = None) -> T | None:
        """One object; `namespace` is that of the object being reconciled, unless it is given ("": cluster-scoped)."""
        document = self.documents.get(Key(self._namespace if namespace is None else namespace, name))
        return None if document is None else from_document(self._kind, document)

    def list(self, namespace: str = "", labels: Mapping[str, str] | None = None) -> Sequence[T]:
        """The objects of one namespace, or of all (""), that carry every one of `labels`."""
        return self._read(self.documents.list(namespace, dict(labels) if labels else None))

    def by_index(self, name: str, value: str) -> Sequence[T]:
        """Objects for which the index `name` gave `value`. Raises KeyError for an index that nobody declared."""
        return self._read(self.documents.by_index(self._index(name), value))

    def owned_by(self, uid: str) -> Sequence[T]:
        """Objects with an owner reference to this uid."""
        return self._read(self.documents.owned_by(uid))

    def _read(self, documents: Iterable[Document]) -> Sequence[T]:
        return [from_document(self._kind, document) for document in documents]

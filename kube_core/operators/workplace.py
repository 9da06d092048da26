"""What all calls of one controller share, as long as the program runs: its client, its caches, what it has applied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from kube_core.api.models import from_document
from kube_core.api.types import ResourceType
from kube_core.control.controller import ControllerContext, resource_named
from kube_core.meta.documents import Document, Key
from kube_core.operators.children import Children
from kube_core.operators.listers import ObjectLister

if TYPE_CHECKING:
    from kube_core.operators.declaration import Index

__all__ = ["Workplace"]

T = TypeVar("T")
C = TypeVar("C")


class Workplace(Generic[T]):
    """Made from what the runtime gives to a controller.

    `readable` are the resources whose informers run for it; `indexes` are made on these.
    """

    def __init__(
        self,
        kind: type[T],
        context: ControllerContext,
        readable: Iterable[ResourceType],
        *,
        indexes: Sequence[Index[Any]] = (),
        field_manager: str = "",
    ) -> None:
        self.kind = kind
        self.resource = resource_named(kind)
        self.client = context.client.with_field_manager(field_manager) if field_manager else context.client
        self.clock = context.clock
        self.random = context.random
        self.events = context.events
        self.log = context.log
        self.children = Children(self.client)
        self._name = context.name
        self._listers = {resource: context.informers.informer(resource).lister for resource in readable}
        for index in indexes:
            context.informers.informer(resource_named(index.kind)).add_index(
                self._index(index.name), _indexed(index.kind, index)
            )

    def document(self, key: Key) -> Document | None:
        """The controller's own object, as the program knows it."""
        return self._listers[self.resource].get(key)

    def cached(self, resource: ResourceType, key: Key) -> Document | None:
        """Any object; None for what is not there, or of a kind that nobody reads."""
        lister = self._listers.get(resource)
        return None if lister is None else lister.get(key)

    def owned(self, resource: ResourceType, uid: str) -> Sequence[Document]:
        """What the owner with this uid has, of a kind that the controller owns."""
        return self._listers[resource].owned_by(uid)

    def lister(self, kind: type[C], namespace: str) -> ObjectLister[C]:
        resource = resource_named(kind)
        documents = self._listers.get(resource)
        if documents is None:
            raise LookupError(
                f"the controller {self._name} does not read {resource.plural}: name {kind.__name__} in its `reads`"
            )
        return ObjectLister(kind, documents, namespace if resource.namespaced else "", self._index)

    def _index(self, name: str) -> str:
        """An informer is everybody's, and so are the names of its indexes."""
        return f"{self._name}/{name}"


def _indexed(kind: type[Any], index: Index[Any]) -> Any:
    def values(document: Document) -> Iterable[str]:
        return index.values(from_document(kind, document))

    return values

"""Informers: a local, frozen copy of a resource, kept by a reflector, shared by everyone in the program.

There is one informer for each resource (and selector) however many ask for it. Only the reflector writes its cache.
Handlers are called in the event loop, in the order of the events, and must not block; they get the object before and
after each change. A handler added late first gets everything there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kube_core.api.types import ResourceType
from kube_core.client.client import ApiClient
from kube_core.meta.documents import Document, Key

__all__ = ["Informer", "Informers", "Lister"]

ChangeHandler = Callable[[Document | None, Document | None], None]


class Lister:
    """Reads from an informer's cache. What it returns is frozen."""

    def get(self, key: Key) -> Document | None:
        raise NotImplementedError

    def list(self, namespace: str = "", labels: dict[str, str] | None = None) -> Iterable[Document]:
        """All objects of one namespace, or of all (""), that carry every one of `labels`."""
        raise NotImplementedError

    def by_index(self, index: str, value: str) -> Iterable[Document]:
        """Objects for which the index function `index` gave `value`."""
        raise NotImplementedError


class Informer:
    """One resource, kept up to date."""

    resource: ResourceType
    lister: Lister

    def add_handler(self, handler: ChangeHandler) -> None:
        raise NotImplementedError

    def add_index(self, name: str, function: Callable[[Document], Iterable[str]]) -> None:
        """Index objects by the values that `function` gives. The index `owner` (uids of owners) is always there."""
        raise NotImplementedError

    async def synced(self) -> None:
        """Return once the first list is in the cache and every handler has seen it."""
        raise NotImplementedError


class Informers:
    """The informers of one program. An async context manager: leaving it stops every reflector."""

    def __init__(self, client: ApiClient) -> None:
        self.client = client

    def informer(self, resource: ResourceType, *, field_selector: str = "", label_selector: str = "") -> Informer:
        """The informer for this resource and selection; made and started on first use."""
        raise NotImplementedError

    def lister(self, resource: ResourceType) -> Lister:
        return self.informer(resource).lister

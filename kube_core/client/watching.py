"""Watches that go on: what is there, and then every change, through whatever happens to connections and servers.

`ApiClient.watch` and `ApiClient.wait` are made of this. It is a reflector whose changes are handed to one reader as
events, at the reader's own pace; the reflector's docstring says what always holds. To tell a reader who missed
something what has become of it (410: a new list), it keeps the objects that the reader knows of.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import attrs

from kube_core._kit.logs import get_logger
from kube_core.abc.transport import WatchEvent
from kube_core.api.types import ResourceType
from kube_core.client.cache import Cache, Change
from kube_core.client.pages import Listing
from kube_core.client.reflector import Reflector
from kube_core.meta.documents import Document

if TYPE_CHECKING:
    from kube_core.client.objects import ObjectClient

__all__ = ["Event", "Watching", "watch"]

T = TypeVar("T")


@attrs.frozen
class Event(Generic[T]):
    """Something that happened to an object: `object` is as it is after that, or was before it went."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: T


@attrs.frozen(kw_only=True)
class Watching:
    """What is watched: one selection of one resource."""

    client: ObjectClient = attrs.field(eq=False, repr=False)
    resource: ResourceType
    namespace: str = ""
    name: str = ""
    label_selector: str = ""
    field_selector: str = ""

    async def list(self) -> Listing[Document]:
        named = f"metadata.name={self.name}" if self.name else ""
        fields = ",".join(part for part in (named, self.field_selector) if part)
        return await self.client.list(
            self.resource, self.namespace, label_selector=self.label_selector, field_selector=fields
        )

    def watch(self, resource_version: str) -> AsyncIterator[WatchEvent]:
        return self.client.watch_once(
            self.resource,
            self.namespace,
            name=self.name,
            label_selector=self.label_selector,
            field_selector=self.field_selector,
            resource_version=resource_version,
        )

    def reflector(self, after: Listing[Document] | None = None) -> Reflector:
        """What follows this, with a copy of its own: from what there is, or from a list that the caller has."""
        cache = Cache()
        if after is not None:
            cache.replace(after.items)
        return Reflector(
            source=self,
            cache=cache,
            clock=self.client.clock,
            random=self.client.random,
            log=get_logger("kube_core.client").bind(resource=str(self.resource.group_resource)),
            changed=lambda change: None,
            listed=lambda: None,
            resource_version="" if after is None else after.resource_version,
            gives_up=True,
        )


async def watch(
    watching: Watching, read: Callable[[Document], T], after: Listing[Document] | None = None
) -> AsyncGenerator[Event[T], None]:
    """What happens, told in order. `read` makes of a document what the reader gets."""
    follower = watching.reflector(after).follow()
    try:
        async for changes in follower:
            for change in changes:
                yield _event(change, read)
    finally:
        await follower.aclose()


def _event(change: Change, read: Callable[[Document], T]) -> Event[T]:
    before, after = change
    if after is None:
        if before is None:
            raise AssertionError("a change has at least one side")
        return Event("DELETED", read(before))
    return Event("ADDED" if before is None else "MODIFIED", read(after))

"""The API client on documents: every verb of the API, on any resource, over any transport.

Objects come back frozen where the transport shares them with the server, so treat all of them as read-only. Failures
are raised as the `StatusError` subclasses of `kube_core.meta.status`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal

import attrs

from kube_core.abc.transport import WatchEvent
from kube_core.api.types import ResourceType
from kube_core.client.transport import Transport
from kube_core.meta.documents import Document

__all__ = ["ApiClient", "Listing", "PatchType", "Propagation"]

PatchType = Literal["json", "merge", "strategic"]
Propagation = Literal["Background", "Foreground", "Orphan"]


@attrs.frozen
class Listing:
    """A list as of one resource version. `continue_token` is "" on the last page."""

    items: Sequence[Document]
    resource_version: str
    continue_token: str = ""
    remaining: int | None = None


class ApiClient:
    """A client. `field_manager` is recorded in managedFields by every write."""

    def __init__(self, transport: Transport, *, field_manager: str = "kube-core") -> None:
        self.transport = transport
        self.field_manager = field_manager

    async def get(self, resource: ResourceType, name: str, namespace: str = "") -> Document:
        """One object. Raises `NotFound`."""
        raise NotImplementedError

    async def list(
        self,
        resource: ResourceType,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
    ) -> Listing:
        """Objects of one namespace, or of all (""); one page where `limit` is set."""
        raise NotImplementedError

    async def create(self, resource: ResourceType, document: Document, namespace: str = "") -> Document:
        """A new object; `namespace` defaults to the document's. Raises `AlreadyExists`, `Invalid`."""
        raise NotImplementedError

    async def update(self, resource: ResourceType, document: Document, *, subresource: str = "") -> Document:
        """Replace an object. Raises `Conflict` when its resourceVersion is not the present one."""
        raise NotImplementedError

    async def update_status(self, resource: ResourceType, document: Document) -> Document:
        """Replace an object's status."""
        return await self.update(resource, document, subresource="status")

    async def patch(
        self,
        resource: ResourceType,
        name: str,
        patch: Mapping[str, Any] | Sequence[Any],
        namespace: str = "",
        *,
        patch_type: PatchType = "merge",
        subresource: str = "",
    ) -> Document:
        """Change part of an object."""
        raise NotImplementedError

    async def apply(
        self,
        resource: ResourceType,
        document: Document,
        *,
        field_manager: str = "",
        force: bool = False,
        subresource: str = "",
    ) -> Document:
        """Server-side apply. Raises `Conflict` for fields that others own, without `force`."""
        raise NotImplementedError

    async def delete(
        self,
        resource: ResourceType,
        name: str,
        namespace: str = "",
        *,
        propagation: Propagation | None = None,
        grace_period: int | None = None,
        uid: str = "",
        resource_version: str = "",
    ) -> Document:
        """Ask for deletion; with preconditions where `uid` or `resource_version` are given."""
        raise NotImplementedError

    async def delete_collection(
        self, resource: ResourceType, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> None:
        raise NotImplementedError

    async def create_subresource(
        self, resource: ResourceType, name: str, subresource: str, document: Document, namespace: str = ""
    ) -> Document:
        """`POST` to a subresource: `binding`, `eviction`, `token`."""
        raise NotImplementedError

    def watch(
        self,
        resource: ResourceType,
        namespace: str = "",
        *,
        name: str = "",
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
    ) -> AsyncIterator[WatchEvent]:
        """Events after `resource_version`, until the server ends the watch. Raises `Expired`."""
        return self.transport.watch(
            resource,
            namespace=namespace,
            name=name,
            label_selector=label_selector,
            field_selector=field_selector,
            resource_version=resource_version,
        )

    async def close(self) -> None:
        await self.transport.close()

"""The API client on documents: every verb of the API, on any resource, over any transport.

Objects come back frozen where the transport shares them with the server, so treat all of them as read-only. Failures
are raised as the `StatusError` subclasses of `kube_core.meta.status`.

Everything that talks to a server goes through here: controllers, scheduler, node, command line, and people's own
programs. What does not belong here: caches (`informer.py`), retries and back-off (they are the caller's), and how
bytes travel (`transport.py`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal

import attrs

from kube_core.abc.transport import Request, WatchEvent, WatchRequest
from kube_core.api.types import ResourceType
from kube_core.client.transport import Transport
from kube_core.meta.documents import Document, FrozenDict, MutableDocument, name_of, namespace_of

__all__ = ["ApiClient", "Listing", "PatchType", "Propagation"]

PatchType = Literal["json", "merge", "strategic"]
Propagation = Literal["Background", "Foreground", "Orphan"]

_PATCH_CONTENT_TYPES: Mapping[str, str] = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"

_Query = list[tuple[str, str]]


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

    def with_field_manager(self, field_manager: str) -> ApiClient:
        """The same connection, writing under another name."""
        return ApiClient(self.transport, field_manager=field_manager)

    async def get(
        self,
        resource: ResourceType,
        name: str,
        namespace: str = "",
        *,
        subresource: str = "",
        resource_version: str = "",
        metadata_only: bool = False,
    ) -> Document:
        """One object, or its subresource. Raises `NotFound`."""
        query = _parameters(resourceVersion=resource_version)
        headers = {"accept": _METADATA} if metadata_only and not self.transport.shares_documents else {}
        path = resource.path(namespace, name, subresource)
        return await self._send("GET", path, query, headers=headers)

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
        metadata_only: bool = False,
    ) -> Listing:
        """Objects of one namespace, or of all (""); one page where `limit` is set.

        `metadata_only` asks the server for the objects' metadata alone, where that saves anything: a transport that
        shares the server's documents gives whole ones.
        """
        query = _parameters(
            labelSelector=label_selector,
            fieldSelector=field_selector,
            limit=str(limit) if limit else "",
            resourceVersion=resource_version,
        )
        if continue_token:
            query.append(("continue", continue_token))
        headers = {"accept": _METADATA_LIST} if metadata_only and not self.transport.shares_documents else {}
        document = await self._send("GET", resource.path(namespace), query, headers=headers)
        metadata = document.get("metadata") or {}
        return Listing(
            items=[_with_type(item, resource) for item in document.get("items") or ()],
            resource_version=str(metadata.get("resourceVersion") or ""),
            continue_token=str(metadata.get("continue") or ""),
            remaining=metadata.get("remainingItemCount"),
        )

    async def create(
        self, resource: ResourceType, document: Document, namespace: str = "", *, dry_run: bool = False
    ) -> Document:
        """A new object; `namespace` defaults to the document's. Raises `AlreadyExists`, `Invalid`."""
        path = resource.path(namespace or namespace_of(document))
        return await self._send("POST", path, self._write_parameters(dry_run), _with_type(document, resource))

    async def update(
        self, resource: ResourceType, document: Document, *, subresource: str = "", dry_run: bool = False
    ) -> Document:
        """Replace an object. Raises `Conflict` when its resourceVersion is not the present one."""
        path = resource.path(namespace_of(document), name_of(document), subresource)
        return await self._send("PUT", path, self._write_parameters(dry_run), _with_type(document, resource))

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
        path = resource.path(namespace, name, subresource)
        headers = {"content-type": _PATCH_CONTENT_TYPES[patch_type]}
        return await self._send("PATCH", path, self._write_parameters(), patch, headers)

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
        path = resource.path(namespace_of(document), name_of(document), subresource)
        query = [("fieldManager", field_manager or self.field_manager)]
        if force:
            query.append(("force", "true"))
        headers = {"content-type": _PATCH_CONTENT_TYPES["apply"]}
        return await self._send("PATCH", path, query, _with_type(document, resource), headers)

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
        """Ask for deletion; with preconditions where `uid` or `resource_version` are given.

        The answer is the object where it stays for now (finalizers, grace), otherwise a Status.
        """
        options = _delete_options(propagation, grace_period, uid, resource_version)
        return await self._send("DELETE", resource.path(namespace, name), [], options)

    async def delete_collection(
        self,
        resource: ResourceType,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        propagation: Propagation | None = None,
    ) -> None:
        """Ask for deletion of every selected object of a namespace (or of a cluster-scoped resource)."""
        query = _parameters(labelSelector=label_selector, fieldSelector=field_selector)
        await self._send("DELETE", resource.path(namespace), query, _delete_options(propagation, None, "", ""))

    async def create_subresource(
        self, resource: ResourceType, name: str, subresource: str, document: Document, namespace: str = ""
    ) -> Document:
        """`POST` to a subresource: `binding`, `eviction`, `token`."""
        path = resource.path(namespace, name, subresource)
        return await self._send("POST", path, self._write_parameters(), document)

    def watch(
        self,
        resource: ResourceType,
        namespace: str = "",
        *,
        name: str = "",
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        metadata_only: bool = False,
    ) -> AsyncIterator[WatchEvent]:
        """Events after `resource_version`, until the server ends the watch. Raises `Expired`."""
        return self.transport.watch(
            WatchRequest(resource, namespace, name, label_selector, field_selector, resource_version, metadata_only)
        )

    async def get_path(self, path: str, query: Sequence[tuple[str, str]] = (), *, accept: str = "") -> Document:
        """`GET` of any path that answers JSON: discovery, `/version`, OpenAPI. Raises `NotFound`."""
        return await self._send("GET", path, list(query), headers={"accept": accept} if accept else None)

    def stream(self, path: str, query: Sequence[tuple[str, str]] = ()) -> AsyncIterator[bytes]:
        """`GET` of any path as chunks of bytes as they come: a pod's logs, with `follow`."""
        return self.transport.stream(Request("GET", path, query, {"accept": "*/*"}))

    async def close(self) -> None:
        await self.transport.close()

    def _write_parameters(self, dry_run: bool = False) -> _Query:
        query = [("fieldManager", self.field_manager)]
        if dry_run:
            query.append(("dryRun", "All"))
        return query

    async def _send(
        self,
        method: str,
        path: str,
        query: _Query,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Document:
        sent = {"accept": "application/json"}
        if body is not None:
            sent["content-type"] = "application/json"
        if headers:
            sent.update(headers)
        response = await self.transport.request(Request(method, path, query, sent, document=body))
        document: Document = response.decoded() or {}
        return document


def _parameters(**values: str) -> _Query:
    return [(name, value) for name, value in values.items() if value]


def _with_type(document: Document, resource: ResourceType) -> Document:
    """The document with its kind: items of upstream's lists carry none, and callers may leave it out."""
    if "kind" in document and "apiVersion" in document:
        return document
    typed = {"apiVersion": resource.api_version, "kind": resource.kind, **document}
    return FrozenDict(typed) if isinstance(document, FrozenDict) else typed


def _delete_options(
    propagation: Propagation | None, grace_period: int | None, uid: str, resource_version: str
) -> MutableDocument | None:
    options: MutableDocument = {}
    if propagation is not None:
        options["propagationPolicy"] = propagation
    if grace_period is not None:
        options["gracePeriodSeconds"] = grace_period
    preconditions = {field: value for field, value in (("uid", uid), ("resourceVersion", resource_version)) if value}
    if preconditions:
        options["preconditions"] = preconditions
    return {"apiVersion": "v1", "kind": "DeleteOptions", **options} if options else None

"""The verbs of the API on objects of a class and on documents: read, list, watch, write, delete.

`ApiClient` (`client.py`) is these and what goes beyond one request; its docstring says what is meant by what. Each verb
is there twice for type checkers: a class gives objects of that class, a `ResourceType` gives documents. What does not
belong here: how lists are paged (`pages.py`) and how watches go on (`watching.py`).
"""

from __future__ import annotations

import abc
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any, Literal, TypeVar, cast, overload

from kube_core._kit.clock import Clock
from kube_core._kit.random import Random
from kube_core.abc.transport import Request, WatchEvent, WatchRequest
from kube_core.api.models.classes import resource_of
from kube_core.api.models.conversion import from_document, metadata_of, to_document
from kube_core.api.types import ResourceType
from kube_core.client.pages import Listing, Pages
from kube_core.client.transport import Transport
from kube_core.client.watching import Event, Watching, watch
from kube_core.meta.documents import Document, FrozenDict, MutableDocument, key_of, name_of, namespace_of
from kube_core.meta.gvk import GroupVersion, GroupVersionKind
from kube_core.meta.status import BadRequest, NotFound

__all__ = ["ObjectClient", "PatchType", "Propagation", "Query", "Selector", "delete_options", "parameters"]

PatchType = Literal["json", "merge", "strategic"]
Propagation = Literal["Background", "Foreground", "Orphan"]
#: A selector's text, or what each label (or field) must be.
Selector = str | Mapping[str, str]

T = TypeVar("T")

_PATCH_CONTENT_TYPES: Mapping[str, str] = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"

Query = list[tuple[str, str]]


class ObjectClient(abc.ABC):
    """What `ApiClient` says of single objects and lists of them."""

    def __init__(
        self, transport: Transport, *, field_manager: str, namespace: str, clock: Clock, random: Random
    ) -> None:
        self.transport = transport
        self.field_manager = field_manager
        self.namespace = namespace
        self.clock = clock
        self.random = random

    # -- reading -----------------------------------------------------------------------------------------------------

    @overload
    async def get(
        self,
        resource: ResourceType,
        name: str,
        namespace: str = "",
        *,
        subresource: str = "",
        resource_version: str = "",
        metadata_only: bool = False,
    ) -> Document: ...

    @overload
    async def get(
        self, resource: type[T], name: str, namespace: str | None = None, *, resource_version: str = ""
    ) -> T: ...

    async def get(
        self,
        resource: ResourceType | type[T],
        name: str,
        namespace: str | None = None,
        *,
        subresource: str = "",
        resource_version: str = "",
        metadata_only: bool = False,
    ) -> Document | T:
        """One object, or its subresource. Raises `NotFound`."""
        what, namespace = self._named(resource, namespace)
        query = parameters(resourceVersion=resource_version)
        headers = {"accept": _METADATA} if metadata_only and not self.transport.shares_documents else {}
        document = await self._send("GET", what.path(namespace, name, subresource), query, headers=headers)
        return document if isinstance(resource, ResourceType) else from_document(resource, document)

    @overload
    def list(
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
    ) -> Pages[Document]: ...

    @overload
    def list(
        self,
        resource: type[T],
        namespace: str | None = None,
        *,
        labels: Selector = "",
        fields: Selector = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
    ) -> Pages[T]: ...

    def list(  # noqa: PLR0913 (the parameters are the API's own)
        self,
        resource: ResourceType | type[T],
        namespace: str | None = None,
        *,
        labels: Selector = "",
        fields: Selector = "",
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
        metadata_only: bool = False,
    ) -> Pages[Document] | Pages[T]:
        """Objects of one namespace, or of all: awaited, one `Listing`; iterated over, every object, by pages.

        `metadata_only` asks the server for the objects' metadata alone, where that saves anything: a transport that
        shares the server's documents gives whole ones.
        """
        what, namespace = self._named(resource, namespace)
        path = what.path(namespace)
        query = parameters(
            labelSelector=_selector(labels) or label_selector,
            fieldSelector=_selector(fields) or field_selector,
            resourceVersion=resource_version,
        )
        headers = {"accept": _METADATA_LIST} if metadata_only and not self.transport.shares_documents else {}

        async def documents(limit: int, token: str) -> Listing[Document]:
            asked = query + parameters(**{"limit": str(limit) if limit else "", "continue": token})
            if token != continue_token:
                # What continues a list goes on at the version where it began.
                asked = [pair for pair in asked if pair[0] != "resourceVersion"]
            return _listing(await self._send("GET", path, asked, headers=headers), what)

        if isinstance(resource, ResourceType):
            return Pages(documents, key_of, limit=limit, continue_token=continue_token)
        kind: type[T] = resource

        async def objects(limit: int, token: str) -> Listing[T]:
            page = await documents(limit, token)
            items = [from_document(kind, document) for document in page.items]
            return Listing(items, page.resource_version, page.continue_token, page.remaining)

        return Pages(objects, _identity, limit=limit, continue_token=continue_token)

    @overload
    def watch(
        self,
        resource: ResourceType,
        namespace: str = "",
        *,
        name: str = "",
        label_selector: str = "",
        field_selector: str = "",
        after: Listing[Document] | None = None,
    ) -> AsyncGenerator[Event[Document], None]: ...

    @overload
    def watch(
        self,
        resource: type[T],
        namespace: str | None = None,
        *,
        name: str = "",
        labels: Selector = "",
        fields: Selector = "",
        after: Listing[T] | None = None,
    ) -> AsyncGenerator[Event[T], None]: ...

    def watch(
        self,
        resource: ResourceType | type[T],
        namespace: str | None = None,
        *,
        name: str = "",
        labels: Selector = "",
        fields: Selector = "",
        label_selector: str = "",
        field_selector: str = "",
        after: Listing[Any] | None = None,
    ) -> AsyncGenerator[Event[Document], None] | AsyncGenerator[Event[T], None]:
        """What is there, as ADDED, and then every change; or only what changed `after` a list.

        It never ends and never misses: it outlives dropped connections and servers that start again, and where the
        server has forgotten what came between (410), what differs is told as if it had been seen. Raises what will
        not pass by itself: `Forbidden`, `NotFound` for a resource that is not served, `BadRequest`.
        """
        what, namespace = self._named(resource, namespace)
        watching = Watching(
            client=self,
            resource=what,
            namespace=namespace,
            name=name,
            label_selector=_selector(labels) or label_selector,
            field_selector=_selector(fields) or field_selector,
        )
        if isinstance(resource, ResourceType):
            return watch(watching, lambda document: document, after)
        kind: type[T] = resource
        known: Listing[Document] | None = None
        if after is not None:
            known = Listing[Document]([to_document(item) for item in after.items], after.resource_version)
        return watch(watching, lambda document: from_document(kind, document), known)

    def watch_once(
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
        """One watch as the server gives it: bookmarks too, until the server ends it. Raises `Expired`."""
        return self.transport.watch(
            WatchRequest(resource, namespace, name, label_selector, field_selector, resource_version, metadata_only)
        )

    # -- writing -----------------------------------------------------------------------------------------------------

    @overload
    async def create(
        self, resource: ResourceType, document: Document, namespace: str = "", *, dry_run: bool = False
    ) -> Document: ...

    @overload
    async def create(self, resource: Document, *, namespace: str = "", dry_run: bool = False) -> Document: ...

    @overload
    async def create(self, resource: T, *, name: str = "", namespace: str = "", dry_run: bool = False) -> T: ...

    async def create(
        self,
        resource: ResourceType | Document | T,
        document: Document | None = None,
        namespace: str = "",
        *,
        name: str = "",
        dry_run: bool = False,
    ) -> Document | T:
        """A new object; where it says no name or namespace, these. Raises `AlreadyExists`, `Invalid`.

        A document that says its apiVersion and kind needs no resource beside it.
        """
        if isinstance(resource, ResourceType):
            return await self._create(resource, document or {}, namespace, dry_run)
        if isinstance(resource, Mapping):
            found, document = await self._resource_of(resource, namespace)
            return await self._create(found, document, "", dry_run)
        what, wanted = self._document(resource, name, namespace)
        return from_document(type(resource), await self._create(what, wanted, "", dry_run))

    @overload
    async def update(
        self, resource: ResourceType, document: Document, *, subresource: str = "", dry_run: bool = False
    ) -> Document: ...

    @overload
    async def update(self, resource: T, *, subresource: str = "", dry_run: bool = False) -> T: ...

    async def update(
        self,
        resource: ResourceType | T,
        document: Document | None = None,
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Document | T:
        """Replace an object. Raises `Conflict` when its resourceVersion is not the present one."""
        if isinstance(resource, ResourceType):
            return await self._update(resource, document or {}, subresource, dry_run)
        what, wanted = self._document(resource)
        return from_document(type(resource), await self._update(what, wanted, subresource, dry_run))

    @overload
    async def update_status(self, resource: ResourceType, document: Document) -> Document: ...

    @overload
    async def update_status(self, resource: T) -> T: ...

    async def update_status(self, resource: ResourceType | T, document: Document | None = None) -> Document | T:
        """Replace an object's status, and nothing else of it."""
        if isinstance(resource, ResourceType):
            return await self.update(resource, document or {}, subresource="status")
        return await self.update(resource, subresource="status")

    @overload
    async def patch(
        self,
        resource: ResourceType,
        name: str,
        patch: Mapping[str, Any] | Sequence[Any],
        namespace: str = "",
        *,
        patch_type: PatchType | None = None,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Document: ...

    @overload
    async def patch(
        self,
        resource: type[T],
        name: str,
        patch: Mapping[str, Any] | Sequence[Any],
        namespace: str | None = None,
        *,
        patch_type: PatchType | None = None,
        subresource: str = "",
        dry_run: bool = False,
    ) -> T: ...

    async def patch(
        self,
        resource: ResourceType | type[T],
        name: str,
        patch: Mapping[str, Any] | Sequence[Any],
        namespace: str | None = None,
        *,
        patch_type: PatchType | None = None,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Document | T:
        """Change part of an object: by a merge patch (a mapping) or a JSON patch (a list), unless it says which.

        Patches are in the terms of documents: `{"spec": {"replicas": 3}}`.
        """
        what, namespace = self._named(resource, namespace)
        chosen = patch_type or ("merge" if isinstance(patch, Mapping) else "json")
        headers = {"content-type": _PATCH_CONTENT_TYPES[chosen]}
        path = what.path(namespace, name, subresource)
        document = await self._send("PATCH", path, self._write_parameters(dry_run), patch, headers)
        return document if isinstance(resource, ResourceType) else from_document(resource, document)

    @overload
    async def patch_status(
        self, resource: ResourceType, name: str, patch: Mapping[str, Any] | Sequence[Any], namespace: str = ""
    ) -> Document: ...

    @overload
    async def patch_status(
        self, resource: type[T], name: str, patch: Mapping[str, Any] | Sequence[Any], namespace: str | None = None
    ) -> T: ...

    async def patch_status(
        self,
        resource: ResourceType | type[T],
        name: str,
        patch: Mapping[str, Any] | Sequence[Any],
        namespace: str | None = None,
    ) -> Document | T:
        """Change part of an object's status: `{"status": {"phase": "Ready"}}`."""
        # The two cases are one to run, and two to type.
        what = cast(ResourceType, resource)
        return await self.patch(what, name, patch, cast(str, namespace), subresource="status")

    @overload
    async def apply(
        self,
        resource: ResourceType,
        document: Document,
        *,
        field_manager: str = "",
        force: bool = False,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Document: ...

    @overload
    async def apply(
        self,
        resource: Document,
        *,
        namespace: str = "",
        field_manager: str = "",
        force: bool = False,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Document: ...

    @overload
    async def apply(
        self,
        resource: T,
        *,
        name: str = "",
        namespace: str = "",
        field_manager: str = "",
        force: bool = False,
        subresource: str = "",
        dry_run: bool = False,
    ) -> T: ...

    async def apply(
        self,
        resource: ResourceType | Document | T,
        document: Document | None = None,
        *,
        name: str = "",
        namespace: str = "",
        field_manager: str = "",
        force: bool = False,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Document | T:
        """Server-side apply: have, and own, what is said here; what is not said is left to others.

        Raises `Conflict` for fields that others own, without `force`.
        """
        as_document = isinstance(resource, ResourceType | Mapping)
        what: ResourceType
        wanted: Document
        if isinstance(resource, ResourceType):
            what, wanted = resource, _with_type(document or {}, resource)
        elif isinstance(resource, Mapping):
            what, wanted = await self._resource_of(resource, namespace)
        else:
            what, wanted = self._document(resource, name, namespace)
            # Who owns what is the server's to say: it refuses to be told.
            cast(MutableDocument, wanted["metadata"]).pop("managedFields", None)
        path = what.path(namespace_of(wanted), name_of(wanted), subresource)
        query = [("fieldManager", field_manager or self.field_manager)]
        if force:
            query.append(("force", "true"))
        if dry_run:
            query.append(("dryRun", "All"))
        applied = await self._send("PATCH", path, query, wanted, {"content-type": _PATCH_CONTENT_TYPES["apply"]})
        return applied if as_document else from_document(type(cast(T, resource)), applied)

    @overload
    async def apply_status(self, resource: ResourceType, document: Document, *, force: bool = False) -> Document: ...

    @overload
    async def apply_status(self, resource: T, *, force: bool = False) -> T: ...

    async def apply_status(
        self, resource: ResourceType | T, document: Document | None = None, *, force: bool = False
    ) -> Document | T:
        """Server-side apply of the status."""
        if isinstance(resource, ResourceType):
            return await self.apply(resource, document or {}, force=force, subresource="status")
        return await self.apply(resource, force=force, subresource="status")

    @overload
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
    ) -> Document: ...

    @overload
    async def delete(
        self,
        resource: type[T],
        name: str,
        namespace: str | None = None,
        *,
        propagation: Propagation | None = None,
        grace_period: int | None = None,
        uid: str = "",
        resource_version: str = "",
        missing_ok: bool = False,
    ) -> T | None: ...

    @overload
    async def delete(
        self,
        resource: T,
        *,
        propagation: Propagation | None = None,
        grace_period: int | None = None,
        missing_ok: bool = False,
    ) -> T | None: ...

    async def delete(
        self,
        resource: Any,
        name: str = "",
        namespace: str | None = None,
        *,
        propagation: Propagation | None = None,
        grace_period: int | None = None,
        uid: str = "",
        resource_version: str = "",
        missing_ok: bool = False,
    ) -> Any:
        """Ask for deletion; with preconditions where `uid` or `resource_version` are given.

        The answer is the object where it stays for now (finalizers, grace); otherwise None, and for documents a
        Status. An object that is handed over is deleted only if it is still that one (by its uid).
        """
        kind = resource if isinstance(resource, type | ResourceType) else type(resource)
        if kind is not resource:
            metadata = metadata_of(resource)
            name, namespace, uid = metadata.name or "", metadata.namespace, metadata.uid or ""
        what, namespace = self._named(kind, namespace)
        options = delete_options(propagation, grace_period, uid, resource_version)
        try:
            document = await self._send("DELETE", what.path(namespace, name), [], options)
        except NotFound:
            if missing_ok:
                return None
            raise
        if isinstance(kind, ResourceType):
            return document
        return from_document(kind, document) if document.get("kind") == what.kind and "metadata" in document else None

    @overload
    async def delete_collection(
        self,
        resource: ResourceType,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        propagation: Propagation | None = None,
    ) -> None: ...

    @overload
    async def delete_collection(
        self,
        resource: type[Any],
        namespace: str | None = None,
        *,
        labels: Selector = "",
        fields: Selector = "",
        propagation: Propagation | None = None,
    ) -> None: ...

    async def delete_collection(
        self,
        resource: ResourceType | type[Any],
        namespace: str | None = None,
        *,
        labels: Selector = "",
        fields: Selector = "",
        label_selector: str = "",
        field_selector: str = "",
        propagation: Propagation | None = None,
    ) -> None:
        """Ask for deletion of every selected object of a namespace (or of a cluster-scoped resource)."""
        what, namespace = self._named(resource, namespace)
        query = parameters(
            labelSelector=_selector(labels) or label_selector, fieldSelector=_selector(fields) or field_selector
        )
        await self._send("DELETE", what.path(namespace), query, delete_options(propagation, None, "", ""))

    async def create_subresource(
        self, resource: ResourceType, name: str, subresource: str, document: Document, namespace: str = ""
    ) -> Document:
        """`POST` to a subresource: `binding`, `eviction`, `token`."""
        path = resource.path(namespace, name, subresource)
        return await self._send("POST", path, self._write_parameters(), document)

    @abc.abstractmethod
    async def resource(self, name: str, api_version: str = "") -> ResourceType:
        """The resource that the server serves under a name. Raises `NotFound`."""

    # -- below the verbs ---------------------------------------------------------------------------------------------

    def _named(self, resource: ResourceType | type[Any], namespace: str | None) -> tuple[ResourceType, str]:
        """What is meant, and in which namespace."""
        if isinstance(resource, ResourceType):
            return resource, namespace or ""
        what = resource_of(resource)
        return what, self.namespace if namespace is None and what.namespaced else namespace or ""

    def _document(self, value: object, name: str = "", namespace: str = "") -> tuple[ResourceType, MutableDocument]:
        """The document of an object, which says its name and namespace."""
        what, document = resource_of(type(value)), to_document(value)
        metadata: MutableDocument = document["metadata"]
        if name:
            metadata["name"] = name
        if what.namespaced:
            metadata["namespace"] = namespace or metadata.get("namespace") or self.namespace
        return what, document

    async def _resource_of(self, document: Document, namespace: str) -> tuple[ResourceType, Document]:
        """What a document that says its kind is one of, and the document with its namespace. Raises `NotFound`."""
        from kube_core.api.descriptors import descriptor_of_kind  # a table that most programs do without

        api_version, kind = str(document.get("apiVersion") or ""), str(document.get("kind") or "")
        if not api_version or not kind:
            missing = "kind" if api_version else "apiVersion"
            raise BadRequest(f"the document says no {missing}: name its resource beside it")
        version = GroupVersion.parse(api_version)
        descriptor = descriptor_of_kind(GroupVersionKind(version.group, version.version, kind))
        if descriptor is not None:
            what = descriptor.type
        else:
            try:
                what = await self.resource(kind, api_version)
            except NotFound as error:
                raise NotFound(f'no matches for kind "{kind}" in version "{api_version}"') from error
        if not what.namespaced:
            return what, document
        metadata = document.get("metadata") or {}
        inside = namespace or metadata.get("namespace") or self.namespace
        return what, {**document, "metadata": {**metadata, "namespace": inside}}

    async def _create(self, resource: ResourceType, document: Document, namespace: str, dry_run: bool) -> Document:
        path = resource.path(namespace or namespace_of(document))
        return await self._send("POST", path, self._write_parameters(dry_run), _with_type(document, resource))

    async def _update(self, resource: ResourceType, document: Document, subresource: str, dry_run: bool) -> Document:
        path = resource.path(namespace_of(document), name_of(document), subresource)
        return await self._send("PUT", path, self._write_parameters(dry_run), _with_type(document, resource))

    def _write_parameters(self, dry_run: bool = False) -> Query:
        query = [("fieldManager", self.field_manager)]
        if dry_run:
            query.append(("dryRun", "All"))
        return query

    async def _send(
        self,
        method: str,
        path: str,
        query: Query,
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


def parameters(**values: str) -> Query:
    return [(name, value) for name, value in values.items() if value]


def _selector(wanted: Selector) -> str:
    return wanted if isinstance(wanted, str) else ",".join(f"{name}={value}" for name, value in wanted.items())


def _listing(document: Document, resource: ResourceType) -> Listing[Document]:
    metadata = document.get("metadata") or {}
    return Listing(
        items=[_with_type(item, resource) for item in document.get("items") or ()],
        resource_version=str(metadata.get("resourceVersion") or ""),
        continue_token=str(metadata.get("continue") or ""),
        remaining=metadata.get("remainingItemCount"),
    )


def _identity(value: object) -> tuple[str, str]:
    metadata = metadata_of(value)
    return metadata.namespace or "", metadata.name or ""


def _with_type(document: Document, resource: ResourceType) -> Document:
    """The document with its kind: items of upstream's lists carry none, and callers may leave it out."""
    if "kind" in document and "apiVersion" in document:
        return document
    typed = {"apiVersion": resource.api_version, "kind": resource.kind, **document}
    return FrozenDict(typed) if isinstance(document, FrozenDict) else typed


def delete_options(
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

"""A little API server in memory, for tests of what stands on the client: verbs, watches, finalizers, discovery.

It keeps every change, so a watch can start at any revision that `compact` has left; `fail` makes the next requests
fail; `end_watches` ends every open watch. It validates nothing. The real server has tests of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import attrs

from kube_core._kit.clock import FakeClock
from kube_core._kit.random import Random
from kube_core.abc.transport import Request, Response, User, WatchEvent, WatchRequest
from kube_core.api.types import ResourceType
from kube_core.client.client import ApiClient
from kube_core.client.local import LocalTransport
from kube_core.meta.documents import Document, Key, MutableDocument, freeze, key_of, labels_of, thaw
from kube_core.meta.status import Conflict, Expired, MethodNotSupported, StatusError, already_exists, not_found
from kube_core.meta.times import format_time

CONFIG_MAPS = ResourceType("", "v1", "ConfigMap", "configmaps", True)
DEPLOYMENTS = ResourceType("apps", "v1", "Deployment", "deployments", True)
EVENTS = ResourceType("", "v1", "Event", "events", True)
NAMESPACES = ResourceType("", "v1", "Namespace", "namespaces", False)
NODES = ResourceType("", "v1", "Node", "nodes", False)
PODS = ResourceType("", "v1", "Pod", "pods", True)
REPLICA_SETS = ResourceType("apps", "v1", "ReplicaSet", "replicasets", True)
SERVICE_ACCOUNTS = ResourceType("", "v1", "ServiceAccount", "serviceaccounts", True)

BUILT_IN = (CONFIG_MAPS, DEPLOYMENTS, EVENTS, NAMESPACES, NODES, PODS, REPLICA_SETS, SERVICE_ACCOUNTS)
_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


@attrs.frozen
class _Change:
    revision: int
    resource: ResourceType
    event: WatchEvent


@attrs.define
class FakeApi:
    """`requests` holds every request as "METHOD path"."""

    clock: FakeClock = attrs.field(factory=FakeClock)
    random: Random = attrs.field(factory=lambda: Random(1))
    resources: list[ResourceType] = attrs.field(factory=lambda: list(BUILT_IN))
    requests: list[str] = attrs.field(factory=list)
    revision: int = 1
    broken_groups: set[str] = attrs.field(factory=set)
    """Group versions (`metrics/v1`) that discovery lists and that then do not answer."""
    refuse: Callable[[Request], StatusError | None] | None = None
    _objects: dict[ResourceType, dict[Key, Document]] = attrs.field(factory=dict)
    _changes: list[_Change] = attrs.field(factory=list)
    _compacted: int = 0
    _failures: list[StatusError] = attrs.field(factory=list)
    _changed: asyncio.Event = attrs.field(factory=asyncio.Event)
    _watch_round: int = 0
    watches_opened: int = 0

    def client(self, name: str = "test") -> ApiClient:
        return ApiClient(LocalTransport(self.handle, self, User(name)), field_manager=name)

    def fail(self, *errors: StatusError) -> None:
        """The next requests and watches fail with these."""
        self._failures += errors

    def end_watches(self) -> None:
        self._watch_round += 1
        self._wake()

    def compact(self) -> None:
        """Forget every change so far: watches from before now are refused."""
        self._compacted = self.revision

    def bookmark(self, resource: ResourceType) -> None:
        """Send a bookmark to those who watch `resource`."""
        self.revision += 1
        self._record(resource, "BOOKMARK", {"metadata": {"resourceVersion": str(self.revision)}})

    def objects(self, resource: ResourceType) -> dict[Key, Document]:
        return self._objects.setdefault(resource, {})

    def get(self, resource: ResourceType, name: str, namespace: str = "") -> Document | None:
        return self.objects(resource).get(Key(namespace, name))

    def put(self, resource: ResourceType, document: Document) -> Document:
        """Create or replace, past every rule."""
        new = thaw(document)
        metadata = new.setdefault("metadata", {})
        new.update(apiVersion=resource.api_version, kind=resource.kind)
        key = key_of(new)
        known = self.objects(resource).get(key)
        metadata.setdefault("uid", known["metadata"]["uid"] if known else self.random.uid())
        metadata.setdefault("creationTimestamp", format_time(self.clock.now()))
        self.revision += 1
        metadata["resourceVersion"] = str(self.revision)
        frozen: Document = freeze(new)
        self.objects(resource)[key] = frozen
        self._record(resource, "MODIFIED" if known else "ADDED", frozen)
        return frozen

    def remove(self, resource: ResourceType, name: str, namespace: str = "", *, silently: bool = False) -> None:
        """Delete, past every rule; `silently`: no watch is told (as when a watch was down and history is gone)."""
        last = thaw(self.objects(resource).pop(Key(namespace, name)))
        self.revision += 1
        last["metadata"]["resourceVersion"] = str(self.revision)
        if not silently:
            self._record(resource, "DELETED", freeze(last))

    async def handle(self, request: Request) -> Response:
        self.requests.append(f"{request.method} {request.path}")
        await asyncio.sleep(0)
        try:
            if self._failures:
                raise self._failures.pop(0)
            if self.refuse is not None and (error := self.refuse(request)) is not None:
                raise error
            return Response(document=self._answer(request))
        except StatusError as error:
            return Response(status=error.code, document=error.to_document())

    async def watch(self, wanted: WatchRequest, user: User) -> AsyncIterator[WatchEvent]:
        self.watches_opened += 1
        if self._failures:
            raise self._failures.pop(0)
        after, this_round = int(wanted.resource_version or self.revision), self._watch_round
        if after < self._compacted:
            raise Expired(f"too old resource version: {after} ({self._compacted})")
        position = next((i for i, change in enumerate(self._changes) if change.revision > after), len(self._changes))
        while True:
            changed = self._changed
            if self._watch_round != this_round:
                return  # what was not delivered yet is for the next watch
            while position < len(self._changes):
                change = self._changes[position]
                position += 1
                namespace = wanted.namespace
                here = not namespace or change.event.object["metadata"].get("namespace", namespace) == namespace
                if change.resource == wanted.resource and here:
                    yield change.event
            await changed.wait()

    def _record(self, resource: ResourceType, kind: str, document: Document) -> None:
        self._changes.append(_Change(self.revision, resource, WatchEvent(kind, document)))
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _answer(self, request: Request) -> Any:
        parts = request.path.strip("/").split("/")
        if len(parts) < (3 if parts[0] == "api" else 4):
            return self._discovery(parts)
        group, version, rest = ("", parts[1], parts[2:]) if parts[0] == "api" else (parts[1], parts[2], parts[3:])
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("finalize", "status"):
            namespace, rest = rest[1], rest[2:]
        resource = next(
            (r for r in self.resources if (r.group, r.version, r.plural) == (group, version, rest[0])), None
        )
        if resource is None:
            raise StatusError.from_document({"code": 404, "reason": "NotFound", "message": "no such resource"})
        name, subresource = [*rest, "", ""][1:3]
        verb = {"GET": self._read, "POST": self._create, "PUT": self._update, "PATCH": self._patch}.get(request.method)
        if request.method == "DELETE":
            return self._delete(resource, Key(namespace, name), request)
        if verb is None:
            raise MethodNotSupported(request.method)
        return verb(resource, Key(namespace, name), request, subresource)

    def _discovery(self, parts: list[str]) -> Any:
        groups = sorted({(r.group, r.version) for r in self.resources if r.group})
        groups += [(text.split("/")[0], text.split("/")[1]) for text in self.broken_groups]
        if parts == ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        if parts == ["apis"]:
            listed: list[dict[str, Any]] = [
                {
                    "name": group,
                    "versions": [{"groupVersion": f"{group}/{version}", "version": version}],
                    "preferredVersion": {"groupVersion": f"{group}/{version}", "version": version},
                }
                for group, version in groups
            ]
            return {"kind": "APIGroupList", "groups": listed}
        group_version = "/".join(parts[1:])
        if group_version in self.broken_groups:
            raise StatusError.from_document({"code": 503, "message": "service unavailable"})
        listed = [
            {"name": r.plural, "kind": r.kind, "namespaced": r.namespaced, "verbs": _VERBS}
            for r in self.resources
            if r.api_version == group_version
        ]
        return {"kind": "APIResourceList", "groupVersion": group_version, "resources": listed}

    def _read(self, resource: ResourceType, key: Key, request: Request, _subresource: str) -> Any:
        if key.name:
            return self._present(resource, key)
        labels = [part.split("=") for part in request.parameter("labelSelector").split(",") if part]
        items = [
            document
            for known, document in self.objects(resource).items()
            if key.namespace in ("", known.namespace) and all(labels_of(document).get(k) == v for k, v in labels)
        ]
        return {"kind": f"{resource.kind}List", "metadata": {"resourceVersion": str(self.revision)}, "items": items}

    def _create(self, resource: ResourceType, key: Key, request: Request, subresource: str) -> Any:
        document = thaw(request.document)
        if subresource:
            return {"kind": "Status", "status": "Success"}
        metadata = document.setdefault("metadata", {})
        if key.namespace:
            metadata["namespace"] = key.namespace
        if "name" not in metadata:
            metadata["name"] = metadata["generateName"] + self.random.suffix()
        if key_of(document) in self.objects(resource):
            raise already_exists(resource.group_resource, metadata["name"])
        metadata.pop("uid", None)
        return self.put(resource, document)

    def _update(self, resource: ResourceType, key: Key, request: Request, subresource: str) -> Any:
        present = self._present(resource, key)
        document = thaw(request.document)
        stale = document["metadata"].get("resourceVersion", "") not in ("", present["metadata"]["resourceVersion"])
        if stale or document["metadata"].get("uid", present["metadata"]["uid"]) != present["metadata"]["uid"]:
            raise Conflict("the object has been modified")
        if subresource == "status":
            document = {**thaw(present), "status": document.get("status")}
        return self._store(resource, document)

    def _patch(self, resource: ResourceType, key: Key, request: Request, subresource: str) -> Any:
        present = self._present(resource, key)
        patch = request.document
        if isinstance(patch, list):
            raise MethodNotSupported("JSON patches are not taken here")
        wanted = patch.get("metadata", {})
        for field in ("uid", "resourceVersion"):
            if wanted.get(field, present["metadata"][field]) != present["metadata"][field]:
                raise Conflict("precondition failed")
        document = _merge(thaw(present), patch)
        if document == present:
            return present
        return self._store(resource, document)

    def _delete(self, resource: ResourceType, key: Key, request: Request) -> Any:
        if not key.name:
            for known in [known for known in self.objects(resource) if key.namespace in ("", known.namespace)]:
                self._delete(resource, known, request)
            return {"kind": "Status", "status": "Success"}
        present = self._present(resource, key)
        options = request.document or {}
        wanted = options.get("preconditions") or {}
        for field, value in wanted.items():
            if present["metadata"][field] != value:
                raise Conflict(f"precondition failed: {field}")
        document = thaw(present)
        finalizers: list[str] = document["metadata"].setdefault("finalizers", [])
        extra = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(options.get("propagationPolicy", ""))
        if extra and extra not in finalizers:
            finalizers.append(extra)
        document["metadata"].setdefault("deletionTimestamp", format_time(self.clock.now()))
        if resource == NAMESPACES:
            document.setdefault("status", {})["phase"] = "Terminating"
        return self._store(resource, document)

    def _store(self, resource: ResourceType, document: MutableDocument) -> Document:
        """Write; an object that is being deleted and that nothing holds goes."""
        metadata = document["metadata"]
        held = metadata.get("finalizers") or (document.get("spec") or {}).get("finalizers")
        stored = self.put(resource, document)
        if metadata.get("deletionTimestamp") and not held:
            self.remove(resource, metadata["name"], metadata.get("namespace", ""))
        return stored

    def _present(self, resource: ResourceType, key: Key) -> Document:
        found = self.objects(resource).get(key)
        if found is None:
            raise not_found(resource.group_resource, key.name)
        return found


def _merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return thaw(patch)
    merged = target if isinstance(target, dict) else {}
    for field, value in patch.items():
        if value is None:
            merged.pop(field, None)
        else:
            merged[field] = _merge(merged.get(field), value)
    return merged


async def until(condition: Callable[[], Any], turns: int = 2000) -> None:
    """Let the loop turn until `condition()` is true. Fails where it never is."""
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came true")


def names(documents: Iterable[Document]) -> list[str]:
    return sorted(document["metadata"]["name"] for document in documents)


async def quiet(condition: Callable[[], Any], turns: int = 30) -> None:
    """Let the loop turn until `condition()` has been true for `turns` turns: nothing is on its way any more."""
    calm = 0
    for _ in range(20_000):
        calm = calm + 1 if condition() else 0
        if calm >= turns:
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to rest")

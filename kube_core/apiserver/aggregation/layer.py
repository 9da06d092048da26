"""The APIServices that name a Service: whether they answer, what they serve, and the way to them.

Each has a task of its own, which checks its backend when the APIService, its Service or the endpoints change, and twice
a minute; writes the condition `Available`; and keeps what the backend serves for discovery and OpenAPI. A request for
such a group and version is passed on, with headers that say who asks and a client certificate that makes them believed
(`kube_core.auth.front_proxy`); while the backend is not available it is answered with 503, as upstream does.

Without such APIServices nothing of this costs anything: a look at an empty table for each request.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core.abc.transport import Request, Response, User
from kube_core.admission.chain import Chain
from kube_core.api.resources import API_SERVICES, ENDPOINT_SLICES, ENDPOINTS, SERVICES
from kube_core.apiserver.aggregation import availability, discovery
from kube_core.apiserver.aggregation.availability import Condition
from kube_core.apiserver.aggregation.discovery import RemoteVersion
from kube_core.apiserver.aggregation.local import LocalService
from kube_core.apiserver.aggregation.openapi import RemoteOpenApi, index_entries
from kube_core.apiserver.bootstrap import OWN_OPTIONS, OWN_USER
from kube_core.apiserver.following import follow
from kube_core.apiserver.outgoing.passing import Route, pass_on
from kube_core.auth.front_proxy import FrontProxy, remote_headers
from kube_core.bus.bus import Interest
from kube_core.bus.changes import Change
from kube_core.meta.documents import Document, Key, MutableDocument, thaw
from kube_core.meta.gvk import GroupResource, GroupVersion
from kube_core.meta.status import NotFound, StatusError
from kube_core.registry.catalogue import Catalogue
from kube_core.registry.context import Context, WriteOptions
from kube_core.registry.generic import Update
from kube_core.registry.service_endpoints import ServiceEndpoints

if TYPE_CHECKING:
    from kube_core.apiserver.outgoing.client import Address, Answer, Outgoing

__all__ = ["Aggregation"]

_log = get_logger("kube_core.apiserver.aggregation")
#: Seconds between two checks of a backend that nothing happened to.
CHECK_PERIOD = 30.0
#: Seconds that a backend gets to answer discovery.
CHECK_TIMEOUT = 5.0
#: The longest document that is taken from a backend, in bytes.
_LONGEST_DOCUMENT = 32 * 1024 * 1024
_AGGREGATOR = User("system:kube-aggregator", ("system:masters",))
_UNAVAILABLE = b"service unavailable\n"
_TEXT = "text/plain; charset=utf-8"
_STATUS = Update(WriteOptions(field_manager=OWN_OPTIONS.field_manager, field_validation="Ignore"), "status")


@attrs.define(eq=False)
class _Backend:
    """One APIService with a Service."""

    document: Document
    wake: asyncio.Event = attrs.field(factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    fresh: bool = False
    resources: Sequence[dict[str, Any]] = ()
    openapi: RemoteOpenApi = attrs.field(factory=RemoteOpenApi)

    @property
    def group_version(self) -> GroupVersion:
        return GroupVersion(self.document["spec"].get("group") or "", self.document["spec"]["version"])

    @property
    def path(self) -> str:
        """Where its resources are."""
        each = self.group_version
        return f"/apis/{each.group}/{each.version}" if each.group else f"/api/{each.version}"

    @property
    def service(self) -> Key:
        reference = self.document["spec"]["service"]
        return Key(reference["namespace"], reference["name"])


class Aggregation:
    """The aggregation layer of one server."""

    def __init__(
        self, catalogue: Catalogue, endpoints: ServiceEndpoints, client: Outgoing, proxy: FrontProxy, clock: Clock
    ) -> None:
        self._catalogue = catalogue
        self._endpoints = endpoints
        self._client = client
        self._proxy = proxy
        self._clock = clock
        self._backends: dict[str, _Backend] = {}
        self._by_version: Mapping[GroupVersion, _Backend] = {}
        #: What parts of this program serve.
        self.local: list[LocalService] = []
        #: Counts the changes of what discovery and OpenAPI show.
        self.changed = 0

    # -- what others ask ---------------------------------------------------------------------------------------------

    def passes_on(self, request: Request, user: User) -> Awaitable[Response] | None:
        """The answer of a backend, where the path is one's; None otherwise."""
        backend = self._backend_of(request.path) if self._by_version else None
        if backend is not None:
            return self._pass_on(backend, request, user)
        for each in self.local:
            if request.path.startswith(each.path) and request.path[len(each.path) :][:1] in ("", "/"):
                return each.handle(request)
        return None

    def serve(self, service: LocalService) -> None:
        """Have a part of this program answer for a version of a group from now on."""
        self.local.append(service)
        self.changed += 1

    def versions(self) -> Sequence[RemoteVersion]:
        """What discovery shows of backends, and of what this program serves beside its resources."""
        local = [each.discovered for each in self.local if each.group_version not in self._by_version]
        return local + [
            RemoteVersion(
                each.group_version,
                each.document["spec"]["groupPriorityMinimum"],
                each.document["spec"]["versionPriority"],
                availability.is_available(each.document),
                each.fresh,
                each.resources,
            )
            for each in self._backends.values()
        ]

    def openapi(self) -> Mapping[str, RemoteOpenApi]:
        """What backends say of their API, by the path below which it is."""
        return {each.path: each.openapi for each in self._backends.values()}

    # -- the loop ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow APIServices and what they lead to, without end."""
        followed = (API_SERVICES, SERVICES, ENDPOINT_SLICES, ENDPOINTS)
        resources = {each.group_resource: Interest() for each in followed}
        cache = self._catalogue.of(API_SERVICES).objects.cache
        try:
            await follow(
                cache, resources, self._begin, self._changed, clock=self._clock, reason="APIServices are looked at"
            )
        finally:
            tasks = [each.task for each in self._backends.values() if each.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin(self) -> None:
        present = {stored.key.name: stored.document for stored in self._catalogue.of(API_SERVICES).cache.list()}
        for name in {*self._backends, *present}:
            await self._look_at(name, present.get(name))

    async def _changed(self, resource: GroupResource, changes: Sequence[Change]) -> None:
        if resource == API_SERVICES.group_resource:
            for name in {change.key.name: None for change in changes}:
                stored = self._catalogue.of(API_SERVICES).cache.get(Key("", name))
                await self._look_at(name, stored.document if stored is not None else None)
            return
        if not self._backends:
            return
        services = {_service_of(resource, change) for change in changes}
        for backend in self._backends.values():
            if backend.service in services:
                backend.wake.set()

    async def _look_at(self, name: str, document: Document | None) -> None:
        backend = self._backends.get(name)
        if document is None or document["spec"].get("service") is None:
            if backend is not None:
                self._forget(name, backend)
            if document is not None and not availability.is_available(document):
                condition = Condition(*(availability.LOCAL[key] for key in ("status", "reason", "message")))
                await self._write(name, condition)
            return
        if backend is None:
            backend = self._backends[name] = _Backend(document)
            backend.task = asyncio.create_task(self._keep(name, backend), name=f"APIService {name}")
        elif backend.document["spec"] != document["spec"]:
            backend.wake.set()
        backend.document = document
        self._arranged()

    def _forget(self, name: str, backend: _Backend) -> None:
        del self._backends[name]
        if backend.task is not None:
            backend.task.cancel()
        self._arranged()

    def _arranged(self) -> None:
        self._by_version = {each.group_version: each for each in self._backends.values()}
        self.changed += 1

    async def _keep(self, name: str, backend: _Backend) -> None:
        """Check a backend again and again, and learn what it serves."""
        while True:
            backend.wake.clear()
            try:
                with self._clock.hold(f"the backend of {name} is being asked"):
                    condition = await self._check(backend)
                    if condition is availability.PASSED:
                        await self._learn(backend)
                    else:
                        self._stale(backend)
                    await self._write(name, condition)
            except StatusError as error:
                if not isinstance(error, NotFound):
                    _log.warning("an APIService was not checked", name=name, error=str(error))
            waiting = asyncio.create_task(backend.wake.wait())
            passing = asyncio.create_task(self._clock.sleep(CHECK_PERIOD))
            try:
                await asyncio.wait([waiting, passing], return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
                passing.cancel()
                await asyncio.gather(waiting, passing, return_exceptions=True)

    async def _check(self, backend: _Backend) -> Condition:
        from kube_core.apiserver.outgoing.client import Unreachable

        found = availability.observed(backend.document, self._endpoints)
        if found is not None:
            return found
        try:
            answer, url = await self._ask(backend, backend.path)
        except (Unreachable, StatusError) as error:
            return availability.failed_discovery(f"failing or missing response from {backend.path}: {error}")
        await answer.body.aclose()
        if not 200 <= answer.status < 300:
            why = f"failing or missing response from {url}: bad status from {url}: {answer.status}"
            return availability.failed_discovery(why)
        return availability.PASSED

    async def _write(self, name: str, condition: Condition) -> None:
        async def changed(current: Document | None) -> MutableDocument:
            document: MutableDocument = thaw(current)
            availability.set_condition(document, condition, self._clock.now())
            return document

        registry = self._catalogue.of(API_SERVICES)
        stored = registry.cache.get(Key("", name))
        if stored is not None:
            present = availability.condition_of(stored.document) or {}
            wanted = (condition.status, condition.reason, condition.message)
            if tuple(present.get(key) for key in ("status", "reason", "message")) != wanted:
                await registry.update(Context(OWN_USER, Chain()), Key("", name), _STATUS, changed)

    # -- what backends serve -----------------------------------------------------------------------------------------

    async def _learn(self, backend: _Backend) -> None:
        """Read a backend's discovery and OpenAPI. What cannot be read stays what it was."""
        resources = await self._resources(backend)
        openapi = await self._openapi(backend)
        if resources is None:
            self._stale(backend)
        elif (resources, True) != (backend.resources, backend.fresh):
            backend.resources, backend.fresh = resources, True
            self.changed += 1
        if openapi != backend.openapi:
            backend.openapi = openapi
            self.changed += 1

    def _stale(self, backend: _Backend) -> None:
        if backend.fresh:
            backend.fresh = False
            self.changed += 1

    async def _resources(self, backend: _Backend) -> list[dict[str, Any]] | None:
        wanted = backend.group_version
        root = "/apis" if wanted.group else "/api"
        body = await self._document(backend, root, discovery.ACCEPT)
        found = discovery.of_aggregated(body, wanted) if body is not None else None
        if found is None:
            body = await self._document(backend, backend.path, "application/json")
            found = discovery.of_list(body, wanted) if body is not None else None
        return found

    async def _openapi(self, backend: _Backend) -> RemoteOpenApi:
        index = _loads(await self._document(backend, "/openapi/v3", "application/json"))
        name = backend.path.removeprefix("/")
        hashes = {key: value for key, value in index_entries(index).items() if key == name}
        tag = [("If-None-Match", backend.openapi.tag)] if backend.openapi.tag else []
        answer = await self._answer(backend, "/openapi/v2", "application/json", tag)
        if answer is None or answer[0].status == 304:
            return attrs.evolve(backend.openapi, hashes=hashes)
        document = _loads(answer[1])
        if not isinstance(document, dict):
            return RemoteOpenApi(hashes)
        return RemoteOpenApi(hashes, document, answer[0].header("etag"))

    async def _document(self, backend: _Backend, path: str, accept: str) -> bytes | None:
        answer = await self._answer(backend, path, accept)
        return answer[1] if answer is not None and answer[0].status == 200 else None

    async def _answer(
        self, backend: _Backend, path: str, accept: str, headers: Sequence[tuple[str, str]] = ()
    ) -> tuple[Answer, bytes] | None:
        """An answer with what it says; None where it is neither 200 nor 304, or does not come."""
        from kube_core.apiserver.outgoing.client import Unreachable

        try:
            answer, _ = await self._ask(backend, path, [("Accept", accept), *headers])
            body = await answer.read(_LONGEST_DOCUMENT)
        except (Unreachable, StatusError):
            return None
        return (answer, body) if answer.status in (200, 304) else None

    async def _ask(self, backend: _Backend, path: str, headers: Sequence[tuple[str, str]] = ()) -> tuple[Answer, str]:
        """Ask a backend in the aggregator's own name. Raises `Unreachable`, `StatusError`."""
        address = self._address(backend)
        sent = [*remote_headers(_AGGREGATOR), *headers]
        return await self._client.send(address, "GET", path, sent, timeout=CHECK_TIMEOUT), f"{address.url}{path}"

    # -- requests ----------------------------------------------------------------------------------------------------

    def _backend_of(self, path: str) -> _Backend | None:
        match path.strip("/").split("/", 5):
            case ["apis", group, version, *_]:
                return self._by_version.get(GroupVersion(group, version))
            case ["api", version, *_]:
                return self._by_version.get(GroupVersion("", version))
            case ["openapi", "v3", "apis", group, version]:
                backend = self._by_version.get(GroupVersion(group, version))
                return backend if backend is not None and backend.openapi.hashes else None
        return None

    async def _pass_on(self, backend: _Backend, request: Request, user: User) -> Response:
        from kube_core.apiserver.outgoing.client import Unreachable

        if not availability.is_available(backend.document):
            return Response(503, content_type=_TEXT, body=_UNAVAILABLE)
        try:
            address = self._address(backend)
        except StatusError:
            return Response(503, content_type=_TEXT, body=_UNAVAILABLE)
        route = Route(address, request.path, own_host=True, refuses_redirects=True, headers=tuple(remote_headers(user)))
        try:
            return await pass_on(self._client, request, route)
        except Unreachable as error:
            text = f"error trying to reach service: {error}\n".encode()
            return Response(503, content_type=_TEXT, body=text)

    def _address(self, backend: _Backend) -> Address:
        """Raises `NotFound`, `ServiceUnavailable`."""
        from kube_core.apiserver.outgoing.client import Address, Tls

        spec = backend.document["spec"]
        reference = spec["service"]
        namespace, name = reference["namespace"], reference["name"]
        endpoint = self._endpoints.resolve(namespace, name, reference.get("port", 443))
        try:
            authority = base64.b64decode(spec.get("caBundle") or "")
        except binascii.Error:
            authority = b""
        tls = Tls(
            server_name=f"{name}.{namespace}.svc",
            authority=authority,
            verify=not spec.get("insecureSkipTLSVerify"),
            client=self._proxy.certificate,
        )
        return Address(endpoint.host, endpoint.port, tls)


def _service_of(resource: GroupResource, change: Change) -> Key:
    """The key of the Service that a change is about."""
    if resource == ENDPOINT_SLICES.group_resource:
        stored = change.after or change.before
        name = stored.labels.get("kubernetes.io/service-name", "") if stored is not None else ""
        return Key(change.key.namespace, name)
    return change.key


def _loads(body: bytes | None) -> Any:
    try:
        return orjson.loads(body or b"")
    except orjson.JSONDecodeError:
        return None

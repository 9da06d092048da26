"""The API client: every verb of the API, on objects of a class or on documents, over any transport.

What is asked for says what comes back: a class of `kube_core.api` (or of a kind of one's own) gives objects of that
class, a `ResourceType` gives documents (plain JSON values), which works for every kind there is.

    deployment = await client.get(apps.Deployment, "web")              # apps.Deployment
    document = await client.get(resources.DEPLOYMENTS, "web", "site")  # Document

For classes, a namespace that is not named is the client's own (`client.namespace`: "default", or what the kubeconfig's
context says), and `ALL_NAMESPACES` means all of them where objects are listed or watched. For documents a namespace
is what it is on the wire: "" means all of them. Labels and fields are selected by a mapping or by a selector's text.

Objects come back frozen, and so do documents where the transport shares them with the server: treat them as
read-only. Failures are raised as the `StatusError` subclasses of `kube_core.meta.status`. Nothing is tried again here
but what a transport tries; `watch` and `wait` alone live through a server's absence.

Everything that talks to a server goes through here: controllers, scheduler, node, command line, and people's own
programs. What does not belong here: the verbs themselves (`objects.py`), caches (`informer.py`), how lists are paged
(`pages.py`), how watches go on (`watching.py`), a pod's streams (`pods.py`), and how bytes travel (`transport.py`).
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast, overload

from kube_core._kit.clock import Clock, SystemClock
from kube_core._kit.random import Random
from kube_core.abc.transport import ByteStream, Request
from kube_core.api.models.classes import resource_of
from kube_core.api.models.conversion import from_document, metadata_of
from kube_core.api.types import ResourceType
from kube_core.client.objects import ObjectClient, PatchType, Propagation, Selector, delete_options, parameters
from kube_core.client.pages import Listing
from kube_core.client.transport import Transport
from kube_core.client.watching import Watching
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.status import NotFound

if TYPE_CHECKING:
    from kube_core.client.discovery import Discovered, ServedResource
    from kube_core.client.pods import Command, Logs, PortForward
    from kube_core.client.version import ServerVersion

__all__ = ["ALL_NAMESPACES", "ApiClient", "Listing", "PatchType", "Propagation", "Selector"]

#: The namespace that stands for all of them, in lists and watches.
ALL_NAMESPACES = ""

T = TypeVar("T")

_PODS = ResourceType("", "v1", "Pod", "pods", True)
_SERVICE_ACCOUNTS = ResourceType("", "v1", "ServiceAccount", "serviceaccounts", True)


class ApiClient(ObjectClient):
    """A client. `field_manager` is recorded in managedFields by every write. An async context manager: it closes."""

    def __init__(
        self,
        transport: Transport,
        *,
        field_manager: str = "kube-core",
        namespace: str = "default",
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        super().__init__(
            transport,
            field_manager=field_manager,
            namespace=namespace,
            clock=clock or SystemClock(),
            random=random or Random(),
        )
        self._discovered: Discovered | None = None

    def with_field_manager(self, field_manager: str) -> ApiClient:
        """The same connection, writing under another name."""
        return self._like_this(field_manager, self.namespace)

    def with_namespace(self, namespace: str) -> ApiClient:
        """The same connection, with another namespace for what names none."""
        return self._like_this(self.field_manager, namespace)

    async def scale(
        self, resource: ResourceType | type[Any], name: str, replicas: int, namespace: str | None = None
    ) -> int:
        """Set how many replicas there are to be; how many there were is what comes back."""
        what, namespace = self._named(resource, namespace)
        before = await self.get(what, name, namespace, subresource="scale")
        await self.patch(what, name, {"spec": {"replicas": replicas}}, namespace, subresource="scale")
        return int((before.get("spec") or {}).get("replicas") or 0)

    async def evict(
        self, name: str, namespace: str | None = None, *, grace_period: int | None = None, dry_run: bool = False
    ) -> None:
        """Have a pod go, as its disruption budgets allow. Raises `TooManyRequests` where they do not, for now."""
        namespace = self.namespace if namespace is None else namespace
        eviction: MutableDocument = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
        }
        if options := delete_options(None, grace_period, "", ""):
            eviction["deleteOptions"] = options
        path = _PODS.path(namespace, name, "eviction")
        await self._send("POST", path, self._write_parameters(dry_run), eviction)

    async def create_token(
        self,
        service_account: str,
        namespace: str | None = None,
        *,
        audiences: Sequence[str] = (),
        seconds: int = 3600,
        bound_to: object | None = None,
    ) -> str:
        """A token for a service account, good for so many seconds, or as long as `bound_to` (a pod, a secret) is."""
        namespace = self.namespace if namespace is None else namespace
        spec: MutableDocument = {"audiences": [*audiences], "expirationSeconds": seconds}
        if bound_to is not None:
            what, metadata = resource_of(type(bound_to)), metadata_of(bound_to)
            spec["boundObjectRef"] = {
                "apiVersion": what.api_version,
                "kind": what.kind,
                "name": metadata.name,
                "uid": metadata.uid,
            }
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = await self.create_subresource(_SERVICE_ACCOUNTS, service_account, "token", request, namespace)
        return str(answer["status"]["token"])

    # -- waiting -----------------------------------------------------------------------------------------------------

    @overload
    async def wait(
        self,
        resource: type[T],
        name: str,
        namespace: str | None = None,
        *,
        condition: Literal["deleted"],
        timeout: float | None = 30.0,
    ) -> None: ...

    @overload
    async def wait(self, resource: T, *, condition: Literal["deleted"], timeout: float | None = 30.0) -> None: ...

    @overload
    async def wait(
        self,
        resource: type[T],
        name: str,
        namespace: str | None = None,
        *,
        condition: str | Callable[[T], bool],
        timeout: float | None = 30.0,
    ) -> T: ...

    @overload
    async def wait(self, resource: T, *, condition: str | Callable[[T], bool], timeout: float | None = 30.0) -> T: ...

    async def wait(
        self,
        resource: Any,
        name: str = "",
        namespace: str | None = None,
        *,
        condition: str | Callable[[Any], bool],
        timeout: float | None = 30.0,
    ) -> Any:
        """The object once it is as `condition` says; an object that is not there yet is waited for.

        A condition is the type of one of the status' conditions (`"Available"`, or `"Available=False"`), a function
        of the object, or `"deleted"`: then it is gone, or another of its name is there. Raises `TimeoutError`, which
        says how things stand, after `timeout` seconds.
        """
        from kube_core.client.waiting import wait

        kind = resource if isinstance(resource, type) else type(resource)
        uid = ""
        if kind is not resource:
            metadata = metadata_of(resource)
            name, namespace, uid = metadata.name or "", metadata.namespace, metadata.uid or ""
        what, namespace = self._named(kind, namespace)
        watching = Watching(client=self, resource=what, namespace=namespace, name=name)
        found = await wait(watching, kind, uid, condition, timeout)
        return None if found is None else from_document(kind, found)

    # -- a pod's containers ------------------------------------------------------------------------------------------

    def logs(
        self,
        name: str,
        namespace: str | None = None,
        *,
        container: str = "",
        follow: bool = False,
        previous: bool = False,
        tail: int | None = None,
        since: float | datetime | None = None,
        timestamps: bool = False,
    ) -> Logs:
        """A container's log: awaited, its text; iterated over, its lines. `since`: seconds ago, or a moment."""
        from kube_core.client.pods import Logs

        namespace = self.namespace if namespace is None else namespace
        moment = since.astimezone(UTC).isoformat(timespec="seconds") if isinstance(since, datetime) else ""
        query = parameters(
            container=container,
            follow="true" if follow else "",
            previous="true" if previous else "",
            tailLines="" if tail is None else str(tail),
            sinceTime=moment.replace("+00:00", "Z"),
            sinceSeconds="" if since is None or moment else str(math.ceil(cast(float, since))),
            timestamps="true" if timestamps else "",
        )
        path = _PODS.path(namespace, name, "log")
        return Logs(lambda: self.stream(path, query))

    def exec(
        self,
        name: str,
        command: Sequence[str],
        namespace: str | None = None,
        *,
        container: str = "",
        stdin: bytes | None = None,
        tty: bool = False,
    ) -> Command:
        """A command in a container: awaited, run with `stdin` to its end; entered, a session to talk to it."""
        return self._command("exec", name, command, namespace, container, stdin, tty)

    def attach(self, name: str, namespace: str | None = None, *, container: str = "", tty: bool = False) -> Command:
        """The streams of a container's own program; entered as those of a command of `exec` are."""
        return self._command("attach", name, (), namespace, container, None, tty)

    def port_forward(self, name: str, port: int, namespace: str | None = None) -> PortForward:
        """A port of a pod: entered, one connection to it; `.listen()`, a local port that leads there."""
        from kube_core.client.pods import PortForward

        namespace = self.namespace if namespace is None else namespace
        headers = {"sec-websocket-protocol": "v4.channel.k8s.io"}
        path, query = _PODS.path(namespace, name, "portforward"), [("ports", str(port))]
        return PortForward(lambda: self.transport.connect(Request("GET", path, query, headers)), port)

    def _command(
        self,
        subresource: str,
        name: str,
        command: Sequence[str],
        namespace: str | None,
        container: str,
        stdin: bytes | None,
        tty: bool,
    ) -> Command:
        from kube_core.client.pods import Command, exec_query

        path = _PODS.path(self.namespace if namespace is None else namespace, name, subresource)

        def connect(with_input: bool) -> Awaitable[ByteStream]:
            query = exec_query(command, container, stdin=with_input, tty=tty)
            return self.transport.connect(Request("GET", path, query))

        return Command(connect, stdin)

    # -- what there is, and other paths ------------------------------------------------------------------------------

    async def resource(self, name: str, api_version: str = "") -> ResourceType:
        """The resource that the server serves under a name, as kubectl takes it, asked of the server once.

        `deployments`, `deployments.apps`, `deployments.v1.apps`, `Deployment`, `deploy`, or with its version apart:
        `("Deployment", "apps/v1")`. Raises `NotFound`.
        """
        from kube_core.client.discovery import discover

        known = self._discovered
        if known is not None and (found := known.find(name, api_version)) is not None:
            return found
        # A definition may have come since.
        self._discovered = known = await discover(self)
        found = known.find(name, api_version)
        if found is None:
            of = f' in "{api_version}"' if api_version else ""
            raise NotFound(f'the server has no resource type "{name}"{of}')
        return found

    async def api_resources(self) -> Sequence[ServedResource]:
        """Every resource that the server serves now, in the version that it prefers."""
        from kube_core.client.discovery import discover

        self._discovered = await discover(self)
        return self._discovered.resources

    async def version(self) -> ServerVersion:
        """What the server says of itself."""
        from kube_core.client.version import ServerVersion

        return ServerVersion.from_document(await self.get_path("/version"))

    async def get_path(self, path: str, query: Sequence[tuple[str, str]] = (), *, accept: str = "") -> Document:
        """`GET` of any path that answers JSON: discovery, `/version`, OpenAPI. Raises `NotFound`."""
        return await self._send("GET", path, [*query], headers={"accept": accept} if accept else None)

    def stream(self, path: str, query: Sequence[tuple[str, str]] = ()) -> AsyncIterator[bytes]:
        """`GET` of any path as chunks of bytes as they come: a pod's logs, with `follow`."""
        return self.transport.stream(Request("GET", path, query, {"accept": "*/*"}))

    async def close(self) -> None:
        await self.transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _like_this(self, field_manager: str, namespace: str) -> ApiClient:
        return ApiClient(
            self.transport, field_manager=field_manager, namespace=namespace, clock=self.clock, random=self.random
        )

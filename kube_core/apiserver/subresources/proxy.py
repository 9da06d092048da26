"""`proxy` of pods, services and nodes: a request is carried there, and the answer back.

    pods/[SCHEME:]NAME[:PORT]/proxy/PATH        to the pod's address; without a port, to its first container port
    services/[SCHEME:]NAME[:PORT]/proxy/PATH    to any ready endpoint; PORT is a port's name or number
    nodes/[SCHEME:]NAME[:PORT]/proxy/PATH       to the node's own server, or to another port of the node; a node of
                                                this program is asked without a socket

Which address that is, and what there is to say where there is none, is decided here; carrying is
`kube_core.apiserver.outgoing`'s. Certificates of pods and services are not verified, as upstream does not.

Addresses that are the host's own (loopback, link-local, multicast) are refused, so that nobody reaches the server's
machine through a pod that claims such an address; the ranges that the network driver declares are exempt.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import attrs

from kube_core.abc.node import KUBELET_PORT
from kube_core.abc.transport import Handler, Request, Response
from kube_core.apiserver.outgoing.passing import Route, asks_to_switch, pass_on
from kube_core.apiserver.requests import RequestInfo
from kube_core.meta.documents import Document, Key
from kube_core.meta.status import BadRequest, InternalError, ServiceUnavailable
from kube_core.registry.context import Context
from kube_core.registry.generic import Registry
from kube_core.registry.service_endpoints import ServiceEndpoint, ServiceEndpoints, find_port

if TYPE_CHECKING:
    from kube_core.apiserver.outgoing.client import Address, Outgoing
    from kube_core.apiserver.streams.kubelet import Kubelets

__all__ = ["Proxy", "split_name"]

_MOVED = 301


class Proxy:
    """The handler of `proxy`, for the three kinds."""

    def __init__(
        self,
        client: Outgoing,
        endpoints: ServiceEndpoints,
        pods: Registry,
        kubelets: Kubelets,
        *,
        local_node: Callable[[str], Handler | None],
        exempt: Iterable[str] = (),
    ) -> None:
        """`local_node`: what answers for a node that is in this program."""
        self._client = client
        self._endpoints = endpoints
        self._pods = pods
        self._kubelets = kubelets
        self._local_node = local_node
        self._exempt = tuple(ipaddress.ip_network(each) for each in exempt)

    async def __call__(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        from kube_core.apiserver.outgoing.client import Unreachable

        singular = registry.descriptor.singular
        split = split_name(info.name)
        if split is None:
            raise BadRequest(f'invalid {singular} request "{info.name}"')
        scheme, name, port = split
        path = _path(request, info)
        if info.resource == "nodes" and port in ("", str(KUBELET_PORT)):
            await registry.find(Key("", name))
            local = self._local_node(name)
            if local is not None:
                return _moved(request, path) or await local(attrs.evolve(request, path=path or "/"))
        match info.resource:
            case "pods":
                address = await self._pod(registry, Key(info.namespace, name), scheme, port)
            case "services":
                address = await self._service(Key(info.namespace, name), scheme, port, info.name)
            case _:
                address = await self._node(registry, name, scheme, port)
        if (moved := _moved(request, path)) is not None:
            return moved
        prefix = request.path.removesuffix(path) if path else request.path
        try:
            return await pass_on(self._client, request, Route(address, path or "/", prefix))
        except Unreachable as error:
            raise ServiceUnavailable(f"error trying to reach service: {error}") from None

    async def _pod(self, pods: Registry, key: Key, scheme: str, port: str) -> Address:
        pod = (await pods.find(key)).document
        if not port:
            containers = (pod.get("spec") or {}).get("containers") or ()
            port = next((str(each["ports"][0]["containerPort"]) for each in containers if each.get("ports")), "")
        return _address(scheme, self._checked(_pod_ip(pod)), port)

    async def _service(self, key: Key, scheme: str, port: str, shown: str) -> Address:
        await self._pods.objects.cache.caught_up()
        if port.isascii() and port.isdigit():
            found = find_port(self._endpoints.service(key), int(port))
            if found is None:
                raise ServiceUnavailable(f'no service port {port} found for service "{key.name}"')
            port = found.get("name") or ""
        if not self._endpoints.known(key):
            raise ServiceUnavailable(f'no endpoints available for service "{key.name}"')
        endpoint = self._endpoints.pick(key, port, shown=shown)
        self._check_endpoint(endpoint, key.namespace)
        return _address(scheme, endpoint.host, str(endpoint.port))

    def _check_endpoint(self, endpoint: ServiceEndpoint, namespace: str) -> None:
        """Only addresses of pods are gone to: anybody may write an address into an Endpoints object."""
        where = endpoint.pod
        if where is None:
            raise InternalError(f"address has no target ref, skipping: {endpoint.host}", reason="")
        if where.namespace != namespace:
            raise InternalError("address namespace doesn't match context namespace", reason="")
        pod = self._pods.cache.get(where)
        if pod is None:
            raise InternalError(f"pod is missing, skipping ({where.namespace}/{where.name})", reason="")
        status = pod.document.get("status") or {}
        if endpoint.host not in (status.get("podIP"), *(each.get("ip") for each in status.get("podIPs") or ())):
            why = f"pod ip(s) doesn't match endpoint ip, skipping: {status.get('podIP')} vs {endpoint.host}"
            raise InternalError(f"{why} ({where.namespace}/{where.name})", reason="")

    async def _node(self, nodes: Registry, name: str, scheme: str, port: str) -> Address:
        node = (await nodes.find(Key("", name))).document
        own = self._kubelets.address(node)
        if not port or port == str(own.port):
            return own
        return _address(scheme, self._checked(own.host), port)

    def _checked(self, text: str) -> str:
        """Raises `BadRequest` for an address that is the host's own, or none."""
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            raise BadRequest("address not allowed") from None
        own = address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
        if own and not any(address in network for network in self._exempt):
            raise BadRequest("address not allowed")
        return text


def split_name(text: str) -> tuple[str, str, str] | None:
    """Scheme, name and port of `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`; None for what is none of these."""
    match text.split(":"):
        case [name]:
            scheme, port = "", ""
        case [name, port]:
            scheme = ""
        case [scheme, name, port]:
            pass
        case _:
            return None
    return (scheme, name, port) if name and scheme in ("", "http", "https") else None


def _path(request: Request, info: RequestInfo) -> str:
    """The path at the other end, "" where the request has none; with its slash at the end, if there is one."""
    rest = f"/{info.rest}" if info.rest else ""
    return f"{rest}/" if request.path.endswith("/") and not rest.endswith("/") else rest


def _moved(request: Request, path: str) -> Response | None:
    """Who asks for no path is sent to `/`: relative links of the page would lead to the wrong place."""
    if path or request.method not in ("GET", "HEAD") or asks_to_switch(request.headers):
        return None
    query = f"?{request.raw_query}" if request.raw_query else ""
    return Response(_MOVED, {"Location": f"{request.path}/{query}"}, content_type="", body=b"")


def _pod_ip(pod: Document) -> str:
    status: dict[str, Any] = dict(pod.get("status") or {})
    first = next((each.get("ip") for each in status.get("podIPs") or ()), None)
    return str(first or status.get("podIP") or "")


def _address(scheme: str, host: str, port: str) -> Address:
    from kube_core.apiserver.outgoing.client import Address, Tls

    tls = Tls(verify=False) if scheme == "https" else None
    if not port:
        return Address(host, 443 if tls is not None else 80, tls)
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ServiceUnavailable(f"error trying to reach service: dial tcp: lookup tcp/{port}: unknown port")
    return Address(host, int(port), tls)

"""From Services and EndpointSlices to the table that a proxy driver serves. Pure.

Follows upstream's documented behaviour of Services:

* Headless and ExternalName services are not proxied, nor those that the label
  `service.kubernetes.io/service-proxy-name` gives to another proxy.
* New connections go to ready endpoints; where none is ready, to those that are terminating and still serving, so
  that a rollout of a single pod loses nothing.
* `internalTrafficPolicy: Local` and `externalTrafficPolicy: Local` keep traffic to endpoints of this node.
* `loadBalancerSourceRanges` says which clients reach the addresses of the load balancer; those of the mode `Proxy` are
  not served here.
* `sessionAffinity: ClientIP` holds for `timeoutSeconds`, three hours by default.

One address family, the one of `spec.clusterIP`, is served.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs

from kube_core.abc.proxy import Endpoint, PortName, ServicePort
from kube_core.meta.documents import Document, labels_of, name_of, namespace_of

__all__ = ["SERVICE_NAME_LABEL", "endpoints_of_port", "is_proxied", "service_of_slice", "service_ports"]

#: On an EndpointSlice: the service that it belongs to.
SERVICE_NAME_LABEL = "kubernetes.io/service-name"

_OTHER_PROXY_LABEL = "service.kubernetes.io/service-proxy-name"
_DEFAULT_AFFINITY_SECONDS = 10_800


def is_proxied(service: Document) -> bool:
    """Whether connections to this service's address are ours to carry."""
    spec = service.get("spec") or {}
    return (
        spec.get("type") != "ExternalName"
        and spec.get("clusterIP") not in (None, "", "None")
        and _OTHER_PROXY_LABEL not in labels_of(service)
    )


def service_of_slice(endpoint_slice: Document) -> str:
    """The name of the service that an EndpointSlice belongs to; "" for none."""
    return labels_of(endpoint_slice).get(SERVICE_NAME_LABEL, "")


def service_ports(service: Document, slices: Iterable[Document], *, node_name: str = "") -> Sequence[ServicePort]:
    """The rows of one service. `slices`: its own. `node_name`: the node that is served; "" for all nodes as one."""
    if not is_proxied(service):
        return ()
    spec = service["spec"]
    slices = tuple(slices)
    cluster_ips = (str(spec["clusterIP"]),)
    balancer = tuple(_balancer_ips(service))
    external = (*(str(ip) for ip in spec.get("externalIPs") or ()), *balancer)
    affinity = _affinity_seconds(spec)
    ports = []
    for port in spec.get("ports") or ():
        known = list(_endpoints(port, slices, family=_family(cluster_ips[0])))
        ports.append(
            ServicePort(
                name=PortName(namespace_of(service), name_of(service), str(port.get("name") or "")),
                protocol=str(port.get("protocol") or "TCP"),
                port=int(port["port"]),
                cluster_ips=cluster_ips,
                endpoints=_usable(known, node_name if spec.get("internalTrafficPolicy") == "Local" else ""),
                node_port=int(port.get("nodePort") or 0),
                external_ips=external,
                external_endpoints=_usable(known, node_name if spec.get("externalTrafficPolicy") == "Local" else ""),
                affinity_seconds=affinity,
                balancer_ips=balancer,
                allowed_sources=tuple(str(each).strip() for each in spec.get("loadBalancerSourceRanges") or ()),
            )
        )
    return ports


def endpoints_of_port(service: Document, port: Document, slices: Iterable[Document]) -> tuple[Endpoint, ...]:
    """The endpoints that take new requests for one of a service's ports (an item of `spec.ports`)."""
    cluster_ip = str((service.get("spec") or {}).get("clusterIP") or "")
    return _usable(list(_endpoints(port, slices, family=_family(cluster_ip))), "")


@attrs.frozen(slots=True)
class _Known:
    endpoint: Endpoint
    node: str
    ready: bool
    serving: bool
    terminating: bool


def _endpoints(port: Document, slices: Iterable[Document], *, family: str) -> Iterator[_Known]:
    name, protocol = str(port.get("name") or ""), str(port.get("protocol") or "TCP")
    for endpoint_slice in slices:
        if endpoint_slice.get("addressType") != family:
            continue
        number = _port_number(endpoint_slice.get("ports") or (), name, protocol)
        if number is None:
            continue
        for item in endpoint_slice.get("endpoints") or ():
            addresses = item.get("addresses")
            if addresses:
                yield _known(item, Endpoint(str(addresses[0]), number))


def _known(item: Document, endpoint: Endpoint) -> _Known:
    conditions = item.get("conditions") or {}
    ready = conditions.get("ready") is not False  # unknown counts as ready
    serving = conditions.get("serving")
    return _Known(
        endpoint,
        str(item.get("nodeName") or ""),
        ready,
        ready if serving is None else bool(serving),
        bool(conditions.get("terminating")),
    )


def _usable(known: Sequence[_Known], node_name: str) -> tuple[Endpoint, ...]:
    """Sorted and each once: a pod may be in two slices while it moves from one to the other."""
    here = [item for item in known if not node_name or item.node == node_name]
    ready = {item.endpoint for item in here if item.ready}
    return tuple(sorted(ready or {item.endpoint for item in here if item.serving and item.terminating}))


def _port_number(ports: Iterable[Document], name: str, protocol: str) -> int | None:
    for port in ports:
        if (port.get("name") or "") == name and (port.get("protocol") or "TCP") == protocol and port.get("port"):
            return int(port["port"])
    return None


def _balancer_ips(service: Document) -> Iterator[str]:
    balancer = (service.get("status") or {}).get("loadBalancer") or {}
    for ingress in balancer.get("ingress") or ():
        if ingress.get("ip") and ingress.get("ipMode", "VIP") == "VIP":
            yield str(ingress["ip"])


def _affinity_seconds(spec: Document) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    config: Any = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(config.get("timeoutSeconds") or _DEFAULT_AFFINITY_SECONDS)


def _family(ip: str) -> str:
    return "IPv6" if ":" in ip else "IPv4"

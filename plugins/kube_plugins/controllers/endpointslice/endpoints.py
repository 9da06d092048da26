"""The endpoints of a Service, one for each pod and address family, as an EndpointSlice lists them.

Pure. `serving` says that the pod is ready, `terminating` that it is being deleted, `ready` that it is the one and not
the other (or that the Service publishes addresses that are not ready). Endpoints are grouped by the ports that their
pods have for the Service, for a slice has one list of ports (upstream: "EndpointSlices", "Conditions", "Topology").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from kube_core.api import pods
from kube_core.meta.documents import Document, MutableDocument, is_deleting, labels_of
from kube_plugins.controllers import services

__all__ = ["AddressType", "Group", "PortMark", "address_types", "desired_groups", "port_mark"]

AddressType = str  # "IPv4" or "IPv6"

#: What tells two lists of ports apart, whatever their order.
PortMark = tuple[tuple[str, int, str, str], ...]

_ZONE_LABEL = "topology.kubernetes.io/zone"


@attrs.frozen
class Group:
    """Endpoints that share one list of ports."""

    ports: Sequence[MutableDocument]
    endpoints: Sequence[MutableDocument]


def address_types(service: Document) -> tuple[AddressType, ...]:
    """The families that the Service has slices for."""
    return tuple(service["spec"].get("ipFamilies") or ("IPv4",))


def port_mark(ports: Iterable[Mapping[str, Any]]) -> PortMark:
    return tuple(
        sorted(
            (
                str(port.get("name") or ""),
                int(port.get("port") or 0),
                str(port.get("protocol") or "TCP"),
                str(port.get("appProtocol") or ""),
            )
            for port in ports
        )
    )


def desired_groups(
    service: Document, candidates: Iterable[Document], address_type: AddressType, nodes: Mapping[str, Document]
) -> dict[PortMark, Group]:
    """The endpoints there should be. `candidates`: the pods of the namespace; `nodes`: by name, for their zones."""
    groups: dict[PortMark, tuple[list[MutableDocument], list[MutableDocument]]] = {}
    for pod in services.matching(service, candidates):
        if not services.counts_as_endpoint(pod, terminating=True):
            continue
        if pods.node_name_of(pod) not in nodes and not services.publishes_not_ready(service):
            continue  # nobody serves it; with its node it comes back
        addresses = [ip for ip in pods.pod_ips(pod) if (":" in ip) == (address_type == "IPv6")]
        if not addresses:
            continue
        ports = services.resolved_ports(service, pod)
        group = groups.setdefault(port_mark(ports), (ports, []))
        group[1].append(_endpoint(service, pod, addresses, nodes))
    return {mark: Group(*group) for mark, group in groups.items()}


def _endpoint(service: Document, pod: Document, addresses: list[str], nodes: Mapping[str, Document]) -> MutableDocument:
    serving, terminating = pods.is_ready(pod), is_deleting(pod)
    endpoint: MutableDocument = {
        "addresses": addresses,
        "conditions": {
            "ready": services.publishes_not_ready(service) or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": services.target_reference(pod),
    }
    if hostname := services.hostname_in(service, pod):
        endpoint["hostname"] = hostname
    if name := pods.node_name_of(pod):
        endpoint["nodeName"] = name
        zone = labels_of(nodes[name]).get(_ZONE_LABEL) if name in nodes else None
        if zone:
            endpoint["zone"] = zone
    return endpoint

"""From a Service to the load balancer that it should have. Pure.

A Service of the type LoadBalancer has one, unless it names a `loadBalancerClass`, which is somebody else's. It has the
finalizer `service.kubernetes.io/load-balancer-cleanup` from before the load balancer is made until after that is
deleted: when the Service goes, or is of another type. Node ports of nodes take part that are ready, are not being
removed, and do not carry the label `node.kubernetes.io/exclude-from-external-load-balancers` (upstream: "service
controller").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Literal

from kube_core.abc.cloud import BalancerAddress, BalancerPort, BalancerRequest
from kube_core.control.conditions import is_condition_true
from kube_core.meta.documents import (
    Document,
    MutableDocument,
    annotations_of,
    finalizers_of,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)

__all__ = ["FINALIZER", "Wish", "balancer_name", "changes", "eligible_nodes", "request_of", "status_of", "wish_of"]

FINALIZER: Final = "service.kubernetes.io/load-balancer-cleanup"
_EXCLUDED: Final = "node.kubernetes.io/exclude-from-external-load-balancers"
_LEAVING: Final = "ToBeDeletedByClusterAutoscaler"

Wish = Literal["none", "balancer", "cleanup"]


def wish_of(service: Document) -> Wish:
    """Whether it is to have a load balancer, to lose the one it has, or neither."""
    spec = service["spec"]
    if spec.get("type") == "LoadBalancer" and not is_deleting(service):
        return "none" if spec.get("loadBalancerClass") is not None else "balancer"
    return "cleanup" if FINALIZER in finalizers_of(service) else "none"


def balancer_name(service: Document) -> str:
    """A name that clouds take, of the Service's uid; upstream's."""
    return ("a" + uid_of(service).replace("-", ""))[:32]


def request_of(service: Document, nodes: Iterable[Document]) -> BalancerRequest:
    """`nodes`: every node."""
    spec = service["spec"]
    return BalancerRequest(
        name=balancer_name(service),
        namespace=namespace_of(service),
        service=name_of(service),
        ports=tuple(_ports(spec)),
        source_ranges=tuple(str(each).strip() for each in spec.get("loadBalancerSourceRanges") or ()),
        wanted_address=str(spec.get("loadBalancerIP") or ""),
        families=tuple(spec.get("ipFamilies") or ("IPv4",)),
        nodes=tuple(sorted(map(name_of, eligible_nodes(nodes)))),
        annotations=dict(annotations_of(service)),
    )


def eligible_nodes(nodes: Iterable[Document]) -> Iterator[Document]:
    """Those that load balancers may lead to."""
    for node in nodes:
        excluded = labels_of(node).get(_EXCLUDED, "false").lower() not in ("false", "f", "0")
        leaving = any(taint.get("key") == _LEAVING for taint in (node.get("spec") or {}).get("taints") or ())
        if not excluded and not leaving and not is_deleting(node) and is_condition_true(node, "Ready"):
            yield node


def status_of(service: Document, addresses: Sequence[BalancerAddress]) -> MutableDocument:
    """`status.loadBalancer` for where it answers; {} for nowhere."""
    ingress: list[dict[str, Any]] = []
    for address in addresses:
        if address.hostname:
            ingress.append({"hostname": address.hostname})
        if address.ip:
            ingress.append({"ip": address.ip, "ipMode": address.ip_mode})
    return {"ingress": ingress} if ingress else {}


def changes(before: Document, after: Document) -> Iterator[tuple[str, str]]:
    """Events that say what of a Service changed that concerns its load balancer: reason and message."""
    for field, reason in (
        ("type", "Type"),
        ("loadBalancerSourceRanges", "LoadBalancerSourceRanges"),
        ("loadBalancerIP", "LoadbalancerIP"),
        ("externalTrafficPolicy", "ExternalTrafficPolicy"),
    ):
        old, new = before["spec"].get(field), after["spec"].get(field)
        if old != new:
            yield reason, f"{_shown(old)} -> {_shown(new)}"


def _ports(spec: Document) -> Iterator[BalancerPort]:
    for port in spec.get("ports") or ():
        yield BalancerPort(
            str(port.get("name") or ""),
            str(port.get("protocol") or "TCP"),
            int(port["port"]),
            int(port.get("nodePort") or 0),
        )


def _shown(value: Any) -> str:
    return f"[{' '.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value or "")

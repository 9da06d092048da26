"""The Endpoints object of a Service: its pods' addresses, in subsets that share the same ports.

Pure. Pods that are ready (or all, where the Service publishes addresses that are not) are `addresses`, the others
`notReadyAddresses`; pods that are being deleted or have ended are not listed. Only the first address family of the
Service is, and at most a thousand addresses; more are cut off, ready ones last, and an annotation says so. The order
of everything is fixed, so that an unchanged world gives an unchanged object (upstream: "Service", "Over-capacity
endpoints").
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from kube_core.api import pods
from kube_core.meta.documents import Document, MutableDocument, annotations_of, labels_of, name_of, namespace_of
from kube_plugins.controllers import services
from kube_plugins.controllers.triggertimes import with_trigger_time

__all__ = ["CAPACITY", "build_endpoints", "same_endpoints"]

#: How many addresses an Endpoints object holds at most.
CAPACITY = 1000

_MANAGED_BY = "endpoints.kubernetes.io/managed-by"
_CAPACITY_ANNOTATION = "endpoints.kubernetes.io/over-capacity"


def build_endpoints(
    service: Document, candidates: Iterable[Document], present: Document | None, trigger: str = ""
) -> MutableDocument:
    """The Endpoints as they should be. `candidates`: the pods of the namespace; `present`: the object there is.

    `trigger`: since when, where that is known (`triggertimes.py`).
    """
    by_ports: dict[tuple[tuple[Any, ...], ...], dict[str, list[dict[str, Any]]]] = {}
    chosen, over_capacity = _within_capacity(_listed(service, candidates))
    for address, ready, ports in chosen:
        mark = tuple(tuple(sorted(port.items())) for port in sorted(ports, key=_port_order))
        subset = by_ports.setdefault(mark, {"addresses": [], "notReadyAddresses": []})
        subset["addresses" if ready else "notReadyAddresses"].append(address)
    annotations = {key: value for key, value in _annotations(present).items() if key != _CAPACITY_ANNOTATION}
    if over_capacity:
        annotations[_CAPACITY_ANNOTATION] = "truncated"
    annotations = with_trigger_time(annotations, trigger)
    metadata: MutableDocument = {
        "name": name_of(service),
        "namespace": namespace_of(service),
        "labels": _labels(service),
    }
    if annotations:
        metadata["annotations"] = annotations
    subsets = [_subset(mark, content) for mark, content in sorted(by_ports.items())]
    document: MutableDocument = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata}
    if subsets:
        document["subsets"] = subsets
    return document


def same_endpoints(one: Document, other: Document) -> bool:
    """Whether an update would change anything."""
    return (
        list(one.get("subsets") or ()) == list(other.get("subsets") or ())
        and labels_of(one) == labels_of(other)
        and with_trigger_time(_annotations(one), "") == with_trigger_time(_annotations(other), "")
    )


_Entry = tuple[dict[str, Any], bool, list[dict[str, Any]]]


def _listed(service: Document, candidates: Iterable[Document]) -> list[_Entry]:
    """An address, whether it is ready, and its ports, for each pod."""
    wants_ipv6 = ((service["spec"].get("ipFamilies") or ["IPv4"])[0]) == "IPv6"
    all_ready = services.publishes_not_ready(service)
    portless = not service["spec"].get("ports")
    entries: list[_Entry] = []
    for pod in services.matching(service, candidates):
        if not services.counts_as_endpoint(pod, terminating=all_ready):
            continue
        ip = next((ip for ip in pods.pod_ips(pod) if (":" in ip) == wants_ipv6), None)
        ports = services.resolved_ports(service, pod)
        if ip is None or (not ports and not (portless and services.is_headless(service))):
            continue
        address: dict[str, Any] = {"ip": ip}
        if hostname := services.hostname_in(service, pod):
            address["hostname"] = hostname
        if node := pods.node_name_of(pod):
            address["nodeName"] = node
        address["targetRef"] = services.target_reference(pod)
        entries.append((address, all_ready or pods.is_ready(pod), [_named(port) for port in ports]))
    return entries


def _within_capacity(entries: list[_Entry]) -> tuple[list[_Entry], bool]:
    if len(entries) <= CAPACITY:
        return entries, False
    return sorted(entries, key=lambda entry: not entry[1])[:CAPACITY], True


def _subset(mark: tuple[tuple[Any, ...], ...], content: dict[str, list[dict[str, Any]]]) -> MutableDocument:
    subset: MutableDocument = {}
    for kind in ("addresses", "notReadyAddresses"):
        if content[kind]:
            subset[kind] = sorted(content[kind], key=_address_order)
    if mark:
        subset["ports"] = [dict(port) for port in mark]
    return subset


def _named(port: dict[str, Any]) -> dict[str, Any]:
    """A port without the empty name that an EndpointSlice would show."""
    return {key: value for key, value in port.items() if key != "name" or value}


def _labels(service: Document) -> dict[str, str]:
    labels = {**labels_of(service), _MANAGED_BY: "endpoint-controller"}
    if services.is_headless(service):
        labels[services.HEADLESS_LABEL] = ""
    else:
        labels.pop(services.HEADLESS_LABEL, None)
    return labels


def _annotations(document: Document | None) -> dict[str, str]:
    return dict(annotations_of(document)) if document is not None else {}


def _port_order(port: dict[str, Any]) -> tuple[str, int, str]:
    return (port.get("name") or "", port["port"], port["protocol"])


def _address_order(address: dict[str, Any]) -> tuple[int, int, str]:
    ip = ipaddress.ip_address(address["ip"])
    return (ip.version, int(ip), address["targetRef"]["uid"])

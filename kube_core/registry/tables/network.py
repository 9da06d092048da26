"""networking.k8s.io and discovery.k8s.io."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kube_core.meta.documents import Document, name_of
from kube_core.meta.gvk import GroupKind, GroupResource
from kube_core.registry.tables.cells import NONE, UNSET, age_of, limited, selector_text, spec_of, status_of
from kube_core.registry.tables.columns import AGE, NAME, Printer, column
from kube_core.registry.tables.core import load_balancer_text

__all__ = ["PRINTERS"]

_NOTHING: Mapping[str, Any] = {}


def _ingress(document: Document, now: float) -> list[Any]:
    spec = spec_of(document)
    hosts = [rule["host"] for rule in spec.get("rules") or () if rule.get("host")]
    return [
        name_of(document),
        spec.get("ingressClassName") or NONE,
        limited(hosts, 3, empty="*"),
        load_balancer_text(status_of(document)),
        "80, 443" if spec.get("tls") else "80",
        age_of(document, now),
    ]


def _ingress_class(document: Document, now: float) -> list[Any]:
    spec = spec_of(document)
    parameters = spec.get("parameters")
    text = NONE
    if parameters:
        kind = GroupKind(parameters.get("apiGroup") or "", parameters.get("kind", ""))
        text = f"{kind}/{parameters.get('name', '')}"
    return [name_of(document), spec.get("controller", ""), text, age_of(document, now)]


def _network_policy(document: Document, now: float) -> list[Any]:
    return [name_of(document), selector_text(spec_of(document).get("podSelector")), age_of(document, now)]


def _service_cidr(document: Document, now: float) -> list[Any]:
    return [name_of(document), ",".join(spec_of(document).get("cidrs") or ()), age_of(document, now)]


def _ip_address(document: Document, _now: float) -> list[Any]:
    parent = spec_of(document).get("parentRef")
    text = NONE
    if parent:
        resource = str(GroupResource(parent.get("group") or "", parent.get("resource", ""))).lower()
        text = "/".join(part for part in (resource, parent.get("namespace"), parent.get("name")) if part)
    return [name_of(document), text]


def _endpoint_slice(document: Document, now: float) -> list[Any]:
    ports = [
        str(port["port"]) if port.get("port") is not None else port.get("name") or "*"
        for port in document.get("ports") or ()
    ]
    addresses = [address for endpoint in document.get("endpoints") or () for address in endpoint.get("addresses") or ()]
    return [
        name_of(document),
        document.get("addressType", ""),
        limited(ports, 3, empty=UNSET),
        limited(addresses, 3, empty=UNSET),
        age_of(document, now),
    ]


PRINTERS = {
    ("networking.k8s.io", "Ingress"): Printer(
        (NAME, column("Class"), column("Hosts"), column("Address"), column("Ports"), AGE), _ingress
    ),
    ("networking.k8s.io", "IngressClass"): Printer(
        (NAME, column("Controller"), column("Parameters"), AGE), _ingress_class
    ),
    ("networking.k8s.io", "NetworkPolicy"): Printer((NAME, column("Pod-Selector"), AGE), _network_policy),
    ("networking.k8s.io", "ServiceCIDR"): Printer((NAME, column("CIDRs"), AGE), _service_cidr),
    ("networking.k8s.io", "IPAddress"): Printer((NAME, column("ParentRef")), _ip_address),
    ("discovery.k8s.io", "EndpointSlice"): Printer(
        (NAME, column("AddressType"), column("Ports"), column("Endpoints"), AGE), _endpoint_slice
    ),
}

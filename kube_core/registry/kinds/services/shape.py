"""What a Service is, read from its spec: which of its fields its type needs. Pure, and used all over this package.

The types are documented under "Publishing Services"; a headless Service is one whose cluster IP is the text `None`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Literal

__all__ = [
    "HEADLESS",
    "Family",
    "Spec",
    "cluster_ips",
    "family_of",
    "is_externally_accessible",
    "is_headless",
    "needs_cluster_ip",
    "needs_health_check_port",
    "needs_node_ports",
    "node_ports",
    "ports",
]

Spec = Mapping[str, Any]
Family = Literal["IPv4", "IPv6"]

HEADLESS = "None"


def ports(spec: Spec) -> Sequence[Mapping[str, Any]]:
    return spec.get("ports") or ()


def cluster_ips(spec: Spec) -> Sequence[str]:
    return spec.get("clusterIPs") or ()


def node_ports(spec: Spec) -> list[int]:
    """The node ports that are set, in order."""
    return [port["nodePort"] for port in ports(spec) if port.get("nodePort")]


def is_headless(spec: Spec) -> bool:
    return list(cluster_ips(spec)) == [HEADLESS]


def needs_cluster_ip(spec: Spec) -> bool:
    return spec.get("type") in ("ClusterIP", "NodePort", "LoadBalancer")


def needs_node_ports(spec: Spec) -> bool:
    if spec.get("type") == "LoadBalancer":
        return spec.get("allocateLoadBalancerNodePorts") is not False
    return spec.get("type") == "NodePort"


def needs_health_check_port(spec: Spec) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def is_externally_accessible(spec: Spec) -> bool:
    kind = spec.get("type")
    return kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def family_of(address: str) -> Family:
    """Of a valid address."""
    return "IPv6" if ipaddress.ip_address(address).version == 6 else "IPv4"

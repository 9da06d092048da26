"""What of an old Service carries over to its new form, where a client left it out; and what does not, where it no
longer fits the type.

Clients that know only the older, singular field (`clusterIP`) and clients that know both must be able to write the
same object; and who changes a Service's type need not clean up what only the old type used. Pure functions on specs.
"""

from __future__ import annotations

from typing import Any

from kube_core.registry.kinds.services.shape import (
    Spec,
    cluster_ips,
    is_externally_accessible,
    needs_cluster_ip,
    needs_health_check_port,
    needs_node_ports,
    node_ports,
    ports,
)

__all__ = ["drop_unneeded", "keep_allocated", "sync_cluster_ips"]


def keep_allocated(spec: dict[str, Any], old: Spec) -> None:
    """Values that the server chose stay, where the client says nothing of them."""
    if needs_cluster_ip(old) and needs_cluster_ip(spec):
        if not spec.get("clusterIP") and old.get("clusterIP"):
            spec["clusterIP"] = old["clusterIP"]
        if not cluster_ips(spec) and spec.get("clusterIP") == old.get("clusterIP") and cluster_ips(old):
            spec["clusterIPs"] = list(cluster_ips(old))
    if needs_node_ports(old) and needs_node_ports(spec):
        used = set(node_ports(old)) & set(node_ports(spec))
        by_name = {port.get("name"): port.get("nodePort") for port in ports(old)}
        for port in ports(spec):
            known = by_name.get(port.get("name"))
            if not port.get("nodePort") and known and known not in used:
                port["nodePort"] = known  # type: ignore[index]
                used.add(known)
    if needs_health_check_port(old) and needs_health_check_port(spec) and not spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = old.get("healthCheckNodePort")


def sync_cluster_ips(spec: dict[str, Any], old: Spec | None) -> None:
    """Make `clusterIPs` follow `clusterIP` where only that was written."""
    one, many = spec.get("clusterIP") or "", list(cluster_ips(spec))
    if old is None:
        if one and not many:
            spec["clusterIPs"] = [one]
        return
    was, were = old.get("clusterIP") or "", list(cluster_ips(old))
    if were and not many and one == was:
        spec["clusterIPs"] = were
    if one == was or many != were:
        return
    if was and not one:
        spec.pop("clusterIPs", None)
    else:
        spec["clusterIPs"] = [one]


def drop_unneeded(spec: dict[str, Any], old: Spec) -> None:
    """Fields that the old type needed and the new one does not, unless the client changed them too."""
    if needs_cluster_ip(old) and not needs_cluster_ip(spec):
        if list(cluster_ips(spec)) == list(cluster_ips(old)):
            spec.pop("clusterIP", None)
            spec.pop("clusterIPs", None)
        _drop_same(spec, old, "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy")
    if needs_node_ports(old) and not needs_node_ports(spec) and set(node_ports(spec)) == set(node_ports(old)):
        for port in ports(spec):
            port.pop("nodePort", None)  # type: ignore[attr-defined]
    if needs_health_check_port(old) and not needs_health_check_port(spec):
        _drop_same(spec, old, "healthCheckNodePort")
    if old.get("type") == "LoadBalancer" and spec.get("type") != "LoadBalancer":
        _drop_same(spec, old, "allocateLoadBalancerNodePorts", "loadBalancerClass")
    if is_externally_accessible(old) and not is_externally_accessible(spec):
        _drop_same(spec, old, "externalTrafficPolicy")


def _drop_same(spec: dict[str, Any], old: Spec, *names: str) -> None:
    for name in names:
        if name in spec and spec[name] == old.get(name):
            del spec[name]

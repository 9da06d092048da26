"""From a table to frontends: which addresses and ports are served, and by which endpoints. Pure.

Two services that want the same address and port: the first by name has it, and the other is a problem. (The server
refuses two cluster IPs or node ports alike; external addresses can be given twice.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs

from kube_core.abc.proxy import Endpoint, PortName, ProxyProblem, ServicePort, Table

__all__ = ["Frontend", "FrontendPlan", "Target", "plan_frontends"]


@attrs.frozen(slots=True, order=True)
class Frontend:
    """An address that clients connect to."""

    protocol: str
    ip: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"{host}:{self.port}/{self.protocol}"


@attrs.frozen(slots=True)
class Target:
    """What answers at a frontend."""

    name: PortName
    endpoints: tuple[Endpoint, ...]
    affinity_seconds: int
    allowed_sources: tuple[str, ...] = ()
    """Networks that clients are of; () for any."""


@attrs.frozen
class FrontendPlan:
    targets: Mapping[Frontend, Target]
    problems: tuple[ProxyProblem, ...]


def plan_frontends(table: Table, node_addresses: Sequence[str]) -> FrontendPlan:
    """Every frontend of a table."""
    targets: dict[Frontend, Target] = {}
    problems: list[ProxyProblem] = []
    for name in sorted(table):
        for frontend, target in _frontends_of(table[name], node_addresses):
            holder = targets.setdefault(frontend, target)
            if holder is not target and holder.name != name:
                problems.append(ProxyProblem(name, str(frontend), f"already served for {holder.name}"))
    return FrontendPlan(targets, tuple(problems))


def _frontends_of(service: ServicePort, node_addresses: Sequence[str]) -> Iterator[tuple[Frontend, Target]]:
    inside = Target(service.name, service.endpoints, service.affinity_seconds)
    outside = Target(service.name, service.external_endpoints, service.affinity_seconds)
    for ip in service.cluster_ips:
        yield Frontend(service.protocol, ip, service.port), inside
    balanced = Target(service.name, service.external_endpoints, service.affinity_seconds, service.allowed_sources)
    for ip in service.external_ips:
        yield Frontend(service.protocol, ip, service.port), balanced if ip in service.balancer_ips else outside
    if service.node_port:
        for ip in node_addresses:
            yield Frontend(service.protocol, ip, service.node_port), outside

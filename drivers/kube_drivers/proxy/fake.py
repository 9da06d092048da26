"""A service proxy that only keeps its table, and can say where a connection would go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from kube_core._kit.clock import Clock
from kube_core.abc.proxy import Endpoint, ProxyCapabilities, ProxyDriver, ProxyProblem, Table
from kube_drivers.proxy.balancer import Balancer, BalancerState
from kube_drivers.proxy.frontends import Frontend, plan_frontends

__all__ = ["FakeProxy"]


class FakeProxy(ProxyDriver):
    """Table only."""

    capabilities: ClassVar[ProxyCapabilities] = ProxyCapabilities(serves=False, source_ranges=True, snapshot=True)

    def __init__(self, *, clock: Clock, node_addresses: Sequence[str] = ("127.0.0.1",)) -> None:
        super().__init__(clock=clock, node_addresses=node_addresses)
        self.table: Table = {}
        self._balancers: dict[Frontend, Balancer] = {}
        self._problems: tuple[ProxyProblem, ...] = ()

    def snapshot(self) -> Mapping[Frontend, BalancerState]:
        # The table follows from the cluster's Services; whose turn it is does not.
        return {frontend: balancer.state() for frontend, balancer in self._balancers.items()}

    def restore(self, state: Mapping[Frontend, BalancerState]) -> None:
        self._balancers = {frontend: Balancer(self.clock, balanced) for frontend, balanced in state.items()}

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        self.table = {}
        self._balancers.clear()
        self._problems = ()

    async def apply(self, table: Table) -> None:
        self.table = table
        plan = plan_frontends(table, self.node_addresses)
        self._problems = plan.problems
        self._balancers = {frontend: self._balancers.get(frontend) or Balancer(self.clock) for frontend in plan.targets}
        for frontend, target in plan.targets.items():
            self._balancers[frontend].update(target.endpoints, target.affinity_seconds, target.allowed_sources)

    def problems(self) -> Sequence[ProxyProblem]:
        return self._problems

    def connect(self, ip: str, port: int, *, protocol: str = "TCP", client: str = "127.0.0.1") -> Endpoint | None:
        """Where a new connection would go; None where it would be refused."""
        balancer = self._balancers.get(Frontend(protocol, ip, port))
        endpoint = next(balancer.candidates(client), None) if balancer else None
        if balancer is not None and endpoint is not None:
            balancer.chose(client, endpoint)
        return endpoint

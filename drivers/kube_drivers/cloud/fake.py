"""A cloud in memory: load balancers, instances and routes exist, are told of and go, and nothing answers anywhere.

Tests read `balancers` and `made_routes`, say in `instances` what machines there are (any that are asked for, where a
node's name is not there), and put in `failures` what the next calls raise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import attrs

from kube_core._kit.clock import Clock
from kube_core.abc.cloud import (
    BalancerAddress,
    BalancerRequest,
    CloudCapabilities,
    CloudDriver,
    CloudError,
    Instance,
    Route,
)
from kube_core.abc.network import NetworkError, NetworkRanges
from kube_drivers.network.addresses import AddressPool

__all__ = ["FakeCloud"]

#: Addresses for measurements of networks, which nobody routes.
_RANGE = "198.18.0.0/16"
#: Nodes are in these by their numbers, in turn: here-1, here-2, here-3.
_ZONES = 3


@attrs.frozen
class _State:
    balancers: Mapping[str, BalancerRequest]
    assigned: Mapping[str, str]
    cursor: int
    instances: Mapping[str, Instance | None]
    routes: frozenset[Route]


class FakeCloud(CloudDriver):
    """See the module's docstring."""

    name: ClassVar[str] = "fake"
    capabilities: ClassVar[CloudCapabilities] = CloudCapabilities(
        load_balancers=True, instances=True, routes=True, snapshot=True
    )

    def __init__(self, *, clock: Clock, cluster: str, ranges: NetworkRanges, state_directory: str = "") -> None:
        super().__init__(clock=clock, cluster=cluster, ranges=ranges, state_directory=state_directory)
        self.balancers: dict[str, BalancerRequest] = {}
        self.instances: dict[str, Instance | None] = {}
        """By node; None for a machine that is gone."""
        self.made_routes: set[Route] = set()
        self.failures: list[str] = []
        self._pool = AddressPool(_RANGE)

    def snapshot(self) -> _State:
        pool = self._pool
        return _State(
            dict(self.balancers), dict(pool.assigned), pool.cursor, dict(self.instances), frozenset(self.made_routes)
        )

    def restore(self, state: _State) -> None:
        self.balancers, self.instances = dict(state.balancers), dict(state.instances)
        self.made_routes = set(state.routes)
        self._pool = AddressPool(_RANGE, state.assigned, cursor=state.cursor)

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def ensure_balancer(self, request: BalancerRequest) -> Sequence[BalancerAddress]:
        self._maybe_fail()
        try:
            address = self._pool.take(request.name)
        except NetworkError as error:
            raise CloudError(str(error)) from None
        self.balancers[request.name] = request
        return (BalancerAddress(request.wanted_address or address),)

    async def balancer(self, name: str) -> Sequence[BalancerAddress] | None:
        self._maybe_fail()
        request = self.balancers.get(name)
        return None if request is None else (BalancerAddress(request.wanted_address or self._pool.take(name)),)

    async def delete_balancer(self, name: str) -> None:
        self._maybe_fail()
        self._pool.give_back(name)
        self.balancers.pop(name, None)

    async def instance(self, node: str, provider_id: str = "") -> Instance | None:
        self._maybe_fail()
        if node in self.instances:
            return self.instances[node]
        number = node[len(node.rstrip("0123456789")) :]
        zone = f"here-{(int(number or 1) - 1) % _ZONES + 1}"
        return Instance(f"fake://{node}", "fake.small", zone=zone, region="here")

    async def routes(self) -> Sequence[Route]:
        self._maybe_fail()
        return sorted(self.made_routes, key=lambda route: (route.node, route.cidr))

    async def create_route(self, route: Route) -> None:
        self._maybe_fail()
        self.made_routes.add(route)

    async def delete_route(self, route: Route) -> None:
        self._maybe_fail()
        self.made_routes.discard(route)

    def _maybe_fail(self) -> None:
        if self.failures:
            raise CloudError(self.failures.pop(0))

"""A network of addresses only: nothing listens on them. For fake runtimes and virtual time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from kube_core._kit.clock import Clock
from kube_core.abc.network import Attachment, Network, NetworkCapabilities, SandboxRequest
from kube_drivers.network.addresses import AddressPool

__all__ = ["FakeNetwork"]


class FakeNetwork(Network):
    """Hands out addresses, in order, and forgets them when the node agent ends."""

    capabilities: ClassVar[NetworkCapabilities] = NetworkCapabilities(reachable=False, snapshot=True)

    def __init__(self, *, clock: Clock, node_name: str, pod_cidr: str, state_directory: str = "") -> None:
        super().__init__(clock=clock, node_name=node_name, pod_cidr=pod_cidr, state_directory=state_directory)
        self._pool = AddressPool(pod_cidr)

    def snapshot(self) -> tuple[Mapping[str, str], int]:
        return dict(self._pool.assigned), self._pool.cursor

    def restore(self, state: tuple[Mapping[str, str], int]) -> None:
        assigned, cursor = state
        self._pool = AddressPool(self.pod_cidr, assigned, cursor=cursor)

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def node_addresses(self) -> Sequence[str]:
        return (self._pool.node_address,)

    async def attach(self, request: SandboxRequest) -> Attachment:
        return Attachment((self._pool.take(request.sandbox_id),))

    async def detach(self, sandbox_id: str) -> None:
        self._pool.give_back(sandbox_id)

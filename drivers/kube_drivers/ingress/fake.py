"""An ingress without sockets: it says which backend, and which endpoint, a request would reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from kube_core._kit.clock import Clock
from kube_core.abc.ingress import Backend, IngressAddress, IngressCapabilities, IngressDriver, RouteTable
from kube_core.proxy.routing import Router

__all__ = ["FakeIngress"]


class FakeIngress(IngressDriver):
    """Resolves requests."""

    capabilities: ClassVar[IngressCapabilities] = IngressCapabilities(serves=False, snapshot=True)

    def __init__(self, *, clock: Clock, address: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(clock=clock, address=address, port=port)
        self._router = Router(RouteTable())

    def snapshot(self) -> None:
        """The routes follow from the cluster's objects; there is nothing else."""

    def restore(self, state: None) -> None:
        pass

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        self._router = Router(RouteTable())

    async def apply(self, table: RouteTable) -> None:
        self._router = Router(table)

    def addresses(self) -> Sequence[IngressAddress]:
        return (IngressAddress(ip=self.address, ports=(self.port or 80,)),)

    def resolve(self, host: str, path: str) -> Backend | None:
        """The backend that a request would reach; None: 404."""
        return self._router.backend(host, path)

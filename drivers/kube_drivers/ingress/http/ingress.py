"""The HTTP ingress driver: it listens, and gives each request the route table of the moment.

`stop` lets requests that are under way end within `DRAIN` seconds; WebSockets and endless streams are cut then.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import ClassVar

from aiohttp import web

from kube_core._kit.clock import Clock
from kube_core.abc.ingress import (
    Backend,
    IngressAddress,
    IngressCapabilities,
    IngressDriver,
    IngressError,
    RouteTable,
)
from kube_core.proxy.routing import Router
from kube_drivers.ingress.http.forward import CONNECT_TIMEOUT, READ_TIMEOUT, Forwarder, origin_form, plain
from kube_drivers.ingress.http.headers import is_websocket
from kube_drivers.ingress.http.websocket import carry_websocket
from kube_drivers.proxy.balancer import Balancer

__all__ = ["DRAIN", "HttpIngress"]

#: Seconds that requests have to end when the ingress stops.
DRAIN = 2.0


class HttpIngress(IngressDriver):
    """A reverse proxy in this process."""

    capabilities: ClassVar[IngressCapabilities] = IngressCapabilities(serves=True)

    def __init__(
        self,
        *,
        clock: Clock,
        address: str = "127.0.0.1",
        port: int = 0,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
    ) -> None:
        """Timeouts are in seconds: for a backend to accept, and between two pieces of its answer."""
        super().__init__(clock=clock, address=address, port=port)
        self._router = Router(RouteTable())
        self._balancers: dict[tuple[str, str, str], Balancer] = {}
        self._forwarder = Forwarder(connect_timeout=connect_timeout, read_timeout=read_timeout)
        self._runner: web.ServerRunner | None = None

    async def start(self) -> None:
        # Cancelling a handler when its client has gone frees the backend of a stream that nobody reads.
        server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=DRAIN)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.address, self.port).start()
        except OSError as error:
            await runner.cleanup()
            where = f"{self.address}:{self.port}"
            why = "is in use by another program" if error.errno == errno.EADDRINUSE else f"cannot be used: {error}"
            raise IngressError(f"the ingress address {where} {why}") from None
        self.port = int(runner.addresses[0][1])
        self._runner = runner
        await self._forwarder.open()

    async def stop(self) -> None:
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()
            await self._forwarder.close()

    async def apply(self, table: RouteTable) -> None:
        backends = {_key(backend): backend for backend in _backends(table)}
        self._balancers = {key: self._balancers.get(key) or Balancer(self.clock) for key in backends}
        for key, backend in backends.items():
            self._balancers[key].update(backend.endpoints, 0)
        self._router = Router(table)

    def addresses(self) -> Sequence[IngressAddress]:
        return (IngressAddress(ip=self.address, ports=(self.port,)),) if self._runner is not None else ()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = origin_form(request).partition("?")[0]
        backend = self._router.backend(request.headers.get("Host", ""), path)
        if backend is None:
            return plain(404, "default backend - 404")
        endpoints = self._balancers[_key(backend)].candidates(request.remote or "")
        if is_websocket(request.headers):
            return await carry_websocket(self._forwarder.session, request, endpoints, port=self.port)
        return await self._forwarder.forward(request, endpoints, port=self.port)


def _backends(table: RouteTable) -> Sequence[Backend]:
    backends = [route.backend for route in table.routes]
    return backends if table.default is None else [*backends, table.default]


def _key(backend: Backend) -> tuple[str, str, str]:
    return backend.namespace, backend.service, backend.port

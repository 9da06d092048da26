"""What an operator tells over HTTP: its metrics at `/metrics`, and at `/healthz` and `/readyz` whether it is well.

In the clear and to anybody, as such endpoints are meant for the pod's own network. aiohttp takes a while to import, so
only a program that serves imports this.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiohttp import web

from kube_core._kit.metrics import CONTENT_TYPE

__all__ = ["Endpoints", "parse_address"]


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of `:8080`, `127.0.0.1:8080` or `[::1]:8080`; the host "" is every address. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is no address to listen on: give HOST:PORT or :PORT")
    return host.strip("[]"), int(port)


class Endpoints:
    """A server of them, while it is entered. Raises OSError for an address that cannot be listened on."""

    def __init__(self, address: str, metrics: Callable[[], str], ready: Callable[[], bool]) -> None:
        self._host, self._port = parse_address(address)
        self._metrics = metrics
        self._ready = ready
        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None))

    @property
    def url(self) -> str:
        host, port = self._runner.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host or None, self._port, shutdown_timeout=1.0).start()
        except OSError:
            await self._runner.cleanup()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/metrics":
            return web.Response(body=self._metrics().encode(), headers={"Content-Type": CONTENT_TYPE})
        if request.path == "/healthz" or (request.path == "/readyz" and self._ready()):
            return web.Response(text="ok")
        if request.path == "/readyz":
            return web.Response(status=503, text="controllers are starting")
        return web.Response(status=404, text="not found")

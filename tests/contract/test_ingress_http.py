from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from kube_core._kit.clock import SystemClock
from kube_core.abc.ingress import IngressDriver
from kube_core.abc.proxy import Endpoint
from kube_core.testing.ingress import IngressContract
from kube_drivers.ingress.http import HttpIngress


class TestHttpIngress(IngressContract):
    @pytest.fixture(autouse=True)
    async def _backends(self) -> AsyncIterator[None]:
        self._sites: dict[str, web.ServerRunner] = {}
        yield
        for runner in self._sites.values():
            await runner.cleanup()

    def make(self) -> HttpIngress:
        return HttpIngress(clock=SystemClock())

    async def endpoints_of(self, service: str) -> tuple[Endpoint, ...]:
        async def answer(request: web.BaseRequest) -> web.Response:
            return web.Response(text=service)

        if service not in self._sites:
            runner = self._sites[service] = web.ServerRunner(web.Server(answer))
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
        return (Endpoint("127.0.0.1", self._sites[service].addresses[0][1]),)

    async def backend_of(self, ingress: IngressDriver, host: str, path: str) -> str | None:
        url = f"http://127.0.0.1:{ingress.port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url, headers={"Host": host}) as response:
            return None if response.status == 404 else await response.text()

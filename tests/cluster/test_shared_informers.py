"""One copy of each resource for all the controllers of a program, however many of them follow it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import pytest

from kube_core._kit.clock import FakeClock
from kube_core._kit.random import Random
from kube_core.abc.transport import ByteStream, Request, Response, WatchEvent, WatchRequest
from kube_core.client.client import ApiClient
from kube_core.client.transport import Transport
from kube_core.cluster import Cluster
from kube_core.control.runtime import ControllerRuntime

pytestmark = pytest.mark.anyio


class Counting(Transport):
    """Counts lists and watches by what they are of."""

    def __init__(self, inner: Transport, lists: Counter[str], watches: Counter[str]) -> None:
        self._inner = inner
        self._lists = lists
        self._watches = watches
        self.shares_documents = inner.shares_documents  # type: ignore[misc]

    async def request(self, request: Request) -> Response:
        response = await self._inner.request(request)
        document = response.decoded() if request.method == "GET" and response.status == 200 else None
        if isinstance(document, dict) and str(document.get("kind")).endswith("List"):
            self._lists[request.path] += 1
        return response

    async def watch(self, wanted: WatchRequest) -> AsyncIterator[WatchEvent]:
        self._watches[str(wanted.resource.group_resource)] += 1
        async for event in self._inner.watch(wanted):
            yield event

    async def connect(self, request: Request) -> ByteStream:
        return await self._inner.connect(request)

    async def close(self) -> None:
        await self._inner.close()


async def test_a_controller_manager_lists_and_watches_each_resource_once() -> None:
    lists: Counter[str] = Counter()
    watches: Counter[str] = Counter()
    async with Cluster(clock=FakeClock(), seed=1, nodes=0, controllers=(), listen=False) as cluster:
        await cluster.settled()
        client = ApiClient(Counting(cluster.client.transport, lists, watches))
        specs = cluster.plugins.controllers()
        runtime = ControllerRuntime(specs, client.with_field_manager, clock=cluster.clock, random=Random(1))
        async with runtime:
            await runtime.started()
            await cluster.settled()
            running = len(runtime.controllers)
    assert running > 15
    assert watches["pods"] == watches["nodes"] == 1
    assert set(watches.values()) == {1}
    # The garbage collector's and the quota's own watches are among them: they share the copies, too.
    assert {path: count for path, count in lists.items() if count > 1} == {}
    assert len(lists) >= len(watches)

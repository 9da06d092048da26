"""What snapshots and forks cost, and a suite of tests each of which runs on a fork.

python benchmarks/fork.py [OBJECTS] [TESTS]

Prints the start of a cluster, a snapshot and a fork of one with many objects, and, for tests that each create a custom
object and see its controller act, the median of one and the time of all. Single figures are of CPU, since everything
happens in one thread; that of all the tests is of the clock, too.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import kube_core as kube
from kube_core._kit.clock import FakeClock
from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.cluster import Cluster, Snapshot

WEBSITES = ResourceType("example.dev", "v1", "Website", "websites", True)
DEFINITION: dict[str, Any] = {
    "metadata": {"name": "websites.example.dev"},
    "spec": {
        "group": "example.dev",
        "names": {"plural": "websites", "singular": "website", "kind": "Website", "listKind": "WebsiteList"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": {"type": "object", "properties": {"text": {"type": "string"}}}},
                    }
                },
            }
        ],
    },
}


class WebsiteController(kube.Controller):
    """Keeps a ConfigMap for each Website."""

    def watches(self) -> list[kube.Watch]:
        return [kube.Watch(WEBSITES)]

    async def reconcile(self, key: Any) -> kube.Action:
        found = self.context.informers.lister(WEBSITES).get(key)
        if found is not None:
            document = {"metadata": {"name": key.name}, "data": {"text": found["spec"]["text"]}}
            await self.client.create(resources.CONFIG_MAPS, document, key.namespace)
        return kube.await_change()


class Plugin:
    @kube.hookimpl
    def kube_core_controllers(self) -> list[kube.ControllerSpec]:
        return [kube.ControllerSpec("website-controller", WebsiteController)]


async def timed(what: Callable[[], Awaitable[Any]]) -> tuple[float, Any]:
    started = time.process_time()
    result = await what()
    return (time.process_time() - started) * 1000, result


def cluster() -> Cluster:
    return Cluster(clock=FakeClock(), seed=1, nodes=1, listen=False, record=True, plugins=[Plugin()])


async def template(objects: int) -> Snapshot:
    async with cluster() as running:
        await running.client.create(resources.CUSTOM_RESOURCE_DEFINITIONS, DEFINITION)
        for number in range(objects):
            document = {"metadata": {"name": f"object-{number}"}, "data": {"text": "x" * 100}}
            await running.client.create(resources.CONFIG_MAPS, document, "default")
        await running.settled()
        await running.advance(minutes=1)
        took, snapshot = await timed(running.snapshot)
        print(f"snapshot with {objects} objects: {took:.1f} ms")
        return snapshot  # type: ignore[no-any-return]


async def forks(snapshot: Snapshot) -> None:
    entered, settled = [], []
    for _ in range(7):
        fork = snapshot.fork()
        took, _ = await timed(fork.__aenter__)
        entered.append(took)
        settled.append((await timed(fork.settled))[0])
        await fork.__aexit__(None, None, None)
    print(f"fork: {statistics.median(entered):.1f} ms, and {statistics.median(settled):.1f} ms until settled")


async def test(snapshot: Snapshot) -> float:
    async with snapshot.fork() as fork:
        await fork.settled()
        started = time.process_time()
        await fork.client.create(WEBSITES, {"metadata": {"name": "site"}, "spec": {"text": "Hello."}}, "default")
        await fork.settled()
        assert (await fork.client.get(resources.CONFIG_MAPS, "site", "default"))["data"] == {"text": "Hello."}
        return (time.process_time() - started) * 1000


async def starts() -> None:
    took = []
    for _ in range(3):
        running = cluster()
        took.append((await timed(running.__aenter__))[0])
        await running.__aexit__(None, None, None)
    print(f"start: {took[0]:.1f} ms the first time, {min(took):.1f} ms again")


def main(objects: int, tests: int) -> None:
    asyncio.run(starts())
    asyncio.run(forks(asyncio.run(template(objects))))
    snapshot = asyncio.run(template(0))
    # As the pytest plugin does.
    gc.collect()
    gc.freeze()
    started, used = time.perf_counter(), time.process_time()
    # As pytest does: an event loop for each test.
    took = [asyncio.run(test(snapshot)) for _ in range(tests)]
    used, passed = time.process_time() - used, time.perf_counter() - started
    print(f"a test on its fork: {statistics.median(took):.1f} ms")
    print(f"{tests} tests with their forks: {passed:.2f} s, {used:.2f} s of CPU")


if __name__ == "__main__":
    main(*(int(word) for word in (*sys.argv[1:], "5000", "200")[:2]))

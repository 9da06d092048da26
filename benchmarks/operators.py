"""How soon a controller acts, and what a reconcile costs. Prints medians; asserts nothing.

  python benchmarks/operators.py [RUNS]

create to acted       a custom object is created until its controller's ConfigMap has been seen, machine's time
the same, settled     the same in virtual time, by `await cluster.settled()`, as a test does it
reconcile, unchanged  one reconcile that applies what is there already, CPU
objects a second      100 objects created at once until all their ConfigMaps are there
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import statistics
import sys
import time
import types
from typing import Any

import attrs

import kube_core as kube
from kube_core._kit.clock import FakeClock, SystemClock
from kube_core.api import core, resources
from kube_core.api.models import resource_of
from kube_core.cluster import Cluster
from kube_core.kinds.declare import kind
from kube_core.meta.documents import Key

MANY = 100


@kind(group="bench.example.dev", version="v1")
@attrs.frozen
class Page:
    """A page."""

    text: str


@kube.controller(Page, owns=[core.ConfigMap])
async def page(ctx: kube.Context[Page]) -> None:
    await ctx.apply(core.ConfigMap(data={"text": ctx.object.text}))


PAGES = resource_of(Page)


def document(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"text": "hello"}}


def cluster(**options: Any) -> Cluster:
    program = types.SimpleNamespace(page=page)
    return Cluster(nodes=0, listen=False, kinds=[Page], plugins=[program], **options)


async def until_acted(running: Cluster, *names: str) -> None:
    """Return once there are ConfigMaps of these names."""
    missing, done = set(names), asyncio.Event()

    def handle(_: Any, after: Any) -> None:
        if after is not None:
            missing.discard(after["metadata"]["name"])
            if not missing:
                done.set()

    informer = running.informers.informer(resources.CONFIG_MAPS)
    informer.add_handler(handle)
    await done.wait()
    informer.remove_handler(handle)


async def measure(runs: int) -> None:
    real, worked, settled = [], [], []
    async with cluster(clock=SystemClock()) as running:
        for run in range(runs):
            started, begin = time.perf_counter(), time.process_time()
            await running.client.create(PAGES, document(f"page-{run}"))
            await until_acted(running, f"page-{run}")
            real.append(time.perf_counter() - started)
            worked.append(time.process_time() - begin)
        await running.settled()
        assert running.controllers is not None
        controller = running.controllers.controllers["page"]
        key, rounds = Key("default", "page-0"), 2000
        begin = time.process_time()
        for _ in range(rounds):
            await controller.reconcile(key)
        unchanged = (time.process_time() - begin) / rounds
        names = [f"many-{number}" for number in range(MANY)]
        started = time.perf_counter()
        await asyncio.gather(*(running.client.create(PAGES, document(name)) for name in names))
        await until_acted(running, *names)
        many = MANY / (time.perf_counter() - started)
    async with cluster(clock=FakeClock(), seed=1) as running:
        await running.settled()
        for run in range(runs):
            started = time.perf_counter()
            await running.client.create(PAGES, document(f"page-{run}"))
            await running.settled()
            settled.append(time.perf_counter() - started)
    for name, times in (("create to acted", real), ("the same, CPU", worked), ("the same, settled", settled)):
        print(f"{name:<21} {statistics.median(times) * 1000:7.2f} ms  (max {max(times) * 1000:.2f})")
    print(f"reconcile, unchanged  {unchanged * 1e6:7.1f} us")
    print(f"objects a second      {many:7.0f}")


def main() -> None:
    arguments = [argument for argument in sys.argv[1:] if argument != "--profile"]
    runs = int(arguments[0]) if arguments else 50
    if "--profile" not in sys.argv:
        asyncio.run(measure(runs))
        return
    profile = cProfile.Profile()
    profile.runcall(asyncio.run, measure(runs))
    pstats.Stats(profile).sort_stats("tottime").print_stats(40)


if __name__ == "__main__":
    main()

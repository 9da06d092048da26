"""A Deployment of many pods on simulated nodes: how long until all are Ready, and what the whole system weighs.

    python benchmarks/scale.py [--pods 1000] [--nodes 50] [--objects 1000] [--embedded] [--profile]

Everything runs in this one process: server, controllers, scheduler and the agents of all nodes. A node takes 110 pods:
10,000 need `--nodes 100`. The interpreter's garbage collector is set as `kube-core up` sets it; `--embedded` leaves it
as it is in a program that starts a cluster within it. Then a namespace with `--objects` ConfigMaps is deleted. Prints
wall clock, CPU and resident memory, and the events by their reasons, so that what was left out would show. It asserts
nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import pstats
import sys
import time
from collections import Counter
from collections.abc import Iterator

import psutil
import uvloop

from kube_core._kit import garbage
from kube_core.api import pods, resources
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document

LABELS = {"app": "scale"}
NAMESPACE = "scale"


def deployment(replicas: int) -> Document:
    container = {"name": "main", "image": "main:1", "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}}}
    return {
        "metadata": {"name": "scale", "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [container]}},
        },
    }


@contextlib.contextmanager
def measured(what: str, profile: cProfile.Profile | None = None) -> Iterator[None]:
    started, used = time.perf_counter(), time.process_time()
    if profile is not None:
        profile.enable()
    yield
    if profile is not None:
        profile.disable()
    took, used = time.perf_counter() - started, time.process_time() - used
    print(f"{what}: {took:.2f} s ({used:.2f} s of CPU), {resident():.0f} MB resident")


async def measure(options: argparse.Namespace, profile: cProfile.Profile | None) -> None:
    async with Cluster(nodes=options.nodes, listen=False, seed=1) as cluster:
        await cluster.settled()
        if not options.embedded:
            garbage.settle_in()
        print(f"{options.nodes} nodes, nothing on them: {resident():.0f} MB resident")
        told = cluster.bus.subscribe(resources.EVENTS, limit=1_000_000)
        changed = cluster.bus.subscribe(resources.PODS, limit=1_000_000)
        await cluster.client.create(resources.NAMESPACES, {"metadata": {"name": NAMESPACE}})
        with measured(f"{options.pods:,} pods Ready", profile):
            await cluster.client.create(resources.DEPLOYMENTS, deployment(options.pods))
            ready: set[str] = set()
            while len(ready) < options.pods:
                await changed.wait()
                for change in changed.drain():
                    if change.after is not None and pods.is_ready(change.after.document):
                        ready.add(change.key.name)
        changed.close()
        with measured("and all said of it"):
            await cluster.settled(limit=300.0)
        reasons = Counter(change.after.document["reason"] for change in told.drain() if change.after is not None)
        told.close()
        print(", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common()))
        with measured(f"a namespace of {options.objects:,} ConfigMaps made"):
            await fill(cluster, options.objects)
        with measured("and deleted"):
            await empty(cluster)


async def fill(cluster: Cluster, count: int) -> None:
    await cluster.client.create(resources.NAMESPACES, {"metadata": {"name": "full"}})
    for number in range(count):
        document = {"metadata": {"name": f"config-{number}", "namespace": "full"}, "data": {"key": "value"}}
        await cluster.client.create(resources.CONFIG_MAPS, document)


async def empty(cluster: Cluster) -> None:
    """Delete the namespace, and return when it is gone."""
    seen = cluster.bus.subscribe(resources.NAMESPACES, limit=10_000)
    await cluster.client.delete(resources.NAMESPACES, "full")
    while not any(change.after is None for change in seen.drain()):
        await seen.wait()


def resident() -> float:
    return float(psutil.Process().memory_info().rss) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description="Many pods on simulated nodes.")
    parser.add_argument("--pods", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--embedded", action="store_true", help="leave Python's garbage collector as it is")
    parser.add_argument("--profile", action="store_true", help="print where the time until all are Ready went")
    options = parser.parse_args()
    profile = cProfile.Profile() if options.profile else None
    uvloop.run(measure(options, profile))
    if profile is not None:
        pstats.Stats(profile, stream=sys.stdout).sort_stats("tottime").print_stats(60)


if __name__ == "__main__":
    main()

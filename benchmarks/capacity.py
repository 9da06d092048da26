"""What the server weighs with many objects. Prints resident memory; asserts nothing.

    python benchmarks/capacity.py [--objects 100000] [--store sqlite|memory]

ConfigMaps of 1 KB, written through a client in the server's process, with SQLite or in memory only.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import tempfile

import psutil
import uvloop

from kube_core.api import resources
from kube_core.cluster import Cluster

AT_ONCE = 64
SIZE = 1024


async def measure(objects: int, store: str) -> None:
    async with Cluster(nodes=0, controllers=(), store=store) as cluster:
        empty = _resident()
        numbers = iter(range(objects))

        async def write() -> None:
            for number in numbers:
                # Of its own for each, as content is.
                content = f"{number:08}" * (SIZE // 8)
                document = {"metadata": {"name": f"config-{number}", "namespace": "default"}, "data": {"key": content}}
                await cluster.client.create(resources.CONFIG_MAPS, document)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(write())
        gc.collect()
        held = _resident()
        print(
            f"{objects:,} ConfigMaps of {SIZE} bytes: {held:.0f} MB resident, {empty:.0f} MB before"
            f" ({(held - empty) * 1e6 / objects:,.0f} bytes each)"
        )


def _resident() -> float:
    return float(psutil.Process().memory_info().rss) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory with many objects.")
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--store", choices=("sqlite", "memory"), default="sqlite")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kube-core-bench-") as directory:
        uvloop.run(
            measure(options.objects, f"sqlite://{directory}/store.db" if options.store == "sqlite" else "memory:")
        )


if __name__ == "__main__":
    main()

"""How long an hour of virtual time takes, in an idle cluster: what its heartbeats cost.

python benchmarks/virtual_time.py [NODES] [HOURS]
"""

from __future__ import annotations

import asyncio
import sys
import time

from kube_core._kit.clock import FakeClock
from kube_core.cluster import Cluster


async def measure(nodes: int, hours: int) -> None:
    async with Cluster(clock=FakeClock(), seed=1, nodes=nodes, listen=False) as cluster:
        await cluster.settled()
        for hour in range(1, hours + 1):
            revision = cluster.server.store.revision
            started, used = time.perf_counter(), time.process_time()
            await cluster.advance(hours=1)
            took, used = time.perf_counter() - started, time.process_time() - used
            writes = cluster.server.store.revision - revision
            print(
                f"hour {hour}, {nodes} nodes: {took:.2f} s ({used:.2f} s of CPU) for {writes} writes, "
                f"{used / writes * 1e6:.0f} µs each"
            )


if __name__ == "__main__":
    asyncio.run(measure(*(int(word) for word in (*sys.argv[1:], "3", "2")[:2])))

"""What a simulated pod costs in the fake runtime alone, without an API: how many start in a second, what each weighs.

    python benchmarks/fake_runtime.py [--pods 5000]

A pod is a sandbox with one container that runs. Prints figures; asserts nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
import tracemalloc

from kube_core._kit.clock import SystemClock
from kube_core.abc.runtime import ContainerConfig, SandboxConfig
from kube_drivers.runtime.fake import FakeRuntime

IMAGE = "main:1"


async def run(runtime: FakeRuntime, number: int) -> None:
    """One pod, from nothing to running, and looked at as the node's agent does."""
    uid = f"{number:08}-0000-4000-8000-000000000000"
    sandbox = await runtime.run_sandbox(SandboxConfig("default", f"pod-{number}", uid, ips=(f"10.0.0.{number % 250}",)))
    container = await runtime.create_container(sandbox.id, ContainerConfig("main", IMAGE, env={"NUMBER": str(number)}))
    await runtime.start_container(container)
    assert runtime.list_sandboxes(uid)[0].ready
    assert runtime.list_containers(uid)[0].state == "running"


async def fresh() -> FakeRuntime:
    runtime = FakeRuntime(clock=SystemClock(), node_name="node-1")
    await runtime.start()
    await runtime.pull_image(IMAGE)
    return runtime


async def measure(pods: int) -> None:
    runtime = await fresh()
    used = time.process_time()
    for number in range(pods):
        await run(runtime, number)
    used = time.process_time() - used
    await runtime.end()
    runtime = await fresh()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(pods):
        await run(runtime, number)
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    await runtime.end()
    print(f"{pods:,} pods: {pods / used:,.0f} running a second of CPU, {held / pods / 1024:.1f} KiB each")


def main() -> None:
    parser = argparse.ArgumentParser(description="The fake runtime alone.")
    parser.add_argument("--pods", type=int, default=5000)
    options = parser.parse_args()
    asyncio.run(measure(options.pods))


if __name__ == "__main__":
    main()

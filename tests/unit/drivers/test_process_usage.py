"""What containers that are processes use, as their supervisor sees it."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from kube_core._kit.clock import SystemClock
from kube_core.abc.runtime import ContainerConfig, SandboxConfig
from kube_core.abc.usage import RuntimeUsage
from kube_drivers.runtime.process import ProcessRuntime

pytestmark = pytest.mark.anyio

#: Two children that compute, one of which computes only for a while; and one that left the family.
BURNS = "(i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done) & setsid sh -c 'while :; do :; done' & wait"


@pytest.mark.parametrize("url", ["process", "process:portable"])
async def test_the_time_of_a_whole_tree_counts_and_never_goes_back(tmp_path: Path, url: str) -> None:
    runtime = ProcessRuntime(clock=SystemClock(), node_name="n", state_directory=str(tmp_path), url=url)
    await runtime.start()
    try:
        sandbox = await runtime.run_sandbox(SandboxConfig("default", "pod", "u", ips=("127.0.0.1",)))
        await runtime.pull_image("burner")
        config = ContainerConfig("main", "burner", command=("sh", "-c", BURNS))
        identity = await runtime.create_container(sandbox.id, config)
        await runtime.start_container(identity)
        looks: list[RuntimeUsage] = []
        while not looks or looks[-1].containers[identity].cpu_nanoseconds < 500_000_000:
            usage = await runtime.usage()
            assert usage is not None
            looks.append(usage)
            await anyio.sleep(0.01)
        times = [each.containers[identity].cpu_nanoseconds for each in looks]
        assert times == sorted(times)
        of_node = [each.node.cpu_nanoseconds for each in looks if each.node is not None]
        assert of_node == sorted(of_node)
        assert len(of_node) == len(looks)
        assert looks[-1].containers[identity].memory_bytes > 0
        await runtime.stop_container(identity, 0)
        after = await runtime.usage()
        assert after is not None
        assert after.containers == {}
        assert after.node is not None
        # What ended is the node's still.
        assert after.node.cpu_nanoseconds >= times[-1]
    finally:
        await runtime.end()

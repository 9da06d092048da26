"""What a node uses, of what its runtime knows."""

from __future__ import annotations

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.abc.runtime import ContainerConfig, SandboxConfig
from kube_core.abc.usage import RuntimeUsage, Usage
from kube_core.node.stats import NodeStatistics
from kube_drivers.runtime.fake import FakeRuntime

pytestmark = pytest.mark.anyio


async def started(runtime: FakeRuntime, uid: str) -> str:
    sandbox = await runtime.run_sandbox(SandboxConfig("default", uid, uid))
    await runtime.pull_image("web")
    identity = await runtime.create_container(sandbox.id, ContainerConfig("main", "web"))
    await runtime.start_container(identity)
    return identity


async def test_what_ended_is_the_nodes_still_and_no_pods() -> None:
    clock = FakeClock()
    runtime = FakeRuntime(clock=clock, node_name="n", behaviours={"web": {"cpu": 1, "memory": 1024}})
    pods = [{"metadata": {"namespace": "default", "name": uid, "uid": uid}} for uid in ("a", "b")]
    statistics = NodeStatistics("n", runtime, lambda: pods, clock)
    first = await started(runtime, "a")
    await started(runtime, "b")
    await clock.advance(10)
    found = await statistics.figures()
    assert found is not None
    assert [(pod.name, [each.name for each in pod.containers]) for pod in found.pods] == [
        ("a", ["main"]),
        ("b", ["main"]),
    ]
    assert (found.usage.cpu_nanoseconds, found.usage.memory_bytes) == (20_000_000_000, 2048)
    await runtime.stop_container(first, 0)
    await clock.advance(10)
    found = await statistics.figures()
    assert found is not None
    assert [pod.name for pod in found.pods] == ["b"]
    assert (found.usage.cpu_nanoseconds, found.usage.memory_bytes) == (30_000_000_000, 1024)
    assert found.usage.nanocores == 1_000_000_000


async def test_what_the_runtime_says_of_the_node_is_taken_and_nothing_where_it_cannot_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = FakeClock()
    runtime = FakeRuntime(clock=clock, node_name="n")
    said: list[RuntimeUsage | None] = [RuntimeUsage({}, Usage(clock.now(), 7, 8)), None]

    async def usage() -> RuntimeUsage | None:
        return said.pop(0)

    monkeypatch.setattr(runtime, "usage", usage)
    statistics = NodeStatistics("n", runtime, list, clock)
    found = await statistics.figures()
    assert found is not None
    assert found.usage == Usage(clock.now(), 7, 8)
    assert await statistics.figures() is None

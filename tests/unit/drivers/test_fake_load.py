"""What containers that only seem to run seem to use."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core._kit.clock import FakeClock
from kube_core.abc.runtime import ContainerConfig, Resources, RuntimeFailure, SandboxConfig
from kube_core.drivers import DriverError
from kube_drivers.runtime.fake import BEHAVIOUR_ANNOTATION, FakeBehaviour, FakeRuntime, SharedLoad
from kube_drivers.runtime.load import read_curve

pytestmark = pytest.mark.anyio


async def running(runtime: FakeRuntime, image: str = "web", uid: str = "u", annotation: Any = None) -> str:
    annotations = {BEHAVIOUR_ANNOTATION: json.dumps(annotation)} if annotation is not None else {}
    made = await runtime.run_sandbox(SandboxConfig("default", "pod", uid, annotations=annotations))
    await runtime.pull_image(image)
    identity = await runtime.create_container(made.id, ContainerConfig("main", image))
    await runtime.start_container(identity)
    return identity


def runtime_of(behaviour: FakeBehaviour | dict[str, Any], clock: FakeClock | None = None) -> FakeRuntime:
    return FakeRuntime(clock=clock or FakeClock(), node_name="n", behaviours={"web": behaviour})


async def test_a_constant_is_used_from_the_start() -> None:
    clock = FakeClock()
    runtime = runtime_of({"cpu": "250m", "memory": "64Mi"}, clock)
    await clock.advance(100)
    identity = await running(runtime)
    await clock.advance(10)
    usage = (await runtime.usage()).containers[identity]
    assert (usage.cpu_nanoseconds, usage.memory_bytes, usage.nanocores) == (
        2_500_000_000,
        64 * 1024 * 1024,
        250_000_000,
    )


async def test_a_curve_is_of_the_time_since_the_start_and_is_told_by_an_annotation() -> None:
    clock = FakeClock()
    runtime = runtime_of({}, clock)
    identity = await running(
        runtime, annotation={"main": {"cpu": [[0, 0.0], [10, 1.0]], "memory": [[0, 0], [10, "10Ki"]]}}
    )
    await clock.advance(5)
    usage = (await runtime.usage()).containers[identity]
    assert (usage.cpu_nanoseconds, usage.memory_bytes, usage.nanocores) == (1_250_000_000, 5 * 1024, 500_000_000)
    await clock.advance(15)
    usage = (await runtime.usage()).containers[identity]
    assert (usage.cpu_nanoseconds, usage.nanocores) == (15_000_000_000, 1_000_000_000)


async def test_a_shared_load_is_split_among_those_that_run() -> None:
    load = SharedLoad(1.0)
    clock = FakeClock()
    runtime = runtime_of(FakeBehaviour(cpu=load), clock)
    first = await running(runtime, uid="a")
    assert (await runtime.usage()).containers[first].nanocores == 1_000_000_000
    second = await running(runtime, uid="b")
    found = (await runtime.usage()).containers
    assert [found[each].nanocores for each in (first, second)] == [500_000_000] * 2
    load.cores = 3.0
    await runtime.stop_container(first, 0)
    found = (await runtime.usage()).containers
    assert {each: usage.nanocores for each, usage in found.items()} == {second: 3_000_000_000}


@pytest.mark.parametrize("wrong", [-1, "many", [], [[5, 1], [0, 1]], [[0, -1]], [1, 2]])
async def test_what_cannot_be_is_refused_by_name(wrong: Any) -> None:
    with pytest.raises(DriverError, match="behaviour of web"):
        runtime_of({"cpu": wrong})
    with pytest.raises(RuntimeFailure, match="annotation"):
        await running(runtime_of({}), annotation={"*": {"cpu": wrong}})


async def test_a_snapshot_carries_what_was_used() -> None:
    clock = FakeClock()
    runtime = runtime_of({"cpu": 1}, clock)
    identity = await running(runtime)
    await clock.advance(10)
    await runtime.usage()
    other = FakeRuntime(clock=clock, node_name="n")
    other.restore(runtime.snapshot())
    await clock.advance(10)
    assert (await other.usage()).containers[identity].cpu_nanoseconds == 20_000_000_000


POINTS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 8)), min_size=1, max_size=5).map(sorted)


@given(POINTS, st.lists(st.integers(0, 80), max_size=6).map(sorted))
def test_it_does_not_matter_how_often_somebody_looks(points: Any, looks: list[int]) -> None:
    curve = read_curve(points)
    whole = curve.integral(0, 80)
    parts = sum(curve.integral(begin, end) for begin, end in itertools.pairwise([0, *looks, 80]))
    assert parts == pytest.approx(whole)
    assert 0 <= whole <= 80 * max(value for _, value in points)


async def test_no_container_uses_more_cpu_than_it_may_and_resizing_it_counts_from_then_on() -> None:
    clock = FakeClock()
    runtime = runtime_of({"cpu": [[0, 0.0], [10, 1.0]]}, clock)
    identity = await running(runtime)
    await runtime.update_container(identity, Resources(cpu_quota=50_000, cpu_period=100_000))
    await clock.advance(10)
    # Half of the way up, and flat from there.
    usage = (await runtime.usage()).containers[identity]
    assert (usage.cpu_nanoseconds, usage.nanocores) == (3_750_000_000, 500_000_000)
    await runtime.update_container(identity, Resources(cpu_quota=200_000, cpu_period=100_000))
    await clock.advance(10)
    usage = (await runtime.usage()).containers[identity]
    assert (usage.cpu_nanoseconds, usage.nanocores) == (13_750_000_000, 1_000_000_000)
    assert runtime.list_containers()[0].resources == Resources(cpu_quota=200_000, cpu_period=100_000)

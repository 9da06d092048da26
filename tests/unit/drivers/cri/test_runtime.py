"""The driver at an endpoint whose answers are decided here."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytest.importorskip("grpc")

from fakes.endpoint import ScriptedEndpoint, serving
from kube_core._kit.clock import Clock, FakeClock, SystemClock
from kube_core.abc.runtime import ContainerConfig, ContainerStatus, HandlerFeatures, RuntimeFailure, SandboxConfig
from kube_core.testing.runtime import until
from kube_drivers.runtime.cri import CriRuntime
from kube_drivers.runtime.cri.endpoint import Unavailable
from kube_drivers.runtime.cri.requests import OWNER

pytestmark = pytest.mark.anyio

SANDBOX = SandboxConfig("default", "pod", "uid-1")
CONTAINER = ContainerConfig("c", "busybox:1", env={"SECRET": "x"}, working_dir="/w")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for a socket's path."""
    with tempfile.TemporaryDirectory(prefix="cri-") as place:
        yield Path(place)


@asynccontextmanager
async def started(endpoint: ScriptedEndpoint, clock: Clock | None = None, node: str = "n") -> AsyncIterator[CriRuntime]:
    runtime = CriRuntime(
        clock=clock or SystemClock(), node_name=node, state_directory=str(endpoint.folder), url=endpoint.url
    )
    await runtime.start()
    try:
        yield runtime
    finally:
        await runtime.stop()


async def made(runtime: CriRuntime) -> str:
    sandbox = await runtime.run_sandbox(SANDBOX)
    return await runtime.create_container(sandbox.id, CONTAINER)


def status_of(runtime: CriRuntime, identity: str) -> ContainerStatus:
    return next(each for each in runtime.list_containers() if each.id == identity)


async def test_what_it_is_and_has_is_what_the_endpoint_says(folder: Path) -> None:
    handlers = [
        {"name": "kata", "features": {"user_namespaces": False}},
        {"name": "", "features": {"user_namespaces": True, "recursive_read_only_mounts": True}},
    ]
    async with serving(folder, handlers=handlers) as endpoint, started(endpoint) as runtime:
        assert (runtime.name, runtime.version, runtime.problems()) == ("scripted", "3.2.1", [])
        assert runtime.capabilities.user_namespaces
        assert runtime.handlers() == [HandlerFeatures("", True, True), HandlerFeatures("kata", False, False)]


async def test_no_endpoint_is_told_when_it_starts(folder: Path) -> None:
    runtime = CriRuntime(
        clock=SystemClock(), node_name="n", state_directory=str(folder), url=f"cri:unix://{folder}/none.sock"
    )
    with pytest.raises(RuntimeFailure, match=r"the CRI endpoint unix:///.*/none\.sock cannot be used"):
        await runtime.start()


@pytest.mark.parametrize("url", ["cri:unix://", "cri:http", "cri:tcp://host"])
def test_an_endpoint_has_to_be_named(url: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailure, match="needs an endpoint"):
        CriRuntime(clock=SystemClock(), node_name="n", state_directory=str(tmp_path), url=url)


async def test_an_exit_that_nobody_tells_of_is_found(folder: Path) -> None:
    async with serving(folder) as endpoint, started(endpoint) as runtime:
        identity = await made(runtime)
        await runtime.start_container(identity)
        endpoint.containers[identity].state = 2
        endpoint.containers[identity].exit_code = 4
        await until(lambda: status_of(runtime, identity).state == "exited")
        assert (status_of(runtime, identity).exit_code, status_of(runtime, identity).reason) == (4, "Error")


async def test_an_endpoints_events_are_heard_without_waiting_for_the_next_look(folder: Path) -> None:
    clock = FakeClock()
    async with serving(folder, events=True) as endpoint, started(endpoint, clock) as runtime:
        identity = await made(runtime)
        await runtime.start_container(identity)
        endpoint.containers[identity].state = 2
        await endpoint.tell(identity)
        # No time passes on this clock, so that nothing but the event can have been the reason.
        await until(lambda: status_of(runtime, identity).state == "exited")


async def test_a_container_whose_state_is_unknown_is_ended_before_anything_takes_its_place(folder: Path) -> None:
    async with serving(folder) as endpoint, started(endpoint) as runtime:
        identity = await made(runtime)
        await runtime.start_container(identity)
        endpoint.containers[identity].state = 3
        await until(lambda: status_of(runtime, identity).state == "exited")
        assert f"StopContainer {identity} 0" in endpoint.asked


async def test_a_start_whose_answer_was_lost_is_looked_into(folder: Path) -> None:
    async with serving(folder) as endpoint, started(endpoint) as runtime:
        identity = await made(runtime)
        endpoint.lost.add("StartContainer")
        # It was not started: that is told, and it may be tried again.
        with pytest.raises(Unavailable):
            await runtime.start_container(identity)
        endpoint.lost.add("StartContainer")
        endpoint.containers[identity].state = 1
        # It was: nobody may start another.
        await runtime.start_container(identity)
        assert status_of(runtime, identity).state == "running"


async def test_a_container_that_was_never_started_is_stopped_by_doing_nothing(folder: Path) -> None:
    async with serving(folder) as endpoint, started(endpoint) as runtime:
        identity = await made(runtime)
        endpoint.ignored.add("StopContainer")
        async with asyncio.timeout(20):
            await runtime.stop_container(identity, 30)
        assert status_of(runtime, identity).state == "created"


async def test_nodes_at_one_endpoint_see_only_their_own(folder: Path) -> None:
    async with serving(folder) as endpoint, started(endpoint) as mine, started(endpoint, node="other") as theirs:
        identity = await made(mine)
        assert (theirs.list_containers(), theirs.list_sandboxes()) == ([], [])
        async with started(endpoint) as again:
            found = status_of(again, identity)
            assert found.config.working_dir == "/w"
            # What may be secret is not written down a second time.
            assert found.config.env == {}
            assert [each.ips for each in again.list_sandboxes()] == [("192.0.2.5",)]


async def test_attempts_that_are_taken_are_counted_on(folder: Path) -> None:
    async with serving(folder) as endpoint, started(endpoint) as runtime:
        first = await runtime.run_sandbox(SANDBOX)
        second = await runtime.run_sandbox(SANDBOX)
        for sandbox in (first, second):
            await runtime.create_container(sandbox.id, CONTAINER)
        assert [each.config.metadata.attempt for each in endpoint.requests] == [0, 1, 0, 1]
        assert [each.config.attempt for each in runtime.list_containers()] == [0, 0]
        assert {each.config.labels[OWNER] for each in endpoint.requests} == {endpoint.requests[0].config.labels[OWNER]}


async def test_an_endpoint_that_is_away_for_half_a_minute_is_down(folder: Path) -> None:
    clock = FakeClock()
    async with serving(folder) as endpoint, started(endpoint, clock) as runtime:
        identity = await made(runtime)
        await endpoint.away()
        await clock.advance(29)
        assert runtime.problems() == []
        await clock.advance(2)
        assert runtime.problems() == ["container runtime is down"]
        assert status_of(runtime, identity).state == "created"
        await endpoint.begin()
        events = runtime.events()
        async with asyncio.timeout(20):
            while runtime.problems():
                await clock.advance(5)
            async for event in events:
                if not event.pod_uid:
                    break  # who waited may try again


async def test_what_the_endpoint_says_of_itself_is_the_nodes_condition(folder: Path) -> None:
    clock = FakeClock()
    async with serving(folder) as endpoint, started(endpoint, clock) as runtime:
        endpoint.conditions["NetworkReady"] = ("NetworkPluginNotReady", "cni plugin not initialized")
        await clock.advance(5)
        assert runtime.problems() == [
            "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
            "message:cni plugin not initialized"
        ]
        endpoint.conditions["RuntimeReady"] = ("Broken", "no")
        await clock.advance(5)
        assert runtime.problems()[0] == "container runtime not ready: RuntimeReady=false reason:Broken message:no"
        endpoint.conditions.clear()
        await clock.advance(5)
        assert runtime.problems() == []

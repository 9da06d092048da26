"""Running controllers as a program: when it is ready, how it stops, and that a leader that lost stops at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import kube_core as kube
from fakes.api import CONFIG_MAPS, PODS, FakeApi, until
from fakes.sites import program
from kube_core._kit.random import Random
from kube_core.abc.transport import User
from kube_core.api import core
from kube_core.api.resources import CUSTOM_RESOURCE_DEFINITIONS, LEASES
from kube_core.client.local import LocalTransport
from kube_core.control.election import LeadershipLost
from kube_core.operators.discovery import ProgramError
from kube_core.operators.running import RunOptions, serve

pytestmark = pytest.mark.anyio


class Seen:
    """A controller that writes down what it sees, and what becomes of a call that waits."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.ended: list[str] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

        @kube.controller(core.ConfigMap)
        async def seen(ctx: kube.Context[core.ConfigMap]) -> None:
            self.keys.append(str(ctx.key))
            try:
                await self.go_on.wait()
                self.ended.append("done")
            except asyncio.CancelledError:
                self.ended.append("cancelled")
                raise

        self.program = program(seen=seen)


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    api.resources += [LEASES, CUSTOM_RESOURCE_DEFINITIONS]
    return api


def put(api: FakeApi, name: str, namespace: str = "default") -> None:
    api.put(CONFIG_MAPS, {"metadata": {"name": name, "namespace": namespace}})


def start(
    api: FakeApi, programs: list[object], stop: asyncio.Event, lines: list[str], **options: Any
) -> asyncio.Task[None]:
    transport = LocalTransport(api.handle, api, User("operator"))
    work = serve(
        programs,
        RunOptions(**options),
        stop=stop,
        transport=transport,
        clock=api.clock,
        random=Random(1),
        tell=lines.append,
    )
    return asyncio.create_task(work)


async def test_controllers_run_until_told_to_stop_and_what_is_under_way_ends(api: FakeApi) -> None:
    seen, stop, lines = Seen(), asyncio.Event(), list[str]()
    running = start(api, [seen.program], stop, lines)
    await until(lambda: "controllers run" in lines)
    seen.go_on.clear()
    put(api, "a")
    await until(lambda: seen.keys == ["default/a"])
    stop.set()
    await api.clock.advance(1)
    assert not running.done()
    seen.go_on.set()
    await running
    assert seen.ended == ["done"]


async def test_only_the_namespace_that_was_given_is_looked_at(api: FakeApi) -> None:
    seen, stop, lines = Seen(), asyncio.Event(), list[str]()
    put(api, "a", "mine")
    put(api, "b", "other")
    running = start(api, [seen.program], stop, lines, namespace="mine")
    await until(lambda: seen.keys == ["mine/a"])
    assert not [each for each in api.requests if each == "GET /api/v1/configmaps"]
    stop.set()
    await running


async def test_a_leader_that_lost_cancels_what_is_under_way_at_once(api: FakeApi) -> None:
    seen, stop, lines = Seen(), asyncio.Event(), list[str]()
    running = start(api, [seen.program], stop, lines, leader_elect=True, identity="me")
    await until(lambda: "leading as me" in lines and "controllers run" in lines)
    seen.go_on.clear()
    put(api, "a")
    await until(lambda: bool(seen.keys))
    lease = api.get(LEASES, "seen", "default")
    assert lease is not None
    api.put(LEASES, {**lease, "spec": {**lease["spec"], "holderIdentity": "another"}})
    await api.clock.advance(2.1)
    with pytest.raises(LeadershipLost, match="another holds"):
        await running
    assert seen.ended == ["cancelled"]
    lease = api.get(LEASES, "seen", "default")
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == "another"


async def test_who_stands_by_can_be_told_to_stop(api: FakeApi) -> None:
    held = {"holderIdentity": "another", "leaseDurationSeconds": 1000}
    api.put(LEASES, {"metadata": {"name": "work", "namespace": "tools"}, "spec": held})
    seen, stop, lines = Seen(), asyncio.Event(), list[str]()
    running = start(api, [seen.program], stop, lines, leader_elect=True, identity="me", lease="tools/work")
    await until(lambda: "standing by as me" in lines)
    await api.clock.advance(10)
    assert not running.done()
    stop.set()
    await running
    assert seen.keys == []
    assert lines == ["standing by as me"]


async def test_a_plugins_hook_counts_and_a_choice_can_be_made(api: FakeApi) -> None:
    seen, other, stop, lines = Seen(), Seen(), asyncio.Event(), list[str]()
    (spec,) = other.program.seen.specs()
    hooked = program(kube_core_controllers=lambda: [kube.ControllerSpec("hooked", spec.factory)])
    running = start(api, [seen.program, hooked], stop, lines, controllers=["hooked"])
    put(api, "a")
    await until(lambda: other.keys == ["default/a"])
    assert seen.keys == []
    stop.set()
    await running


async def test_what_cannot_run_says_why(api: FakeApi) -> None:
    stop = asyncio.Event()
    for programs, options, message in (
        ([program()], {}, "no controller is declared"),
        ([Seen().program], {"controllers": ["x"]}, "unknown controller x"),
        ([Seen().program, Seen().program], {}, "two controllers 'seen'"),
    ):
        with pytest.raises(ProgramError, match=message):
            await start(api, list[object](programs), stop, [], **options)


async def test_daemons_end_with_the_program(api: FakeApi) -> None:
    log: list[str] = []

    @kube.daemon(core.Pod)
    async def follow(ctx: kube.HandlerContext[core.Pod]) -> None:
        log.append("begin")
        await ctx.stopped.wait()
        await ctx.clock.sleep(2)
        log.append("end")

    stop, lines = asyncio.Event(), list[str]()
    api.put(PODS, {"metadata": {"name": "a", "namespace": "default"}})
    running = start(api, [program(follow=follow)], stop, lines)
    await until(lambda: log == ["begin"])
    stop.set()
    await api.clock.advance(3)
    await running
    assert log == ["begin", "end"]

"""The controller runtime: when reconcilers are called, and what becomes of their failures."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, ClassVar

import pytest

from fakes.api import CONFIG_MAPS, EVENTS, NODES, PODS, FakeApi, until
from kube_core._kit.random import Random
from kube_core.api.types import ResourceType
from kube_core.client.informer import Informers
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.controller import (
    Controller,
    ControllerContext,
    ControllerSpec,
    MapToKeys,
    RateLimits,
    Watch,
    to_controller_owner,
    to_itself,
)
from kube_core.control.runtime import ControllerRuntime
from kube_core.meta.documents import Document, Key
from kube_core.meta.status import Conflict

pytestmark = pytest.mark.anyio

KEY = Key("default", "a")


class Probe(Controller):
    """Writes down what it is asked, and answers with `answer`."""

    workers: ClassVar[int] = 2

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self.keys: list[Key] = []
        self.log_of_calls: list[str] = []
        self.answer: Callable[[Key], Awaitable[Action]] | None = None

    def watches(self) -> Iterable[Watch]:
        yield Watch(PODS)

    def reads(self) -> Iterable[ResourceType]:
        yield CONFIG_MAPS

    async def start(self) -> None:
        self.log_of_calls.append(f"start with {len(self.context.informers.lister(CONFIG_MAPS))}")

    async def stop(self) -> None:
        self.log_of_calls.append("stop")

    async def reconcile(self, key: Key) -> Action:
        self.keys.append(key)
        return await self.answer(key) if self.answer is not None else await_change()


def pod(name: str = "a", **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", **metadata}}


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


def runtime(api: FakeApi, *specs: ControllerSpec, **options: Any) -> ControllerRuntime:
    return ControllerRuntime(specs, api.client, clock=api.clock, random=Random(1), **options)


def probe_of(running: ControllerRuntime, name: str = "probe") -> Probe:
    found = running.controllers[name]
    assert isinstance(found, Probe)
    return found


SPEC = ControllerSpec("probe", Probe)


async def test_controller_starts_once_all_it_reads_is_there(api: FakeApi) -> None:
    api.put(PODS, pod())
    api.put(CONFIG_MAPS, pod("config"))
    async with runtime(api, SPEC) as running:
        probe = probe_of(running)
        assert not running.idle
        await running.started()
        assert probe.log_of_calls == ["start with 1"]
        await until(lambda: running.idle)
        assert probe.keys == [KEY]
    assert probe.log_of_calls == ["start with 1", "stop"]


async def test_changes_are_reconciled_by_key_and_not_one_by_one(api: FakeApi) -> None:
    async with runtime(api, SPEC) as running:
        await running.started()
        api.put(PODS, pod("a"))
        api.put(PODS, pod("b"))
        api.remove(PODS, "a", "default")
        await until(lambda: len(probe_of(running).keys) == 2 and running.idle)
        assert probe_of(running).keys == [KEY, Key("default", "b")]


async def test_workers_come_with_the_keys_and_are_no_more_than_there_may_be(api: FakeApi) -> None:
    def workers() -> int:
        return sum(task.get_name().startswith("probe worker") for task in asyncio.all_tasks())

    async with runtime(api, SPEC) as running:
        await running.started()
        probe, go_on = probe_of(running), asyncio.Event()

        async def answer(key: Key) -> Action:
            await go_on.wait()
            return await_change()

        probe.answer = answer
        assert workers() == 1
        for name in "abc":
            api.put(PODS, pod(name))
        # Two are worked on at once, and the third waits.
        await until(lambda: len(probe.keys) == 2)
        assert workers() == Probe.workers
        go_on.set()
        await until(lambda: len(probe.keys) == 3 and running.idle)
        assert workers() == Probe.workers
    assert workers() == 0


async def test_key_is_never_reconciled_twice_at_once(api: FakeApi) -> None:
    async with runtime(api, SPEC) as running:
        probe, release, inside, most = probe_of(running), asyncio.Event(), 0, 0

        async def answer(_key: Key) -> Action:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            await release.wait()
            inside -= 1
            return await_change()

        probe.answer = answer
        await running.started()
        api.put(PODS, pod())
        await until(lambda: inside)
        api.put(PODS, pod(labels={"x": "1"}))
        await asyncio.sleep(0)
        assert not running.idle
        release.set()
        await until(lambda: running.idle)
        assert (most, len(probe.keys)) == (1, 2)


async def test_key_that_has_a_rest_is_reconciled_again_when_it_is_over_and_others_do_not_wait(api: FakeApi) -> None:
    async with runtime(api, SPEC) as running:
        probe = probe_of(running)

        async def answer(key: Key) -> Action:
            return Action(rest=0.2 if key == KEY else 0.0)

        probe.answer = answer
        await running.started()
        api.put(PODS, pod())
        await until(lambda: probe.keys == [KEY] and running.idle)
        api.put(PODS, pod(labels={"x": "1"}))
        api.put(PODS, pod("b"))
        await until(lambda: len(probe.keys) == 2)
        assert probe.keys == [KEY, Key("default", "b")]
        assert not running.idle
        assert running.next_retry == pytest.approx(0.2)
        await api.clock.advance(0.2)
        await until(lambda: len(probe.keys) == 3)


async def test_requeued_key_comes_back_in_its_time(api: FakeApi) -> None:
    async with runtime(api, SPEC) as running:
        probe = probe_of(running)

        async def answer(_key: Key) -> Action:
            return requeue(30)

        probe.answer = answer
        await running.started()
        api.put(PODS, pod())
        await until(lambda: len(probe.keys) == 1 and running.idle)
        await api.clock.advance(29)
        assert len(probe.keys) == 1
        await api.clock.advance(1)
        await until(lambda: len(probe.keys) == 2)


@pytest.mark.parametrize("error", [RuntimeError("no"), Conflict("no")])
async def test_failing_reconcile_is_tried_again_with_growing_delay_and_others_go_on(
    api: FakeApi, error: Exception
) -> None:
    async with runtime(api, SPEC, ControllerSpec("other", Probe)) as running:
        probe, moments = probe_of(running), []

        async def answer(key: Key) -> Action:
            if key == KEY:
                moments.append(api.clock.monotonic())
                if len(moments) < 5:
                    raise error
            return await_change()

        probe.answer = answer
        await running.started()
        api.put(PODS, pod("a"))
        api.put(PODS, pod("b"))
        await until(lambda: running.idle and len(probe.keys) == 2)
        assert len(probe_of(running, "other").keys) == 2
        await api.clock.advance(1)
        assert [round(later - earlier, 6) for earlier, later in itertools.pairwise(moments)] == [
            0.005,
            0.01,
            0.02,
            0.04,
        ]


async def test_a_crash_is_told_by_one_event_of_the_object(api: FakeApi) -> None:
    async with runtime(api, SPEC) as running:
        probe = probe_of(running)

        async def answer(_key: Key) -> Action:
            raise RuntimeError("no such thing")

        probe.answer = answer
        await running.started()
        api.put(PODS, pod())
        await until(lambda: len(probe.keys) == 1 and running.idle)
        await api.clock.advance(1)
        await until(lambda: len(probe.keys) > 3 and running.idle)
        [event] = api.objects(EVENTS).values()
        assert (event["reason"], event["type"]) == ("ReconcileFailed", "Warning")
        assert event["message"] == "RuntimeError: no such thing"
        assert event["involvedObject"]["name"] == "a"
        assert event["count"] == 1


async def test_many_keys_that_fail_take_turns_beyond_a_burst(api: FakeApi) -> None:
    async with runtime(api, ControllerSpec("probe", Probe, rate_limits=RateLimits(burst=3))) as running:
        probe = probe_of(running)

        async def answer(_key: Key) -> Action:
            raise Conflict("no")

        probe.answer = answer
        await running.started()
        for name in "abcde":
            api.put(PODS, pod(name))
        await until(lambda: len(probe.keys) == 5 and running.idle)
        await api.clock.advance(0.09)
        # Three have their own back-off alone; what comes after them waits for a turn, ten of which there are a second.
        tried = len(probe.keys)
        await api.clock.advance(1.0)
        assert tried < 5 + 3 + 3
        assert 9 <= len(probe.keys) - tried <= 11


async def test_success_forgets_earlier_failures(api: FakeApi) -> None:
    async with runtime(api, SPEC) as running:
        probe, fails = probe_of(running), [True, True, False, True, False]
        moments: list[float] = []

        async def answer(_key: Key) -> Action:
            moments.append(api.clock.monotonic())
            if fails.pop(0):
                raise RuntimeError("no")
            return await_change()

        probe.answer = answer
        await running.started()
        api.put(PODS, pod())
        await until(lambda: len(probe.keys) == 1)
        await api.clock.advance(1)
        api.put(PODS, pod(labels={"x": "1"}))
        await until(lambda: len(probe.keys) == 4)
        await api.clock.advance(1)
        assert round(moments[4] - moments[3], 6) == 0.005


async def test_predicate_and_mapping_decide_what_is_reconciled(api: FakeApi) -> None:
    def only_creations(before: Document | None, after: Document | None) -> bool:
        return before is None

    def controller(watch: Watch) -> type[Probe]:
        class Watching(Probe):
            def watches(self) -> Iterable[Watch]:
                yield watch

        return Watching

    owners: MapToKeys = to_controller_owner("ReplicaSet")
    created = ControllerSpec("created", controller(Watch(PODS, to_itself, only_creations)))
    owned = ControllerSpec("owned", controller(Watch(PODS, owners)))
    async with runtime(api, created, owned) as running:
        await running.started()
        owner = {"kind": "ReplicaSet", "name": "rs", "uid": "u", "controller": True}
        api.put(PODS, pod(ownerReferences=[owner]))
        await until(lambda: running.idle and probe_of(running, "owned").keys)
        api.put(PODS, pod())
        await until(lambda: running.idle and len(probe_of(running, "owned").keys) == 2)
        assert probe_of(running, "created").keys == [KEY]
        assert probe_of(running, "owned").keys == [Key("default", "rs")] * 2


async def test_controller_that_cannot_be_built_or_started_is_left_out(api: FakeApi) -> None:
    def broken(_context: ControllerContext) -> Controller:
        raise RuntimeError("cannot")

    class FailsToStart(Probe):
        async def start(self) -> None:
            raise RuntimeError("will not")

    specs = [
        ControllerSpec("broken", broken),
        ControllerSpec("needy", Probe, needs=("volume",)),
        ControllerSpec("unwilling", FailsToStart),
        SPEC,
    ]
    async with runtime(api, *specs) as running:
        await running.started()
        api.put(PODS, pod())
        await until(lambda: probe_of(running).keys)
        reasons = {left.name: left.reason for left in running.left_out}
        assert set(reasons) == {"broken", "needy", "unwilling"}
        assert reasons["needy"] == "it needs a driver for volume"
        assert "cannot" in reasons["broken"]
        await until(lambda: running.idle)


async def test_controller_with_its_driver_runs(api: FakeApi) -> None:
    driver = object()
    async with runtime(api, ControllerSpec("needy", Probe, needs=("volume",)), drivers={"volume": driver}) as running:
        assert running.controllers["needy"].context.drivers["volume"] is driver


async def test_leaving_cancels_a_reconcile_that_hangs(api: FakeApi) -> None:
    cancelled = []
    tasks_before = asyncio.all_tasks()
    async with runtime(api, SPEC) as running:
        probe = probe_of(running)

        async def answer(key: Key) -> Action:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(key)
                raise
            return await_change()

        probe.answer = answer
        await running.started()
        api.put(PODS, pod())
        await until(lambda: probe.keys)
    assert cancelled == [KEY]
    assert probe.log_of_calls[-1] == "stop"
    assert asyncio.all_tasks() == tasks_before


async def test_controllers_share_the_informers_that_are_given(api: FakeApi) -> None:
    async with Informers(api.client(), clock=api.clock, random=Random(1)) as informers:
        informers.informer(NODES)
        async with runtime(api, SPEC, ControllerSpec("other", Probe), informers=informers) as running:
            await running.started()
            assert api.requests.count("GET /api/v1/pods") == 1
        api.put(PODS, pod())
        await until(lambda: len(informers.lister(PODS)) == 1)

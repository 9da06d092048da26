"""The runtime as a program's: grace at the end, time limits, reports, rate limits, metrics and traces."""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import attrs
import pytest
import structlog

from fakes.api import PODS, FakeApi, until
from kube_core._kit import tracing
from kube_core._kit.random import Random
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.controller import Controller, ControllerSpec, RateLimits, Watch
from kube_core.control.metrics import ControllerMetrics
from kube_core.control.runtime import ControllerRuntime
from kube_core.meta.documents import Key

pytestmark = pytest.mark.anyio

Answer = Callable[[Key], Awaitable[Action]]


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


def runtime(api: FakeApi, answer: Answer, *, spec: dict[str, Any] | None = None, **options: Any) -> ControllerRuntime:
    class Asked(Controller):
        def watches(self) -> Iterable[Watch]:
            yield Watch(PODS)

        async def reconcile(self, key: Key) -> Action:
            return await answer(key)

    declared = ControllerSpec("asked", Asked, **(spec or {}))
    return ControllerRuntime([declared], api.client, clock=api.clock, random=Random(1), **options)


def put(api: FakeApi, *names: str) -> None:
    for name in names:
        api.put(PODS, {"metadata": {"name": name, "namespace": "default"}})


async def test_what_is_under_way_may_end_within_the_grace(api: FakeApi) -> None:
    log: list[str] = []
    begun, end = asyncio.Event(), asyncio.Event()

    async def answer(key: Key) -> Action:
        begun.set()
        await end.wait()
        log.append(f"{key.name} done")
        return await_change()

    async def leave() -> None:
        async with runtime(api, answer, spec={"workers": 1}, grace=30):
            put(api, "a", "b")
            await begun.wait()

    leaving = asyncio.create_task(leave())
    await begun.wait()
    await api.clock.advance(29)
    end.set()
    await leaving
    assert log == ["a done"]  # and b, which had not begun, was not


async def test_what_takes_longer_than_the_grace_is_cancelled(api: FakeApi) -> None:
    log: list[str] = []
    begun = asyncio.Event()

    async def answer(key: Key) -> Action:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            log.append("cancelled")
        return await_change()

    async def leave() -> None:
        async with runtime(api, answer, grace=30):
            put(api, "a")
            await begun.wait()

    leaving = asyncio.create_task(leave())
    await begun.wait()
    await api.clock.advance(29)
    assert not leaving.done()
    await api.clock.advance(2)
    await leaving
    assert log == ["cancelled"]


async def test_a_reconcile_that_takes_too_long_is_cancelled_and_tried_again(api: FakeApi) -> None:
    calls: list[float] = []

    async def answer(key: Key) -> Action:
        calls.append(api.clock.monotonic())
        if len(calls) == 1:
            await asyncio.Event().wait()
        return await_change()

    metrics = ControllerMetrics()
    async with runtime(api, answer, spec={"timeout": 10.0}, metrics=metrics) as running:
        await running.started()
        put(api, "a")
        await until(lambda: bool(calls))
        await api.clock.advance(11)
        assert len(calls) == 2
    assert 'controller_runtime_reconcile_timeouts_total{controller="asked"} 1' in metrics.text()


async def test_something_cancelled_inside_is_a_failure_and_not_the_end_of_the_worker(api: FakeApi) -> None:
    calls: list[str] = []

    async def answer(key: Key) -> Action:
        calls.append(key.name)
        if len(calls) == 1:
            raise asyncio.CancelledError
        return await_change()

    async with runtime(api, answer, spec={"workers": 1}) as running:
        put(api, "a")
        await until(lambda: bool(calls))
        await api.clock.advance(1)
        assert calls == ["a", "a"]
        assert running.idle


async def test_a_trace_is_reported_once_as_long_as_it_is_the_same(api: FakeApi) -> None:
    lines: list[dict[str, Any]] = []
    failing, calls = True, 0

    async def answer(key: Key) -> Action:
        nonlocal calls
        calls += 1
        if failing:
            raise RuntimeError("crash")
        return await_change()

    def take(_: Any, method: str, line: Any) -> Any:
        lines.append(dict(line))
        raise structlog.DropEvent

    log = structlog.wrap_logger(None, processors=[take])
    async with runtime(api, answer, log=log):
        put(api, "a")
        await until(lambda: calls == 1)
        await api.clock.advance(1)
        assert calls > 5
        assert ["exc_info" in line for line in lines] == [True, *[False] * (calls - 1)]
        assert lines[-1]["error"] == "RuntimeError: crash"
        assert lines[-1]["failures"] == calls
        failing = False
        await api.clock.advance(10)
        failing = True
        lines.clear()
        put(api, "a")
        await until(lambda: bool(lines))
        assert "exc_info" in lines[0]


async def test_all_that_fail_share_a_bucket_of_retries(api: FakeApi) -> None:
    calls: list[float] = []

    async def answer(key: Key) -> Action:
        calls.append(api.clock.monotonic())
        raise RuntimeError("no")

    limits = RateLimits(retries_per_second=1.0, burst=2)
    async with runtime(api, answer, spec={"rate_limits": limits}, log=silent()):
        put(api, *"abcdef")
        await until(lambda: len(calls) == 6)
        await api.clock.advance(3.5)
        assert len(calls) <= 6 + 2 + 4


async def test_a_key_that_asks_for_nothing_comes_back_after_the_resync(api: FakeApi) -> None:
    calls: list[float] = []

    async def answer(key: Key) -> Action:
        calls.append(api.clock.monotonic())
        return requeue(5) if len(calls) == 1 else await_change()

    async with runtime(api, answer, spec={"resync": 60.0}):
        put(api, "a")
        await until(lambda: bool(calls))
        await api.clock.advance(130)
    assert calls == [0, 5, 65, 125]


async def test_metrics_have_the_names_of_controller_runtime(api: FakeApi) -> None:
    calls = 0

    async def answer(key: Key) -> Action:
        nonlocal calls
        calls += 1
        if key.name == "bad":
            raise RuntimeError("no")
        return requeue(1000) if key.name == "again" else await_change()

    metrics = ControllerMetrics()
    async with runtime(api, answer, metrics=metrics, spec={"workers": 3}, log=silent()) as running:
        put(api, "good", "bad", "again")
        await until(lambda: running.idle and calls == 3)
        text = metrics.text().splitlines()
    for line in (
        'controller_runtime_reconcile_total{controller="asked",result="success"} 1',
        'controller_runtime_reconcile_total{controller="asked",result="requeue_after"} 1',
        'controller_runtime_reconcile_total{controller="asked",result="error"} 1',
        'controller_runtime_reconcile_errors_total{controller="asked"} 1',
        'controller_runtime_reconcile_panics_total{controller="asked"} 1',
        'controller_runtime_reconcile_time_seconds_count{controller="asked"} 3',
        'controller_runtime_max_concurrent_reconciles{controller="asked"} 3',
        'controller_runtime_active_workers{controller="asked"} 0',
        'workqueue_adds_total{name="asked",controller="asked"} 3',
        'workqueue_retries_total{name="asked",controller="asked"} 1',
        'workqueue_depth{name="asked",controller="asked"} 0',
        'workqueue_queue_duration_seconds_count{name="asked",controller="asked"} 3',
        'workqueue_work_duration_seconds_count{name="asked",controller="asked"} 3',
        'workqueue_unfinished_work_seconds{name="asked",controller="asked"} 0',
    ):
        assert line in text


async def test_there_is_a_span_for_each_reconcile_and_for_each_request_in_it(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans: list[tuple[str, str]] = []
    open_spans: list[str] = []

    @attrs.define
    class FakeTracer:
        """What is used of OpenTelemetry's, which is optional."""

        @contextlib.contextmanager
        def start_as_current_span(self, name: str, attributes: Any = None) -> Any:
            spans.append((name, open_spans[-1] if open_spans else ""))
            open_spans.append(name)
            try:
                yield self
            finally:
                open_spans.pop()

        def set_attribute(self, name: str, value: Any) -> None:
            assert (name, value) == ("http.response.status_code", 200)

    monkeypatch.setattr("kube_core.control.runtime.find_tracer", lambda name: FakeTracer())

    class Reading(Controller):
        def watches(self) -> Iterable[Watch]:
            yield Watch(PODS)

        async def reconcile(self, key: Key) -> Action:
            await self.client.get(PODS, key.name, key.namespace)
            return await_change()

    async with ControllerRuntime(
        [ControllerSpec("reading", Reading)], api.client, clock=api.clock, random=Random(1)
    ) as running:
        await running.started()
        put(api, "a")
        await until(lambda: len(spans) == 2 and running.idle)
    assert spans == [("reconcile reading", ""), ("GET /api/v1/namespaces/default/pods/a", "reconcile reading")]


def test_without_opentelemetry_there_is_no_tracer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry", raising=False)
    assert tracing.find_tracer("x") is None


def test_with_opentelemetry_there_is_one() -> None:
    pytest.importorskip("opentelemetry.trace")
    assert tracing.find_tracer("x") is not None


def silent() -> Any:
    return structlog.wrap_logger(structlog.PrintLogger(io.StringIO()))

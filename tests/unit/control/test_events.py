"""Events: what is written for what was recorded, and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakes.api import EVENTS, PODS, FakeApi, until
from kube_core._kit.random import Random
from kube_core.control.correlation import COMBINED_PREFIX
from kube_core.control.events import EventRecorder, EventWriter
from kube_core.meta.documents import Document
from kube_core.meta.status import Forbidden, ServiceUnavailable

pytestmark = pytest.mark.anyio


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
async def writer(api: FakeApi) -> AsyncIterator[EventWriter]:
    async with EventWriter(api.client(), clock=api.clock, random=Random(1)) as writer:
        yield writer


@pytest.fixture
def recorder(writer: EventWriter) -> EventRecorder:
    return writer.recorder("kubelet", host="n1")


@pytest.fixture
def pod(api: FakeApi) -> Document:
    return api.put(PODS, {"metadata": {"name": "a", "namespace": "web"}})


def events(api: FakeApi) -> list[Any]:
    return list(api.objects(EVENTS).values())


async def test_event_names_who_reports_what_about_whom(
    api: FakeApi, writer: EventWriter, recorder: EventRecorder, pod: Document
) -> None:
    recorder.normal(pod, "Started", "Started container web", field_path="spec.containers{web}")
    await until(lambda: writer.idle)
    [event] = events(api)
    assert event["metadata"]["namespace"] == "web"
    assert event["metadata"]["name"].startswith("a.")
    assert event["involvedObject"] == {
        "kind": "Pod",
        "namespace": "web",
        "name": "a",
        "uid": pod["metadata"]["uid"],
        "apiVersion": "v1",
        "resourceVersion": pod["metadata"]["resourceVersion"],
        "fieldPath": "spec.containers{web}",
    }
    assert event["source"] == {"component": "kubelet", "host": "n1"}
    assert (event["reportingComponent"], event["reportingInstance"]) == ("kubelet", "n1")
    assert (event["type"], event["reason"], event["message"]) == ("Normal", "Started", "Started container web")
    assert (event["count"], event["firstTimestamp"], event["lastTimestamp"]) == (
        1,
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z",
    )


async def test_who_has_better_things_to_do_has_its_events_written_afterwards_and_holds_up_nobody(
    api: FakeApi, writer: EventWriter, recorder: EventRecorder, pod: Document
) -> None:
    rest = asyncio.Event()

    async def at_rest() -> None:
        await rest.wait()

    busy = writer.recorder("scheduler", before=at_rest)
    busy.normal(pod, "Scheduled", "first")
    recorder.normal(pod, "Started", "second")
    await until(lambda: len(events(api)) == 1)
    assert not writer.idle
    rest.set()
    await until(lambda: writer.idle)
    assert [event["reason"] for event in events(api)] == ["Started", "Scheduled"]


async def test_event_about_a_cluster_scoped_object_goes_to_default(
    api: FakeApi, writer: EventWriter, recorder: EventRecorder
) -> None:
    recorder.warning({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n1"}}, "Gone", "gone")
    await until(lambda: writer.idle)
    assert [event["metadata"]["namespace"] for event in events(api)] == ["default"]


async def test_repeated_event_becomes_a_count(
    api: FakeApi, writer: EventWriter, recorder: EventRecorder, pod: Document
) -> None:
    for _ in range(3):
        recorder.warning(pod, "BackOff", "Back-off restarting failed container")
        await until(lambda: writer.idle)
        await api.clock.advance(60)
    [event] = events(api)
    assert event["count"] == 3
    assert event["firstTimestamp"] == "2026-01-01T00:00:00Z"
    assert event["lastTimestamp"] == "2026-01-01T00:02:00Z"


async def test_many_similar_events_become_one(
    api: FakeApi, writer: EventWriter, recorder: EventRecorder, pod: Document
) -> None:
    for number in range(14):
        recorder.normal(pod, "SuccessfulCreate", f"Created pod: web-{number}")
    await until(lambda: writer.idle)
    combined = [event for event in events(api) if event["message"].startswith(COMBINED_PREFIX)]
    assert len(events(api)) == 10
    assert [event["count"] for event in combined] == [5]
    assert combined[0]["message"] == COMBINED_PREFIX + "Created pod: web-13"


async def test_flood_about_one_object_is_cut_off_and_others_are_not(
    api: FakeApi, writer: EventWriter, recorder: EventRecorder, pod: Document
) -> None:
    for _ in range(40):
        recorder.normal(pod, "Pulled", "again")
    other = api.put(PODS, {"metadata": {"name": "b", "namespace": "web"}})
    recorder.normal(other, "Pulled", "once")
    await until(lambda: writer.idle)
    assert sorted(event["count"] for event in events(api)) == [1, 25]
    await api.clock.advance(300)
    recorder.normal(pod, "Pulled", "again")
    await until(lambda: writer.idle)
    assert sorted(event["count"] for event in events(api)) == [1, 26]


async def test_event_that_the_server_forgot_starts_again(
    api: FakeApi, writer: EventWriter, recorder: EventRecorder, pod: Document
) -> None:
    recorder.normal(pod, "Pulled", "x")
    await until(lambda: writer.idle)
    api.objects(EVENTS).clear()
    recorder.normal(pod, "Pulled", "x")
    await until(lambda: writer.idle)
    assert [event["count"] for event in events(api)] == [2]


async def test_refused_event_is_dropped_and_the_next_is_written(
    api: FakeApi, writer: EventWriter, recorder: EventRecorder, pod: Document
) -> None:
    api.fail(Forbidden("namespace web is being terminated"))
    recorder.normal(pod, "One", "one")
    recorder.normal(pod, "Two", "two")
    await until(lambda: writer.idle)
    assert [event["reason"] for event in events(api)] == ["Two"]


async def test_event_waits_for_a_server_that_is_away(
    api: FakeApi, writer: EventWriter, recorder: EventRecorder, pod: Document
) -> None:
    api.fail(ServiceUnavailable("down"), ServiceUnavailable("down"))
    recorder.normal(pod, "One", "one")
    await until(lambda: api.clock.next_timer() is not None)
    assert writer.idle
    assert events(api) == []
    await api.clock.advance(25)
    await until(lambda: len(events(api)) == 1)


async def test_recording_never_waits_and_a_full_buffer_drops(
    api: FakeApi, writer: EventWriter, recorder: EventRecorder
) -> None:
    for number in range(1100):
        recorder.normal({"kind": "Pod", "metadata": {"name": f"p{number}", "namespace": "web"}}, "One", "one")
    await until(lambda: writer.idle, turns=20_000)
    assert len(events(api)) == 1000


async def test_who_has_much_to_say_holds_up_nobody(api: FakeApi, writer: EventWriter, recorder: EventRecorder) -> None:
    for number in range(1000):
        recorder.normal({"kind": "Pod", "metadata": {"name": f"p{number}", "namespace": "web"}}, "One", "one")
    other = writer.recorder("kubelet", host="n2")
    other.normal({"kind": "Pod", "metadata": {"name": "other", "namespace": "web"}}, "Two", "two")
    await until(lambda: any(event["reason"] == "Two" for event in events(api)))
    assert len(events(api)) < 20
    await until(lambda: writer.idle, turns=20_000)
    assert len(events(api)) == 1001


async def test_what_was_recorded_before_the_writer_was_entered_is_written_then(api: FakeApi, pod: Document) -> None:
    writer = EventWriter(api.client(), clock=api.clock, random=Random(1))
    writer.recorder("kubelet").normal(pod, "One", "one")
    assert not writer.idle
    async with writer:
        await until(lambda: writer.idle)
    assert [event["reason"] for event in events(api)] == ["One"]

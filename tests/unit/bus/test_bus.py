"""The bus: order, indexes, selector transitions, and cutting off who is slow."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from kube_core.api import resources
from kube_core.bus.bus import Bus, Interest, Overrun
from kube_core.bus.changes import Change, Stored, encode
from kube_core.meta.documents import Document, Key
from kube_core.meta.gvk import GroupResource

pytestmark = pytest.mark.anyio

PODS = GroupResource("", "pods")


class Labelled:
    def __init__(self, **labels: str) -> None:
        self._labels = labels

    def matches(self, labels: Mapping[str, str], /) -> bool:
        return all(labels.get(name) == value for name, value in self._labels.items())


def pod(name: str, revision: int, *, namespace: str = "default", node: str = "", **labels: str) -> Stored:
    document: dict[str, Any] = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"nodeName": node},
    }
    return Stored(Key(namespace, name), revision, encode(document))


def node_of(document: Document) -> Mapping[str, str]:
    return {"spec.nodeName": document["spec"]["nodeName"]}


def created(stored: Stored) -> Change:
    return Change(stored.key, stored.revision, None, stored)


async def test_a_subscriber_gets_every_change_in_order() -> None:
    bus = Bus()
    subscription = bus.subscribe(PODS)
    for revision in range(1, 6):
        bus.publish(PODS, created(pod(f"p{revision}", revision)))
    assert [change.revision for change in subscription.drain()] == [1, 2, 3, 4, 5]


async def test_a_namespace_subscriber_does_not_hear_of_others() -> None:
    bus = Bus()
    subscription = bus.subscribe(PODS, Interest(namespace="a"))
    bus.publish(PODS, created(pod("x", 1, namespace="b")))
    bus.publish(PODS, created(pod("y", 2, namespace="a")))
    assert [change.key.name for change in subscription.drain()] == ["y"]


async def test_a_pod_that_moves_between_nodes_reaches_both_watchers() -> None:
    bus = Bus()
    bus.topic(PODS).index(["spec.nodeName"], node_of)
    here = bus.subscribe(PODS, Interest(fields={"spec.nodeName": "here"}))
    there = bus.subscribe(PODS, Interest(fields={"spec.nodeName": "there"}))
    elsewhere = bus.subscribe(PODS, Interest(fields={"spec.nodeName": "elsewhere"}))
    before, after = pod("p", 1, node="here"), pod("p", 2, node="there")
    change = Change(before.key, 2, before, after)
    bus.publish(PODS, change)
    assert [here.kind_of(each) for each in here.drain()] == ["DELETED"]
    assert [there.kind_of(each) for each in there.drain()] == ["ADDED"]
    assert elsewhere.drain() == []


async def test_labels_that_start_and_stop_matching_are_additions_and_deletions() -> None:
    bus = Bus()
    subscription = bus.subscribe(PODS, Interest(labels=Labelled(team="red")))
    blue, red = pod("p", 1, team="blue"), pod("p", 2, team="red")
    kinds = [
        subscription.kind_of(Change(red.key, 2, blue, red)),
        subscription.kind_of(Change(red.key, 3, red, pod("p", 3, team="red"))),
        subscription.kind_of(Change(red.key, 4, red, blue)),
        subscription.kind_of(Change(red.key, 5, blue, None)),
        subscription.kind_of(Change(red.key, 5, red, None)),
    ]
    assert kinds == ["ADDED", "MODIFIED", "DELETED", "", "DELETED"]


async def test_a_kind_and_a_label_selector_are_enough_to_subscribe() -> None:
    bus = Bus()
    subscription = bus.subscribe(resources.PODS, "team=red")
    bus.publish(PODS, created(pod("b", 1, team="blue")))
    bus.publish(PODS, created(pod("r", 2, team="red")))
    assert (await anext(subscription)).key.name == "r"


async def test_a_slow_subscriber_is_cut_off_and_ten_thousand_others_feel_nothing() -> None:
    bus = Bus()
    others = [bus.subscribe(PODS, limit=10) for _ in range(10_000)]
    slow = bus.subscribe(PODS, limit=2)
    for revision in range(1, 4):
        bus.publish(PODS, created(pod(f"p{revision}", revision)))
    with pytest.raises(Overrun):
        slow.drain()
    assert bus.subscribers == 10_000
    assert all([change.revision for change in other.drain()] == [1, 2, 3] for other in others)


async def test_a_closed_subscription_ends_its_reader() -> None:
    bus = Bus()
    subscription = bus.subscribe(PODS)
    reader = asyncio.create_task(_read_all(subscription))
    await asyncio.sleep(0)
    bus.publish(PODS, created(pod("p", 1)))
    bus.close()
    assert [change.key.name for change in await reader] == ["p"]


async def _read_all(subscription: Any) -> list[Change]:
    return [change async for change in subscription]


async def test_a_deleted_object_is_shown_as_it_last_was_with_the_revision_of_its_deletion() -> None:
    last = pod("p", 3)
    change = Change(last.key, 7, last, None)
    assert change.latest.document["metadata"]["resourceVersion"] == "7"
    assert b'"resourceVersion":"7"' in change.event("DELETED")


async def test_the_wire_form_is_the_document_with_its_version() -> None:
    import orjson

    stored = pod("p", 12, app="web")
    assert orjson.loads(stored.wire) == stored.document
    assert orjson.loads(stored.list_item(typed=False)) == {
        name: value for name, value in stored.document.items() if name not in ("kind", "apiVersion")
    }
    assert b"resourceVersion" not in stored.data


async def test_what_the_bus_hands_out_is_frozen() -> None:
    document: Any = pod("p", 1).document
    with pytest.raises(TypeError):
        document["metadata"]["labels"]["x"] = "y"


async def test_changes_are_undelivered_until_the_reader_that_waits_for_them_has_them() -> None:
    bus = Bus()
    at_leisure, followed = bus.subscribe(PODS), bus.subscribe(PODS)
    bus.publish(PODS, created(pod("x", 1)))
    assert not bus.undelivered  # one who drains does so when it likes
    await followed.wait()
    assert bus.undelivered == [PODS]
    followed.drain()
    assert not bus.undelivered
    assert len(at_leisure.drain()) == 1


async def test_many_readers_are_woken_a_few_in_each_turn_of_the_loop() -> None:
    bus = Bus()
    subscriptions = [bus.subscribe(PODS) for _ in range(1000)]
    readers = [asyncio.create_task(subscription.wait()) for subscription in subscriptions]
    await asyncio.sleep(0)
    bus.publish(PODS, created(pod("p", 1)))
    at_once = []
    before = 0
    while before < 1000:
        await asyncio.sleep(0)
        now = sum(reader.done() for reader in readers)
        at_once.append(now - before)
        before = now
    assert max(at_once) < 200
    assert all(len(subscription.drain()) == 1 for subscription in subscriptions)


async def test_who_is_cut_off_is_told_without_reading() -> None:
    bus = Bus()
    told = []
    subscription = bus.subscribe(PODS, limit=1)
    subscription.on_overrun = lambda: told.append("cut off")
    for revision in range(1, 4):
        bus.publish(PODS, created(pod("p", revision)))
    assert told == ["cut off"]

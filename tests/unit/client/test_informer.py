"""Informers: what a cache shows, and what its handlers are told, whatever happens to the watch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakes.api import CONFIG_MAPS, NODES, PODS, FakeApi, names, until
from kube_core._kit.random import Random
from kube_core.client.informer import Informer, Informers
from kube_core.meta.documents import Document, Key
from kube_core.meta.status import Forbidden, ServiceUnavailable

pytestmark = pytest.mark.anyio


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
async def informers(api: FakeApi) -> AsyncIterator[Informers]:
    async with Informers(api.client(), clock=api.clock, random=Random(1)) as informers:
        yield informers


class Seen:
    """A handler that writes down what it is told."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str]] = []

    def __call__(self, before: Document | None, after: Document | None) -> None:
        shown: Any = after or before
        what = "added" if before is None else "deleted" if after is None else "changed"
        self.changes.append((what, shown["metadata"]["name"]))


def pod(name: str, namespace: str = "default", **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace, **metadata}}


async def followed(informers: Informers) -> tuple[Informer, Seen]:
    informer = informers.informer(PODS)
    seen = Seen()
    informer.add_handler(seen)
    await informer.synced()
    return informer, seen


async def test_first_list_is_in_the_cache_and_told_before_synced(api: FakeApi, informers: Informers) -> None:
    api.put(PODS, pod("a"))
    api.put(PODS, pod("b", "other"))
    informer, seen = await followed(informers)
    assert names(informer.lister.list()) == ["a", "b"]
    assert names(informer.lister.list("other")) == ["b"]
    assert seen.changes == [("added", "a"), ("added", "b")]


async def test_changes_arrive_in_order_with_before_and_after(api: FakeApi, informers: Informers) -> None:
    informer, seen = await followed(informers)
    api.put(PODS, pod("a"))
    api.put(PODS, pod("a", labels={"x": "1"}))
    api.remove(PODS, "a", "default")
    await until(lambda: len(seen.changes) == 3)
    assert seen.changes == [("added", "a"), ("changed", "a"), ("deleted", "a")]
    assert list(informer.lister.list()) == []
    assert list(informer.lister.list("default")) == []


async def test_what_the_cache_hands_out_is_frozen(api: FakeApi, informers: Informers) -> None:
    api.put(PODS, pod("a", labels={"x": "1"}))
    informer, _ = await followed(informers)
    document: Any = informer.lister.get(Key("default", "a"))
    with pytest.raises(TypeError):
        document["metadata"]["labels"]["x"] = "2"


async def test_items_carry_their_kind(api: FakeApi, informers: Informers) -> None:
    api.put(PODS, pod("a"))
    informer, _ = await followed(informers)
    document = informer.lister.get(Key("default", "a"))
    assert document is not None
    assert (document["apiVersion"], document["kind"]) == ("v1", "Pod")


async def test_late_handler_first_gets_what_is_there(api: FakeApi, informers: Informers) -> None:
    api.put(PODS, pod("a"))
    informer, _ = await followed(informers)
    late = Seen()
    informer.add_handler(late)
    assert late.changes == [("added", "a")]


async def test_failing_handler_does_not_keep_others_from_being_told(api: FakeApi, informers: Informers) -> None:
    informer = informers.informer(PODS)

    def fail(_before: Document | None, _after: Document | None) -> None:
        raise RuntimeError("no")

    informer.add_handler(fail)
    seen = Seen()
    informer.add_handler(seen)
    await informer.synced()
    api.put(PODS, pod("a"))
    await until(lambda: seen.changes == [("added", "a")])


async def test_one_informer_serves_everyone_who_asks_for_the_same(api: FakeApi, informers: Informers) -> None:
    first = informers.informer(PODS)
    assert informers.informer(PODS, metadata_only=True) is first
    assert informers.informer(PODS, label_selector="a=b") is not first
    await informers.synced()
    assert api.requests.count("GET /api/v1/pods") == 2


async def test_ended_watch_resumes_without_a_new_list(api: FakeApi, informers: Informers) -> None:
    _, seen = await followed(informers)
    api.put(PODS, pod("a"))
    await until(lambda: len(seen.changes) == 1)
    api.end_watches()
    api.put(PODS, pod("b"))
    await until(lambda: len(seen.changes) == 2)
    assert api.requests.count("GET /api/v1/pods") == 1


async def test_bookmark_moves_the_place_to_resume_from(api: FakeApi, informers: Informers) -> None:
    informer, seen = await followed(informers)
    for number in range(3):
        api.put(NODES, {"metadata": {"name": f"n{number}"}})
    api.bookmark(PODS)
    await until(lambda: informer.resource_version == str(api.revision))
    api.compact()
    api.end_watches()
    api.put(PODS, pod("a"))
    await until(lambda: len(seen.changes) == 1)
    assert api.requests.count("GET /api/v1/pods") == 1


async def test_expired_watch_lists_again_and_tells_what_is_gone(api: FakeApi, informers: Informers) -> None:
    api.put(PODS, pod("gone"))
    api.put(PODS, pod("stays"))
    informer, seen = await followed(informers)
    api.put(PODS, pod("made-again"))
    await until(lambda: len(seen.changes) == 3)
    seen.changes.clear()
    api.remove(PODS, "gone", "default", silently=True)
    api.remove(PODS, "made-again", "default", silently=True)
    api.put(CONFIG_MAPS, pod("noise"))
    again = api.put(PODS, pod("made-again"))
    api._changes.clear()
    api.compact()
    api.end_watches()
    await until(lambda: len(seen.changes) == 3)
    assert seen.changes == [("deleted", "gone"), ("deleted", "made-again"), ("added", "made-again")]
    cached = informer.lister.get(Key("default", "made-again"))
    assert cached is not None
    assert cached["metadata"]["uid"] == again["metadata"]["uid"]


async def test_unreachable_server_is_asked_again_after_a_growing_delay(api: FakeApi, informers: Informers) -> None:
    api.fail(*[ServiceUnavailable("down")] * 3)
    informer = informers.informer(PODS)
    delays = []
    while not informer.is_synced:
        await until(lambda: api.clock.next_timer() is not None or informer.is_synced)
        if (moment := api.clock.next_timer()) is not None:
            delays.append(moment - api.clock.monotonic())
            await api.clock.advance(delays[-1])
    assert len(delays) == 3
    assert 0.8 <= delays[0] < delays[1] < delays[2]


async def test_forbidden_list_is_tried_again(api: FakeApi, informers: Informers) -> None:
    api.fail(Forbidden("not yet"))
    informer = informers.informer(PODS)
    await until(lambda: api.clock.next_timer() is not None)
    await api.clock.advance(2)
    await informer.synced()


async def test_failed_watch_resumes_where_it_was(api: FakeApi, informers: Informers) -> None:
    _, seen = await followed(informers)
    api.put(PODS, pod("a"))
    await until(lambda: len(seen.changes) == 1)
    api.fail(ServiceUnavailable("down"))
    api.end_watches()
    await until(lambda: api.clock.next_timer() is not None)
    api.put(PODS, pod("b"))
    await api.clock.advance(3)
    await until(lambda: len(seen.changes) == 2)
    assert api.requests.count("GET /api/v1/pods") == 1


async def test_indexes_follow_changes(api: FakeApi, informers: Informers) -> None:
    informer, _ = await followed(informers)
    informer.add_index("node", lambda document: [str(document["spec"]["nodeName"])])
    owner = {"uid": "u1", "kind": "ReplicaSet", "name": "rs"}
    api.put(PODS, {**pod("a", ownerReferences=[owner]), "spec": {"nodeName": "n1"}})
    await until(lambda: informer.lister.by_index("node", "n1"))
    assert names(informer.lister.owned_by("u1")) == ["a"]
    api.put(PODS, {**pod("a"), "spec": {"nodeName": "n2"}})
    await until(lambda: informer.lister.by_index("node", "n2"))
    assert informer.lister.by_index("node", "n1") == []
    assert informer.lister.owned_by("u1") == []
    api.remove(PODS, "a", "default")
    await until(lambda: not informer.lister.by_index("node", "n2"))


async def test_labels_select_within_a_namespace(api: FakeApi, informers: Informers) -> None:
    api.put(PODS, pod("a", labels={"app": "x", "tier": "1"}))
    api.put(PODS, pod("b", labels={"app": "x"}))
    informer, _ = await followed(informers)
    assert names(informer.lister.list("default", {"app": "x"})) == ["a", "b"]
    assert names(informer.lister.list("default", {"app": "x", "tier": "1"})) == ["a"]
    assert list(informer.lister.list("other", {"app": "x"})) == []


async def test_dropped_informer_stops_and_is_made_anew(api: FakeApi, informers: Informers) -> None:
    informer, seen = await followed(informers)
    await informers.drop(informer)
    api.put(PODS, pod("a"))
    again = informers.informer(PODS)
    await again.synced()
    assert again is not informer
    assert seen.changes == []


async def test_informers_asked_for_before_entering_start_with_it(api: FakeApi) -> None:
    informers = Informers(api.client(), clock=api.clock, random=Random(1))
    informer = informers.informer(PODS)
    assert informers.unsynced == ("pods",)
    async with informers:
        await informer.synced()
        assert not informers.unsynced

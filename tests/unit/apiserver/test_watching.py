"""HTTP watches: what they begin with, bookmarks, their end, and what is left when nobody reads them."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from fakes.server import ADMIN, Caller
from kube_core.abc.transport import Response, WatchRequest
from kube_core.api import resources
from kube_core.meta.status import Expired

pytestmark = pytest.mark.anyio

MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"app": data.pop("app", "web")}}, "data": data}


async def watch(api: Caller, query: str = "", **options: Any) -> Response:
    response = await api.ask("GET", f"{MAPS}?watch=1&{query}", **options)
    assert response.status == 200
    assert response.stream is not None
    return response


async def events(response: Response, count: int = 0) -> list[dict[str, Any]]:
    """So many events of a watch; all until it ends, where no number is said."""
    found: list[dict[str, Any]] = []
    stream: Any = response.stream
    while not count or len(found) < count:
        try:
            async with asyncio.timeout(10):
                chunk = await anext(stream)
        except StopAsyncIteration:
            break
        found += [orjson.loads(line) for line in chunk.splitlines()]
    return found


def shown(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in found]


async def test_a_watch_of_now_begins_with_what_is_there(api: Caller) -> None:
    await api.post(MAPS, config_map("a"))
    response = await watch(api)
    await api.post(MAPS, config_map("b"))
    await api.delete(f"{MAPS}/a")
    assert shown(await events(response, 3)) == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")]


async def test_a_watch_of_a_revision_begins_after_it(api: Caller) -> None:
    first = await api.post(MAPS, config_map("a"))
    await api.patch(f"{MAPS}/a", {"data": {"n": "2"}})
    response = await watch(api, f"resourceVersion={first['metadata']['resourceVersion']}")
    (event,) = await events(response, 1)
    assert (event["type"], event["object"]["data"]) == ("MODIFIED", {"n": "2"})


async def test_the_old_form_of_watches_is_served(api: Caller) -> None:
    for name in ("a", "b"):
        await api.post(MAPS, config_map(name))
    old = MAPS.replace("/v1/", "/v1/watch/")
    assert shown(await events(await api.ask("GET", old), 2)) == [("ADDED", "a"), ("ADDED", "b")]
    assert shown(await events(await api.ask("GET", f"{old}/b"), 1)) == [("ADDED", "b")]
    everywhere = await api.ask("GET", "/api/v1/watch/configmaps?fieldSelector=metadata.name=a")
    assert shown(await events(everywhere, 1)) == [("ADDED", "a")]
    assert (await api.ask("GET", f"{old}/b?fieldSelector=metadata.name=a")).status == 400
    assert (await api.ask("GET", f"{old}/b/c")).status == 404


async def test_objects_come_and_go_with_the_selector_of_a_watch(api: Caller) -> None:
    response = await watch(api, "labelSelector=app=web")
    await api.post(MAPS, config_map("a"))
    lost = await api.patch(f"{MAPS}/a", {"metadata": {"labels": {"app": "db"}}})
    await api.patch(f"{MAPS}/a", {"metadata": {"labels": {"app": "web"}}})
    found = await events(response, 3)
    assert shown(found) == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a")]
    left = found[1]["object"]["metadata"]
    assert left["labels"] == {"app": "web"}
    assert left["resourceVersion"] == lost["metadata"]["resourceVersion"]


async def test_initial_events_end_with_a_bookmark_that_says_so(api: Caller) -> None:
    created = await api.post(MAPS, config_map("a"))
    query = "sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    found = await events(await watch(api, query), 2)
    assert shown(found) == [("ADDED", "a"), ("BOOKMARK", "")]
    assert found[1]["object"] == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {
            "resourceVersion": created["metadata"]["resourceVersion"],
            "annotations": {"k8s.io/initial-events-end": "true"},
        },
    }


async def test_bookmarks_come_once_a_minute_to_those_who_want_them(api: Caller) -> None:
    wants, wants_none = await watch(api, "allowWatchBookmarks=true"), await watch(api)
    reading = [asyncio.create_task(events(response, 3)) for response in (wants, wants_none)]
    await api.clock.advance(60)
    await api.post("/api/v1/namespaces", {"metadata": {"name": "elsewhere"}})
    await api.clock.advance(120)
    found = await reading[0]
    assert [event["type"] for event in found] == ["BOOKMARK"] * 3
    revisions = [int(event["object"]["metadata"]["resourceVersion"]) for event in found]
    assert revisions == [revisions[0], revisions[0] + 1, revisions[0] + 1]
    assert not reading[1].done()
    reading[1].cancel()
    await asyncio.gather(reading[1], return_exceptions=True)


async def test_a_watch_ends_cleanly_when_its_time_is_over(api: Caller) -> None:
    before = api.server.bus.subscribers
    response = await watch(api, "timeoutSeconds=5")
    reading = asyncio.create_task(events(response))
    await api.clock.advance(1)
    await api.post(MAPS, config_map("a"))
    await api.clock.advance(5)
    assert shown(await reading) == [("ADDED", "a")]
    assert api.server.bus.subscribers == before


async def test_a_watch_without_a_time_lasts_between_half_an_hour_and_an_hour(api: Caller) -> None:
    reading = asyncio.create_task(events(await watch(api)))
    await api.clock.advance(1799)
    assert not reading.done()
    await api.clock.advance(1802)
    assert await reading == []


async def test_a_watch_that_is_let_go_of_leaves_neither_subscription_nor_timer(api: Caller) -> None:
    before, timer = api.server.bus.subscribers, api.clock.next_timer()
    response = await watch(api, "allowWatchBookmarks=true")
    reading = asyncio.create_task(events(response, 1))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    stream: Any = response.stream
    await stream.aclose()
    assert (api.server.bus.subscribers, api.clock.next_timer()) == (before, timer)


async def test_a_watch_that_was_never_read_leaves_nothing_either(api: Caller) -> None:
    before = api.server.bus.subscribers
    stream: Any = (await watch(api)).stream
    assert api.server.bus.subscribers == before + 1
    await stream.aclose()
    assert api.server.bus.subscribers == before


async def test_a_watcher_that_is_too_slow_is_told_410_and_ended(api: Caller) -> None:
    response = await watch(api)
    await api.post(MAPS, config_map("a"))
    for number in range(1001):
        await api.patch(f"{MAPS}/a", {"data": {"n": str(number)}})
    (event,) = await events(response)
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


async def test_a_watch_from_before_the_beginning_is_one_error(api: Caller) -> None:
    api.registry(resources.CONFIG_MAPS).cache.replayable_after = 3
    (event,) = await events(await watch(api, "resourceVersion=1"))
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
    assert event["object"]["message"].startswith("too old resource version: 1 (")


async def test_a_watch_of_a_revision_to_come_waits_for_it(api: Caller) -> None:
    made = await api.post(MAPS, config_map("a"))
    response = await watch(api, f"resourceVersion={int(made['metadata']['resourceVersion']) + 1}")
    await api.post(MAPS, config_map("b"))
    await api.post(MAPS, config_map("c"))
    assert shown(await events(response, 1)) == [("ADDED", "c")]


async def test_initial_events_of_a_revision_to_come_are_one_error(api: Caller) -> None:
    initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    (event,) = await events(await watch(api, f"{initial}&resourceVersion=100000"))
    assert (event["type"], event["object"]["code"]) == ("ERROR", 504)
    assert event["object"]["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


@pytest.mark.parametrize(
    ("path", "empty"),
    [
        (MAPS, {}),
        ("/api/v1/namespaces/default/pods", {"spec": {"containers": None}, "status": {}}),
    ],
)
async def test_a_bookmark_is_an_object_that_says_nothing_else(api: Caller, path: str, empty: dict[str, Any]) -> None:
    initial = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    (event,) = await events(await api.ask("GET", f"{path}?{initial}"), 1)
    found = event["object"]
    assert found.pop("metadata").keys() == {"annotations", "resourceVersion"}
    assert {name: value for name, value in found.items() if name not in ("kind", "apiVersion")} == empty


@pytest.mark.parametrize("form", [TABLE, PARTIAL])
async def test_a_bookmark_has_the_form_of_every_event(api: Caller, form: str) -> None:
    initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    await api.post(MAPS, config_map("a"))
    object_, mark = await events(await watch(api, initial, accept=form), 2)
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["kind"] == object_["object"]["kind"]
    last = mark["object"]["rows"][-1]["object"] if form is TABLE else mark["object"]
    assert last["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_in_a_watch_of_tables_only_the_first_has_columns(api: Caller) -> None:
    await api.post(MAPS, config_map("a"))
    await api.post(MAPS, config_map("b"))
    response = await watch(api, accept=TABLE)
    await api.delete(f"{MAPS}/a")
    found = await events(response, 3)
    assert [event["object"]["kind"] for event in found] == ["Table"] * 3
    assert [bool(event["object"]["columnDefinitions"]) for event in found] == [True, False, False]
    assert [event["object"]["rows"][0]["cells"][0] for event in found] == ["a", "b", "a"]


async def test_a_watch_of_metadata_shows_no_more(api: Caller) -> None:
    await api.post(MAPS, config_map("a", secret="x"))
    (event,) = await events(await watch(api, accept=PARTIAL), 1)
    assert (event["object"]["kind"], set(event["object"])) == (
        "PartialObjectMetadata",
        {"kind", "apiVersion", "metadata"},
    )


async def test_a_server_that_stops_ends_its_watches(api: Caller) -> None:
    reading = asyncio.create_task(events(await watch(api)))
    await asyncio.sleep(0)
    await api.server.stop()
    assert await reading == []


async def test_a_reader_in_this_process_gets_documents_and_410_when_it_is_too_slow(api: Caller) -> None:
    local = api.server.watch(WatchRequest(resources.CONFIG_MAPS, "default", "a"), ADMIN)
    await api.post(MAPS, config_map("b"))
    await api.post(MAPS, config_map("a"))
    event = await anext(local)
    assert (event.type, event.object["metadata"]["name"]) == ("ADDED", "a")
    with pytest.raises(TypeError):
        event.object["metadata"]["labels"]["x"] = "y"
    await local.aclose()  # type: ignore[attr-defined]
    api.registry(resources.CONFIG_MAPS).cache.replayable_after = 3
    with pytest.raises(Expired):
        await anext(api.server.watch(WatchRequest(resources.CONFIG_MAPS, resource_version="1"), ADMIN))

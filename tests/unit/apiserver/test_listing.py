"""Lists: pages, revisions that are gone or to come, and going on when a list's own revision was compacted."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.server import Caller

pytestmark = pytest.mark.anyio

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
async def maps(api: Caller) -> Caller:
    for name in "abcde":
        await api.post(MAPS, {"metadata": {"name": name, "labels": {"odd": str("ace".find(name) >= 0)}}})
    return api


def named(listed: Any) -> str:
    return "".join(item["metadata"]["name"] for item in listed["items"])


async def refused(api: Caller, path: str) -> Any:
    document = (await api.ask("GET", path)).decoded()
    assert document["status"] == "Failure"
    return document


async def test_pages_are_of_one_revision(maps: Caller) -> None:
    first = await maps.get(f"{MAPS}?limit=2")
    await maps.delete(f"{MAPS}/c")
    await maps.post(MAPS, {"metadata": {"name": "f"}})
    second = await maps.get(f"{MAPS}?limit=2&continue={first['metadata']['continue']}")
    third = await maps.get(f"{MAPS}?limit=2&continue={second['metadata']['continue']}")
    assert [named(page) for page in (first, second, third)] == ["ab", "cd", "e"]
    assert [page["metadata"].get("remainingItemCount") for page in (first, second, third)] == [3, 1, None]
    assert len({page["metadata"]["resourceVersion"] for page in (first, second, third)}) == 1


async def test_a_list_goes_on_inconsistently_when_its_revision_is_gone(maps: Caller) -> None:
    first = await maps.get(f"{MAPS}?limit=2")
    await maps.delete(f"{MAPS}/c")
    await maps.server.store.compact(maps.server.store.revision)
    gone = await refused(maps, f"{MAPS}?limit=2&continue={first['metadata']['continue']}")
    assert (gone["code"], gone["reason"]) == (410, "Expired")
    rest = await maps.get(f"{MAPS}?limit=1&continue={gone['metadata']['continue']}")
    assert named(rest) == "d"
    assert int(rest["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    assert named(await maps.get(f"{MAPS}?continue={rest['metadata']['continue']}")) == "e"


async def test_a_list_of_a_revision_that_is_gone_cannot_go_on(maps: Caller) -> None:
    revision = maps.server.store.revision
    await maps.delete(f"{MAPS}/c")
    await maps.server.store.compact(maps.server.store.revision)
    gone = await refused(maps, f"{MAPS}?resourceVersion={revision}&resourceVersionMatch=Exact")
    assert (gone["code"], gone["metadata"]) == (410, {})
    assert gone["message"] == "The resourceVersion for the provided list is too old."


@pytest.mark.parametrize("query", ["", "&resourceVersionMatch=Exact", "&resourceVersionMatch=NotOlderThan", "&limit=1"])
async def test_a_list_of_a_revision_to_come_is_a_timeout(maps: Caller, query: str) -> None:
    ahead = await refused(maps, f"{MAPS}?resourceVersion=100000{query}")
    assert (ahead["code"], ahead["reason"]) == (504, "Timeout")
    assert ahead["message"].startswith("Timeout: Too large resource version: 100000, current: ")
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    assert ahead["details"] == {"causes": [cause], "retryAfterSeconds": 1}
    assert (await refused(maps, f"{MAPS}/a?resourceVersion=100000"))["details"] == ahead["details"]


async def test_a_continued_list_says_no_revision_of_its_own(maps: Caller) -> None:
    token = (await maps.get(f"{MAPS}?limit=2"))["metadata"]["continue"]
    wrong = await refused(maps, f"{MAPS}?limit=2&continue={token}&resourceVersion=3")
    assert (wrong["code"], wrong["message"]) == (
        400,
        "specifying resource version is not allowed when using continue",
    )
    assert named(await maps.get(f"{MAPS}?limit=2&continue={token}&resourceVersion=0")) == "cd"


async def test_nobody_knows_how_many_remain_that_a_selector_matches(maps: Caller) -> None:
    first = await maps.get(f"{MAPS}?limit=1&labelSelector=odd=True")
    assert (named(first), "remainingItemCount" in first["metadata"]) == ("a", False)
    second = await maps.get(f"{MAPS}?limit=1&labelSelector=odd=True&continue={first['metadata']['continue']}")
    assert named(second) == "c"


@pytest.mark.parametrize("form", ["merge", "update"])
async def test_an_empty_list_of_managed_fields_forgets_all_ownership(maps: Caller, form: str) -> None:
    document = await maps.get(f"{MAPS}/a")
    assert document["metadata"]["managedFields"]
    if form == "merge":
        await maps.patch(f"{MAPS}/a", {"metadata": {"managedFields": []}})
    else:
        document["metadata"]["managedFields"] = []
        await maps.put(f"{MAPS}/a", document)
    assert "managedFields" not in (await maps.get(f"{MAPS}/a"))["metadata"]
    assert "managedFields" not in (await maps.patch(f"{MAPS}/a", {"data": {"x": "1"}}))["metadata"]

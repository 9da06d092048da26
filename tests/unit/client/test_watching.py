"""Watches that go on, and lists by pages, when servers forget: against a small server in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakes.api import PODS, FakeApi
from kube_core.client.client import ApiClient
from kube_core.client.pages import Listing, Pages
from kube_core.meta.documents import Document
from kube_core.meta.status import Expired, Forbidden, NotFound, ServiceUnavailable, StatusError

pytestmark = pytest.mark.anyio


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def client(api: FakeApi) -> ApiClient:
    client = api.client()
    client.clock = api.clock
    return client


def pod(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}}


async def taken(events: AsyncIterator[Any], count: int) -> list[tuple[str, str]]:
    seen = [await anext(events) for _ in range(count)]
    return [(each.type, each.object["metadata"]["name"]) for each in seen]


async def test_what_happened_while_nobody_watched_is_told_after_a_new_list(api: FakeApi, client: ApiClient) -> None:
    api.put(PODS, pod("kept"))
    api.put(PODS, pod("doomed"))
    events = client.watch(PODS, "default")
    assert await taken(events, 2) == [("ADDED", "kept"), ("ADDED", "doomed")]
    api.remove(PODS, "doomed", "default", silently=True)
    api.put(PODS, pod("kept"))
    api.put(PODS, pod("fresh"))
    api.compact()
    assert await taken(events, 3) == [("DELETED", "doomed"), ("MODIFIED", "kept"), ("ADDED", "fresh")]
    await events.aclose()


async def test_a_pod_that_was_made_anew_meanwhile_is_a_deletion_and_a_creation(api: FakeApi, client: ApiClient) -> None:
    api.put(PODS, pod("a"))
    events = client.watch(PODS)
    assert await taken(events, 1) == [("ADDED", "a")]
    api.remove(PODS, "a", "default", silently=True)
    api.put(PODS, pod("a"))
    api.compact()
    assert await taken(events, 2) == [("DELETED", "a"), ("ADDED", "a")]
    await events.aclose()


@pytest.mark.parametrize("error", [Forbidden("not you"), NotFound("the server could not find the requested resource")])
async def test_what_will_not_pass_by_itself_is_raised(api: FakeApi, client: ApiClient, error: StatusError) -> None:
    api.fail(error)
    with pytest.raises(type(error)):
        await anext(client.watch(PODS))


async def listed(pages: dict[str, Listing[Document] | StatusError]) -> list[str]:
    async def fetch(_limit: int, token: str) -> Listing[Document]:
        page = pages[token]
        if isinstance(page, StatusError):
            raise page
        return page

    return [each["metadata"]["name"] async for each in Pages(fetch, lambda each: each["metadata"]["name"])]


async def test_a_forgotten_list_goes_on_with_what_the_server_offers() -> None:
    expired = Expired("too old")
    expired.continue_token = "present"
    pages: dict[str, Any] = {
        "": Listing([pod("a"), pod("b")], "1", "more"),
        "more": expired,
        "present": Listing([pod("b"), pod("c")], "9"),
    }
    assert await listed(pages) == ["a", "b", "c"]


async def test_a_list_that_cannot_go_on_is_taken_again_without_giving_anything_twice() -> None:
    fetched = 0

    async def fetch(_limit: int, token: str) -> Listing[Document]:
        nonlocal fetched
        fetched += 1
        if token:
            raise Expired("too old")
        return Listing([pod("a")], "1", "more") if fetched == 1 else Listing([pod("a"), pod("b")], "2")

    names = [each["metadata"]["name"] async for each in Pages(fetch, lambda each: each["metadata"]["name"])]
    assert names == ["a", "b"]


async def test_a_server_that_is_away_fails_a_list() -> None:
    with pytest.raises(ServiceUnavailable):
        await listed({"": ServiceUnavailable("away")})

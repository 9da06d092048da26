"""Events go by themselves."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.server import Caller, running
from kube_core.storage.objects import LEASE_SHARED

pytestmark = pytest.mark.anyio

EVENTS = "/api/v1/namespaces/default/events"
NEW_EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"


def event(name: str) -> dict[str, Any]:
    subject = {"kind": "Pod", "namespace": "default", "name": "p"}
    return {"metadata": {"name": name}, "involvedObject": subject, "reason": "Tested", "type": "Normal"}


async def names(api: Caller) -> list[str]:
    return [each["metadata"]["name"] for each in (await api.get(EVENTS))["items"]]


async def test_an_event_is_kept_for_an_hour_after_it_was_last_written(api: Caller) -> None:
    for name in ("left", "counted"):
        await api.post(EVENTS, event(name))
    await api.clock.advance(3000)
    await api.patch(f"{EVENTS}/counted", {"count": 2})
    await api.clock.advance(600)
    assert await names(api) == ["counted", "left"]
    await api.clock.advance(LEASE_SHARED)
    assert await names(api) == ["counted"]
    assert (await api.ask("GET", f"{NEW_EVENTS}/left")).status == 404
    await api.clock.advance(3600)
    assert await names(api) == []


async def test_a_watch_is_told_that_an_event_went(api: Caller) -> None:
    made = await api.post(EVENTS, event("e"))
    response = await api.ask("GET", f"{EVENTS}?watch=true&resourceVersion={made['metadata']['resourceVersion']}")
    assert response.stream is not None
    await api.clock.advance(3600 + LEASE_SHARED)
    async for chunk in response.stream:
        assert b'"DELETED"' in chunk
        break


async def test_how_long_is_an_option_and_nothing_else_goes() -> None:
    async with running(event_ttl=5.0) as api:
        await api.post(EVENTS, event("e"))
        await api.post("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "stays"}})
        await api.clock.advance(5 + LEASE_SHARED)
        assert await names(api) == []
        assert await api.get("/api/v1/namespaces/default/configmaps/stays")
    async with running(event_ttl=0.0) as api:
        await api.post(EVENTS, event("e"))
        await api.clock.advance(1_000_000)
        assert await names(api) == ["e"]

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import attrs
import pytest

from kube_core._kit.clock import FakeClock
from kube_core._kit.logs import get_logger
from kube_core.api.types import ResourceType
from kube_core.client.client import ApiClient
from kube_core.meta.documents import Document
from kube_core.meta.status import NotFound, ServiceUnavailable
from kube_core.node.pods.reports import StatusReports

pytestmark = pytest.mark.anyio


def pod(name: str) -> Document:
    return {"metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"}, "spec": {}}


@attrs.define
class Server:
    """A client whose writes are answered when the test says so, or fail."""

    begun: list[tuple[str, str]] = attrs.field(factory=list)
    answered: list[tuple[str, str]] = attrs.field(factory=list)
    deleted: list[str] = attrs.field(factory=list)
    failing: list[Exception] = attrs.field(factory=list)
    open: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def patch(self, _resource: ResourceType, name: str, patch: Document, *_: Any, **__: Any) -> None:
        said = (name, patch["status"]["phase"])
        self.begun.append(said)
        await self.open.wait()
        if self.failing:
            raise self.failing.pop(0)
        self.answered.append(said)

    async def delete(self, _resource: ResourceType, name: str, *_: Any, **__: Any) -> None:
        self.deleted.append(name)


@asynccontextmanager
async def running(server: Server, clock: FakeClock) -> AsyncIterator[StatusReports]:
    reports = StatusReports(cast(ApiClient, server), clock=clock, log=get_logger("test"))
    task = asyncio.create_task(reports.run())
    try:
        yield reports
    finally:
        task.cancel()
        await asyncio.wait([task])


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_pods_do_not_wait_for_each_others_answers_and_there_is_a_limit() -> None:
    server = Server()
    async with running(server, FakeClock()) as reports:
        for number in range(20):
            reports.submit(pod(f"pod-{number}"), {"phase": "Running"})
        await turns()
        assert 1 < len(server.begun) < 20
        assert not reports.idle
        server.open.set()
        await turns()
        assert server.answered == [(f"pod-{number}", "Running") for number in range(20)]
        assert reports.idle


async def test_what_a_pod_says_meanwhile_is_written_once_and_after_what_it_said_before() -> None:
    server = Server()
    async with running(server, FakeClock()) as reports:
        reports.submit(pod("web"), {"phase": "Pending"})
        await turns()
        reports.submit(pod("web"), {"phase": "Running"})
        reports.submit(pod("web"), {"phase": "Succeeded"})
        await turns()
        assert server.begun == [("web", "Pending")]
        server.open.set()
        await turns()
        assert server.answered == [("web", "Pending"), ("web", "Succeeded")]


async def test_a_pod_is_deleted_after_its_last_status() -> None:
    server = Server()
    async with running(server, FakeClock()) as reports:
        reports.submit(pod("web"), {"phase": "Succeeded"}, delete=True)
        await turns()
        assert server.deleted == []
        server.open.set()
        await turns()
        assert (server.answered, server.deleted) == ([("web", "Succeeded")], ["web"])


async def test_a_status_that_the_server_did_not_take_is_written_later_unless_there_is_a_newer_one() -> None:
    server, clock = Server(failing=[ServiceUnavailable("not now"), ServiceUnavailable("not now")]), FakeClock()
    server.open.set()
    async with running(server, clock) as reports:
        reports.submit(pod("one"), {"phase": "Running"})
        reports.submit(pod("two"), {"phase": "Pending"})
        await turns()
        assert server.answered == []
        reports.submit(pod("two"), {"phase": "Running"})
        await turns()
        assert server.answered == [("two", "Running")]
        await clock.advance(10)
        await turns()
        assert server.answered == [("two", "Running"), ("one", "Running")]


async def test_a_pod_that_is_gone_is_not_written_again() -> None:
    server, clock = Server(failing=[NotFound("gone")]), FakeClock()
    server.open.set()
    async with running(server, clock) as reports:
        reports.submit(pod("web"), {"phase": "Running"})
        await turns()
        assert reports.idle
        await clock.advance(60)
        await turns()
        assert server.begun == [("web", "Running")]

"""Handlers in kopf's manner, in a whole cluster in virtual time: when they are called, with what, and how often."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import kube_core as kube
from fakes.sites import SITES, Site, cluster_with, create_site, program
from kube_core.cluster import Cluster
from kube_core.meta.documents import finalizers_of
from kube_core.meta.status import NotFound
from kube_core.operators.progress import DiffItem

pytestmark = pytest.mark.anyio


async def update_site(cluster: Cluster, name: str = "a", **spec: Any) -> None:
    await cluster.client.patch(SITES, name, {"spec": spec}, "default")
    await cluster.settled()


class Log:
    """Handlers that write down what they are told."""

    def __init__(self) -> None:
        self.lines: list[Any] = []
        log = self.lines

        @kube.on.create(Site)
        async def created(ctx: kube.HandlerContext[Site]) -> None:
            log.append(("create", ctx.object.pages, ctx.old))

        @kube.on.update(Site)
        async def updated(ctx: kube.HandlerContext[Site]) -> None:
            assert ctx.old is not None
            log.append(("update", ctx.old.pages, ctx.object.pages))

        @kube.on.update(Site, field="spec.secret")
        async def other_secret(ctx: kube.HandlerContext[Site]) -> None:
            log.append(("secret", ctx.before, ctx.after))

        @kube.on.field(Site, "spec.pages")
        async def paged(ctx: kube.HandlerContext[Site]) -> None:
            log.append(("field", ctx.diff))

        @kube.on.resume(Site)
        async def resumed(ctx: kube.HandlerContext[Site]) -> None:
            log.append(("resume", ctx.name))

        @kube.on.delete(Site)
        async def deleted(ctx: kube.HandlerContext[Site]) -> None:
            log.append(("delete", ctx.name))

        self.program = program(a=created, b=updated, c=other_secret, d=paged, e=resumed, f=deleted)


async def test_handlers_are_called_once_for_what_happened_to_an_object() -> None:
    log = Log()
    async with cluster_with(log.program) as cluster:
        await create_site(cluster.client, pages=1)
        await cluster.settled()
        assert log.lines == [("create", 1, None), ("field", (DiffItem("add", (), None, 1),))]
        log.lines.clear()
        await update_site(cluster, pages=2)
        assert log.lines == [("update", 1, 2), ("field", (DiffItem("change", (), 1, 2),))]
        log.lines.clear()
        await update_site(cluster, secret="s")
        assert log.lines == [("update", 2, 2), ("secret", "", "s")]
        log.lines.clear()
        await cluster.client.patch(SITES, "a", {"status": {"pages": 5}}, "default", subresource="status")
        await cluster.advance(hours=1)
        assert log.lines == []
        await cluster.client.delete(SITES, "a", "default")
        await cluster.settled()
        assert log.lines == [("delete", "a")]
        with pytest.raises(NotFound):
            await cluster.client.get(SITES, "a", "default")


async def test_a_restart_neither_loses_nor_repeats_handlers() -> None:
    log = Log()
    async with cluster_with(log.program, name="one") as cluster:
        await create_site(cluster.client, pages=1)
        await create_site(cluster.client, "quiet")
        await cluster.settled()
        log.lines.clear()
        image = await cluster.snapshot()
        async with image.fork() as again:
            await again.settled()
            assert log.lines == [("resume", "a"), ("resume", "quiet")]
        log.lines.clear()
        # What happens while no program runs is handled by the next.
        async with image.fork(controllers=()) as without:
            await without.client.patch(SITES, "a", {"spec": {"pages": 7}}, "default")
            changed = await without.snapshot()
        async with changed.fork(controllers=("all",)) as after:
            await after.settled()
            assert sorted(line[0] for line in log.lines) == ["field", "resume", "resume", "update"]
            assert ("update", 1, 7) in log.lines


async def test_a_handler_that_fails_is_tried_again_and_those_that_are_done_are_not() -> None:
    calls: list[str] = []

    @kube.on.create(Site)
    async def first(ctx: kube.HandlerContext[Site]) -> None:
        calls.append("first")

    @kube.on.create(Site, backoff=20)
    async def second(ctx: kube.HandlerContext[Site]) -> None:
        calls.append(f"second {ctx.retry} after {ctx.runtime:g}")
        if ctx.retry == 0:
            raise kube.TemporaryError("not yet", delay=5)
        if ctx.retry == 1:
            raise RuntimeError("broken")

    @kube.on.create(Site)
    async def third(ctx: kube.HandlerContext[Site]) -> None:
        calls.append("third")
        raise kube.PermanentError("never")

    async with cluster_with(program(first=first, second=second, third=third)) as cluster:
        await create_site(cluster.client)
        await cluster.settled()
        assert calls == ["first", "second 0 after 0", "third"]
        await cluster.advance(hours=1)
        assert calls == ["first", "second 0 after 0", "third", "second 1 after 5", "second 2 after 25"]


async def test_retries_and_timeouts_end_in_a_reported_failure() -> None:
    from kube_core.api import resources

    calls: list[str] = []

    @kube.on.create(Site, retries=2, backoff=1)
    async def often(ctx: kube.HandlerContext[Site]) -> None:
        calls.append("often")
        raise kube.TemporaryError("no", delay=1)

    @kube.on.create(Site, timeout=25, backoff=10)
    async def long(ctx: kube.HandlerContext[Site]) -> None:
        calls.append("long")
        raise ValueError("no")

    async with cluster_with(program(often=often, long=long)) as cluster:
        await create_site(cluster.client)
        await cluster.advance(hours=1)
        assert (calls.count("often"), calls.count("long")) == (2, 3)
        events = await cluster.client.list(resources.EVENTS, "default")
        assert sorted(each["message"] for each in events.items) == ["long: no", "often: no"]


async def test_a_change_while_handlers_are_at_it_is_the_next_update() -> None:
    log: list[Any] = []
    blocked = asyncio.Event()

    @kube.on.create(Site)
    async def slow(ctx: kube.HandlerContext[Site]) -> None:
        log.append(("create", ctx.object.pages))
        await blocked.wait()

    @kube.on.update(Site)
    async def updated(ctx: kube.HandlerContext[Site]) -> None:
        assert ctx.old is not None
        log.append(("update", ctx.old.pages, ctx.object.pages))

    async with cluster_with(program(slow=slow, updated=updated)) as cluster:
        await create_site(cluster.client, pages=1)
        await cluster.settled()
        await cluster.client.patch(SITES, "a", {"spec": {"pages": 2}}, "default")
        await cluster.client.patch(SITES, "a", {"spec": {"pages": 3}}, "default")
        blocked.set()
        await cluster.settled()
        assert log == [("create", 1), ("update", 1, 3)]


async def test_timers_are_called_as_long_as_the_object_is_there() -> None:
    moments: list[float] = []

    @kube.timer(Site, interval=60, initial_delay=10)
    async def tick(ctx: kube.HandlerContext[Site]) -> None:
        moments.append(ctx.clock.monotonic())

    async with cluster_with(program(tick=tick)) as cluster:
        await create_site(cluster.client)
        await cluster.settled()
        begin = cluster.clock.monotonic()
        await cluster.advance(minutes=3)
        assert [round(each - begin) for each in moments] == [10, 70, 130]
        await cluster.client.delete(SITES, "a", "default")
        await cluster.advance(hours=1)
        assert len(moments) == 3


async def test_daemons_run_until_they_are_told_to_stop() -> None:
    log: list[str] = []

    @kube.daemon(Site)
    async def follow(ctx: kube.HandlerContext[Site]) -> None:
        log.append("begin")
        while not await ctx.stopped.wait(30):
            log.append(f"pages {ctx.object.pages}")
        log.append("end")

    @kube.daemon(Site, stop_timeout=5)
    async def deaf(ctx: kube.HandlerContext[Site]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            log.append("cancelled")

    async with cluster_with(program(follow=follow, deaf=deaf)) as cluster:
        await create_site(cluster.client, pages=1)
        await cluster.advance(seconds=40)
        await update_site(cluster, pages=2)
        await cluster.advance(seconds=30)
        assert log == ["begin", "pages 1", "pages 2"]
        await cluster.client.delete(SITES, "a", "default")
        await cluster.settled()
        assert log[3:] == ["end"]
        assert finalizers_of(await cluster.client.get(SITES, "a", "default"))
        await cluster.advance(seconds=6)
        assert log[4:] == ["cancelled"]
        with pytest.raises(NotFound):
            await cluster.client.get(SITES, "a", "default")
        await create_site(cluster.client, "b")
        await cluster.settled()
        log.clear()
    assert sorted(log) == ["cancelled", "end"]


async def test_a_daemon_that_crashes_is_started_again_and_one_that_returns_is_not() -> None:
    log: list[str] = []

    @kube.daemon(Site, backoff=10)
    async def crashing(ctx: kube.HandlerContext[Site]) -> None:
        log.append(f"call {ctx.retry}")
        if ctx.retry < 2:
            raise RuntimeError("crash")

    async with cluster_with(program(crashing=crashing)) as cluster:
        await create_site(cluster.client)
        await cluster.advance(minutes=10)
        assert log == ["call 0", "call 1", "call 2"]


async def test_when_says_for_which_objects() -> None:
    log: list[str] = []

    @kube.on.create(Site, when=lambda site: site.pages > 1)
    async def created(ctx: kube.HandlerContext[Site]) -> None:
        log.append(ctx.name)

    @kube.daemon(Site, when=lambda site: site.pages > 1)
    async def follow(ctx: kube.HandlerContext[Site]) -> None:
        log.append(f"daemon of {ctx.name}")

    async with cluster_with(program(created=created, follow=follow)) as cluster:
        await create_site(cluster.client, "small", pages=1)
        await create_site(cluster.client, "large", pages=2)
        await cluster.settled()
        assert log == ["large", "daemon of large"]

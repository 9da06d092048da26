"""A loop of the server's own: look at everything once, then at every change, without end.

Whoever keeps objects as they should be (`aggregation`, `upkeep`) is written as two functions, and this calls them. A
loop that falls behind begins anew, so that nothing is missed; it ends when the server's bus is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from kube_core._kit.clock import Clock
from kube_core.bus.bus import Interest, Overrun, Subscription
from kube_core.bus.changes import Change
from kube_core.meta.gvk import GroupResource
from kube_core.storage.cache import WatchCache

__all__ = ["follow"]

Begin = Callable[[], Awaitable[None]]
Changed = Callable[[GroupResource, Sequence[Change]], Awaitable[None]]


async def follow(
    cache: WatchCache,
    resources: Mapping[GroupResource, Interest],
    begin: Begin,
    changed: Changed,
    *,
    clock: Clock,
    reason: str,
) -> None:
    """`begin` is called first, and after changes were missed; `changed` with what changed of one resource.

    `reason` is shown for the hold that both have on the clock.
    """
    while True:
        subscriptions = [cache.subscribe(each, interest, limit=10_000) for each, interest in resources.items()]
        try:
            with clock.hold(reason):
                await begin()
            await _changes(subscriptions, changed, clock, reason)
            return
        except Overrun:
            continue
        finally:
            for subscription in subscriptions:
                subscription.close()


async def _changes(subscriptions: Sequence[Subscription], changed: Changed, clock: Clock, reason: str) -> None:
    waits = {asyncio.create_task(each.wait()): each for each in subscriptions}
    try:
        while True:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            with clock.hold(reason):
                for task in done:
                    subscription = waits.pop(task)
                    changes = subscription.drain()
                    if not changes and subscription.closed:
                        return
                    await changed(subscription.topic.resource, changes)
                    waits[asyncio.create_task(subscription.wait())] = subscription
    finally:
        for task in waits:
            task.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

"""Watches: what is there, then what happens, until the time is over.

One generator serves HTTP watches, one the local transport; both read a subscription of the bus. A watch without a
resource version begins with the present state as ADDED events; with one it begins with what came after it; with
`sendInitialEvents` the state is followed by a bookmark that says so.

A change is encoded once for all plain watchers of a form (`frames`). Whatever has piled up is sent in few chunks, each
of whole events and none much longer than `CHUNK`, so that a slow reader of many large objects holds little.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence

import attrs

from kube_core._kit.clock import Clock
from kube_core.abc.transport import EventStream, WatchEvent
from kube_core.apiserver.frames import Frames
from kube_core.apiserver.listing import too_large
from kube_core.apiserver.selecting import Selection
from kube_core.bus.bus import Overrun, Subscription
from kube_core.bus.changes import Change, Stored, encode
from kube_core.meta.documents import Key
from kube_core.meta.status import Expired, StatusError
from kube_core.registry.generic import Registry
from kube_core.registry.options import ListOptions, parse_revision

__all__ = ["Events", "Start", "begin", "document_events"]

#: Seconds between bookmarks, and the shortest a watch without timeoutSeconds lasts (upstream's defaults).
BOOKMARK_PERIOD = 60.0
MINIMUM_TIMEOUT = 1800.0
#: Bytes of events that are sent at once.
CHUNK = 256 * 1024
_INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@attrs.frozen
class Start:
    """A watch that has begun: its subscription, and what it shows first."""

    subscription: Subscription
    initial: Sequence[Stored]
    #: The revision that the initial state is of.
    revision: int
    selection: Selection
    marks_end: bool
    #: What happens up to this revision is not shown.
    after: int = 0

    def drain(self) -> Iterator[tuple[str, Change]]:
        """What has happened since, with the type of each event."""
        for change in self.subscription.drain():
            if change.revision > self.after and (kind := self.subscription.kind_of(change)):
                yield kind, change

    async def selected(self) -> list[tuple[str, Change]]:
        """The same for who selects by what a webhook makes of objects."""
        happened = list(self.drain())
        return await self.selection.chosen(change for _, change in happened) if self.selection.asks else happened


async def begin(registry: Registry, selection: Selection, options: ListOptions, *, limit: int = 1000) -> Start:
    """Subscribe at the revision that the options ask for. Raises `Expired`, `BadRequest`, `Timeout`.

    A watch of a revision that is not reached yet waits for what comes after it; only initial events cannot wait.
    """
    cache = registry.objects.cache
    await cache.caught_up()
    after = parse_revision(options.resource_version)
    initial_wanted = after == 0 if options.send_initial_events is None else options.send_initial_events
    ahead = after > cache.revision
    if ahead and initial_wanted:
        raise too_large(after, cache.revision)
    # From here to the subscription there is no await: nothing is missed, nothing is seen twice.
    start_after = None if initial_wanted or after == 0 or ahead else after
    subscription = cache.subscribe(registry.stored_as, selection.interest(), after=start_after, limit=limit)
    cache.bus.note_watch(subscription)
    initial: Sequence[Stored] = ()
    if initial_wanted:
        initial = list(registry.cache.list(selection.namespace))
    revision = cache.revision
    try:
        initial = await selection.among(initial)
    except BaseException:
        subscription.close()
        raise
    marks_end = bool(options.send_initial_events) and options.allow_bookmarks
    return Start(subscription, initial, revision, selection, marks_end, after if ahead else 0)


class Events(EventStream):
    """The body of an HTTP watch: one event after another.

    More than its generator, because a generator that was never begun (the client went away first) ends nothing.
    """

    def __init__(
        self,
        registry: Registry,
        start: Start,
        options: ListOptions,
        frames: Frames,
        clock: Clock,
        timeout: float,
    ) -> None:
        self._subscription = start.subscription
        self._subscription.on_overrun = self._cut_off
        self._lines = _events(registry, start, options, frames, clock, timeout)

    def end(self) -> None:
        self._subscription.close()

    def _cut_off(self) -> None:
        if self.overrun is not None:
            self.overrun()

    async def __anext__(self) -> bytes:
        return await anext(self._lines)

    async def aclose(self) -> None:
        await self._lines.aclose()
        self._subscription.close()


async def _events(
    registry: Registry, start: Start, options: ListOptions, frames: Frames, clock: Clock, timeout: float
) -> AsyncGenerator[bytes, None]:
    subscription = start.subscription
    timers = [clock.call_later(timeout, subscription.close)]
    bookmark_due = False

    def remind() -> None:
        nonlocal bookmark_due
        bookmark_due = True
        subscription.poke()
        timers.append(clock.call_later(BOOKMARK_PERIOD, remind))
        del timers[1:-1]

    if options.allow_bookmarks:
        timers.append(clock.call_later(BOOKMARK_PERIOD, remind))
    try:
        for chunk in _chunks(frames.event("ADDED", stored) for stored in await registry.present_all(start.initial)):
            yield chunk
        if start.marks_end:
            yield frames.event("BOOKMARK", _bookmark(registry, start.revision, end=True))
        while True:
            await subscription.wait()
            over = subscription.closed
            for chunk in _chunks(
                frames.change(kind, change, shown) for kind, change, shown in await _presented(registry, start)
            ):
                over = False
                yield chunk
            if bookmark_due:
                bookmark_due = False
                yield frames.event("BOOKMARK", _bookmark(registry, registry.objects.cache.revision))
            if over:
                return
    except Overrun as error:
        yield frames.error(Expired(f"too old resource version: {error}"))
    except StatusError as error:
        # A webhook that is to convert does not: nothing can follow that this watch could show.
        yield frames.error(error)
    finally:
        for timer in timers:
            timer.cancel()
        subscription.close()


async def document_events(registry: Registry, start: Start) -> AsyncIterator[WatchEvent]:
    """The same for a reader in this process: shared, frozen documents. Raises `Expired` when it is too slow."""
    subscription = start.subscription
    try:
        for stored in await registry.present_all(start.initial):
            yield WatchEvent("ADDED", stored.document)
        while True:
            await subscription.wait()
            nothing = True
            for kind, change, shown in await _presented(registry, start):
                nothing = False
                yield WatchEvent(kind, (shown or registry.shown(change.shown(kind))).document)
            if nothing and subscription.closed:
                return
    except Overrun as error:
        raise Expired(f"too old resource version: {error}") from error
    finally:
        subscription.close()


def _chunks(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines, several at once; made as they are asked for."""
    held: list[bytes] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= CHUNK:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


_Presented = Iterable[tuple[str, Change, Stored | None]]


async def _presented(registry: Registry, start: Start) -> _Presented:
    """What has happened; with what is to be shown, where that takes a webhook's answer, asked for all at once."""
    if not registry.asks:
        return ((kind, change, None) for kind, change in start.drain())
    happened = await start.selected()
    shown = await registry.present_all([change.shown(kind) for kind, change in happened])
    return [(kind, change, each) for (kind, change), each in zip(happened, shown, strict=True)]


def _bookmark(registry: Registry, revision: int, *, end: bool = False) -> Stored:
    """An object of the kind of which nothing is known but the revision."""
    metadata = {"annotations": {_INITIAL_EVENTS_END: "true"}} if end else {}
    resource = registry.type
    nothing = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
    document = registry.read(nothing)[0]
    return Stored(Key("", ""), revision, encode(document), document)

"""The bus: the only fan-out there is. The watch cache publishes; HTTP watches and local reflectors subscribe.

What always holds:

* A subscriber gets every change of its topic that may concern it, in the order of revisions, none twice.
* A change touches only subscriptions that can match: they are indexed by name, by one index field (a pod's node), by
  namespace, and only the rest see everything. What an index lets through is still checked by the subscriber.
* Publishing never waits. A subscriber that has `limit` changes unread is cut off: its next read raises `Overrun`,
  and the others feel nothing.
* Readers in great number are woken a few in each turn of the loop, so that others have their turns between.

Publishing and subscribing happen in the event loop's thread. History is not kept here: who needs changes from before
the subscription asks the watch cache, which subscribes and replays in one turn of the loop.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol
from weakref import WeakValueDictionary

import attrs

from kube_core.api.types import ResourceType
from kube_core.bus.changes import Change, Stored
from kube_core.meta.documents import Document, Key
from kube_core.meta.gvk import GroupResource
from kube_core.meta.selectors import parse_labels

__all__ = ["Bus", "Interest", "LabelMatcher", "Overrun", "Subscription", "Topic"]

#: Readers that are woken in one turn of the loop: over TLS each takes some 30 µs to be told.
_AT_ONCE = 64

FieldsOf = Callable[[Document], Mapping[str, str]]


class Overrun(Exception):
    """This subscriber was too slow and was cut off."""


class LabelMatcher(Protocol):
    """A compiled label selector."""

    def matches(self, labels: Mapping[str, str], /) -> bool: ...


@attrs.frozen
class Interest:
    """What a subscriber wants to hear of. Empty means everything.

    `fields` are requirements of equality on the topic's index fields; whoever has further requirements passes them
    as `predicate`, which sees a stored object.
    """

    namespace: str = ""
    name: str = ""
    labels: LabelMatcher | None = None
    fields: Mapping[str, str] = attrs.field(factory=dict)
    predicate: Callable[[Stored], bool] | None = None

    def matches(self, stored: Stored, topic: Topic) -> bool:
        """Whether an object, as it stands at one revision, is wanted."""
        if self.namespace and stored.key.namespace != self.namespace:
            return False
        if self.name and stored.key.name != self.name:
            return False
        if self.labels is not None and not self.labels.matches(stored.labels):
            return False
        if self.fields:
            fields = topic.fields_of(stored)
            if any(fields.get(name, "") != value for name, value in self.fields.items()):
                return False
        return self.predicate is None or self.predicate(stored)


class Subscription:
    """One subscriber's queue. Iterate over it, or take all there is with `drain`. Close it when done."""

    __slots__ = (
        "__weakref__",
        "_bus",
        "_closed",
        "_followed",
        "_limit",
        "_overrun",
        "_poked",
        "_queue",
        "_waiter",
        "index_key",
        "interest",
        "on_overrun",
        "topic",
    )

    def __init__(self, topic: Topic, interest: Interest, limit: int) -> None:
        self.topic = topic
        self.interest = interest
        self.index_key: tuple[str, ...] = ()
        self._limit = limit
        self._queue: deque[Change] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._overrun = False
        self._closed = False
        self._poked = False
        self._followed = False
        #: Called when this subscriber is cut off, who may not be reading.
        self.on_overrun: Callable[[], None] | None = None

    def push(self, change: Change) -> None:
        """Called by the bus, which wakes the reader."""
        if len(self._queue) >= self._limit:
            self._overrun = True
            self._queue.clear()
            self.topic.remove(self)
            self.topic.cut_off += 1
            if self.on_overrun is not None:
                self.on_overrun()
        else:
            self._queue.append(change)

    def replay(self, changes: Iterable[Change]) -> None:
        """Put earlier changes in front of everything, before the first read; they do not count against the limit."""
        self._queue.extendleft(reversed(list(changes)))

    def drain(self) -> list[Change]:
        """Everything that is waiting. Raises `Overrun` when this subscriber was cut off."""
        if self._overrun:
            raise Overrun("too many changes were left unread")
        changes = list(self._queue)
        self._queue.clear()
        return changes

    def cut_off(self) -> None:
        """As if it had been too slow: its next read raises `Overrun`."""
        self._overrun = True
        self._queue.clear()
        self.topic.remove(self)
        self.wake()

    def poke(self) -> None:
        """Make a waiting reader return, with nothing to drain perhaps (time to send a bookmark)."""
        self._poked = True
        self.wake()

    async def wait(self) -> None:
        """Return when there is something to `drain`, after a `poke`, or when the subscription is over."""
        self._followed = True
        while not (self._queue or self._overrun or self._closed or self._poked):
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._poked = False

    def kind_of(self, change: Change) -> str:
        """What the change is for this subscriber: ADDED, MODIFIED, DELETED, or "" for nothing."""
        interest, topic = self.interest, self.topic
        now = change.after is not None and interest.matches(change.after, topic)
        was = change.before is not None and interest.matches(change.before, topic)
        if now:
            return "MODIFIED" if was else "ADDED"
        return "DELETED" if was else ""

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Change:
        """The next change that matters to this subscriber. Raises `Overrun`."""
        while True:
            await self.wait()
            if self._overrun:
                raise Overrun("too many changes were left unread")
            if not self._queue:
                if self._closed:
                    raise StopAsyncIteration
                continue
            change = self._queue.popleft()
            if self.kind_of(change):
                return change

    @property
    def undelivered(self) -> int:
        """Changes on their way to a reader that waits for them; one that only drains, when it likes, has none."""
        return len(self._queue) if self._followed else 0

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Hear of nothing more; a waiting reader returns."""
        self._closed = True
        self.topic.remove(self)
        self.wake()

    def wake(self) -> None:
        """Let a waiting reader return."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Topic:
    """One resource on the bus, with its subscriptions by index."""

    def __init__(self, resource: GroupResource) -> None:
        self.resource = resource
        self.index_fields: tuple[str, ...] = ()
        self._fields_of: FieldsOf | None = None
        #: How many changes were handed to subscriptions, and how many of those were cut off.
        self.dispatched = 0
        self.cut_off = 0
        #: Subscriptions under ("name", ns, name), ("field", field, value), ("namespace", ns) or ("all",).
        self._subscriptions: dict[tuple[str, ...], dict[Subscription, None]] = {}

    def index(self, fields: Sequence[str], fields_of: FieldsOf) -> None:
        """Tell subscriptions apart by these fields, for those that come from now on."""
        self.index_fields = tuple(fields)
        self._fields_of = fields_of

    def fields_of(self, stored: Stored) -> Mapping[str, str]:
        """The values of this resource's selectable fields."""
        return self._fields_of(stored.document) if self._fields_of is not None else {}

    def add(self, subscription: Subscription) -> None:
        interest = subscription.interest
        if interest.name:
            key: tuple[str, ...] = ("name", interest.namespace, interest.name)
        elif field := next((name for name in self.index_fields if name in interest.fields), ""):
            key = ("field", field, interest.fields[field])
        elif interest.namespace:
            key = ("namespace", interest.namespace)
        else:
            key = ("all",)
        subscription.index_key = key
        self._subscriptions.setdefault(key, {})[subscription] = None

    def remove(self, subscription: Subscription) -> None:
        peers = self._subscriptions.get(subscription.index_key)
        if peers is not None:
            peers.pop(subscription, None)
            if not peers:
                del self._subscriptions[subscription.index_key]

    def publish(self, change: Change) -> None:
        """Hand a change to every subscription whose index lets it through."""
        if not self._subscriptions:
            return
        for key in self._keys(change):
            peers = self._subscriptions.get(key)
            if peers:
                pushed = list(peers)
                for subscription in pushed:
                    subscription.push(change)
                self.dispatched += len(pushed)
                _wake(pushed)

    def hearing(self, key: Key) -> int:
        """How many subscriptions hear of a change of an object, as far as its name tells; not those by fields."""
        found = self._subscriptions
        keys = (("all",), ("namespace", key.namespace), ("name", key.namespace, key.name))
        return sum(len(found[each]) for each in keys if each in found)

    def _keys(self, change: Change) -> list[tuple[str, ...]]:
        key: Key = change.key
        keys: list[tuple[str, ...]] = [("all",), ("namespace", key.namespace), ("name", key.namespace, key.name)]
        if key.namespace:
            keys.append(("name", "", key.name))
        for field in self.index_fields:
            stored = [each for each in (change.before, change.after) if each is not None]
            values = dict.fromkeys(self.fields_of(each).get(field, "") for each in stored)
            keys.extend(("field", field, value) for value in values)
        return keys

    @property
    def undelivered(self) -> int:
        """Changes on their way to readers, of all subscriptions."""
        return sum(each.undelivered for peers in self._subscriptions.values() for each in peers)

    def __len__(self) -> int:
        return sum(len(peers) for peers in self._subscriptions.values())


def _wake(readers: Sequence[Subscription], start: int = 0) -> None:
    """Wake some now, and the others in turns of the loop that follow."""
    end = start + _AT_ONCE
    for reader in readers[start:end]:
        reader.wake()
    if end < len(readers):
        asyncio.get_running_loop().call_soon(_wake, readers, end)


class Bus:
    """All topics of one server."""

    def __init__(self) -> None:
        self._topics: dict[GroupResource, Topic] = {}
        #: The subscriptions of clients' watches, in the order in which they began.
        self.watches: WeakValueDictionary[int, Subscription] = WeakValueDictionary()
        self._numbers = itertools.count()

    def note_watch(self, subscription: Subscription) -> None:
        """It is a client's, and not a part of the server's."""
        self.watches[next(self._numbers)] = subscription

    def topic(self, resource: GroupResource) -> Topic:
        """The topic of a resource; made on first use."""
        topic = self._topics.get(resource)
        if topic is None:
            topic = self._topics[resource] = Topic(resource)
        return topic

    def forget(self, resource: GroupResource) -> None:
        """End a topic and its subscriptions (a custom resource that is no longer served)."""
        topic = self._topics.pop(resource, None)
        if topic is not None:
            for peers in list(topic._subscriptions.values()):
                for subscription in list(peers):
                    subscription.close()

    def subscribe(
        self, kind: ResourceType | GroupResource, selector: str | Interest = "", *, limit: int = 1000
    ) -> Subscription:
        """Hear of every change to a resource from now on.

        `selector`: labels as `kubectl -l` takes them, or an `Interest` that says more. `limit`: how many changes may
        be unread before the subscriber is cut off. Raises `SelectorError`.
        """
        topic = self.topic(kind.group_resource if isinstance(kind, ResourceType) else kind)
        if isinstance(selector, str):
            selector = Interest(labels=parse_labels(selector) if selector else None)
        subscription = Subscription(topic, selector, limit)
        topic.add(subscription)
        return subscription

    def publish(self, resource: GroupResource, change: Change) -> None:
        """Called by the watch cache only, in the order of revisions."""
        topic = self._topics.get(resource)
        if topic is not None:
            topic.publish(change)

    def close(self) -> None:
        """End every subscription: the server is going away."""
        for resource in list(self._topics):
            self.forget(resource)

    @property
    def undelivered(self) -> Sequence[GroupResource]:
        """The resources with changes that are on their way to a reader."""
        return [resource for resource, topic in self._topics.items() if topic.undelivered]

    def topics(self) -> Sequence[Topic]:
        """Those that anybody has subscribed to or published on."""
        return list(self._topics.values())

    @property
    def subscribers(self) -> int:
        return sum(len(topic) for topic in self._topics.values())

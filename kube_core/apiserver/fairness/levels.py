"""One priority level: its seats, and the queues of those who wait for one.

While there is a free seat and nobody waits, entering is one comparison and one addition. Otherwise a request of a
level that queues is put in the shortest of a few queues that its flow was dealt (shuffle sharding), so that a flow
which sends very much fills only its own; queues are served so that each gets an equal share of the seats' time.

What always holds:

* no level uses more seats than its own, plus what others lend: the seats that a level may lend (`lendablePercent`)
  while it does not use them, up to what the borrower may borrow (`borrowingLimitPercent`). Who takes back lent seats
  is let in at once, and for a moment more are at work than there are seats;
* a seat that is given back goes to who waits, not to who comes;
* who gives up (its client went away, its time is over) leaves its queue, and nobody's seat is lost.

A request takes one seat or more (`work`), all of them at once, and a queue whose turn it is waits until there are so
many, while nobody else is let in. One that wants more than its level can ever have is let in when it would be alone.

Upstream moves limits between levels every ten seconds by what was wanted; here seats are lent as they are needed.
Documented under "API Priority and Fairness".
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections import deque
from collections.abc import Iterable

import attrs

from kube_core._kit.clock import Clock
from kube_core.apiserver.fairness.work import LEAST, Work
from kube_core.meta.documents import Document

__all__ = ["Level", "Limits", "Refused", "Seats", "Turn", "deal"]

#: How long upstream lets a request wait for its seat, in seconds: a quarter of the longest that a request may take.
LONGEST_WAIT = 15.0
#: What a request costs its flow at least, in seconds of one seat; charged before it is known how long it took.
_LEAST_COST = 0.003
#: The most that one request may take of a level's seats.
_WIDEST = 0.15


class Refused(Exception):
    """There is no seat, and no place to wait for one. `reason` is upstream's word for it in its metrics."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@attrs.frozen
class Limits:
    """What a PriorityLevelConfiguration says, in its own terms."""

    uid: str = ""
    exempt: bool = False
    shares: int = 30
    lendable_percent: int = 0
    #: None: without limit.
    borrowing_percent: int | None = None
    #: 0: who finds no seat is refused at once.
    queues: int = 0
    hand_size: int = 0
    queue_length: int = 0

    @classmethod
    def of(cls, document: Document) -> Limits:
        spec = document.get("spec") or {}
        exempt = spec.get("type") == "Exempt"
        given = spec.get("exempt" if exempt else "limited") or {}
        response = given.get("limitResponse") or {}
        queuing = response.get("queuing") or {} if response.get("type") == "Queue" else {}
        return cls(
            document["metadata"].get("uid", ""),
            exempt,
            given.get("nominalConcurrencyShares", 0 if exempt else 30),
            given.get("lendablePercent") or 0,
            given.get("borrowingLimitPercent"),
            queuing.get("queues", 64) if response.get("type") == "Queue" else 0,
            queuing.get("handSize", 8),
            queuing.get("queueLengthLimit", 50),
        )


class Seats:
    """All seats of one server, and the levels that share them."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.levels: tuple[Level, ...] = ()
        #: Requests that wait, on all levels.
        self.waiting = 0

    def share_out(self, levels: Iterable[Level]) -> None:
        """Give each level its part; whoever waits is let in where there are more seats now."""
        self.levels = tuple(levels)
        shares = sum(level.limits.shares for level in self.levels) or 1
        for level in self.levels:
            limits = level.limits
            level.nominal = math.ceil(self.total * limits.shares / shares)
            level.lendable = round(level.nominal * limits.lendable_percent / 100)
            borrowing = limits.borrowing_percent
            level.most = self.total if borrowing is None else level.nominal + round(level.nominal * borrowing / 100)
            hand = limits.hand_size if limits.queues else 0
            level.widest = max(1, min(math.ceil(level.nominal * _WIDEST), level.nominal // hand)) if hand else 0
        self.wake()

    def can_lend(self, borrower: Level, seats: int) -> bool:
        """Whether a level that uses all its own seats may have some more."""
        used = borrower.taken + seats
        for level in self.levels:
            if level is not borrower:
                used += max(level.taken, level.nominal - level.lendable)
        return used <= self.total

    def wake(self) -> None:
        """Let in who waits anywhere, as far as there are seats."""
        for level in self.levels:
            level.admit()


@attrs.frozen(eq=False, slots=True)
class _Waiting:
    """A request that waits for its seats."""

    turn: asyncio.Future[None]
    seats: int


@attrs.define(eq=False, slots=True)
class _Queue:
    """Requests that wait in the order in which they came."""

    waiting: deque[_Waiting] = attrs.field(factory=deque)
    #: Seats of the requests that came through this queue.
    taken: int = 0
    #: How much of the seats' time this queue has had, in seconds, on the scale of the level's `_served`.
    served: float = 0.0


@attrs.frozen(eq=False, slots=True)
class Turn:
    """Seats that were waited for: their queue is charged with the time for which they are kept."""

    queue: _Queue
    number: int
    began: float


class Level:
    """One priority level. `enter` or `wait`, and then exactly one `leave`, all for the same work."""

    def __init__(self, name: str, limits: Limits, seats: Seats, clock: Clock) -> None:
        self.name = name
        self.limits = limits
        self.nominal = self.lendable = self.most = 0
        #: The most seats that one request takes; 0: whatever it wants.
        self.widest = 0
        #: Requests that have seats now, and that wait for some; the seats that are taken.
        self.executing = 0
        self.waiting = 0
        self.taken = 0
        self._seats = seats
        self._clock = clock
        self._queues: dict[int, _Queue] = {}
        #: How much the queue that was served last had had before; who comes anew begins there.
        self._served = 0.0

    def enter(self, work: Work = LEAST) -> bool:
        """Take seats if they are there and nobody waits."""
        if self.limits.exempt or (not self.waiting and self._has_room(work.seats)):
            self.executing += 1
            self.taken += work.seats
            return True
        return False

    async def wait(self, flow: str, work: Work = LEAST) -> Turn:
        """Take seats when it is this flow's turn. Raises `Refused`."""
        limits = self.limits
        if not limits.queues:
            raise Refused("concurrency-limit")
        hand = deal(flow, limits.queues, limits.hand_size)
        number = min(hand, key=self._length)
        queue = self._queues.get(number)
        if queue is None:
            # Who did not ask for a while has not saved up anything.
            queue = self._queues[number] = _Queue(served=self._served)
        if len(queue.waiting) >= limits.queue_length:
            raise Refused("queue-full")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(turn, work.seats)
        queue.waiting.append(waiting)
        self._count(1)
        timer = self._clock.call_later(LONGEST_WAIT, lambda: _refuse(turn))
        mine = Turn(queue, number, self._clock.monotonic())
        try:
            await turn
        except BaseException:
            if turn.cancelled() or turn.exception() is not None:
                queue.waiting.remove(waiting)
                self._count(-1)
                self._drop(number, queue)
                # It may have been the one for whose seats everybody waited.
                self.admit()
            else:
                self.leave(mine, attrs.evolve(work, kept=0))
            raise
        finally:
            timer.cancel()
        return attrs.evolve(mine, began=self._clock.monotonic())

    def leave(self, turn: Turn | None = None, work: Work = LEAST) -> None:
        """Give the seats back, or those that are kept a while later. `turn`: what `wait` returned."""
        self.executing -= 1
        if turn is not None:
            queue = turn.queue
            queue.taken -= work.seats
            had = self._clock.monotonic() - turn.began - _LEAST_COST
            queue.served += max(had, 0.0) * work.seats + work.after * work.kept
            self._drop(turn.number, queue)
        if work.kept:
            # What they are kept for is done by this machine, whatever time it is on the clock.
            asyncio.get_running_loop().call_later(work.after, self._give_back, work.kept)
        self._give_back(work.seats - work.kept)

    def _give_back(self, seats: int) -> None:
        self.taken -= seats
        if self._seats.waiting:
            self.admit()
            self._seats.wake()

    def admit(self) -> None:
        """Let in who waits, as long as there are seats: next the queue that has had the least of their time."""
        while self.waiting:
            ready = [queue for queue in self._queues.values() if any(not each.turn.done() for each in queue.waiting)]
            if not ready:
                return
            queue = min(ready, key=lambda each: each.served)
            waiting = next(each for each in queue.waiting if not each.turn.done())
            if not self._has_room(waiting.seats):
                return
            queue.waiting.remove(waiting)
            self._count(-1)
            self._served = max(self._served, queue.served)
            queue.served += _LEAST_COST * waiting.seats
            queue.taken += waiting.seats
            self.executing += 1
            self.taken += waiting.seats
            waiting.turn.set_result(None)

    def _has_room(self, seats: int) -> bool:
        then = self.taken + seats
        if then <= self.nominal or (then <= self.most and self._seats.can_lend(self, seats)):
            return True
        return seats > self.most > 0 == self.taken

    def _length(self, number: int) -> int:
        """Seats that are taken and waited for in a queue."""
        queue = self._queues.get(number)
        return sum(each.seats for each in queue.waiting) + queue.taken if queue is not None else 0

    def _count(self, change: int) -> None:
        self.waiting += change
        self._seats.waiting += change

    def _drop(self, number: int, queue: _Queue) -> None:
        """Forget a queue that nobody is in; a change of the configuration may have put another in its place."""
        if not queue.waiting and not queue.taken and self._queues.get(number) is queue:
            del self._queues[number]


def _refuse(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_exception(Refused("time-out"))


def deal(flow: str, queues: int, hand_size: int) -> list[int]:
    """The queues that a flow may wait in: the same few each time, and rarely all those of another flow."""
    entropy = int.from_bytes(hashlib.blake2b(flow.encode("utf-8", "replace"), digest_size=32).digest(), "big")
    hand: list[int] = []
    for left in range(queues, queues - min(hand_size, queues), -1):
        entropy, card = divmod(entropy, left)
        # The card is among those that are left: step over the ones that were dealt.
        for dealt in sorted(hand):
            if card >= dealt:
                card += 1
        hand.append(card)
    return hand

"""The leases of one store: how long each lasts, and which keys go with it.

A lease is over at a moment of the clock, at which `expire(lease)` is called once; what that does to the keys is the
driver's business. A lease that is over stays known, with its keys, until it is removed, but takes no more of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import attrs

from kube_core._kit.clock import Clock, Timer
from kube_core.abc.store import StoreError, Written

__all__ = ["Lease", "Leases"]


@attrs.define(slots=True, eq=False)
class Lease:
    """One lease. `deadline` is wall-clock time, so that it means the same after a restart."""

    id: int
    seconds: float
    deadline: float
    keys: set[str] = attrs.field(factory=set)
    over: bool = False
    timer: Timer | None = None


class Leases:
    """The leases by their ids."""

    def __init__(self, clock: Clock, expire: Callable[[Lease], None]) -> None:
        self._clock = clock
        self._expire = expire
        self._leases: dict[int, Lease] = {}
        self.last_id = 0

    def __iter__(self) -> Iterator[Lease]:
        return iter(self._leases.values())

    def make(self, seconds: float) -> Lease:
        """A new lease, which is not in force before `add`. Raises `StoreError` for a time that is not positive."""
        if not seconds > 0:
            raise StoreError(f"a lease must last for more than 0 seconds, not {seconds}")
        self.last_id += 1
        return Lease(self.last_id, seconds, self._clock.now() + seconds)

    def add(self, lease: Lease) -> None:
        """Put a lease in force."""
        self.last_id = max(self.last_id, lease.id)
        self._leases[lease.id] = lease
        self._arm(lease)

    def find(self, lease_id: int) -> Lease | None:
        """The lease, if it is known and not over."""
        lease = self._leases.get(lease_id)
        return lease if lease is not None and not lease.over else None

    def require(self, lease_id: int) -> Lease:
        """The lease. Raises `StoreError` when it is over or never was."""
        lease = self.find(lease_id)
        if lease is None:
            raise StoreError(f"lease {lease_id} does not exist or is over")
        return lease

    def renew(self, lease: Lease) -> None:
        """Give a lease its full time again."""
        lease.deadline = self._clock.now() + lease.seconds
        self._arm(lease)

    def end(self, lease: Lease) -> None:
        """The lease is over; it takes no more keys."""
        lease.over = True
        if lease.timer is not None:
            lease.timer.cancel()

    def resume(self, lease: Lease, delay: float) -> None:
        """The end of the lease could not be carried out: it is to be tried again in `delay` seconds."""
        lease.over = False
        if lease.timer is not None:
            lease.timer.cancel()
        lease.timer = self._clock.call_later(delay, lambda: self._expire(lease))

    def remove(self, lease: Lease) -> None:
        """Forget a lease."""
        self.end(lease)
        self._leases.pop(lease.id, None)

    def apply(self, changes: Iterable[Written]) -> None:
        """Note which keys came to a lease, and which left one."""
        for change in changes:
            before = change.previous.lease if change.previous is not None else 0
            after = change.entry.lease if change.entry is not None else 0
            if before != after:
                if before and before in self._leases:
                    self._leases[before].keys.discard(change.key)
                if after and after in self._leases:
                    self._leases[after].keys.add(change.key)

    def copy_to(self, other: Leases) -> None:
        """Give another store the same leases, each with the time that remains of it here."""
        skew = other._clock.now() - self._clock.now()
        for lease in self._leases.values():
            other.add(Lease(lease.id, lease.seconds, lease.deadline + skew, set(lease.keys)))
        other.last_id = self.last_id

    def close(self) -> None:
        """Let no more time pass for any of them."""
        for lease in self._leases.values():
            if lease.timer is not None:
                lease.timer.cancel()

    def _arm(self, lease: Lease) -> None:
        if lease.timer is not None:
            lease.timer.cancel()
        lease.timer = self._clock.call_later(lease.deadline - self._clock.now(), lambda: self._expire(lease))

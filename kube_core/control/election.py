"""Leader election: of several programs that could do a thing, the one that holds a Lease does it.

The behaviour is client-go's (`tools/leaderelection`, as its package documentation says it), with its numbers:

* A Lease is held by the identity in `spec.holderIdentity`. Who wants it looks every `retry_period` seconds, up to 1.2
  times as much longer. It is free where nobody holds it, or its holder has not renewed it for `leaseDurationSeconds`
  since this program last saw it change: no two machines' clocks are compared.
* The holder renews every `retry_period`. Where it has not been able to for `renew_deadline` seconds, or somebody else
  holds the Lease, it leads no longer, and must stop at once: that is before anybody else may begin.
* Who stops in good order gives the Lease up, so that the next need not wait.

What is done while leading, and what it means to have lost, is the caller's business. A program that was asleep
(stopped, swapped out, on a machine that was suspended) wakes up to whatever it was about to do: its `LedTransport` lets
nothing be written once the Lease may be another's, whether that was noticed yet or not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import attrs

from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core._kit.metrics import Cell
from kube_core._kit.random import Random
from kube_core.abc.transport import ByteStream, Request, Response, WatchEvent, WatchRequest
from kube_core.api.resources import LEASES
from kube_core.client.client import ApiClient
from kube_core.client.transport import Transport
from kube_core.meta.documents import Document, MutableDocument, resource_version_of, thaw
from kube_core.meta.status import AlreadyExists, Conflict, NotFound, ServiceUnavailable, StatusError
from kube_core.meta.times import format_micro_time

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

__all__ = ["ElectionTimes", "LeaderElector", "LeadershipLost", "LedTransport"]

_JITTER = 1.2


class LeadershipLost(Exception):
    """This program held the Lease, and holds it no longer."""


@attrs.frozen
class ElectionTimes:
    """In seconds. Raises ValueError for times with which two could lead."""

    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0

    def __attrs_post_init__(self) -> None:
        if self.lease_duration <= self.renew_deadline:
            raise ValueError("the lease duration must be longer than the renew deadline")
        if self.renew_deadline <= self.retry_period * _JITTER:
            raise ValueError(f"the renew deadline must be longer than {_JITTER} times the retry period")
        if self.lease_duration < 1 or self.retry_period <= 0:
            raise ValueError("the lease duration must be a second or more, and the retry period longer than nothing")


class LeaderElector:
    """One candidate for one Lease: `await acquire()`, then `await hold()` beside the work, and `release()` at the end.

    `identity` tells candidates apart: no two may have the same.
    """

    def __init__(
        self,
        client: ApiClient,
        *,
        name: str,
        namespace: str,
        identity: str,
        clock: Clock,
        random: Random,
        times: ElectionTimes | None = None,
        slow_renewals: Cell | None = None,
    ) -> None:
        """`slow_renewals` counts those for which the Lease was not as this program had left it."""
        self._client = client
        self._name = name
        self._namespace = namespace
        self.identity = identity
        self._clock = clock
        self._random = random
        self._times = times or ElectionTimes()
        self._slow_renewals = slow_renewals
        self._log: FilteringBoundLogger = get_logger("kube_core.control").bind(lease=f"{namespace}/{name}")
        #: The Lease as it was last seen, and the monotonic moment at which what it says last changed.
        self._seen: Document | None = None
        self._seen_at = 0.0

    @property
    def leader(self) -> str:
        """Who holds the Lease as far as this program knows; "" for nobody."""
        return _holder(self._seen)

    @property
    def leads(self) -> bool:
        """Whether this program holds the Lease, and nobody else may by now."""
        fresh = self._clock.monotonic() - self._seen_at < self._times.lease_duration
        return self.leader == self.identity and fresh

    async def acquire(self) -> None:
        """Return once this program leads."""
        while not await self._try():
            await self._clock.sleep(self._random.jitter(self._times.retry_period, _JITTER))

    async def hold(self) -> None:
        """Renew the Lease as long as that works. Raises `LeadershipLost` when it does no more."""
        while True:
            await self._clock.sleep(self._times.retry_period)
            try:
                async with self._clock.timeout(self._times.renew_deadline):
                    while not await self._try():
                        if self.leader != self.identity:
                            raise LeadershipLost(f"{self.leader or 'nobody'} holds the lease {self._name} now")
                        await self._clock.sleep(self._times.retry_period)
            except TimeoutError:
                raise LeadershipLost(
                    f"the lease {self._name} could not be renewed for {self._times.renew_deadline:g} seconds"
                ) from None

    async def release(self) -> None:
        """Give the Lease up, where this program holds it. What cannot be said to the server runs out by itself."""
        if self._seen is None or self.leader != self.identity:
            return
        now = format_micro_time(self._clock.now())
        given_up = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": now, "acquireTime": now}
        try:
            async with self._clock.timeout(self._times.renew_deadline):
                self._note(await self._client.update(LEASES, _with_spec(self._seen, given_up)))
        except (StatusError, TimeoutError) as error:
            self._log.info("lease not released", error=str(error))

    async def _try(self) -> bool:
        """Take the Lease, or renew it; whether this program holds it now."""
        began = self._clock.monotonic()
        try:
            if self._seen is not None and self.leader == self.identity:
                # It is very likely as it was left; if not, the server says so.
                try:
                    self._note(await self._client.update(LEASES, self._claimed(self._seen)), began)
                except (Conflict, NotFound):
                    pass
                else:
                    return True
            try:
                lease = await self._client.get(LEASES, self._name, self._namespace)
            except NotFound:
                fresh: MutableDocument = {"metadata": {"name": self._name, "namespace": self._namespace}}
                self._note(await self._client.create(LEASES, self._claimed(fresh)), began)
                return True
            self._note(lease)
            if self.leader not in ("", self.identity) and not self._ran_out(lease):
                return False
            if self.leader == self.identity and self._slow_renewals is not None:
                self._slow_renewals.value += 1
            self._note(await self._client.update(LEASES, self._claimed(lease)), began)
            return True
        except (Conflict, AlreadyExists):
            return False  # somebody was quicker
        except StatusError as error:
            self._log.info("the lease cannot be asked for", error=error.message)
            return False

    def _claimed(self, lease: Document) -> MutableDocument:
        """The Lease as this program's, renewed now."""
        spec = lease.get("spec") or {}
        now = format_micro_time(self._clock.now())
        mine = _holder(lease) == self.identity
        transitions = int(spec.get("leaseTransitions") or 0)
        claim = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": int(self._times.lease_duration),
            "renewTime": now,
            "acquireTime": spec.get("acquireTime") or now if mine else now,
            "leaseTransitions": transitions if mine or not spec else transitions + 1,
        }
        return _with_spec(lease, claim)

    def _note(self, lease: Document, written: float | None = None) -> None:
        """`written`: when this program began to write it; others may have seen that before it had the answer."""
        if self._seen is None or resource_version_of(self._seen) != resource_version_of(lease):
            self._seen_at = self._clock.monotonic() if written is None else written
        self._seen = lease

    def _ran_out(self, lease: Document) -> bool:
        duration = float((lease.get("spec") or {}).get("leaseDurationSeconds") or self._times.lease_duration)
        return self._clock.monotonic() - self._seen_at > duration


class LedTransport(Transport):
    """`inner`, for what only the leader may do: writes are refused (`ServiceUnavailable`) while it does not lead."""

    def __init__(self, inner: Transport, elector: LeaderElector) -> None:
        self._inner = inner
        self._elector = elector
        self.shares_documents = inner.shares_documents  # type: ignore[misc]  # what the inner class says

    async def request(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            self._check()
        return await self._inner.request(request)

    async def watch(self, wanted: WatchRequest) -> AsyncIterator[WatchEvent]:
        async for event in self._inner.watch(wanted):
            yield event

    async def connect(self, request: Request) -> ByteStream:
        self._check()
        return await self._inner.connect(request)

    async def stream(self, request: Request) -> AsyncIterator[bytes]:
        async for chunk in self._inner.stream(request):
            yield chunk

    async def close(self) -> None:
        await self._inner.close()

    def _check(self) -> None:
        if not self._elector.leads:
            raise ServiceUnavailable(f"{self._elector.identity} does not lead any longer")


def _holder(lease: Document | None) -> str:
    return str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")


def _with_spec(lease: Document, changes: Document) -> MutableDocument:
    document: MutableDocument = thaw(lease)
    document["spec"] = {**(document.get("spec") or {}), **changes}
    return document

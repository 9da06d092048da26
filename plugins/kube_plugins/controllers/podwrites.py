"""Making and ending the pods of a workload: in slow-start batches, with expectations, each with its event.

The controllers whose pods have no names of their own share this: replica sets, Jobs and daemon sets. `PodWrites` notes
what it is about to write, so that its controller writes nothing twice while its cache lags, and strikes off what
failed; what the watch shows is struck off by `observe`, which the controller adds as a handler ahead of the runtime's.

What does not belong here: how many pods, and which. Events are upstream's: SuccessfulCreate, SuccessfulDelete,
FailedCreate, FailedDelete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

import attrs

from kube_core._kit.clock import Clock
from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.client.client import ApiClient
from kube_core.control.events import EventRecorder
from kube_core.control.expectations import Expectations
from kube_core.meta.documents import (
    Document,
    Key,
    MutableDocument,
    is_deleting,
    key_of,
    name_of,
    namespace_of,
    uid_of,
)
from kube_core.meta.status import NotFound, StatusError
from kube_plugins.controllers.adoption import owner_key

__all__ = ["Made", "PodWrites", "is_namespace_ending", "slow_start"]


def is_namespace_ending(error: StatusError) -> bool:
    """Whether nothing can be made in the namespace, now or later."""
    return any(cause.get("reason") == "NamespaceTerminating" for cause in error.causes)


def slow_start(count: int) -> Iterator[int]:
    """Sizes of the batches that `count` writes are made in: 1, 2, 4, …; when the first fails no thousand are tried."""
    size = 1
    while count > 0:
        yield min(size, count)
        count -= size
        size *= 2


@attrs.frozen
class Made:
    """How many pods there are now that were to be made, and the first failure that should be tried again."""

    count: int = 0
    error: StatusError | None = None


class PodWrites:
    """The pod writes of one controller, whose objects are `owners`."""

    def __init__(self, owners: ResourceType, client: ApiClient, events: EventRecorder, clock: Clock) -> None:
        self._owners = owners
        self._client = client
        self._events = events
        self._expectations = Expectations(clock)

    def settled(self, key: Key) -> bool:
        """Whether the cache shows everything that was written for `key`."""
        return self._expectations.satisfied(key)

    def unseen(self, key: Key) -> int:
        """How many pods were made for `key`, or are being made, that the cache does not show yet."""
        return self._expectations.creations(key)

    def forget(self, key: Key) -> None:
        self._expectations.forget(key)

    async def create(self, owner: Document, count: int, make: Callable[[int], MutableDocument]) -> Made:
        """Make `count` pods, each as `make` gives it for its number; after a batch with a failure no more are tried."""
        key = key_of(owner)
        self._expectations.expect_creations(key, count)
        started = made = 0
        try:
            for batch in slow_start(count):
                numbers = range(started, started + batch)
                started += batch
                answers = await asyncio.gather(*(self._create_one(key, owner, make, number) for number in numbers))
                failures = [answer for answer in answers if answer is not None]
                made += batch - len(failures)
                if failures:
                    return Made(made, None if all(map(is_namespace_ending, failures)) else failures[0])
        finally:
            for _ in range(count - started):  # what was never tried will never be seen
                self._expectations.creation_observed(key)
        return Made(made)

    async def delete(self, owner: Document, pods: Sequence[Document]) -> StatusError | None:
        """Ask for the pods' deletion; returns the first failure."""
        key = key_of(owner)
        self._expectations.expect_deletions(key, [uid_of(pod) for pod in pods])
        answers = await asyncio.gather(*(self._delete_one(key, owner, pod) for pod in pods))
        return next((answer for answer in answers if answer is not None), None)

    def observe(self, before: Document | None, after: Document | None) -> None:
        """The informer's handler."""
        if before is None and after is not None and not is_deleting(after):
            if (key := owner_key(after, self._owners)) is not None:
                self._expectations.creation_observed(key)
            return
        pod = after if after is not None else before
        if pod is None or (after is not None and not is_deleting(pod)):
            return
        if (key := owner_key(pod, self._owners)) is not None:
            self._expectations.deletion_observed(key, uid_of(pod))

    async def _create_one(
        self, key: Key, owner: Document, make: Callable[[int], MutableDocument], number: int
    ) -> StatusError | None:
        try:
            made = await self._client.create(resources.PODS, make(number))
        except StatusError as error:
            self._expectations.creation_observed(key)
            if not is_namespace_ending(error):
                self._events.warning(owner, "FailedCreate", f"Error creating: {error.message}")
            return error
        except BaseException:
            self._expectations.creation_observed(key)
            raise
        self._events.normal(owner, "SuccessfulCreate", f"Created pod: {name_of(made)}")
        return None

    async def _delete_one(self, key: Key, owner: Document, pod: Document) -> StatusError | None:
        try:
            await self._client.delete(resources.PODS, name_of(pod), namespace_of(pod), uid=uid_of(pod))
        except NotFound:
            self._expectations.deletion_observed(key, uid_of(pod))
            return None
        except StatusError as error:
            self._expectations.deletion_observed(key, uid_of(pod))
            self._events.warning(owner, "FailedDelete", f"Error deleting: {error.message}")
            return error
        except BaseException:
            self._expectations.deletion_observed(key, uid_of(pod))
            raise
        self._events.normal(owner, "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")
        return None

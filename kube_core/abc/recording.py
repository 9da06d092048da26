"""What a record is told of: who asked for what, what was written, who reconciled what, and because of what.

The parts of a cluster tell a `Recorder`, where they are given one, and otherwise do nothing at all. That a write came
of a request, and a request of a reconcile, is known by two context variables: `working` is the reconcile that a task is
in, `asking` the request. They reach the server where it is called without a socket between; what comes over a socket
is known by its user.

Ids are the recorder's; 0 is none.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Final, Protocol

import attrs

from kube_core.meta.documents import Document, Key
from kube_core.meta.gvk import GroupResource

__all__ = ["WHY_PATH", "Asked", "Recorder", "Seen", "Version", "asking", "working"]

#: Where a server that keeps a record tells what an object's last change came of.
WHY_PATH: Final = "/debug/record/why"

#: The reconcile that is under way in this task.
working: ContextVar[int] = ContextVar("kube_core_working", default=0)
#: The request that is being answered in this task.
asking: ContextVar[int] = ContextVar("kube_core_asking", default=0)


class Version(Protocol):
    """An object at one revision."""

    @property
    def document(self) -> Document: ...


@attrs.frozen(slots=True)
class Seen:
    """A change that somebody was told of."""

    resource: GroupResource
    key: Key
    revision: int


@attrs.frozen(slots=True)
class Asked:
    """What a request is about. `path` is set where that is no resource."""

    verb: str
    resource: GroupResource
    key: Key
    subresource: str = ""
    path: str = ""


class Recorder(abc.ABC):
    """Every call is quick, and none raises."""

    @abc.abstractmethod
    def request_began(self, asked: Asked) -> int: ...

    @abc.abstractmethod
    def identified(self, request: int, user: str) -> None:
        """Who asks."""

    @abc.abstractmethod
    def request_ended(self, request: int, code: int, message: str) -> None:
        """`message`: what went wrong, if anything did."""

    @abc.abstractmethod
    def written(self, resource: GroupResource, key: Key, revision: int) -> None:
        """The request in `asking` made this revision; said before or after it was `seen`."""

    @abc.abstractmethod
    def seen(
        self, resource: GroupResource, key: Key, revision: int, before: Version | None, after: Version | None
    ) -> None:
        """What a revision of the store did."""

    @abc.abstractmethod
    def reconcile_began(self, actor: str, key: Key, because: Sequence[Seen]) -> int:
        """`because`: the changes that put the key in the actor's queue; none when it was time to look again."""

    @abc.abstractmethod
    def reconcile_ended(self, reconcile: int, outcome: str) -> None: ...

    @contextlib.contextmanager
    def reconciling(self, actor: str, key: Key, because: Sequence[Seen]) -> Iterator[None]:
        """What is asked for in this block is asked for by that reconcile."""
        reconcile = self.reconcile_began(actor, key, because)
        token = working.set(reconcile)
        outcome = "failed"
        try:
            yield
            outcome = "done"
        finally:
            working.reset(token)
            self.reconcile_ended(reconcile, outcome)

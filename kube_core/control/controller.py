"""The contract of a controller: what it watches, and one function from a key to an Action.

A controller is level-based: `reconcile` gets a key, never an event; it reads the present state from listers and
writes what is missing through the client. It may be called for a key at any time, more often than needed, but never
twice at once for one key. What it reads from a lister is shared and frozen: `thaw` a document to change it.

`ControllerSpec` is what a plugin returns from the `kube_core_controllers` hook; the runtime (`runtime.py`) builds the
controller, waits for its informers, feeds its queue and runs its workers.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from kube_core._kit.clock import Clock
from kube_core._kit.random import Random
from kube_core.api.types import ResourceType
from kube_core.control.action import Action
from kube_core.meta.documents import Document, Key, controller_of, key_of, namespace_of

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from kube_core.client.client import ApiClient
    from kube_core.client.informer import Informers
    from kube_core.control.events import EventRecorder

__all__ = [
    "Controller",
    "ControllerContext",
    "ControllerSpec",
    "MapToKeys",
    "Watch",
    "to_controller_owner",
    "to_itself",
]

#: From a changed object to the keys to reconcile. Called with the object before and after the change (each if any).
MapToKeys = Callable[[Document], Iterable[Key]]


def to_itself(document: Document) -> Iterable[Key]:
    """The changed object's own key."""
    yield key_of(document)


def to_controller_owner(kind: str) -> MapToKeys:
    """The key of the object's controlling owner, where that is of `kind`."""

    def owner(document: Document) -> Iterable[Key]:
        reference = controller_of(document)
        if reference is not None and reference.get("kind") == kind:
            yield Key(namespace_of(document), str(reference["name"]))

    return owner


@attrs.frozen
class Watch:
    """Changes to `resource` put the keys that `to_keys` gives, for the object as it was and as it is, in the queue.

    `predicate(before, after)` filters changes first: either may be None (creation, deletion).
    """

    resource: ResourceType
    to_keys: MapToKeys = to_itself
    predicate: Callable[[Document | None, Document | None], bool] | None = None


@attrs.frozen
class ControllerContext:
    """What a controller is given. `client` asks as the controller's own service account."""

    name: str
    client: ApiClient
    informers: Informers
    clock: Clock
    random: Random
    events: EventRecorder
    log: FilteringBoundLogger
    drivers: Mapping[str, Any] = attrs.field(factory=dict)
    """Drivers that this process runs, by seam (`volume`, `cloud`)."""
    enqueue: Callable[[Key], None] = lambda key: None
    """Puts a key in the controller's own queue, for the few that learn of work otherwise than by their watches."""


class Controller(abc.ABC):
    """One control loop."""

    #: How many keys are reconciled at a time.
    workers: ClassVar[int] = 5

    def __init__(self, context: ControllerContext) -> None:
        self.context = context
        self.client = context.client
        self.clock = context.clock
        self.log = context.log

    @abc.abstractmethod
    def watches(self) -> Iterable[Watch]:
        """What puts keys in the queue. Asked once, before start."""

    def reads(self) -> Iterable[ResourceType]:
        """Further resources whose listers `reconcile` uses; their informers are synced before start."""
        return ()

    @abc.abstractmethod
    async def reconcile(self, key: Key) -> Action:
        """Bring what is toward what is wanted for one key."""

    async def start(self) -> None:  # noqa: B027 (a hook that most leave as it is)
        """Called once all informers are synced, before the first `reconcile`."""

    async def stop(self) -> None:  # noqa: B027 (a hook that most leave as it is)
        """Called after the last `reconcile`."""


@attrs.frozen
class ControllerSpec:
    """A controller that a plugin adds. `name` is upstream's (`deployment-controller`) where there is one."""

    name: str
    factory: Callable[[ControllerContext], Controller]
    needs: tuple[str, ...] = ()
    """Seams whose driver it needs (`volume`); left out, with a note, in a cluster that has none."""
    account: str = ""
    """The service account in `kube-system` as which it acts, with what roles give to that. "": it has none, and acts as
    an administrator, like the program that it was installed in."""

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
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload

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
    from kube_core.control.predicates import Predicate

__all__ = [
    "Controller",
    "ControllerContext",
    "ControllerSpec",
    "MapToKeys",
    "RateLimits",
    "Watch",
    "resource_named",
    "to_controller_owner",
    "to_itself",
]

T = TypeVar("T")

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


class Watch:
    """Changes to objects of `kind` put the keys that `map` gives, for the object as it was and as it is, in the queue.

    `kind` is a resource, and then `map` and `predicate` get documents; or a class, and then they get instances of it.
    Without `map` the key is the object's own. `predicate(before, after)` filters changes first: either may be None
    (creation, deletion); `kube_core.control.predicates` has ready-made ones, and combines them.
    """

    __slots__ = ("_map", "_predicate", "kind", "resource")

    @overload
    def __init__(
        self,
        kind: ResourceType,
        map: MapToKeys | None = None,
        predicate: Predicate | Callable[[Document | None, Document | None], bool] | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        kind: type[T],
        map: Callable[[T], Iterable[Key]] | None = None,
        predicate: Predicate | Callable[[T | None, T | None], bool] | None = None,
    ) -> None: ...

    def __init__(
        self,
        kind: type[Any] | ResourceType,
        map: Callable[[Any], Iterable[Key]] | None = None,
        predicate: Predicate | Callable[[Any, Any], bool] | None = None,
    ) -> None:
        self.kind = kind
        self.resource = resource_named(kind)
        self._map = map
        self._predicate = None
        if predicate is not None:
            from kube_core.control.predicates import (
                as_predicate,
            )  # few watches have any, and models cost time to import

            self._predicate = as_predicate(predicate)

    def admits(self, before: Document | None, after: Document | None) -> bool:
        """Whether a change counts."""
        return self._predicate is None or self._predicate.admits(self.kind, before, after)

    @property
    def is_own(self) -> bool:
        """Whether keys are those of the objects themselves."""
        return self._map is None or self._map is to_itself

    def keys(self, document: Document) -> Iterable[Key]:
        """The keys that an object concerns."""
        if self._map is None:
            return to_itself(document)
        if isinstance(self.kind, ResourceType):
            return self._map(document)
        from kube_core.api.models import from_document  # by now it is there: somebody made a class of it

        return self._map(from_document(self.kind, document))


def resource_named(kind: type[Any] | ResourceType) -> ResourceType:
    """The resource of a class that is registered as a kind; a resource is its own. Raises TypeError."""
    if isinstance(kind, ResourceType):
        return kind
    from kube_core.api.models import resource_of  # whoever has a class has imported it

    return resource_of(kind)


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
    """Drivers that this process runs, by seam (`volume`, `cloud`); of `network` its `NetworkRanges`, where nodes are
    given their part of them."""
    enqueue: Callable[[Key], None] = lambda key: None
    """Puts a key in the controller's own queue, for the few that learn of work otherwise than by their watches."""
    grace: Callable[[], float] = lambda: 0.0
    """Asked at the end: seconds that what is under way has to come to its own."""


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
class RateLimits:
    """How soon a key that failed comes back: seconds for each key, and tries per second for all that failed together.

    A key waits for the longer of its own back-off and its turn among the others. The numbers are upstream's.
    """

    first_retry: float = 0.005
    last_retry: float = 1000.0
    retries_per_second: float = 10.0
    burst: int = 100


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
    reports_as: str = ""
    """The component that its events name; "": `name`."""
    workers: int | None = None
    """How many keys are reconciled at a time; None: what the controller's class says."""
    rate_limits: RateLimits = RateLimits()
    timeout: float | None = None
    """Seconds after which one reconcile is cancelled, and counts as failed."""
    resync: float | None = None
    """Seconds after which a key that asked for nothing is reconciled again anyway."""
    by_default: bool = True
    """Whether `all` means it, too; otherwise it runs where it is named."""

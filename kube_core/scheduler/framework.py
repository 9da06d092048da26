"""The scheduling framework: one interface for each extension point, and what passes through them.

A plugin is a class that takes on one or more of the interfaces below. For each pod, in this order:

PreEnqueue   may the pod enter the queue at all
PreFilter    look at the pod once; refuse it, narrow the nodes down, or say that Filter has nothing to do for it
Filter       may the pod run on this node
PostFilter   no node was left: can something be done about that
PreScore     look at the nodes that are left once; or say that Score has nothing to do
Score        how good is this node, 0 to 100
Reserve      the node is chosen: note it; `unreserve` when it comes to nothing after all
Permit       hold the pod back, or refuse it, before it is bound
PreBind      what must be done before binding
Bind         bind it

Up to and including Reserve all is synchronous and quick, for nothing else is scheduled meanwhile and so no two pods
ever get the same room; from Permit on, pods are worked on side by side. A plugin keeps what it knows about one pod in
the `CycleState`, under its own name, and nothing about pods in itself.

Mirrors upstream's "Scheduling Framework", names included.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import attrs

from kube_core._kit.clock import Clock
from kube_core._kit.random import Random
from kube_core.api.types import ResourceType
from kube_core.meta.documents import Document

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from kube_core.client.client import ApiClient
    from kube_core.client.informer import Informers
    from kube_core.control.events import EventRecorder
    from kube_core.scheduler.nodes import NodeInfo, Nodes
    from kube_core.scheduler.pods import PodInfo

__all__ = [
    "MAX_SCORE",
    "SKIP",
    "Bind",
    "ChangeKind",
    "CycleState",
    "Filter",
    "Interest",
    "Permit",
    "Plugin",
    "PluginSpec",
    "PostFilter",
    "PostFilterResult",
    "PreBind",
    "PreEnqueue",
    "PreFilter",
    "PreScore",
    "Rejection",
    "Reserve",
    "SchedulerHandle",
    "Score",
    "Skip",
]

MAX_SCORE: Final = 100

#: What plugins know about the pod that is being scheduled, by the plugin's name.
CycleState = dict[str, Any]

Skip = Literal["skip"]
SKIP: Final[Skip] = "skip"

ChangeKind = Literal["add", "update", "delete"]


@attrs.frozen(slots=True)
class Rejection:
    """Why a pod may not run on a node, or anywhere.

    `reasons` are upstream's texts, counted over the nodes in the message that people read. `resolvable`: taking other
    pods away may help.
    """

    plugin: str
    reasons: tuple[str, ...]
    resolvable: bool = True


@attrs.frozen
class Interest:
    """A change that may make room for a pod that the plugin refused.

    `helps(pod, before, after)` may look closer; without it any such change does.
    """

    resource: ResourceType
    changes: frozenset[ChangeKind]
    helps: Callable[[PodInfo, Document | None, Document | None], bool] | None = None


@attrs.frozen
class SchedulerHandle:
    """What a plugin may use. `nodes` is live: it changes as pods are placed."""

    client: ApiClient
    informers: Informers
    nodes: Nodes
    clock: Clock
    random: Random
    events: EventRecorder
    log: FilteringBoundLogger
    filters: Callable[[CycleState, PodInfo, NodeInfo], Rejection | None]
    """Runs all filters of a cycle on one node, for plugins that ask "what if"."""
    moved: Callable[[CycleState, PodInfo, PodInfo, NodeInfo, int], None] = lambda state, pod, other, node, sign: None
    """Lets all plugins of a cycle know that a pod would be on a node, or would not."""


class Plugin(abc.ABC):
    """What every plugin has."""

    name: ClassVar[str]

    def interests(self) -> Iterable[Interest]:
        """What may make a pod schedulable that this plugin refused."""
        return ()


class PreEnqueue(Plugin):
    @abc.abstractmethod
    def pre_enqueue(self, pod: PodInfo) -> Rejection | None: ...


class PreFilter(Plugin):
    @abc.abstractmethod
    def pre_filter(self, state: CycleState, pod: PodInfo) -> Rejection | Skip | frozenset[str] | None:
        """None: go on; a set: only these nodes come into question; `SKIP`: leave out this plugin's Filter."""

    def moved(self, state: CycleState, pod: PodInfo, other: PodInfo, node: NodeInfo, sign: int) -> None:
        """`other` is on the node from now on (`sign` 1), or no more (-1): somebody asks what would be.

        For who has counted pods. Every such step is taken back before the cycle goes on.
        """


class Filter(Plugin):
    @abc.abstractmethod
    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Rejection | None: ...


@attrs.frozen
class PostFilterResult:
    """`message` goes to the end of the pod's message; `nominated` is the node that is being cleared for it."""

    message: str = ""
    nominated: str = ""
    then: Callable[[], Any] | None = None
    """An asynchronous function to call outside the cycle (it deletes pods, say)."""
    keeps_nomination: bool = False
    """The node that was nominated before is still being cleared."""


class PostFilter(Plugin):
    @abc.abstractmethod
    def post_filter(self, state: CycleState, pod: PodInfo, rejections: Mapping[str, Rejection]) -> PostFilterResult: ...


class PreScore(Plugin):
    @abc.abstractmethod
    def pre_score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Skip | None: ...


class Score(Plugin):
    """`weight` multiplies what it says; the spec may give another."""

    weight: int = 1

    @abc.abstractmethod
    def score(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> int: ...

    def scores(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int]:
        """The scores of all nodes, each from 0 to `MAX_SCORE`. To be overridden where they are relative."""
        return [self.score(state, pod, node) for node in nodes]


class Reserve(Plugin):
    @abc.abstractmethod
    def reserve(self, state: CycleState, pod: PodInfo, node: str) -> Rejection | None: ...

    @abc.abstractmethod
    def unreserve(self, state: CycleState, pod: PodInfo, node: str) -> None: ...


class Permit(Plugin):
    @abc.abstractmethod
    async def permit(self, state: CycleState, pod: PodInfo, node: str) -> Rejection | None:
        """Return when the pod may be bound; being cancelled is being refused."""


class PreBind(Plugin):
    @abc.abstractmethod
    async def pre_bind(self, state: CycleState, pod: PodInfo, node: str) -> Rejection | None: ...


class Bind(Plugin):
    @abc.abstractmethod
    async def bind(self, state: CycleState, pod: PodInfo, node: str) -> bool:
        """Bind it, and return True; False leaves it to the next plugin. Raises `StatusError`."""


@attrs.frozen
class PluginSpec:
    """A scheduler plugin as the hook `kube_core_scheduler_plugins` gives it. `weight`: for Score plugins."""

    name: str
    factory: Callable[[SchedulerHandle], Plugin]
    weight: int = 1

"""What a node's pod workers share: the drivers, the client's readers and writers, and the node's own addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from kube_core._kit.clock import Clock
from kube_core.abc.network import Network
from kube_core.abc.runtime import Runtime
from kube_core.api.kubelet import DEFAULT_SETTINGS, KubeletSettings
from kube_core.control.events import EventRecorder
from kube_core.meta.documents import Document
from kube_core.node.pods.allocations import Allocations
from kube_core.node.pods.backoff import Backoffs
from kube_core.node.pods.reports import StatusReports
from kube_core.node.pods.turns import Turns
from kube_core.node.pods.userids import UserIds
from kube_core.node.probes import Probes
from kube_core.node.sources import ApiSources
from kube_core.node.volumes.mounting import PodVolumes

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

__all__ = ["Host"]


@attrs.frozen
class Host:
    """One node, as its workers see it. Made by the agent."""

    name: str
    clock: Clock
    runtime: Runtime
    network: Network
    volumes: PodVolumes
    sources: ApiSources
    reports: StatusReports
    probes: Probes
    events: EventRecorder
    log: FilteringBoundLogger
    node_ips: Sequence[str]
    log_directory: str
    """Where pods' logs go; "" leaves it to the runtime."""
    node: Callable[[], Document | None]
    """As it was seen last."""
    see_node: Callable[[], Awaitable[None]]
    """Look at the Node again, if that can be done."""
    services: Callable[[str, bool], Mapping[str, str]]
    """Service variables for a namespace, with or without links."""
    spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
    allocations: Allocations
    turns: Turns
    """Taken to bring a pod up."""
    settings: KubeletSettings = DEFAULT_SETTINGS
    memory_capacity: int = 0
    """The machine's, in bytes."""
    seccomp_root: str = ""
    """Where profiles of type `Localhost` are."""
    pressures: Callable[[], Sequence[str]] = tuple
    """The node's conditions of pressure that hold at present."""
    shutting_down: Callable[[], bool] = bool
    backoffs: Backoffs = attrs.field(factory=Backoffs)
    image_backoffs: Backoffs = attrs.field(factory=Backoffs)
    user_ids: UserIds = attrs.field(factory=UserIds)

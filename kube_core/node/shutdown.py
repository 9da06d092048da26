"""A node that is about to be shut down ends its pods first, the less important ones before the others.

As upstream documents under "Graceful node shutdown": within `shutdownGracePeriod`, of which critical pods have the last
part, or by periods for priorities. From its beginning the node is not ready and takes no pod. It is begun by whoever
runs the agent (a signal to the process, or `NodeAgent.shut_down`), and is over when all pods are, or the time is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import attrs

from kube_core._kit.clock import Clock
from kube_core.api.kubelet import KubeletSettings, ShutdownPriority
from kube_core.meta.documents import Document
from kube_core.node.pods.admission import CRITICAL_PRIORITY
from kube_core.node.pods.worker import Eviction

__all__ = ["Group", "Shutdown", "ends_pods", "groups_of"]

_REASON = "Terminated"
_MESSAGE = "Pod was terminated in response to imminent node shutdown."


class Endable(Protocol):
    """What is needed of a pod's worker."""

    @property
    def pod(self) -> Document: ...

    @property
    def over(self) -> bool: ...

    async def wait_until_over(self) -> None: ...

    def evict(self, eviction: Eviction) -> None: ...


@attrs.frozen
class Group:
    """Pods that end together, within `seconds`."""

    seconds: float
    workers: tuple[Endable, ...]


def ends_pods(settings: KubeletSettings) -> bool:
    """Whether a shutdown waits for any pods at all."""
    return bool(_periods(settings))


def groups_of(settings: KubeletSettings, workers: Sequence[Endable]) -> list[Group]:
    """In the order in which they end; a pod belongs to the highest priority that is not above its own."""
    periods = sorted(_periods(settings), key=lambda each: each.priority)
    if not periods:
        return []
    members: list[list[Endable]] = [[] for _ in periods]
    for worker in workers:
        priority = int(worker.pod["spec"].get("priority") or 0)
        reached = [number for number, each in enumerate(periods) if each.priority <= priority]
        members[reached[-1] if reached else 0].append(worker)
    return [Group(each.seconds, tuple(found)) for each, found in zip(periods, members, strict=True) if found]


class Shutdown:
    """Of one node."""

    def __init__(
        self,
        clock: Clock,
        settings: KubeletSettings,
        workers: Callable[[], Sequence[Endable]],
        begun: Callable[[], None],
    ) -> None:
        """`begun` is told once it has."""
        self._clock = clock
        self._settings = settings
        self._workers = workers
        self._begun = begun
        self.under_way = False

    async def run(self) -> None:
        """End all pods; return once they have ended, or the time for it is over. Without a period nothing ends."""
        self.under_way = True
        self._begun()
        for group in groups_of(self._settings, [each for each in self._workers() if not each.over]):
            for worker in group.workers:
                own = worker.pod["spec"].get("terminationGracePeriodSeconds")
                grace = group.seconds if own is None else min(group.seconds, float(own))
                condition = {
                    "type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": _MESSAGE
                }  # fmt: skip
                worker.evict(Eviction(_REASON, _MESSAGE, grace, condition))
            try:
                async with self._clock.timeout(group.seconds):
                    for worker in group.workers:
                        await worker.wait_until_over()
            except TimeoutError:
                continue


def _periods(settings: KubeletSettings) -> Sequence[ShutdownPriority]:
    if settings.shutdown_grace_period_by_pod_priority:
        return settings.shutdown_grace_period_by_pod_priority
    whole, critical = settings.shutdown_grace_period, settings.shutdown_grace_period_critical_pods
    if whole <= 0 or critical > whole:
        return ()
    return (ShutdownPriority(0, whole - critical), ShutdownPriority(CRITICAL_PRIORITY, critical))

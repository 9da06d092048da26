"""What a node and its pods use, of this moment: the one place where the runtime's figures become the node's.

`NodeStatistics.figures` is what the metrics server reads in this program, and what an endpoint of the node (upstream's
`/metrics/resource`, `/stats/summary`) has to write out for one elsewhere. A container's CPU time is the runtime's; a
node's only ever grows, too, also where its runtime knows of running containers alone.

What does not belong here: rates (the reader makes them of two looks), and how anything is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kube_core._kit.clock import Clock
from kube_core.abc.runtime import ContainerStatus, Runtime
from kube_core.abc.usage import ContainerFigures, NodeFigures, PodFigures, RuntimeUsage, Usage, total
from kube_core.meta.documents import Document, name_of, namespace_of, uid_of

__all__ = ["NodeStatistics"]


class NodeStatistics:
    """Of one node; a `FiguresSource`. `pods`: those that the node has now."""

    def __init__(self, name: str, runtime: Runtime, pods: Callable[[], Sequence[Document]], clock: Clock) -> None:
        self._name = name
        self._runtime = runtime
        self._pods = pods
        self._clock = clock
        self._started_at = clock.now()
        #: What each container had used when it was seen last, and what those that ended had.
        self._seen: dict[str, int] = {}
        self._ended = 0

    async def figures(self) -> NodeFigures | None:
        """As of now; None where the runtime does not measure."""
        used = await self._runtime.usage()
        if used is None:
            return None
        by_pod: dict[str, list[ContainerFigures]] = {}
        for status in self._runtime.list_containers():
            usage = used.containers.get(status.id)
            if usage is not None and status.state == "running":
                by_pod.setdefault(status.pod_uid, []).append(_container(status, usage))
        pods = [
            PodFigures(namespace_of(pod), name_of(pod), uid_of(pod), by_pod[uid_of(pod)])
            for pod in self._pods()
            if uid_of(pod) in by_pod
        ]
        return NodeFigures(self._name, self._started_at, self._of_node(used), pods)

    def _of_node(self, used: RuntimeUsage) -> Usage:
        if used.node is not None:
            return used.node
        now: Mapping[str, int] = {identity: each.cpu_nanoseconds for identity, each in used.containers.items()}
        self._ended += sum(time for identity, time in self._seen.items() if identity not in now)
        self._seen = dict(now)
        ended = Usage(self._clock.now(), self._ended, 0, nanocores=0)
        return total([*used.containers.values(), ended], self._clock.now())


def _container(status: ContainerStatus, usage: Usage) -> ContainerFigures:
    return ContainerFigures(status.config.name, status.started_at, usage)

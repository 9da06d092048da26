"""The task that keeps a node from running out: it measures, tells of pressure, frees what nobody needs, ends pods.

One pod at a time, as upstream's: what it gives back is seen at the next look. Before a pod is ended for the disk,
images that nobody uses are removed. Pods that take more of the disk than they may (`emptyDir.sizeLimit`, limits of
`ephemeral-storage`) are ended whatever is left on it.

It runs where the node has thresholds, or pods with such limits; a runtime without processes has no disk, and the memory
of its node is what its containers are said to use.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import anyio.to_thread

from kube_core.abc.runtime import ImageUsage, RuntimeFailure
from kube_core.meta import quantities
from kube_core.meta.documents import Document, uid_of
from kube_core.node.eviction.machine import bytes_below, measure_machine
from kube_core.node.eviction.ranking import PodUse, eviction_message, rank
from kube_core.node.eviction.thresholds import Measured, Pressure, Threshold, read_thresholds
from kube_core.node.pods.host import Host
from kube_core.node.pods.sandboxes import log_directory
from kube_core.node.pods.worker import Eviction

__all__ = ["Evictable", "Evictor"]


class Evictable(Protocol):
    """What is needed of a pod's worker."""

    @property
    def pod(self) -> Document: ...

    @property
    def over(self) -> bool: ...

    def evict(self, eviction: Eviction) -> None: ...


class Evictor:
    """Of one node. `conditions` are the pressures that hold."""

    def __init__(
        self,
        host: Host,
        *,
        workers: Callable[[], Sequence[Evictable]],
        node_directory: str,
        free_images: Callable[[], Awaitable[None]],
        changed: Callable[[], None],
        node_event: Callable[[str, str], None],
    ) -> None:
        """`free_images` removes unused images; `changed`: the conditions are other ones."""
        settings = host.settings
        self._host = host
        self._workers = workers
        self._directory = node_directory
        self._free_images = free_images
        self._changed = changed
        self._node_event = node_event
        self._pressure = Pressure(read_thresholds(settings), settings.eviction_pressure_transition_period)

    @property
    def conditions(self) -> tuple[str, ...]:
        return self._pressure.conditions

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._host.clock.sleep(self._host.settings.eviction_monitor_interval)
            try:
                await self.look()
            except RuntimeFailure as error:
                self._host.log.debug("the node cannot look for pressure", error=str(error))

    async def look(self) -> None:
        """One look at everything."""
        workers = [each for each in self._workers() if not each.over]
        limited = [each for each in workers if _is_limited(each.pod)]
        if not self._pressure.thresholds and not limited:
            return
        with self._host.clock.hold("node: look for pressure"):
            measured = await self._measure() if self._pressure.thresholds else {}
            before = self._pressure.conditions
            due = self._pressure.look(measured, self._host.clock.now())
            if self._pressure.conditions != before:
                self._changed()
            uses = await self._uses(workers if due else limited, due)
        if self._end_limited(limited, uses) or not due:
            return
        await self._reclaim(due[0], measured, workers, uses)

    async def _reclaim(
        self,
        threshold: Threshold,
        measured: Mapping[str, Measured],
        workers: Sequence[Evictable],
        uses: Mapping[str, PodUse],
    ) -> None:
        self._node_event("EvictionThresholdMet", f"Attempting to reclaim {threshold.resource}")
        if threshold.condition == "DiskPressure":
            await self._free_images()
            measured = await self._measure()
            if not threshold.is_met(measured):
                return
        by_uid = {uid_of(each.pod): each for each in workers}
        for pod in rank([each.pod for each in workers], uses, threshold.resource):
            message = eviction_message(pod, uses.get(uid_of(pod)), threshold, measured)
            grace = 1.0
            if threshold.grace:
                own = pod["spec"].get("terminationGracePeriodSeconds")
                most = self._host.settings.eviction_max_pod_grace_period
                grace = float(most if own is None else min(most, own))
            condition = {
                "type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": message
            }  # fmt: skip
            self._end(by_uid[uid_of(pod)], message, grace, condition)
            return

    def _end_limited(self, workers: Sequence[Evictable], uses: Mapping[str, PodUse]) -> bool:
        """End the pods that take more of the disk than they may; whether there were any."""
        ended = False
        for worker in workers:
            message = _beyond_limit(worker.pod, uses[uid_of(worker.pod)])
            if message:
                self._end(worker, message, 1.0, None)
                ended = True
        return ended

    def _end(self, worker: Evictable, message: str, grace: float, condition: Document | None) -> None:
        self._host.events.warning(worker.pod, "Evicted", message)
        worker.evict(Eviction("Evicted", message, grace, condition))

    async def _measure(self) -> Mapping[str, Measured]:
        host = self._host
        if host.runtime.capabilities.processes:
            images: ImageUsage | None = await host.runtime.image_usage()
            return await anyio.to_thread.run_sync(measure_machine, self._directory, images)
        used = await host.runtime.usage()
        if used is None:
            return {}
        taken = sum(each.memory_bytes for each in used.containers.values())
        return {"memory.available": Measured(host.memory_capacity - taken, host.memory_capacity)}

    async def _uses(self, workers: Sequence[Evictable], due: Sequence[Threshold]) -> dict[str, PodUse]:
        host = self._host
        used = await host.runtime.usage() if any(each.resource == "memory" for each in due) else None
        memory: dict[str, dict[str, int]] = {}
        for status in host.runtime.list_containers() if used is not None else ():
            if used is not None and (found := used.containers.get(status.id)) is not None:
                memory.setdefault(status.pod_uid, {})[status.config.name] = found.memory_bytes
        uses = {}
        for worker in workers:
            uid = uid_of(worker.pod)
            disk, volumes = await self._disk(worker.pod) if host.volumes.writes else (0, {})
            uses[uid] = PodUse(memory.get(uid, {}), disk, 0, volumes)
        return uses

    async def _disk(self, pod: Document) -> tuple[int, dict[str, int]]:
        root = self._host.volumes.directory(uid_of(pod))
        names = [str(each["name"]) for each in pod["spec"].get("volumes") or () if "emptyDir" in each]
        volumes = {name: await anyio.to_thread.run_sync(bytes_below, [f"{root}/volumes/{name}"]) for name in names}
        logs = log_directory(self._host, pod, uid_of(pod))
        written = await anyio.to_thread.run_sync(bytes_below, [logs] if logs else [])
        return sum(volumes.values()) + written, volumes


def _is_limited(pod: Document) -> bool:
    """Whether anything limits what it may take of the disk."""
    volumes = pod["spec"].get("volumes") or ()
    return any((each.get("emptyDir") or {}).get("sizeLimit") for each in volumes) or bool(_disk_limits(pod))


def _disk_limits(pod: Document) -> list[str]:
    found = [
        ((each.get("resources") or {}).get("limits") or {}).get("ephemeral-storage")
        for each in pod["spec"]["containers"]
    ]
    return [str(each) for each in found if each]


def _beyond_limit(pod: Document, use: PodUse) -> str:
    for volume in pod["spec"].get("volumes") or ():
        limit = (volume.get("emptyDir") or {}).get("sizeLimit")
        if limit and use.volumes.get(volume["name"], 0) > quantities.parse(limit).value > 0:
            return f'Usage of EmptyDir volume "{volume["name"]}" exceeds the limit "{limit}". '
    limits = _disk_limits(pod)
    if limits and len(limits) == len(pod["spec"]["containers"]):
        most = quantities.total([quantities.parse(each) for each in limits])
        if use.disk > most.value:
            return f"Pod ephemeral local storage usage exceeds the total limit of containers {most}. "
    return ""

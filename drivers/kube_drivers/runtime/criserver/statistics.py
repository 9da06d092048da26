"""What containers and pods use, as CRI's statistics.

By the runtime's own figures: processor time and working set; and by the kernel's of the pod's network. What containers
write to their own layers nobody measures, and it is left out, as are pressure, swap and single devices. A rate is that
since somebody asked last, where that is a while ago.

The metrics of `ListPodSandboxMetrics` (cAdvisor's) are not answered: an empty list would say that there are none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kube_core._kit.clock import Clock
from kube_core.abc.runtime import ContainerStatus, Runtime, SandboxStatus
from kube_core.abc.usage import Usage, total
from kube_drivers.runtime.cri.messages import message
from kube_drivers.runtime.criserver.interfaces import network_usage
from kube_drivers.runtime.criserver.lookups import container_of, matches, sandbox_of, selected
from kube_drivers.runtime.criserver.refusals import Refusal
from kube_drivers.runtime.criserver.sandbox_configs import without_notes
from kube_drivers.runtime.criserver.statuses import nanoseconds
from kube_drivers.threads import to_the_end

__all__ = ["Statistics"]

#: Seconds between two looks by which a rate can be told.
_APART: Final = 1.0


class Statistics:
    """A part of the server; see the package."""

    def __init__(self, runtime: Runtime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        #: By container: the look before, by which the rate was told, and that rate.
        self._looks: dict[str, tuple[Usage, int | None]] = {}

    async def container_stats(self, request: Any) -> Any:
        status = container_of(self._runtime, request.container_id)
        usages = await self._usages()
        if status.state != "running":
            raise Refusal("FAILED_PRECONDITION", f"container {status.id} is not running")
        return message("ContainerStatsResponse")(stats=self._container(status, usages.get(status.id)))

    async def list_container_stats(self, request: Any) -> Any:
        wanted, usages = request.filter, await self._usages()
        found = [
            self._container(each, usages.get(each.id))
            for each in self._runtime.list_containers()
            if each.state == "running"
            and matches(each.id, wanted.id)
            and matches(each.sandbox_id, wanted.pod_sandbox_id)
            and selected(each.config.labels, wanted.label_selector)
        ]
        return message("ListContainerStatsResponse")(stats=found)

    async def pod_sandbox_stats(self, request: Any) -> Any:
        status = sandbox_of(self._runtime, request.pod_sandbox_id)
        return message("PodSandboxStatsResponse")(stats=await self._sandbox(status, await self._usages()))

    async def list_pod_sandbox_stats(self, request: Any) -> Any:
        wanted, usages = request.filter, await self._usages()
        found = [
            await self._sandbox(each, usages)
            for each in self._runtime.list_sandboxes()
            if each.ready and matches(each.id, wanted.id) and selected(each.config.labels, wanted.label_selector)
        ]
        return message("ListPodSandboxStatsResponse")(stats=found)

    async def _usages(self) -> Mapping[str, Usage]:
        """Of those that run, now."""
        found = await self._runtime.usage()
        usages = found.containers if found is not None else {}
        looks = {}
        for identity, usage in usages.items():
            before, rate = self._looks.get(identity, (usage, None))
            if usage.at - before.at >= _APART:
                rate = int((usage.cpu_nanoseconds - before.cpu_nanoseconds) / (usage.at - before.at))
                before = usage
            looks[identity] = before, rate
        self._looks = looks
        return usages

    def _container(self, status: ContainerStatus, usage: Usage | None) -> Any:
        config = status.config
        rate = self._looks.get(status.id, (None, None))[1]
        return message("ContainerStats")(
            attributes={
                "id": status.id,
                "metadata": {"name": config.name, "attempt": config.attempt},
                "labels": dict(config.labels),
                "annotations": dict(config.annotations),
            },
            **(_figures(usage, rate) if usage is not None else {}),
        )

    async def _sandbox(self, status: SandboxStatus, usages: Mapping[str, Usage]) -> Any:
        config = status.config
        inside = [
            each
            for each in self._runtime.list_containers(config.uid)
            if each.sandbox_id == status.id and each.state == "running"
        ]
        measured = [usages[each.id] for each in inside if each.id in usages]
        rates = [self._looks[each.id][1] for each in inside if each.id in self._looks]
        rate = sum(each for each in rates if each is not None) if all(each is not None for each in rates) else None
        together = total(measured, self._clock.now())
        network = None
        if status.ready and config.namespace_path:
            network = await to_the_end(network_usage, config.namespace_path, nanoseconds(together.at))
        return message("PodSandboxStats")(
            attributes={
                "id": status.id,
                "metadata": {
                    "name": config.name,
                    "namespace": config.namespace,
                    "uid": config.uid,
                    "attempt": config.attempt,
                },
                "labels": dict(config.labels),
                "annotations": without_notes(config.annotations),
            },
            linux={
                **_figures(together, rate),
                "network": network,
                "containers": [self._container(each, usages.get(each.id)) for each in inside],
            },
        )


def _figures(usage: Usage, rate: int | None) -> dict[str, Any]:
    at = nanoseconds(usage.at)
    known = usage.nanocores if usage.nanocores is not None else rate
    cpu: dict[str, Any] = {"timestamp": at, "usage_core_nano_seconds": {"value": usage.cpu_nanoseconds}}
    if known is not None:
        cpu["usage_nano_cores"] = {"value": max(known, 0)}
    return {"cpu": cpu, "memory": {"timestamp": at, "working_set_bytes": {"value": usage.memory_bytes}}}

"""SchedulingGates: a pod with gates left in `spec.schedulingGates` does not enter the queue."""

from __future__ import annotations

from kube_core.scheduler.framework import PreEnqueue, Rejection, SchedulerHandle
from kube_core.scheduler.pods import PodInfo

__all__ = ["SchedulingGates"]


class SchedulingGates(PreEnqueue):
    name = "SchedulingGates"

    def __init__(self, handle: SchedulerHandle) -> None:
        pass

    def pre_enqueue(self, pod: PodInfo) -> Rejection | None:
        gates = pod.spec.get("schedulingGates")
        if not gates:
            return None
        names = " ".join(str(gate.get("name")) for gate in gates)
        return Rejection(self.name, (f"waiting for scheduling gates: [{names}]",), resolvable=False)

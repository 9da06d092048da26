"""Conditions of disruptions that never came: taken back after two minutes.

Who is about to end a pod says so first, with the condition `DisruptionTarget`. Where the end does not follow, because
its author was stopped in between, the condition would be believed by whoever looks at how the pod ended later. The
kubelet's own are left alone: it may take long over them (upstream: "Pod disruption conditions").
"""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.api import pods, resources
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.conditions import set_condition
from kube_core.control.controller import Controller, ControllerContext, Watch, to_itself
from kube_core.meta.documents import Document, Key, is_deleting, metadata_of
from kube_core.meta.times import parse_time

__all__ = ["STALE_AFTER", "StaleDisruptionController", "seconds_until_stale"]

#: Seconds within which the end has to follow.
STALE_AFTER = 120.0

_CONDITION = "DisruptionTarget"
_BY_KUBELET = "TerminationByKubelet"


def seconds_until_stale(pod: Document, now: float) -> float | None:
    """When the pod's condition is to be taken back, 0 for at once; None where it has none that may go stale."""
    condition = pods.pod_condition(pod, _CONDITION)
    if condition is None or condition.get("status") != "True" or condition.get("reason") == _BY_KUBELET:
        return None
    if is_deleting(pod) or pods.is_terminal(pod):
        return None
    return max(parse_time(str(condition.get("lastTransitionTime"))) + STALE_AFTER - now, 0.0)


class StaleDisruptionController(Controller):
    """Takes back what was announced and did not happen."""

    workers = 1

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._pods = context.informers.informer(resources.PODS).lister

    def watches(self) -> Iterable[Watch]:
        return (Watch(resources.PODS, to_itself, predicate=_is_announced),)

    async def reconcile(self, key: Key) -> Action:
        pod = self._pods.get(key)
        wait = seconds_until_stale(pod, self.clock.now()) if pod is not None else None
        if pod is None or wait is None:
            return await_change()
        if wait > 0:
            return requeue(wait)
        # The reason and the message were those of who announced it.
        conditions = set_condition(
            pod["status"]["conditions"],
            _CONDITION,
            "False",
            now=self.clock.now(),
            observedGeneration=int(metadata_of(pod).get("generation") or 0),
        )
        await self.client.update_status(resources.PODS, {**pod, "status": {**pod["status"], "conditions": conditions}})
        return await_change()


def _is_announced(_: Document | None, after: Document | None) -> bool:
    return after is not None and pods.pod_condition(after, _CONDITION) is not None

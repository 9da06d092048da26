"""The disruption controller: keeps the status of PodDisruptionBudgets, by which evictions are allowed or refused.

The outline; the numbers are `budgets.py`'s, the scales of controllers `scales.py`'s. Where a budget cannot be counted
it allows nothing, and says why in its condition. A write carries the version that was read, so an eviction that is
allowed meanwhile is never overwritten: the budget is counted again, with the pod that goes.

Mirrors upstream's disruption controller ("Disruptions", "Specifying a Disruption Budget for your Application"), with
its events: NoPods, UnmanagedPods, CalculateExpectedPodCountFailed, MultiplePodDisruptionBudgets, NotDeleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.controller import Controller, ControllerContext, Watch, to_itself
from kube_core.meta.documents import Document, Key, MutableDocument, key_of, labels_of, name_of, namespace_of
from kube_core.meta.selectors import LabelSelector, SelectorError, from_document
from kube_plugins.controllers.disruption.budgets import (
    calculate_status,
    failed_status,
    needs_scale,
    sort_disrupted,
)
from kube_plugins.controllers.disruption.scales import READS, ScaleError, Scales
from kube_plugins.controllers.pace import Pace

__all__ = ["DisruptionController"]

#: See `Pace`.
_OBJECTS_PER_SECOND, _FEW = 10_000, 100
_UNMANAGED = (
    "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, the "
    "status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these "
    'pods please set ".spec.minAvailable" field of the PDB to an integer value.'
)


class DisruptionController(Controller):
    """Says how many pods of each budget may go."""

    workers = 1

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._events = context.events
        self._budgets = context.informers.informer(resources.POD_DISRUPTION_BUDGETS).lister
        self._pods = context.informers.informer(resources.PODS).lister
        self._scales = Scales(context)
        self._pace = Pace(self.clock, objects_per_second=_OBJECTS_PER_SECOND, few=_FEW)

    def watches(self) -> Iterable[Watch]:
        return (
            Watch(resources.POD_DISRUPTION_BUDGETS, to_itself),
            Watch(resources.PODS, lambda pod: map(key_of, self._budgets_of(pod))),
        )

    def reads(self) -> Iterable[ResourceType]:
        return READS

    async def reconcile(self, key: Key) -> Action:
        budget = self._budgets.get(key)
        if budget is None:
            self._pace.forget(key)
            return await_change()
        if rest := self._pace.rest(key):
            return requeue(rest)
        selector = _selector(budget)
        matching = [pod for pod in self._pods.list(key.namespace) if selector.matches(labels_of(pod))]
        self._pace.looked_at(key, len(matching))
        if not matching:
            self._events.normal(budget, "NoPods", "No matching pods found")
        self._report_rivals(budget, matching)
        try:
            scale = await self._scale(budget, matching, selector)
        except ScaleError as error:
            message = f"Failed to calculate the number of expected pods: {error}"
            self._events.warning(budget, "CalculateExpectedPodCountFailed", message)
            # It is counted again when a pod changes.
            await self._write(budget, failed_status(budget, str(error), self.clock.now()))
            return await_change()
        now = self.clock.now()
        disrupted = sort_disrupted(budget, matching, now)
        for pod in disrupted.overdue:
            self._events.warning(pod, "NotDeleted", f"Pod was expected by PDB {key} to be deleted but it wasn't")
        await self._write(budget, calculate_status(budget, matching, scale, disrupted, now))
        # A moment more, for times are written in whole seconds.
        return requeue(disrupted.recheck + 1.0) if disrupted.recheck is not None else await_change()

    async def _scale(self, budget: Document, matching: Sequence[Document], selector: LabelSelector) -> int:
        if not needs_scale(budget):
            return 0
        total = await self._scales.total(matching)
        if total.unmanaged:
            self._events.warning(budget, "UnmanagedPods", _UNMANAGED.format(selector=selector))
        return total.scale

    async def _write(self, budget: Document, status: MutableDocument) -> None:
        if status != (budget.get("status") or {}):
            await self.client.update_status(resources.POD_DISRUPTION_BUDGETS, {**budget, "status": status})

    def _budgets_of(self, pod: Document) -> list[Document]:
        return [budget for budget in self._budgets.list(namespace_of(pod)) if _selector(budget).matches(labels_of(pod))]

    def _report_rivals(self, budget: Document, matching: Sequence[Document]) -> None:
        """Two budgets for one pod are a mistake: it cannot be evicted. The first of them says so."""
        if len(self._budgets.list(namespace_of(budget))) < 2:
            return
        for pod in matching:
            first, *others = sorted(map(name_of, self._budgets_of(pod))) or ("",)
            if others and first == name_of(budget):
                message = (
                    f'Pod "{namespace_of(pod)}"/"{name_of(pod)}" matches multiple PodDisruptionBudgets.  '
                    f'Chose "{first}" arbitrarily.'
                )
                self._events.warning(pod, "MultiplePodDisruptionBudgets", message)


def _selector(budget: Document) -> LabelSelector:
    """What a budget selects; nothing where that cannot be read."""
    try:
        return from_document((budget.get("spec") or {}).get("selector"))
    except SelectorError:
        return from_document(None)

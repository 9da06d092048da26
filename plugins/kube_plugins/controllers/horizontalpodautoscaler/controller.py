"""The outline, every 15 seconds for each autoscaler: how many there are, what the metrics want, what the limits let be.

What a metric wants is in `replicas.py` (by figures that `metrics.py` reads and `proposals.py` puts to it), what is made
of that in `limits.py`. Here the target's scale is read and written, and told about: conditions, events, status. Mirrors
upstream's horizontal pod autoscaler, with its reasons and messages.

Recommendations and changes are remembered in this program only, as with upstream: one that starts anew begins with the
present number as its first recommendation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import attrs

from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta import quantities
from kube_core.meta.documents import Document, Key, MutableDocument, labels_of, thaw
from kube_core.meta.selectors import LabelSelector, SelectorError, parse_labels
from kube_core.meta.status import Conflict, NotFound, StatusError
from kube_plugins.controllers.horizontalpodautoscaler import limits
from kube_plugins.controllers.horizontalpodautoscaler.limits import Bounds, History
from kube_plugins.controllers.horizontalpodautoscaler.metrics import MetricsReader
from kube_plugins.controllers.horizontalpodautoscaler.proposals import Asked, NoProposal, Verdict, combine, propose
from kube_plugins.controllers.horizontalpodautoscaler.replicas import Question, Tolerances
from kube_plugins.controllers.horizontalpodautoscaler.status import Draft, was_scaled_to_zero

__all__ = ["SYNC_PERIOD", "HorizontalPodAutoscaler"]

#: Seconds between two looks at an autoscaler.
SYNC_PERIOD = 15.0
_TRIES = 5
_ZERO_TYPES = ("Object", "External")
_TOO_FEW = "Current number of replicas below Spec.MinReplicas"


@attrs.frozen
class _Target:
    """What is scaled. `replicas` is how many are wanted now, `present` how many there are."""

    resource: ResourceType
    scale: Document

    @property
    def replicas(self) -> int:
        return int((self.scale.get("spec") or {}).get("replicas") or 0)

    @property
    def present(self) -> int:
        return int((self.scale.get("status") or {}).get("replicas") or 0)

    @property
    def selector(self) -> str:
        return str((self.scale.get("status") or {}).get("selector") or "")


@attrs.frozen
class _Plan:
    """How many replicas there are to be, why, and what the metrics say."""

    replicas: int
    why: str = ""
    metrics: Sequence[Mapping[str, Any]] = ()


class _GivenUp(Exception):
    """Nothing can be done now; the status says why."""


class HorizontalPodAutoscaler(Controller):
    """Watches autoscalers; reads pods."""

    workers = 5

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._autoscalers = context.informers.lister(resources.HORIZONTAL_POD_AUTOSCALERS)
        self._pods = context.informers.lister(resources.PODS)
        self._reader = MetricsReader(self.client)
        self._histories: dict[Key, History] = {}
        #: Whose pods each autoscaler counts, as far as is known.
        self._selectors: dict[Key, LabelSelector] = {}

    def watches(self) -> Iterable[Watch]:
        return [Watch(resources.HORIZONTAL_POD_AUTOSCALERS, predicate=_is_news)]

    def reads(self) -> Iterable[ResourceType]:
        return [resources.PODS]

    async def reconcile(self, key: Key) -> Action:
        autoscaler = self._autoscalers.get(key)
        if autoscaler is None:
            self._histories.pop(key, None)
            self._selectors.pop(key, None)
            return await_change()
        draft = Draft(autoscaler, self.clock.now())
        try:
            await self._autoscale(key, autoscaler, draft)
        except _GivenUp:
            pass
        changed = draft.written()
        if changed is not None:
            try:
                await self.client.update_status(resources.HORIZONTAL_POD_AUTOSCALERS, changed)
            except StatusError as error:
                if not isinstance(error, Conflict | NotFound):
                    self.context.events.warning(autoscaler, "FailedUpdateStatus", error.message)
                raise
        return requeue(SYNC_PERIOD)

    async def _autoscale(self, key: Key, autoscaler: Document, draft: Draft) -> None:
        spec = autoscaler["spec"]
        target = await self._target(key, autoscaler, draft)
        current = target.replicas
        history = self._histories.get(key)
        if history is None:
            history = self._histories[key] = History()
            history.recommend(current, self.clock.monotonic())
        bounds = Bounds(int(spec.get("minReplicas", 1)), int(spec["maxReplicas"]))
        plan = await self._plan(key, autoscaler, target, bounds, history, draft)
        if plan.replicas != current:
            await self._rescale(autoscaler, target, plan, draft)
            limits.remember_change(current, plan.replicas, spec.get("behavior"), history, self.clock.monotonic())
            if plan.replicas == 0 and bounds.least == 0 and _can_wake(spec):
                draft.set("ScaledToZero", "True", "ScaledToZero", "the HPA controller scaled the workload to zero")
            else:
                message = "the HPA controller did not scale the workload to zero"
                draft.set("ScaledToZero", "False", "NotScaledToZero", message)
        draft.numbers(current, plan.replicas, plan.metrics, rescaled=plan.replicas != current)

    async def _plan(
        self, key: Key, autoscaler: Document, target: _Target, bounds: Bounds, history: History, draft: Draft
    ) -> _Plan:
        """How many replicas there are to be. Metrics are asked only where they could change that."""
        spec, current = autoscaler["spec"], target.replicas
        if current == 0 and not (was_scaled_to_zero(autoscaler) and (bounds.least or _can_wake(spec))):
            message = "scaling is disabled since the replica count of the target is zero"
            draft.set("ScalingActive", "False", "ScalingDisabled", message)
            return _Plan(0)
        if current > bounds.most:
            return _Plan(bounds.most, "Current number of replicas above Spec.MaxReplicas")
        if 0 < current < bounds.least:
            return _Plan(bounds.least, _TOO_FEW)
        verdict = await self._judge(key, autoscaler, target, draft)
        wanted, why = verdict.replicas or 0, ""
        if wanted > current:
            why = f"{verdict.name} above target"
        elif wanted < current:
            why = "All metrics below target"
        outcome = limits.limit(wanted, current, bounds, spec.get("behavior"), history, self.clock.monotonic())
        draft.set("AbleToScale", "True", *outcome.able)
        draft.set("ScalingLimited", *outcome.limited)
        if current == 0 and outcome.replicas < bounds.least:
            return _Plan(bounds.least, why or _TOO_FEW, verdict.statuses)
        return _Plan(outcome.replicas, why, verdict.statuses)

    # -- the target --------------------------------------------------------------------------------------------------

    async def _target(self, key: Key, autoscaler: Document, draft: Draft) -> _Target:
        reference = autoscaler["spec"]["scaleTargetRef"]
        kind, version = str(reference["kind"]), str(reference.get("apiVersion") or "v1")
        try:
            what = await self._resource(kind, version)
            scale = await self.client.get(what, str(reference["name"]), key.namespace, subresource="scale")
        except StatusError as error:
            self.context.events.warning(autoscaler, "FailedGetScale", error.message)
            message = f"the HPA controller was unable to get the target's current scale: {error.message}"
            draft.set("AbleToScale", "False", "FailedGetScale", message)
            raise _GivenUp from None
        message = "the HPA controller was able to get the target's current scale"
        draft.set("AbleToScale", "True", "SucceededGetScale", message)
        return _Target(what, scale)

    async def _resource(self, kind: str, version: str) -> ResourceType:
        """What a kind is called; another version of its group will do, as the scale is the same of each."""
        group, slash, _ = version.partition("/")
        try:
            return await self.client.resource(kind, version)
        except NotFound:
            group = group if slash else ""
            try:
                return await self.client.resource(f"{kind}.{group}" if group else kind)
            except NotFound:
                raise NotFound(f'no matches for kind "{kind}" in group "{group}"') from None

    async def _rescale(self, autoscaler: Document, target: _Target, plan: _Plan, draft: Draft) -> None:
        events, wanted = self.context.events, plan.replicas
        failure = await self._write_scale(target, wanted)
        if failure is not None:
            message = f"New size: {wanted}; reason: {plan.why}; error: {failure.message}"
            events.warning(autoscaler, "FailedRescale", message)
            message = f"the HPA controller was unable to update the target scale: {failure.message}"
            draft.set("AbleToScale", "False", "FailedUpdateScale", message)
            draft.numbers(target.replicas, None, plan.metrics)
            raise _GivenUp
        message = f"the HPA controller was able to update the target scale to {wanted}"
        draft.set("AbleToScale", "True", "SucceededRescale", message)
        events.normal(autoscaler, "SuccessfulRescale", f"New size: {wanted}; reason: {plan.why}")

    async def _write_scale(self, target: _Target, wanted: int) -> StatusError | None:
        """Write how many there are to be, again where somebody else wrote meanwhile; what was answered at last."""
        failure: StatusError | None = None
        scale: MutableDocument = thaw(target.scale)
        name, namespace = scale["metadata"]["name"], scale["metadata"]["namespace"]
        for _ in range(_TRIES):
            scale.setdefault("spec", {})["replicas"] = wanted
            try:
                await self.client.update(target.resource, scale, subresource="scale")
            except Conflict as error:
                failure = error
            except StatusError as error:
                return error
            else:
                return None
            try:
                scale = thaw(await self.client.get(target.resource, name, namespace, subresource="scale"))
            except StatusError as error:
                return error
        return failure

    # -- metrics -----------------------------------------------------------------------------------------------------

    async def _judge(self, key: Key, autoscaler: Document, target: _Target, draft: Draft) -> Verdict:
        """What the metrics want. The condition ScalingActive says whether that can be told."""
        pods = self._select(key, autoscaler, target, draft)
        spec = autoscaler["spec"]
        question = Question(target.replicas, pods, self.clock.now(), _tolerances(spec.get("behavior") or {}))
        asked = Asked(key.namespace, target.selector, target.present, question)
        found = [await propose(metric, asked, self._reader) for metric in spec.get("metrics") or ()]
        for each in found:
            if isinstance(each, NoProposal):
                self.context.events.warning(autoscaler, each.reason, each.message)
        verdict = combine(found, target.replicas)
        if verdict.replicas is None:
            if (first := verdict.first) is not None:
                message = f"the HPA was unable to compute the replica count: {first.message}"
                draft.set("ScalingActive", "False", first.reason, message)
            self._give_up(autoscaler, target, draft, verdict.failure, verdict.statuses)
        message = f"the HPA was able to successfully calculate a replica count from {verdict.name}"
        draft.set("ScalingActive", "True", "ValidMetricFound", message)
        return verdict

    def _select(self, key: Key, autoscaler: Document, target: _Target, draft: Draft) -> Sequence[Document]:
        """The target's pods, which no other autoscaler may count as well."""
        events = self.context.events
        if not target.selector:
            events.warning(autoscaler, "SelectorRequired", "selector is required")
            message = "the HPA target's scale is missing a selector"
            draft.set("ScalingActive", "False", "InvalidSelector", message)
            self._give_up(autoscaler, target, draft, "selector is required")
        try:
            selector = parse_labels(target.selector)
        except SelectorError as error:
            why = f"couldn't convert selector into a corresponding internal selector object: {error}"
            events.warning(autoscaler, "InvalidSelector", why)
            draft.set("ScalingActive", "False", "InvalidSelector", why)
            self._give_up(autoscaler, target, draft, why)
        self._selectors[key] = selector
        pods = [pod for pod in self._pods.list(key.namespace) if selector.matches(labels_of(pod))]
        counting = [
            other
            for other, theirs in sorted(self._selectors.items())
            if other.namespace == key.namespace and any(theirs.matches(labels_of(pod)) for pod in pods)
        ]
        if len(counting) > 1:
            named = " ".join(map(str, counting[:2]))
            why = f"pods by selector {target.selector} are controlled by more than one HPA (e.g. [{named}])"
            events.warning(autoscaler, "AmbiguousSelector", why)
            draft.set("ScalingActive", "False", "AmbiguousSelector", why)
            self._give_up(autoscaler, target, draft, why)
        return pods

    def _give_up(
        self, autoscaler: Document, target: _Target, draft: Draft, why: str, metrics: Sequence[Any] = ()
    ) -> NoReturn:
        draft.numbers(target.replicas, None, metrics)
        self.context.events.warning(autoscaler, "FailedComputeMetricsReplicas", why)
        raise _GivenUp


def _can_wake(spec: Document) -> bool:
    """Whether anything is measured while there are no pods."""
    return any(metric["type"] in _ZERO_TYPES for metric in spec.get("metrics") or ())


def _tolerances(behavior: Document) -> Tolerances:
    usual = Tolerances()

    def of(direction: str, otherwise: float) -> float:
        said = (behavior.get(direction) or {}).get("tolerance")
        return otherwise if said is None else quantities.parse(said).nano / 1e9

    return Tolerances(down=of("scaleDown", usual.down), up=of("scaleUp", usual.up))


def _is_news(before: Document | None, after: Document | None) -> bool:
    """It is new, gone, or wants something else: its status is our own."""
    return before is None or after is None or before["spec"] != after["spec"]

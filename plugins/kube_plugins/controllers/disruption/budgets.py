"""What a PodDisruptionBudget's status says: how many pods are healthy, how many must be, how many may go.

Pure; upstream's rules ("Specifying a Disruption Budget for your Application", "Pod disruption budgets"). A budget is
either a number of pods that stay (`minAvailable`) or of pods that may be away (`maxUnavailable`). Whatever is a share,
and every `maxUnavailable`, is a share of the scale that the pods' controllers want, not of the pods that happen to be
there. What always holds: `disruptionsAllowed` is never more than the healthy pods beyond those that must be, and 0 for
a budget without pods, so that its first ones are safe.

A pod that an eviction has just been allowed for is noted in `disruptedPods`, and counts as gone; where nothing was
heard of its end for two minutes, it counts again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from kube_core.api import pods
from kube_core.control.conditions import set_condition
from kube_core.meta.documents import Document, MutableDocument, is_deleting, metadata_of, name_of
from kube_core.meta.times import parse_time
from kube_plugins.controllers.shares import percent_or_number

__all__ = ["DELETION_TIMEOUT", "Disrupted", "calculate_status", "failed_status", "needs_scale", "sort_disrupted"]

#: Seconds within which a pod that may go has to be going.
DELETION_TIMEOUT = 120.0

_CONDITION = "DisruptionAllowed"


@attrs.frozen
class Disrupted:
    """The pods that are expected to go: since when, by name; those that have not; and when to look again, if at all."""

    expected: Mapping[str, str]
    overdue: tuple[Document, ...] = ()
    recheck: float | None = None


def needs_scale(budget: Document) -> bool:
    """Whether the budget counts by what the pods' controllers want."""
    spec = budget.get("spec") or {}
    return spec.get("maxUnavailable") is not None or isinstance(spec.get("minAvailable"), str)


def sort_disrupted(budget: Document, matching: Sequence[Document], now: float) -> Disrupted:
    """What has become of the pods that evictions were allowed for. `matching`: the pods that the budget selects."""
    noted: Mapping[str, str] = (budget.get("status") or {}).get("disruptedPods") or {}
    expected: dict[str, str] = {}
    overdue: list[Document] = []
    waits: list[float] = []
    for pod in matching:
        since = noted.get(name_of(pod))
        if since is None or is_deleting(pod):
            continue
        left = parse_time(since) + DELETION_TIMEOUT - now
        if left < 0:
            overdue.append(pod)
        else:
            expected[name_of(pod)] = since
            waits.append(left)
    return Disrupted(expected, tuple(overdue), min(waits, default=None))


def calculate_status(
    budget: Document, matching: Sequence[Document], scale: int, disrupted: Disrupted, now: float
) -> MutableDocument:
    """What the status should say. `scale`: how many pods their controllers want, for a budget that needs to know."""
    expected, desired = _expectation(budget, len(matching), scale)
    healthy = sum(1 for pod in matching if _is_healthy(pod, disrupted))
    allowed = max(healthy - desired, 0) if expected > 0 else 0
    status: MutableDocument = {
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "disruptionsAllowed": allowed,
        "expectedPods": expected,
        "observedGeneration": int(metadata_of(budget).get("generation") or 0),
    }
    if disrupted.expected:
        status["disruptedPods"] = dict(disrupted.expected)
    reason = "SufficientPods" if allowed else "InsufficientPods"
    status["conditions"] = _conditions(budget, status, "True" if allowed else "False", reason, "", now)
    return status


def failed_status(budget: Document, error: str, now: float) -> MutableDocument:
    """The status of a budget that cannot be counted: no disruption is allowed until it can."""
    status: MutableDocument = {
        "currentHealthy": 0,
        "desiredHealthy": 0,
        "expectedPods": 0,
        **(budget.get("status") or {}),
        "disruptionsAllowed": 0,
    }
    status["conditions"] = _conditions(budget, status, "False", "SyncFailed", error, now)
    return status


def _expectation(budget: Document, present: int, scale: int) -> tuple[int, int]:
    """How many pods there should be, and how many of them healthy."""
    spec: Mapping[str, Any] = budget.get("spec") or {}
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if most is not None:
        return scale, max(scale - percent_or_number(most, scale, round_up=True), 0)
    if isinstance(least, str):
        return scale, percent_or_number(least, scale, round_up=True)
    return (present, int(least)) if least is not None else (0, 0)


def _is_healthy(pod: Document, disrupted: Disrupted) -> bool:
    return pods.is_ready(pod) and not is_deleting(pod) and name_of(pod) not in disrupted.expected


def _conditions(
    budget: Document, status: MutableDocument, state: str, reason: str, message: str, now: float
) -> list[MutableDocument]:
    before: Sequence[Document] = (budget.get("status") or {}).get("conditions") or ()
    observed = int(status.get("observedGeneration") or 0)
    changed = set_condition(
        before, _CONDITION, state, now=now, reason=reason, message=message, observedGeneration=observed
    )
    for condition in changed:
        condition.setdefault("message", "")
    return changed

"""The next steps of a stateful set: which ordinals to make, mend or end.

Pure; upstream's order ("Deployment and Scaling Guarantees", "Update Strategies"). First the ordinals that should be
there, from the lowest: one that ended is deleted, to be made again; one that is missing is made; one that lost its
labels is mended. Then those that should not, from the highest. Then those of an old revision, from the highest down to
the partition, as far as `maxUnavailable` allows.

With `OrderedReady` a step is taken only when all before it are ready and available, and one at a time; with `Parallel`
nothing waits for its neighbour, but updates still keep to `maxUnavailable`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import attrs

from kube_core.api import pods
from kube_core.meta.documents import Document, is_deleting
from kube_plugins.controllers.shares import percent_or_number
from kube_plugins.controllers.statefulset.identity import has_identity, ordinal_of, revision_of, start_of

__all__ = ["Create", "Delete", "Mend", "Step", "plan_steps", "split", "wanted"]


@attrs.frozen
class Create:
    """Make the pod of an ordinal, from the present revision or from the one that is rolled out."""

    ordinal: int
    revision: Literal["current", "update"] = "update"


@attrs.frozen
class Delete:
    """End a pod; `why` says what for."""

    pod: Document
    why: Literal["ended", "scaled", "outdated"]


@attrs.frozen
class Mend:
    """Give a pod its labels back."""

    pod: Document
    ordinal: int


Step = Create | Delete | Mend


def wanted(stateful_set: Document) -> int:
    replicas = stateful_set["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def split(stateful_set: Document, found: Sequence[Document]) -> tuple[dict[int, Document], list[Document]]:
    """The pods by ordinal that should be there, and those that should not, the highest ordinal first."""
    first = start_of(stateful_set)
    places = range(first, first + wanted(stateful_set))
    members: dict[int, Document] = {}
    condemned: list[tuple[int, Document]] = []
    for pod in found:
        ordinal = ordinal_of(stateful_set, pod)
        if ordinal is None:
            continue
        if ordinal in places:
            members[ordinal] = pod
        else:
            condemned.append((ordinal, pod))
    return members, [pod for _, pod in sorted(condemned, key=lambda each: each[0], reverse=True)]


def plan_steps(stateful_set: Document, found: Sequence[Document], update: str, now: float) -> tuple[Step, ...]:
    """From the pods that are there to those that should be; `update` is the name of the newest revision."""
    planning = _Planning(stateful_set, update, now, *split(stateful_set, found))
    return tuple(planning.steps())


@attrs.frozen
class _Planning:
    stateful_set: Document
    update: str
    now: float
    members: dict[int, Document]
    condemned: Sequence[Document]

    def steps(self) -> list[Step]:
        steps: list[Step] = []
        for plan in (self._fill, self._shrink):
            some, done = plan()
            steps += some
            if not done:
                return steps
        # What changes now is looked at again before anything is updated.
        return steps or self._roll()

    def _fill(self) -> tuple[list[Step], bool]:
        """The places from the first to the last; False where a later one has to wait."""
        steps: list[Step] = []
        for ordinal in self._places:
            pod = self.members.get(ordinal)
            step = self._place(ordinal, pod)
            if step is not None:
                steps.append(step)
            if self._is_ordered and (not isinstance(step, Mend | None) or not self._is_available(pod)):
                return steps, False
        return steps, True

    def _place(self, ordinal: int, pod: Document | None) -> Step | None:
        if pod is None:
            return Create(ordinal, "current" if ordinal < self._first_updated else "update")
        if pods.is_terminal(pod):
            return None if is_deleting(pod) else Delete(pod, "ended")
        if not is_deleting(pod) and not has_identity(self.stateful_set, pod, ordinal):
            return Mend(pod, ordinal)
        return None

    def _shrink(self) -> tuple[list[Step], bool]:
        steps: list[Step] = []
        unhealthy = self._first_unhealthy
        for pod in self.condemned:
            if is_deleting(pod):
                if self._is_ordered:
                    return steps, False
                continue
            # One that is not well does not hold up its own end.
            if self._is_ordered and not self._is_available(pod) and pod is not unhealthy:
                return steps, False
            steps.append(Delete(pod, "scaled"))
            if self._is_ordered:
                return steps, False
        return steps, True

    def _roll(self) -> list[Step]:
        strategy = self.stateful_set["spec"].get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return []
        unavailable = sum(1 for ordinal in self._places if not self._is_available(self.members.get(ordinal)))
        allowed = self._max_unavailable - unavailable
        steps: list[Step] = []
        for ordinal in reversed(self._places):
            pod = self.members.get(ordinal)
            if ordinal < self._first_updated:
                break
            if pod is None or is_deleting(pod) or revision_of(pod) == self.update:
                continue
            if self._is_available(pod):
                if allowed <= 0:
                    continue  # one further down may be of no use to anybody, and goes all the same
                allowed -= 1
            steps.append(Delete(pod, "outdated"))
        return steps

    @property
    def _places(self) -> range:
        first = start_of(self.stateful_set)
        return range(first, first + wanted(self.stateful_set))

    @property
    def _is_ordered(self) -> bool:
        return str(self.stateful_set["spec"].get("podManagementPolicy")) != "Parallel"

    @property
    def _first_updated(self) -> int:
        """The lowest ordinal that the newest revision is for."""
        strategy = self.stateful_set["spec"].get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return start_of(self.stateful_set)
        return start_of(self.stateful_set) + int((strategy.get("rollingUpdate") or {}).get("partition") or 0)

    @property
    def _max_unavailable(self) -> int:
        strategy = self.stateful_set["spec"].get("updateStrategy") or {}
        limit = (strategy.get("rollingUpdate") or {}).get("maxUnavailable")
        return max(percent_or_number(limit, wanted(self.stateful_set), round_up=False), 1)

    @property
    def _first_unhealthy(self) -> Document | None:
        everyone = [*(self.members[ordinal] for ordinal in sorted(self.members)), *reversed(self.condemned)]
        return next((pod for pod in everyone if not self._is_available(pod)), None)

    def _is_available(self, pod: Document | None) -> bool:
        if pod is None or is_deleting(pod) or not _is_ready(pod):
            return False
        return pods.is_available(pod, int(self.stateful_set["spec"].get("minReadySeconds") or 0), self.now)


def _is_ready(pod: Document) -> bool:
    return pods.phase_of(pod) == "Running" and pods.is_ready(pod)

"""How many replicas one metric wants. Pure: figures and pods in, a number out.

Mirrors upstream's documented algorithm ("Horizontal Pod Autoscaling", "Algorithm details"): as many replicas as would
bring the ratio of what is used to what is to be used to 1, rounded up. Where that ratio is within a tolerance of 1
nothing changes. Pods that are ending or failed do not count. Of CPU, a pod that is starting does not count until it is
ready and a whole window was measured since. What is not known is guessed so that it damps the change: as the target
(or the whole request) when it would be fewer, as nothing when it would be more; and a guess never turns the direction.

Amounts are in thousandths of their unit, moments and periods in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import attrs

from kube_core.api.pods import phase_of, pod_condition
from kube_core.meta import quantities
from kube_core.meta.documents import Document, is_deleting, name_of
from kube_core.meta.times import parse_time

__all__ = [
    "CannotTell",
    "Groups",
    "Question",
    "Sample",
    "Tolerances",
    "by_average",
    "by_utilization",
    "by_value",
    "by_value_per_pod",
    "group",
    "requests_of",
]

#: Seconds after a pod's start in which its CPU is that of starting, unless it says that it is ready.
CPU_INITIALIZATION_PERIOD = 300.0
#: Seconds after a pod's start in which a change of its readiness is its first.
INITIAL_READINESS_DELAY = 30.0
_MOST = 2**31 - 1


class CannotTell(Exception):
    """Why a number cannot be given: upstream's words."""


@attrs.frozen
class Sample:
    """What one pod used, on average over a window that ended at a moment."""

    value: int
    at: float
    window: float


@attrs.frozen
class Tolerances:
    """How far from 1 a ratio may be without anything being done."""

    down: float = 0.1
    up: float = 0.1

    def hold(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@attrs.frozen
class Question:
    """What is asked about: how many replicas are wanted now, and the pods that there are."""

    current: int
    pods: Sequence[Document]
    now: float
    tolerances: Tolerances = Tolerances()


@attrs.frozen
class Groups:
    """Pods by what can be said of them: how many are measured and count, and the names of the others."""

    ready: int
    unready: Collection[str]
    missing: Collection[str]
    ignored: Collection[str]


def group(pods: Sequence[Document], samples: Mapping[str, Sample], resource: str, now: float) -> Groups:
    """`resource`: of which the samples are; "" for a metric that is none."""
    ready, unready, missing, ignored = 0, set[str](), set[str](), set[str]()
    for pod in pods:
        name, phase = name_of(pod), phase_of(pod)
        sample = samples.get(name)
        if is_deleting(pod) or phase == "Failed":
            ignored.add(name)
        elif phase == "Pending":
            unready.add(name)
        elif sample is None:
            missing.add(name)
        elif resource == "cpu" and _is_starting(pod, sample, now):
            unready.add(name)
        else:
            ready += 1
    return Groups(ready, unready, missing, ignored)


def requests_of(pods: Sequence[Document], resource: str, container: str = "") -> Mapping[str, int]:
    """What each pod requests: all of it, or one of its containers. Raises `CannotTell` where one requests nothing."""
    return {name_of(pod): _request(pod, resource, container) for pod in pods}


def by_utilization(
    samples: Mapping[str, Sample], question: Question, target: int, resource: str, container: str = ""
) -> tuple[int, int, int]:
    """Replicas, for a target in percent of what is requested; with the present percentage, and the average of a pod.

    Raises `CannotTell`.
    """
    groups = _grouped(samples, question, resource)
    measured = _measured(samples, groups)
    requests = requests_of(question.pods, resource, container)
    _, percent, average = _utilization(measured, requests, target)
    replicas = _propose(
        measured,
        question,
        groups,
        # Above the whole request where that is the target.
        guess=lambda name: requests[name] * max(100, target) // 100,
        ratio=lambda values: _utilization(values, requests, target)[0],
    )
    return replicas, percent, average


def by_average(samples: Mapping[str, Sample], question: Question, target: int, resource: str = "") -> tuple[int, int]:
    """Replicas, for a target of each pod's own; with the present average. Raises `CannotTell`."""
    groups = _grouped(samples, question, resource)
    measured = _measured(samples, groups)

    def ratio(values: Mapping[str, int]) -> float:
        return _average(values) / target

    replicas = _propose(measured, question, groups, guess=lambda name: target, ratio=ratio)
    return replicas, _average(measured)


def by_value(value: int, question: Question, target: int) -> int:
    """Replicas, for a target of what is not the pods'. From none, as many as the ratio. Raises `CannotTell`."""
    ratio = value / target
    if not question.current:
        return _ceil(ratio)
    if question.tolerances.hold(ratio):
        return question.current
    if not question.pods:
        raise CannotTell("unable to calculate ready pods: no pods returned by selector while calculating replica count")
    ready = [pod for pod in question.pods if phase_of(pod) == "Running" and _readiness(pod) == "True"]
    return _ceil(ratio * len(ready))


def by_value_per_pod(value: int, present: int, target: int, tolerances: Tolerances) -> tuple[int, int]:
    """Replicas, for a target of each pod's part; with the present part. `present`: how many replicas there are."""
    if not present:
        return _ceil(value / target), value
    held = tolerances.hold(value / (target * present))
    return present if held else _ceil(value / target), math.ceil(value / present)


def _propose(
    measured: Mapping[str, int],
    question: Question,
    groups: Groups,
    guess: Callable[[str], int],
    ratio: Callable[[Mapping[str, int]], float],
) -> int:
    first = ratio(measured)
    grows = bool(groups.unready) and first > 1.0
    if not grows and not groups.missing:
        return question.current if question.tolerances.hold(first) else _ceil(first * groups.ready)
    values = dict(measured)
    if first != 1.0:
        values |= {name: guess(name) if first < 1.0 else 0 for name in groups.missing}
    if grows:
        values |= dict.fromkeys(groups.unready, 0)
    again = ratio(values)
    if question.tolerances.hold(again) or first < 1.0 < again or again < 1.0 < first:
        return question.current
    replicas = _ceil(again * len(values))
    turned = replicas > question.current if again < 1.0 else replicas < question.current
    return question.current if turned else replicas


def _grouped(samples: Mapping[str, Sample], question: Question, resource: str) -> Groups:
    if not question.pods:
        raise CannotTell("no pods returned by selector while calculating replica count")
    return group(question.pods, samples, resource, question.now)


def _measured(samples: Mapping[str, Sample], groups: Groups) -> Mapping[str, int]:
    left_out = {*groups.ignored, *groups.unready}
    found = {name: sample.value for name, sample in samples.items() if name not in left_out}
    if not found:
        raise CannotTell("did not receive metrics for targeted pods (pods might be unready)")
    return found


def _utilization(values: Mapping[str, int], requests: Mapping[str, int], target: int) -> tuple[float, int, int]:
    """The ratio, the percentage, and the average of a pod."""
    known = [name for name in values if name in requests]
    requested = sum(requests[name] for name in known)
    if not requested:
        raise CannotTell("no metrics returned matched known pods")
    used = sum(values[name] for name in known)
    percent = used * 100 // requested
    return percent / target, percent, used // len(known)


def _average(values: Mapping[str, int]) -> int:
    return sum(values.values()) // len(values)


def _is_starting(pod: Document, sample: Sample, now: float) -> bool:
    """Whether what a pod uses is what starting takes."""
    condition, started = pod_condition(pod, "Ready"), (pod.get("status") or {}).get("startTime")
    if condition is None or not started:
        return True
    begun, changed = parse_time(str(started)), parse_time(str(condition.get("lastTransitionTime") or started))
    if begun + CPU_INITIALIZATION_PERIOD > now:
        return condition.get("status") == "False" or sample.at < changed + sample.window
    return condition.get("status") == "False" and begun + INITIAL_READINESS_DELAY > changed


def _readiness(pod: Document) -> str:
    return str((pod_condition(pod, "Ready") or {}).get("status") or "")


def _request(pod: Document, resource: str, container: str) -> int:
    spec = pod["spec"]
    whole = ((spec.get("resources") or {}).get("requests") or {}) if not container else {}
    if resource in whole:
        return quantities.parse(whole[resource]).milli_value
    sidecars = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    total = 0
    for each in [*spec["containers"], *sidecars]:
        if container in ("", each["name"]):
            request = ((each.get("resources") or {}).get("requests") or {}).get(resource)
            if request is None and whole:
                raise CannotTell(f"missing pod-level request for {resource} in Pod {name_of(pod)}")
            if request is None:
                raise CannotTell(f"missing request for {resource} in container {each['name']} of Pod {name_of(pod)}")
            total += quantities.parse(request).milli_value
        if container == each["name"]:
            return total
    if container:
        raise CannotTell(f"container {container} not found in Pod {name_of(pod)}")
    return total


def _ceil(number: float) -> int:
    return min(math.ceil(min(number, float(_MOST))), _MOST)

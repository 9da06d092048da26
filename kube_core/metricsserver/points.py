"""Rates from cumulative figures: what was seen last, and before that, of each container and node. Knows no time itself.

Mirrors the metrics server's storage: a rate is the difference of two looks at one run. What was looked at once counts
from its start, when that is ten seconds ago or more; a run that began again counts anew. A pod has metrics when each of
its running containers has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from kube_core.abc.usage import NodeFigures, Usage

__all__ = ["LEAST_WINDOW", "ContainerRate", "PodRates", "Points", "Rate", "rate_of"]

#: Seconds that what is new has to run before anything is said of it.
LEAST_WINDOW = 10.0
#: The window that is told where a runtime knows the present rate.
_PRESENT_WINDOW = 15.0


@attrs.frozen
class Rate:
    """`at`: seconds since the epoch, the end of a window of that many seconds."""

    at: float
    window: float
    nanocores: int
    memory_bytes: int


@attrs.frozen
class ContainerRate:
    name: str
    rate: Rate


@attrs.frozen
class PodRates:
    namespace: str
    name: str
    uid: str
    containers: tuple[ContainerRate, ...]


@attrs.frozen
class _Point:
    started_at: float
    usage: Usage


def rate_of(before: Usage | None, now: Usage, started_at: float) -> Rate | None:
    """The rate between two looks at one run, or since its start; None where it is too early to tell."""
    if now.nanocores is not None:
        return Rate(now.at, _PRESENT_WINDOW, now.nanocores, now.memory_bytes)
    if before is not None and now.at > before.at and now.cpu_nanoseconds >= before.cpu_nanoseconds:
        window, used = now.at - before.at, now.cpu_nanoseconds - before.cpu_nanoseconds
    else:
        window, used = now.at - started_at, now.cpu_nanoseconds
        if window < LEAST_WINDOW:
            return None
    return Rate(now.at, window, round(used / window), now.memory_bytes)


class Points:
    """The last two looks at everything. The metrics server is the one owner."""

    def __init__(self) -> None:
        self._points: dict[tuple[str, str], _Point] = {}
        self._nodes: dict[str, Rate] = {}
        self._pods: dict[tuple[str, str], PodRates] = {}

    @property
    def nodes(self) -> Mapping[str, Rate]:
        """By name."""
        return self._nodes

    @property
    def pods(self) -> Mapping[tuple[str, str], PodRates]:
        """By namespace and name."""
        return self._pods

    def look(self, figures: Iterable[NodeFigures]) -> None:
        """What all nodes say now. What they do not mention any more is forgotten."""
        points: dict[tuple[str, str], _Point] = {}
        nodes: dict[str, Rate] = {}
        pods: dict[tuple[str, str], PodRates] = {}
        for node in figures:
            rate = self._advance(points, ("", node.name), _Point(node.started_at, node.usage))
            if rate is not None:
                nodes[node.name] = rate
            for pod in node.pods:
                rates = [
                    (each.name, self._advance(points, (pod.uid, each.name), _Point(each.started_at, each.usage)))
                    for each in pod.containers
                ]
                known = tuple(ContainerRate(name, rate) for name, rate in rates if rate is not None)
                if known and len(known) == len(rates):
                    pods[pod.namespace, pod.name] = PodRates(pod.namespace, pod.name, pod.uid, known)
        self._points, self._nodes, self._pods = points, nodes, pods

    def _advance(self, points: dict[tuple[str, str], _Point], key: tuple[str, str], point: _Point) -> Rate | None:
        points[key] = point
        last = self._points.get(key)
        same = last is not None and last.started_at == point.started_at
        return rate_of(last.usage if same and last is not None else None, point.usage, point.started_at)

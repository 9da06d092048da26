"""Rates from cumulative figures: what was seen last, and before that, of each container and node. Knows no time itself.

Mirrors the metrics server's storage: a rate is the difference of two looks at one run. What was looked at once counts
from its start, when that is ten seconds ago or more; a run that began again counts anew. A pod has metrics when each of
its running containers has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from kube_core.abc.usage import NodeFigures, Usage

__all__ = ["LEAST_WINDOW", "ContainerRate", "Look", "PodRates", "Points", "Rate", "rate_of"]

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
        look = self.begin()
        for node in figures:
            look.add(node)
        self.end(look)

    def begin(self) -> Look:
        """The same node by node, for who has others to let in between; `end` it when all have been added."""
        return Look(self._points)

    def end(self, look: Look) -> None:
        """From now on this is the last look."""
        self._points, self._nodes, self._pods = look.points, look.nodes, look.pods


class Look:
    """One look at all nodes. Made by `Points.begin`."""

    def __init__(self, before: Mapping[tuple[str, str], _Point]) -> None:
        self._before = before
        self.points: dict[tuple[str, str], _Point] = {}
        self.nodes: dict[str, Rate] = {}
        self.pods: dict[tuple[str, str], PodRates] = {}

    def add(self, node: NodeFigures) -> None:
        """What one node says."""
        rate = self._rate(("", node.name), _Point(node.started_at, node.usage))
        if rate is not None:
            self.nodes[node.name] = rate
        for pod in node.pods:
            rates = [
                (each.name, self._rate((pod.uid, each.name), _Point(each.started_at, each.usage)))
                for each in pod.containers
            ]
            known = tuple(ContainerRate(name, rate) for name, rate in rates if rate is not None)
            if known and len(known) == len(rates):
                self.pods[pod.namespace, pod.name] = PodRates(pod.namespace, pod.name, pod.uid, known)

    def _rate(self, key: tuple[str, str], point: _Point) -> Rate | None:
        self.points[key] = point
        last = self._before.get(key)
        before = last.usage if last is not None and last.started_at == point.started_at else None
        return rate_of(before, point.usage, point.started_at)

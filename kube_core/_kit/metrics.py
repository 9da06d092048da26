"""Metrics, and their text for Prometheus (exposition format 0.0.4).

What happens often is counted in a `Cell` or a `Distribution` that its counter keeps for each set of labels: whoever
holds one pays for an addition. What can be read when somebody asks (how full a queue is) is a `reading`, and costs
nothing until then. A `Metrics` is all of one process or server; nothing is global, so that two servers in a process
do not count each other's requests.

Anybody may declare metrics: the server's are in `kube_core.apiserver.metrics`. What does not belong here: any word of
Kubernetes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["CONTENT_TYPE", "Cell", "Counter", "Distribution", "Histogram", "Metrics", "Reading"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[str, ...]
#: The values that a reading has now, by its labels.
Reading = Callable[[], Iterable[tuple[Labels, float]]]


class Cell:
    """One number that grows, or goes up and down."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Distribution:
    """How often values fell into each bucket; `bounds` are their upper ends, in order."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        # Most of what is measured is quick.
        self.counts[0 if value <= self._bounds[0] else bisect_left(self._bounds, value)] += 1
        self.total += value


class Counter:
    """A number for each set of labels."""

    def __init__(self) -> None:
        self._cells: dict[Labels, Cell] = {}

    def cell(self, *labels: str) -> Cell:
        found = self._cells.get(labels)
        if found is None:
            found = self._cells[labels] = Cell()
        return found

    def read(self) -> Iterator[tuple[Labels, float]]:
        for labels, cell in self._cells.items():
            yield labels, cell.value


class Histogram:
    """A distribution for each set of labels."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self._cells: dict[Labels, Distribution] = {}

    def cell(self, *labels: str) -> Distribution:
        found = self._cells.get(labels)
        if found is None:
            found = self._cells[labels] = Distribution(self.bounds)
        return found

    def read(self) -> Iterator[tuple[Labels, Distribution]]:
        yield from self._cells.items()


class Metrics:
    """Metrics by their names."""

    def __init__(self) -> None:
        self._sources: dict[str, tuple[str, str, Labels, Counter | Histogram | Reading]] = {}

    def counter(self, name: str, about: str, *labels: str) -> Counter:
        made = Counter()
        self._declare(name, "counter", about, labels, made)
        return made

    def gauge(self, name: str, about: str, *labels: str) -> Counter:
        """What goes up and down, and is told each time."""
        made = Counter()
        self._declare(name, "gauge", about, labels, made)
        return made

    def histogram(self, name: str, about: str, bounds: Sequence[float], *labels: str) -> Histogram:
        made = Histogram(bounds)
        self._declare(name, "histogram", about, labels, made)
        return made

    def reading(self, name: str, about: str, read: Reading, *labels: str, kind: str = "gauge") -> None:
        """What is read when somebody asks; `kind` is `counter` for what only grows."""
        self._declare(name, kind, about, labels, read)

    def text(self) -> str:
        """All of them, in the order of their names."""
        lines: list[str] = []
        for name, (kind, about, labels, source) in sorted(self._sources.items()):
            lines += (f"# HELP {name} {about}", f"# TYPE {name} {kind}")
            if isinstance(source, Histogram):
                lines += _histogram_lines(name, labels, source)
            else:
                found = source.read() if isinstance(source, Counter) else source()
                lines += (f"{name}{_braced(labels, values)} {_number(value)}" for values, value in found)
        return "\n".join([*lines, ""])

    def _declare(self, name: str, kind: str, about: str, labels: Labels, source: Counter | Histogram | Reading) -> None:
        if name in self._sources:
            raise ValueError(f"the metric {name} is declared twice")
        self._sources[name] = (kind, about, labels, source)


def _histogram_lines(name: str, labels: Labels, histogram: Histogram) -> Iterator[str]:
    bounds = [*(_number(bound) for bound in histogram.bounds), "+Inf"]
    for values, distribution in histogram.read():
        so_far = 0
        for bound, count in zip(bounds, distribution.counts, strict=True):
            so_far += count
            yield f"{name}_bucket{_braced((*labels, 'le'), (*values, bound))} {so_far}"
        yield f"{name}_sum{_braced(labels, values)} {_number(distribution.total)}"
        yield f"{name}_count{_braced(labels, values)} {so_far}"


def _braced(labels: Labels, values: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{label}="{_escaped(value)}"' for label, value in zip(labels, values, strict=True)) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)

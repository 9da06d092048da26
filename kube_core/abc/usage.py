"""What containers and nodes use: the figures that travel from a runtime driver to whoever shows them.

A runtime answers `Runtime.usage` with a `RuntimeUsage`; the node agent knows whose containers those are and makes its
`NodeFigures` of it (`kube_core.node.stats`); the metrics server reads those of every node, in this program or over a
node's own endpoint, and serves rates as metrics.k8s.io.

CPU time only ever grows, as long as a container runs: a rate is the difference of two looks, by the times at which the
driver looked. Nothing here knows how anything is measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import attrs

__all__ = ["ContainerFigures", "FiguresSource", "NodeFigures", "PodFigures", "RuntimeUsage", "Usage", "total"]


@attrs.frozen
class Usage:
    """What was used up to one moment.

    `at` is in seconds since the epoch, of the driver's clock; `cpu_nanoseconds` count from the start of what is
    measured, over all its processes, ended ones included; `memory_bytes` is the working set: what the kernel could not
    take back without trouble. `nanocores` is the present rate, where the driver knows it without looking twice.
    """

    at: float
    cpu_nanoseconds: int
    memory_bytes: int
    nanocores: int | None = None


@attrs.frozen
class RuntimeUsage:
    """Of one node at one moment. `containers`: by id, those that run and could be measured.

    `node`: all that the node itself causes; None: no more than its containers.
    """

    containers: Mapping[str, Usage]
    node: Usage | None = None


@attrs.frozen
class ContainerFigures:
    """One running container. `started_at` is in seconds since the epoch."""

    name: str
    started_at: float
    usage: Usage


@attrs.frozen
class PodFigures:
    """A pod's running containers, init containers among them."""

    namespace: str
    name: str
    uid: str
    containers: Sequence[ContainerFigures]


@attrs.frozen
class NodeFigures:
    """One node. `started_at`: since when its usage counts, in seconds since the epoch."""

    name: str
    started_at: float
    usage: Usage
    pods: Sequence[PodFigures]


class FiguresSource(Protocol):
    """Who can say what one node uses."""

    async def figures(self) -> NodeFigures | None:
        """As of now; None where its runtime does not measure."""
        ...


def total(usages: Iterable[Usage], at: float) -> Usage:
    """What several use together. The rate is known where each one's is."""
    found = list(usages)
    rates = [each.nanocores for each in found if each.nanocores is not None]
    return Usage(
        at,
        sum(each.cpu_nanoseconds for each in found),
        sum(each.memory_bytes for each in found),
        nanocores=sum(rates) if len(rates) == len(found) else None,
    )

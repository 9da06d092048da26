"""How fast pods may be evicted: the state of each zone, and who may be tainted now. Knows no client and no clock.

Mirrors upstream's node lifecycle controller ("Rate limits on eviction"): a node that is not ready gets its NoExecute
taint when its zone lets it, one in ten seconds by default. Where more than half of a zone's nodes are not ready (and
more than two) the zone is disrupted in part: a small one evicts nobody, a large one at a tenth of the rate. A zone
without any ready node evicts at the usual rate, since the trouble may be the nodes'; but when that is so in every
zone, the trouble is most likely the control plane's own, and nobody is evicted at all.

All moments are monotonic seconds that the caller gives. The controller is the one owner of a `Zones`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import attrs

from kube_core.meta.documents import Document, labels_of

__all__ = ["EvictionLimits", "Turn", "ZoneState", "Zones", "is_excluded", "state_of", "zone_of"]

ZoneState = Literal["Initial", "Normal", "PartialDisruption", "FullDisruption"]
#: What became of the whole cluster: `entered` or `left` the state in which no node is ready anywhere.
Turn = Literal["", "entered", "left"]

_REGION_LABELS = ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region")
_ZONE_LABELS = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")
_EXCLUDED = "node.kubernetes.io/exclude-disruption"


@attrs.frozen
class EvictionLimits:
    """Nodes per second that may be tainted, and what counts as disrupted. The numbers are upstream's defaults."""

    usual: float = 0.1
    reduced: float = 0.01
    large_zone: int = 50
    """Nodes above which a zone that is disrupted in part still evicts, at the reduced rate."""
    unhealthy_part: float = 0.55

    def of(self, state: ZoneState, size: int) -> float:
        """Nodes per second in a zone of that state and so many nodes; 0: none."""
        if state != "PartialDisruption":
            return self.usual
        return self.reduced if size > self.large_zone else 0.0


def zone_of(node: Document) -> str:
    """What names a node's zone: its region and zone, "" where it says neither."""
    labels = labels_of(node)
    region, zone = (next((labels[key] for key in keys if key in labels), "") for keys in (_REGION_LABELS, _ZONE_LABELS))
    return f"{region}/{zone}" if region or zone else ""


def is_excluded(node: Document) -> bool:
    """Whether a node says that its health does not count for its zone."""
    return _EXCLUDED in labels_of(node)


def state_of(ready: int, not_ready: int, limits: EvictionLimits) -> ZoneState:
    """The state of a zone with so many nodes that are ready, and not."""
    if not ready and not_ready:
        return "FullDisruption"
    if not_ready > 2 and not_ready / (ready + not_ready) >= limits.unhealthy_part:
        return "PartialDisruption"
    return "Normal"


@attrs.define(eq=False)
class _Zone:
    rate: float
    #: When the next node may be tainted: the bucket holds one token.
    next_at: float = 0.0
    state: ZoneState = "Initial"
    #: By node, whether it is ready.
    nodes: dict[str, bool] = attrs.field(factory=dict)
    not_ready: int = 0

    def swap(self, rate: float, now: float) -> None:
        """Another rate; who could not go a moment ago has to wait for the new rate's first turn."""
        if rate != self.rate:
            was_empty = self.rate <= 0 or self.next_at > now
            self.rate = rate
            self.next_at = now + 1.0 / rate if was_empty and rate > 0 else now


class Zones:
    """The zones of a cluster, as the nodes are reported one by one."""

    def __init__(self, limits: EvictionLimits | None = None) -> None:
        self.limits = limits or EvictionLimits()
        self._zones: dict[str, _Zone] = {}
        self._zone_of: dict[str, str] = {}
        #: No node is ready anywhere.
        self.dark = False

    def state(self, zone: str) -> ZoneState:
        found = self._zones.get(zone)
        return found.state if found is not None else "Initial"

    def nodes(self, zone: str) -> Sequence[str]:
        """The nodes that count in a zone."""
        found = self._zones.get(zone)
        return [*found.nodes] if found is not None else []

    def all_nodes(self) -> Iterator[str]:
        yield from self._zone_of

    def report(self, node: str, zone: str, *, ready: bool, now: float) -> Turn:
        """A node is so. Changes its zone's state and rate, and perhaps the whole cluster's."""
        left = self._remove(node) if self._zone_of.get(node) != zone else None
        self._zone_of[node] = zone
        found = self._zones.setdefault(zone, _Zone(self.limits.usual))
        before = found.nodes.get(node)
        if before == ready:
            return ""
        found.nodes[node] = ready
        found.not_ready += (not ready) - (before is False)
        return self._settle([zone] if left is None else [left, zone], now)

    def forget(self, node: str, now: float) -> Turn:
        """A node is gone, or counts no more."""
        zone = self._remove(node)
        return self._settle([zone], now) if zone is not None else ""

    def take(self, zone: str, now: float) -> float:
        """Let one more node of the zone be tainted: 0.0, and it is counted; or seconds to wait, perhaps for ever."""
        found = self._zones.setdefault(zone, _Zone(self.limits.usual))
        if self.dark or found.rate <= 0:
            return math.inf
        if found.next_at > now:
            return found.next_at - now
        found.next_at = now + 1.0 / found.rate
        return 0.0

    def _remove(self, node: str) -> str | None:
        zone = self._zone_of.pop(node, None)
        if zone is None:
            return None
        found = self._zones[zone]
        if found.nodes.pop(node, True) is False:
            found.not_ready -= 1
        return zone

    def _settle(self, zones: Sequence[str], now: float) -> Turn:
        for found in (self._zones[zone] for zone in zones):
            size = len(found.nodes)
            state = state_of(size - found.not_ready, found.not_ready, self.limits) if size else "Initial"
            if size and state != found.state:
                found.swap(self.limits.of(state, size), now)
            # Nothing is left to be disrupted in one without nodes; its bucket stays as it is for whoever comes.
            found.state = state
        counted = [each for each in self._zones.values() if each.nodes]
        dark = bool(counted) and all(each.state == "FullDisruption" for each in counted)
        if dark == self.dark:
            return ""
        self.dark = dark
        return "entered" if dark else "left"

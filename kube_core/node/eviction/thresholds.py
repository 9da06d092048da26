"""When a node is short of something: what was measured, against the thresholds it was given. Pure.

Signals, thresholds, grace periods and the conditions of the node are those that upstream documents under "Node-pressure
Eviction": a hard threshold holds at once, a soft one when it was met for its grace period; a condition lasts for a
while after its cause, so that a node does not flap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from kube_core.api.kubelet import KubeletSettings
from kube_core.meta import quantities

__all__ = ["CONDITIONS", "Measured", "Pressure", "Threshold", "read_thresholds"]

#: Signal → the node's condition, and what is short.
_SIGNALS: Mapping[str, tuple[str, str]] = {
    "memory.available": ("MemoryPressure", "memory"),
    "nodefs.available": ("DiskPressure", "ephemeral-storage"),
    "nodefs.inodesFree": ("DiskPressure", "inodes"),
    "imagefs.available": ("DiskPressure", "ephemeral-storage"),
    "imagefs.inodesFree": ("DiskPressure", "inodes"),
    "pid.available": ("PIDPressure", "pids"),
}
CONDITIONS = ("MemoryPressure", "DiskPressure", "PIDPressure")


@attrs.frozen
class Measured:
    """How much there is of something, and how much is left. Bytes, or a count."""

    available: int
    capacity: int


@attrs.frozen
class Threshold:
    """`amount`: the least that may be left; `share` instead: of the capacity. `grace` in seconds, 0: a hard one."""

    signal: str
    amount: int = 0
    share: float = 0.0
    grace: float = 0.0

    @property
    def condition(self) -> str:
        return _SIGNALS[self.signal][0]

    @property
    def resource(self) -> str:
        return _SIGNALS[self.signal][1]

    def least(self, measured: Measured) -> int:
        return int(measured.capacity * self.share) if self.share else self.amount

    def is_met(self, measured: Mapping[str, Measured]) -> bool:
        found = measured.get(self.signal)
        return found is not None and found.available < self.least(found)


def read_thresholds(settings: KubeletSettings) -> list[Threshold]:
    """Those of a node; unknown signals are left aside, as are thresholds of nothing."""
    read = [_threshold(signal, text, 0.0) for signal, text in settings.eviction_hard.items() if signal in _SIGNALS]
    read += [
        _threshold(signal, text, max(settings.eviction_soft_grace_period.get(signal, 0.0), 0.001))
        for signal, text in settings.eviction_soft.items()
        if signal in _SIGNALS
    ]
    return [each for each in read if each.amount or each.share]


@attrs.define
class Pressure:
    """What a node is short of, from one look to the next. `conditions` are those that hold, in their usual order."""

    thresholds: Sequence[Threshold]
    transition: float
    """Seconds for which a condition lasts beyond its cause."""
    conditions: tuple[str, ...] = ()
    _since: dict[Threshold, float] = attrs.field(factory=dict)
    _last: dict[str, float] = attrs.field(factory=dict)

    def look(self, measured: Mapping[str, Measured], now: float) -> list[Threshold]:
        """Take in what was measured; the thresholds that something has to be done about, memory first."""
        met = [each for each in self.thresholds if each.is_met(measured)]
        self._since = {each: self._since.get(each, now) for each in met}
        self._last |= {each.condition: now for each in met}
        self.conditions = tuple(
            each for each in CONDITIONS if (each in self._last and now - self._last[each] < self.transition)
            or any(threshold.condition == each for threshold in met)
        )  # fmt: skip
        due = [each for each in met if now - self._since[each] >= each.grace]
        return sorted(due, key=lambda each: (each.resource != "memory", bool(each.grace)))


def _threshold(signal: str, text: str, grace: float) -> Threshold:
    if text.endswith("%"):
        return Threshold(signal, share=float(text[:-1]) / 100, grace=grace)
    return Threshold(signal, amount=quantities.parse(text).value, grace=grace)

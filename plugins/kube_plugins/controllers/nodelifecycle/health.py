"""What a node's conditions and heartbeats mean: its taints, and the conditions of one that fell silent. Pure planning.

Mirrors upstream's node lifecycle controller (documented under "Node status", "Taints and Tolerations"): a node that
has not renewed its lease for 50 s is Unknown; each bad condition is a taint, and being not ready or not reachable is
one for pods that run already, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from kube_core.meta.documents import Document
from kube_core.meta.times import format_time

__all__ = ["GRACE_PERIOD", "silent_conditions", "taints"]

#: Seconds without a heartbeat after which nobody knows how a node is (upstream's default).
GRACE_PERIOD = 50.0

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_PRESSURES = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
}
_OURS = frozenset({NOT_READY, UNREACHABLE, UNSCHEDULABLE, *_PRESSURES.values()})
_SILENT = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


def taints(node: Document, now: float) -> Sequence[Document]:
    """The taints that a node should have; those of others, and the times of those that stay, are kept."""
    spec = node.get("spec") or {}
    present: Sequence[Document] = spec.get("taints") or ()
    kept = [taint for taint in present if taint.get("key") not in _OURS]
    conditions = {each["type"]: each.get("status") for each in (node.get("status") or {}).get("conditions") or ()}
    wanted = list(_wanted(conditions, unschedulable=bool(spec.get("unschedulable"))))
    return [*kept, *(_with_time(taint, present, now) for taint in wanted)]


def _wanted(conditions: dict[str, Any], *, unschedulable: bool) -> Iterable[dict[str, Any]]:
    ready = conditions.get("Ready")
    if ready != "True":
        key = UNREACHABLE if ready == "Unknown" else NOT_READY
        yield {"key": key, "effect": "NoSchedule"}
        if ready is not None:
            yield {"key": key, "effect": "NoExecute"}
    for condition, key in _PRESSURES.items():
        if conditions.get(condition) == "True":
            yield {"key": key, "effect": "NoSchedule"}
    if unschedulable:
        yield {"key": UNSCHEDULABLE, "effect": "NoSchedule"}


def _with_time(taint: dict[str, Any], present: Sequence[Document], now: float) -> Document:
    """The taint as it is already, or with the time of its beginning."""
    for each in present:
        if each.get("key") == taint["key"] and each.get("effect") == taint["effect"]:
            return each
    return {**taint, "timeAdded": format_time(now)}


def silent_conditions(node: Document, now: float) -> Sequence[Document]:
    """The conditions of a node from which nothing was heard: unknown, all but those that are so already."""
    present: Sequence[Document] = (node.get("status") or {}).get("conditions") or ()
    by_type = {each["type"]: dict(each) for each in present}
    for name in _SILENT:
        condition = by_type.setdefault(name, {"type": name, "lastHeartbeatTime": None})
        if condition.get("status") != "Unknown":
            never = condition.get("status") is None
            condition.update(
                status="Unknown",
                reason="NodeStatusNeverUpdated" if never else "NodeStatusUnknown",
                message="Kubelet never posted node status." if never else "Kubelet stopped posting node status.",
                lastTransitionTime=format_time(now),
            )
    return list(by_type.values())

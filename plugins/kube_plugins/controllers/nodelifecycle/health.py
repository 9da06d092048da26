"""What a node's conditions and heartbeats mean: its taints, and the conditions of one that fell silent. Pure planning.

Mirrors upstream's node lifecycle controller (documented under "Node status", "Taints and Tolerations"): a node that
has neither renewed its lease nor written its status for 50 s is Unknown (60 s where it never wrote one); each bad
condition is a taint for pods to come, at once. Being not ready or not reachable is one for pods that run already, too,
but that one only comes when its zone lets it (`zones.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kube_core.meta.documents import Document, labels_of
from kube_core.meta.times import format_time

__all__ = [
    "GRACE_PERIOD",
    "STARTUP_GRACE_PERIOD",
    "evicting_taint",
    "is_evicting",
    "missing_labels",
    "ready_status",
    "silent_conditions",
    "with_evicting_taint",
    "with_scheduling_taints",
]

#: Seconds without a heartbeat after which nobody knows how a node is (upstream's default).
GRACE_PERIOD = 50.0
#: The same for a node that has never said how it is.
STARTUP_GRACE_PERIOD = 60.0

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_PRESSURES = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
}
_SCHEDULING = frozenset({NOT_READY, UNREACHABLE, UNSCHEDULABLE, *_PRESSURES.values()})
_EVICTING = (NOT_READY, UNREACHABLE)
#: Labels that older clients read, and the ones that they repeat.
_REPEATED = {"kubernetes.io/os": "beta.kubernetes.io/os", "kubernetes.io/arch": "beta.kubernetes.io/arch"}
_SILENT = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


def ready_status(node: Document) -> str | None:
    """What the condition Ready says; None for a node that has none."""
    conditions: Sequence[Document] = (node.get("status") or {}).get("conditions") or ()
    return next((str(each.get("status")) for each in conditions if each.get("type") == "Ready"), None)


def with_scheduling_taints(node: Document, now: float) -> Sequence[Document]:
    """The node's taints, those for pods to come as its conditions want them; all others, and times, stay."""
    present = _taints(node)
    kept = [each for each in present if each.get("effect") != "NoSchedule" or each.get("key") not in _SCHEDULING]
    return [*kept, *(_with_time(key, "NoSchedule", present, now) for key in _wanted(node))]


def evicting_taint(node: Document) -> str | None:
    """The key of the taint that pods are to be evicted for; None for a node that is ready, or never said how it is."""
    status = ready_status(node)
    return None if status in (None, "True") else UNREACHABLE if status == "Unknown" else NOT_READY


def is_evicting(node: Document, key: str | None = None) -> bool:
    """Whether it has the taint that pods are evicted for: that of `key`, or any."""
    wanted = _EVICTING if key is None else (key,)
    return any(each.get("effect") == "NoExecute" and each.get("key") in wanted for each in _taints(node))


def with_evicting_taint(node: Document, *, key: str | None, now: float) -> Sequence[Document]:
    """The node's taints, of those that pods are evicted for only that of `key`, or none."""
    present = _taints(node)
    kept = [each for each in present if each.get("effect") != "NoExecute" or each.get("key") not in _EVICTING]
    return kept if key is None else [*kept, _with_time(key, "NoExecute", present, now)]


def missing_labels(node: Document) -> Mapping[str, str]:
    """What is to be written so that the labels that older clients read say what the present ones do."""
    labels = labels_of(node)
    return {old: labels[new] for new, old in _REPEATED.items() if new in labels and labels.get(old) != labels[new]}


def silent_conditions(node: Document, now: float) -> Sequence[Document]:
    """The conditions of a node from which nothing was heard: unknown, all but those that are so already."""
    present: Sequence[Document] = (node.get("status") or {}).get("conditions") or ()
    by_type = {each["type"]: dict(each) for each in present}
    for name in _SILENT:
        condition = by_type.get(name)
        never = condition is None
        if condition is None:
            condition = by_type[name] = {"type": name, "lastHeartbeatTime": node["metadata"].get("creationTimestamp")}
        if condition.get("status") != "Unknown":
            condition.update(
                status="Unknown",
                reason="NodeStatusNeverUpdated" if never else "NodeStatusUnknown",
                message="Kubelet never posted node status." if never else "Kubelet stopped posting node status.",
                lastTransitionTime=format_time(now),
            )
    return list(by_type.values())


def _taints(node: Document) -> Sequence[Document]:
    return (node.get("spec") or {}).get("taints") or ()


def _wanted(node: Document) -> Iterable[str]:
    conditions: dict[str, Any] = {
        each["type"]: each.get("status") for each in (node.get("status") or {}).get("conditions") or ()
    }
    ready = conditions.get("Ready")
    if ready != "True":
        yield UNREACHABLE if ready == "Unknown" else NOT_READY
    yield from (key for condition, key in _PRESSURES.items() if conditions.get(condition) == "True")
    if (node.get("spec") or {}).get("unschedulable"):
        yield UNSCHEDULABLE


def _with_time(key: str, effect: str, present: Sequence[Document], now: float) -> Document:
    """The taint as it is already, or with the time of its beginning."""
    for each in present:
        if each.get("key") == key and each.get("effect") == effect:
            return each
    return {"key": key, "effect": effect, "timeAdded": format_time(now)}

"""Facts about a pod, read from its document: whether it is active, ready, available, and what it listens on.

One reading, for everyone who asks: the controllers that count pods, the endpoint controllers, the scheduler, the node,
eviction. All are pure functions of the document (and the present moment, where time matters), as upstream documents
the pod's lifecycle and conditions. What does not belong here: changing pods, and anything that needs other objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kube_core.meta.documents import Document, is_deleting
from kube_core.meta.times import parse_time

__all__ = [
    "container_port",
    "is_active",
    "is_available",
    "is_ready",
    "is_terminal",
    "is_terminating",
    "node_name_of",
    "phase_of",
    "pod_condition",
    "pod_ips",
    "ready_since",
    "restarts_of",
    "until_available",
]


_TERMINAL = frozenset(("Succeeded", "Failed"))


def phase_of(pod: Document) -> str:
    """`Pending` where nothing was reported yet."""
    return str((pod.get("status") or {}).get("phase") or "Pending")


def node_name_of(pod: Document) -> str:
    """The node that it is bound to, or ""."""
    return str((pod.get("spec") or {}).get("nodeName") or "")


def pod_condition(pod: Document, kind: str) -> Document | None:
    conditions: Iterable[Document] = (pod.get("status") or {}).get("conditions") or ()
    for condition in conditions:
        if condition.get("type") == kind:
            return condition
    return None


def is_terminal(pod: Document) -> bool:
    """All its containers ended and none will start again."""
    return (pod.get("status") or {}).get("phase") in _TERMINAL


def is_active(pod: Document) -> bool:
    """It counts towards the replicas of its controller: neither ended nor being deleted."""
    return (pod.get("status") or {}).get("phase") not in _TERMINAL and not is_deleting(pod)


def is_terminating(pod: Document) -> bool:
    """It is being deleted, and has not ended yet."""
    return not is_terminal(pod) and is_deleting(pod)


def is_ready(pod: Document) -> bool:
    condition = pod_condition(pod, "Ready")
    return condition is not None and condition.get("status") == "True"


def ready_since(pod: Document) -> float | None:
    """When it became ready, in seconds since the epoch; None when it is not, or when nobody wrote when."""
    condition = pod_condition(pod, "Ready")
    if condition is None or condition.get("status") != "True" or not condition.get("lastTransitionTime"):
        return None
    return parse_time(str(condition["lastTransitionTime"]))


def is_available(pod: Document, min_ready_seconds: int, now: float) -> bool:
    """Ready, and for at least `min_ready_seconds` without a break."""
    if not is_ready(pod):
        return False
    if min_ready_seconds <= 0:
        return True
    since = ready_since(pod)
    return since is not None and since + min_ready_seconds <= now


def until_available(pod: Document, min_ready_seconds: int, now: float) -> float | None:
    """Seconds until a ready pod becomes available; None where it already is, or where that cannot be known."""
    since = ready_since(pod) if min_ready_seconds > 0 else None
    if since is None or since + min_ready_seconds <= now:
        return None
    return since + min_ready_seconds - now


def restarts_of(pod: Document) -> int:
    """The highest restart count among its containers, sidecars included."""
    status = pod.get("status") or {}
    sidecars = {
        container.get("name")
        for container in (pod.get("spec") or {}).get("initContainers") or ()
        if container.get("restartPolicy") == "Always"
    }
    counts = [int(state.get("restartCount") or 0) for state in status.get("containerStatuses") or ()]
    counts += [
        int(state.get("restartCount") or 0)
        for state in status.get("initContainerStatuses") or ()
        if state.get("name") in sidecars
    ]
    return max(counts, default=0)


def pod_ips(pod: Document) -> Iterator[str]:
    """Its addresses, the primary one first."""
    status = pod.get("status") or {}
    several = status.get("podIPs")
    if several:
        yield from (str(entry["ip"]) for entry in several if entry.get("ip"))
    elif status.get("podIP"):
        yield str(status["podIP"])


def container_port(pod: Document, target: int | str, protocol: str = "TCP") -> int | None:
    """The port number that a Service's `targetPort` means in this pod; None where no container has that name.

    A name is looked for in the containers, then in the sidecars (init containers that are always restarted).
    """
    if isinstance(target, int):
        return target
    spec = pod.get("spec") or {}
    sidecars = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    for container in [*(spec.get("containers") or ()), *sidecars]:
        for port in container.get("ports") or ():
            if port.get("name") == target and (port.get("protocol") or "TCP") == protocol:
                return int(port["containerPort"])
    return None

"""What containers and pods are limited to, in the terms of cgroups, and how likely the kernel ends them. Pure.

From requests and limits of the containers and of the pod as a whole, as upstream documents under "Resource Management
for Pods and Containers" and "Pod Quality of Service Classes": shares by the request (or the limit, where there is
none), a quota and memory by the limit (the pod's, where the container has none), `oom_score_adj` by the class.
"""

from __future__ import annotations

from collections.abc import Mapping

from kube_core.abc.runtime import NO_LIMITS, Resources
from kube_core.api import qos
from kube_core.meta import quantities
from kube_core.meta.documents import Document, uid_of

__all__ = ["NO_LIMITS", "cgroup_parent", "container_resources", "memory_of", "pod_resources", "qos_class"]

_PERIOD = 100_000
_LEAST_SHARES = 2
_MOST_SHARES = 262_144
_LEAST_QUOTA = 1_000
_GUARANTEED = -997
_BEST_EFFORT = 1000
_CRITICAL_PRIORITY = 2_000_000_000


def qos_class(pod: Document) -> str:
    """As the server worked it out; of a pod that the server has not seen, worked out here."""
    return str((pod.get("status") or {}).get("qosClass") or qos.qos_class(pod["spec"]))


def cgroup_parent(pod: Document, root: str = "/kubepods") -> str:
    """The cgroup of a pod: guaranteed ones stand beside the two groups of the others."""
    kind = qos_class(pod).lower()
    between = "" if kind == "guaranteed" else f"/{kind}"
    return f"{root}{between}/pod{uid_of(pod)}"


def container_resources(pod: Document, container: Document, *, memory_capacity: int) -> Resources:
    """`memory_capacity`: the machine's, in bytes."""
    requests, limits = _of(container, "requests"), _of(container, "limits")
    whole = _of(pod["spec"], "limits")
    cpu_limit = _milli(limits.get("cpu")) or _milli(whole.get("cpu"))
    cpu_request = _milli(requests["cpu"]) if "cpu" in requests else cpu_limit
    return Resources(
        cpu_shares=_shares(cpu_request),
        cpu_quota=_quota(cpu_limit),
        memory_bytes=_bytes(limits.get("memory")) or _bytes(whole.get("memory")),
        oom_score_adj=_oom_score(pod, container, memory_capacity),
        hugepages=_hugepages(limits),
    )


def pod_resources(pod: Document, *, pids: int = 0) -> Resources:
    """Of a pod as a whole, with its overhead: its limits only where every container has one, or the pod says so."""
    spec = pod["spec"]
    overhead: Mapping[str, str] = spec.get("overhead") or {}
    requests, limits = _of(spec, "requests"), _of(spec, "limits")
    cpu_request = _milli(requests.get("cpu")) or _whole(pod, "requests", "cpu")
    cpu_limit = _milli(limits.get("cpu")) or _whole(pod, "limits", "cpu")
    memory = _bytes(limits.get("memory")) or _whole(pod, "limits", "memory")
    return Resources(
        cpu_shares=_shares((cpu_request or cpu_limit) + _milli(overhead.get("cpu"))),
        cpu_quota=_quota(cpu_limit + _milli(overhead.get("cpu")) if cpu_limit else 0),
        memory_bytes=memory + _bytes(overhead.get("memory")) if memory else 0,
        pids=pids,
    )


def memory_of(holder: Document, which: str) -> int:
    """The memory that a container (or a pod as a whole) requests, or is limited to, in bytes; 0: not said."""
    return _bytes(_of(holder, which).get("memory"))


def _of(holder: Document, which: str) -> Mapping[str, str]:
    found: Mapping[str, str] = (holder.get("resources") or {}).get(which) or {}
    return found


def _milli(amount: str | None) -> int:
    return quantities.parse(amount).milli_value if amount else 0


def _bytes(amount: str | None) -> int:
    return quantities.parse(amount).value if amount else 0


def _shares(milli: int) -> int:
    return min(max(milli * 1024 // 1000, _LEAST_SHARES), _MOST_SHARES)


def _quota(milli: int) -> int:
    return max(milli * _PERIOD // 1000, _LEAST_QUOTA) if milli else 0


def _hugepages(limits: Mapping[str, str]) -> dict[str, int]:
    return {
        name.removeprefix("hugepages-"): _bytes(amount)
        for name, amount in limits.items()
        if name.startswith("hugepages-")
    }


def _whole(pod: Document, which: str, resource: str) -> int:
    """What all containers together need at any one time. 0 where one of them has no limit."""
    read = _milli if resource == "cpu" else _bytes
    spec = pod["spec"]
    apps = [read(_of(each, which).get(resource)) for each in spec["containers"]]
    inits = [(each, read(_of(each, which).get(resource))) for each in spec.get("initContainers") or ()]
    if which == "limits" and not all([*apps, *(amount for _, amount in inits)]):
        return 0
    beside, most = 0, 0
    for init, amount in inits:
        if init.get("restartPolicy") == "Always":
            beside += amount
            most = max(most, beside)
        else:
            most = max(most, beside + amount)
    return max(sum(apps) + beside, most)


def _oom_score(pod: Document, container: Document, capacity: int) -> int:
    spec = pod["spec"]
    kind = qos_class(pod)
    if kind == "Guaranteed" or (spec.get("priority") or 0) >= _CRITICAL_PRIORITY:
        return _GUARANTEED
    if kind == "BestEffort" or capacity <= 0:
        return _BEST_EFFORT
    apps = spec["containers"]
    share = 0
    if memory_of(spec, "requests"):
        every = (*apps, *(each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"))
        left = memory_of(spec, "requests") - sum(memory_of(each, "requests") for each in every)
        share = max(left, 0) // len(every)
    requested = memory_of(container, "requests") + share
    if container.get("restartPolicy") == "Always" and container not in apps:
        requested = max(requested, min(memory_of(each, "requests") for each in apps) + share)
    score = 1000 - 1000 * requested // capacity
    # Above every guaranteed container, and below those that asked for nothing.
    return min(max(score, 1000 + _GUARANTEED), _BEST_EFFORT - 1)

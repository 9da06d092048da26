"""CRI's `LinuxContainerResources` and the runtime's `Resources`, both ways. Pure.

Nearly the same words. Which processors and banks of memory a container is kept on, and how much of its memory may be
swapped, the contract cannot say, and is refused; that it may swap nothing beyond its limit (which is what kubelets say
everywhere) is as it is anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kube_core.abc.runtime import Resources
from kube_drivers.runtime.criserver.refusals import invalid

__all__ = ["resources_of", "said", "together"]


def resources_of(linux: Any) -> Resources:
    """Raises `Refusal`."""
    if linux.cpuset_cpus or linux.cpuset_mems:
        raise invalid("cpuset_cpus and cpuset_mems are not supported")
    if linux.memory_swap_limit_in_bytes not in (0, linux.memory_limit_in_bytes):
        raise invalid("memory_swap_limit_in_bytes is supported only where it is the memory limit")
    return Resources(
        cpu_shares=linux.cpu_shares,
        cpu_quota=max(linux.cpu_quota, 0),
        cpu_period=linux.cpu_period or Resources().cpu_period,
        memory_bytes=max(linux.memory_limit_in_bytes, 0),
        oom_score_adj=linux.oom_score_adj,
        hugepages={each.page_size: each.limit for each in linux.hugepage_limits if each.limit},
        unified=dict(linux.unified),
    )


def together(one: Resources, other: Resources) -> Resources:
    """A pod's, with its overhead: what is not limited in one is not limited in both."""

    def summed(name: str) -> int:
        pair = getattr(one, name), getattr(other, name)
        return sum(pair) if all(pair) else 0

    return attrs.evolve(
        one,
        cpu_shares=one.cpu_shares + other.cpu_shares,
        cpu_quota=summed("cpu_quota") if one.cpu_period == other.cpu_period else one.cpu_quota,
        memory_bytes=summed("memory_bytes"),
    )


def said(resources: Resources) -> Mapping[str, Any]:
    """As a `LinuxContainerResources`."""
    return {
        "cpu_shares": resources.cpu_shares,
        "cpu_quota": resources.cpu_quota,
        "cpu_period": resources.cpu_period if resources.cpu_quota else 0,
        "memory_limit_in_bytes": resources.memory_bytes,
        "oom_score_adj": resources.oom_score_adj,
        "hugepage_limits": [{"page_size": size, "limit": limit} for size, limit in resources.hugepages.items()],
        "unified": dict(resources.unified),
    }

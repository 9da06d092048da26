"""A pod's quality of service class, from its requests and limits of CPU and memory.

Guaranteed: every container has limits for both, and its requests equal them. BestEffort: nobody asks for anything.
Burstable: all else. Pod-level resources count instead of the containers' where they are set. Documented under "Pod
Quality of Service Classes".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kube_core.meta import quantities

__all__ = ["qos_class"]

_COUNTED = ("cpu", "memory")


def qos_class(spec: Mapping[str, Any]) -> str:
    asked = [_amounts(resources) for resources in _resources(spec)]
    if not any(requests or limits for requests, limits in asked):
        return "BestEffort"
    guaranteed = all(len(limits) == len(_COUNTED) and requests == limits for requests, limits in asked)
    return "Guaranteed" if guaranteed else "Burstable"


def _resources(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if any((spec.get("resources") or {}).get(name) for name in ("requests", "limits")):
        yield spec["resources"]
        return
    for name in ("initContainers", "containers"):
        for container in spec.get(name) or ():
            yield container.get("resources") or {}


def _amounts(resources: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Requests and limits that are more than nothing."""
    if not resources:
        return {}, {}

    def some(name: str) -> Mapping[str, Any]:
        listed = {key: quantities.parse(value) for key, value in (resources.get(name) or {}).items()}
        return {key: amount for key, amount in listed.items() if key in _COUNTED and amount.nano > 0}

    limits = some("limits")
    return {**limits, **some("requests")}, limits

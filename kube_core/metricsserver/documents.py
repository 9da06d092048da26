"""What metrics.k8s.io/v1beta1 answers: NodeMetrics, PodMetrics, lists and tables of them, and its discovery. Pure.

The forms are the metrics server's own: exact CPU, memory in powers of two, a table with a column for each resource.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kube_core.meta.documents import Document, labels_of, name_of
from kube_core.meta.gvk import GroupVersion
from kube_core.meta.quantities import Quantity, parse, total
from kube_core.meta.times import format_time
from kube_core.metricsserver.points import PodRates, Rate

__all__ = ["DISCOVERED", "GROUP_VERSION", "listed", "node_metrics", "pod_metrics", "resource_list", "table"]

GROUP_VERSION: Final = GroupVersion("metrics.k8s.io", "v1beta1")

_VERSION = f"{GROUP_VERSION.group}/{GROUP_VERSION.version}"
_KINDS = {"nodes": "NodeMetrics", "pods": "PodMetrics"}
_VERBS = ["get", "list"]
#: What a table has columns for.
_USED = ("cpu", "memory")
_NANO = 1_000_000_000

#: The entries of aggregated discovery.
DISCOVERED: Final[Sequence[Mapping[str, Any]]] = [
    {
        "resource": plural,
        "responseKind": {"group": GROUP_VERSION.group, "version": GROUP_VERSION.version, "kind": kind},
        "scope": "Namespaced" if plural == "pods" else "Cluster",
        "singularResource": "",
        "verbs": _VERBS,
    }
    for plural, kind in _KINDS.items()
]


def resource_list() -> dict[str, Any]:
    """The APIResourceList of the version."""
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": _VERSION,
        "resources": [
            {"name": plural, "singularName": "", "namespaced": plural == "pods", "kind": kind, "verbs": _VERBS}
            for plural, kind in _KINDS.items()
        ],
    }


def node_metrics(node: Document, rate: Rate, now: float) -> dict[str, Any]:
    """`node` is the Node, whose labels its metrics have."""
    return {
        "kind": "NodeMetrics",
        "apiVersion": _VERSION,
        "metadata": _metadata(node, now),
        "timestamp": format_time(rate.at),
        "window": _duration(rate.window),
        "usage": _usage(rate),
    }


def pod_metrics(pod: Document, rates: PodRates, now: float) -> dict[str, Any]:
    """`pod` is the Pod, whose labels its metrics have. The oldest of its containers' figures dates it."""
    oldest = min((each.rate for each in rates.containers), key=lambda rate: rate.at)
    return {
        "kind": "PodMetrics",
        "apiVersion": _VERSION,
        "metadata": _metadata(pod, now),
        "timestamp": format_time(oldest.at),
        "window": _duration(oldest.window),
        "containers": [{"name": each.name, "usage": _usage(each.rate)} for each in rates.containers],
    }


def listed(plural: str, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"kind": f"{_KINDS[plural]}List", "apiVersion": _VERSION, "metadata": {}, "items": list(items)}


def table(items: Sequence[Mapping[str, Any]], include: str) -> dict[str, Any]:
    """`include`: `Metadata`, `Object` or `None`, what goes with each row."""
    columns = [
        {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0},
        *({"name": name, "type": "string", "format": "quantity", "description": "", "priority": 0} for name in _USED),
        {"name": "Window", "type": "string", "format": "duration", "description": "", "priority": 0},
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": columns,
        "rows": [_row(item, include) for item in items],
    }


def _row(item: Mapping[str, Any], include: str) -> dict[str, Any]:
    containers = item.get("containers") or [{"usage": item.get("usage") or {}}]
    sums = [str(total([parse(each["usage"][name]) for each in containers])) for name in _USED]
    row: dict[str, Any] = {"cells": [item["metadata"]["name"], *sums, item["window"]]}
    if include == "Object":
        row["object"] = dict(item)
    elif include != "None":
        partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
        row["object"] = {**partial, "metadata": item["metadata"]}
    return row


def _usage(rate: Rate) -> dict[str, str]:
    return {"cpu": str(Quantity(rate.nanocores)), "memory": str(Quantity(rate.memory_bytes * _NANO, "binary"))}


def _metadata(owner: Document, now: float) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name_of(owner)}
    if namespace := owner["metadata"].get("namespace"):
        metadata["namespace"] = namespace
    metadata["creationTimestamp"] = format_time(now)
    if labels := labels_of(owner):
        metadata["labels"] = dict(labels)
    return metadata


def _duration(seconds: float) -> str:
    """As Go writes durations: `15s`, `1m3.25s`, `2h0m0s`."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = re.sub(r"\.?0+$", "", f"{rest / 1000:.3f}") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text

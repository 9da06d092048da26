"""What a node and its pods use, as its endpoints write it: `/stats/summary`, and text for Prometheus.

The names and shapes are upstream's (the kubelet's summary API v1alpha1, its `/metrics/resource`, and what cAdvisor
calls things); the figures are `NodeStatistics`'. What no runtime of ours measures (network, file systems, page faults)
is left out, rather than told as zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kube_core.abc.usage import ContainerFigures, NodeFigures, PodFigures, Usage, total
from kube_core.meta.times import format_micro_time, format_time

__all__ = ["cadvisor_metrics", "resource_metrics", "summary"]

#: The labels and the value of a sample, and when it was taken, in seconds since the epoch.
Sample = tuple[dict[str, str], float, float]


def summary(figures: NodeFigures) -> dict[str, Any]:
    """The document of `/stats/summary`."""
    return {
        "node": {
            "nodeName": figures.name,
            "startTime": format_time(figures.started_at),
            **_used(figures.usage),
        },
        "pods": [_pod_summary(pod) for pod in figures.pods],
    }


def resource_metrics(figures: NodeFigures | None) -> str:
    """The text of `/metrics/resource`. Without figures it says that there are none."""
    if figures is None:
        return _family("resource_scrape_error", "gauge", "1 if the figures could not be had.", [({}, 1, 0.0)])
    pods = [({"namespace": pod.namespace, "pod": pod.name}, _of_pod(pod)) for pod in figures.pods]
    containers = list(_containers(figures))
    text = [
        _family(
            "container_cpu_usage_seconds_total",
            "counter",
            "CPU time of a container, in core-seconds.",
            _samples(containers, _cpu),
        ),
        _family(
            "container_memory_working_set_bytes",
            "gauge",
            "Working set of a container, in bytes.",
            _samples(containers, _memory),
        ),
        _family(
            "container_start_time_seconds",
            "gauge",
            "When a container was started, in seconds since the epoch.",
            [(labels, each.started_at, each.usage.at) for labels, each in _started(figures)],
        ),
        _family(
            "node_cpu_usage_seconds_total",
            "counter",
            "CPU time of the node, in core-seconds.",
            _samples([({}, figures.usage)], _cpu),
        ),
        _family(
            "node_memory_working_set_bytes",
            "gauge",
            "Working set of the node, in bytes.",
            _samples([({}, figures.usage)], _memory),
        ),
        _family("pod_cpu_usage_seconds_total", "counter", "CPU time of a pod, in core-seconds.", _samples(pods, _cpu)),
        _family("pod_memory_working_set_bytes", "gauge", "Working set of a pod, in bytes.", _samples(pods, _memory)),
        _family("resource_scrape_error", "gauge", "1 if the figures could not be had.", [({}, 0, 0.0)]),
    ]
    return "".join(text)


def cadvisor_metrics(figures: NodeFigures | None, cores: float, memory_bytes: int) -> str:
    """The text of `/metrics/cadvisor`. `cores` and `memory_bytes` are the node's capacity."""
    found = [] if figures is None else list(_containers(figures))
    started = [] if figures is None else list(_started(figures))
    text = [
        _family(
            "container_cpu_usage_seconds_total",
            "counter",
            "CPU time of a container, in seconds.",
            [({**labels, "cpu": "total"}, value, at) for labels, value, at in _samples(found, _cpu)],
        ),
        _family(
            "container_memory_working_set_bytes",
            "gauge",
            "Working set of a container, in bytes.",
            _samples(found, _memory),
        ),
        _family(
            "container_start_time_seconds",
            "gauge",
            "When a container was started, in seconds since the epoch.",
            [(labels, each.started_at, each.usage.at) for labels, each in started],
        ),
        _family("machine_cpu_cores", "gauge", "Processors of the machine.", [({}, cores, 0.0)]),
        _family("machine_memory_bytes", "gauge", "Memory of the machine, in bytes.", [({}, memory_bytes, 0.0)]),
    ]
    return "".join(text)


def _pod_summary(pod: PodFigures) -> dict[str, Any]:
    return {
        "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "startTime": format_time(min(each.started_at for each in pod.containers)),
        "containers": [
            {"name": each.name, "startTime": format_time(each.started_at), **_used(each.usage)}
            for each in pod.containers
        ],
        **_used(_of_pod(pod)),
    }


def _used(usage: Usage) -> dict[str, Any]:
    at = format_micro_time(usage.at)  # a rate is made of two of these, so a second is not fine enough
    cpu: dict[str, Any] = {"time": at, "usageCoreNanoSeconds": usage.cpu_nanoseconds}
    if usage.nanocores is not None:
        cpu["usageNanoCores"] = usage.nanocores
    return {"cpu": cpu, "memory": {"time": at, "workingSetBytes": usage.memory_bytes}}


def _of_pod(pod: PodFigures) -> Usage:
    return total([each.usage for each in pod.containers], max(each.usage.at for each in pod.containers))


def _started(figures: NodeFigures) -> Iterator[tuple[dict[str, str], ContainerFigures]]:
    for pod in figures.pods:
        for each in pod.containers:
            yield {"container": each.name, "namespace": pod.namespace, "pod": pod.name}, each


def _containers(figures: NodeFigures) -> Iterator[tuple[dict[str, str], Usage]]:
    return ((labels, each.usage) for labels, each in _started(figures))


def _cpu(usage: Usage) -> float:
    return usage.cpu_nanoseconds / 1e9


def _memory(usage: Usage) -> float:
    return usage.memory_bytes


def _samples(found: Iterable[tuple[dict[str, str], Usage]], value: Callable[[Usage], float]) -> list[Sample]:
    return [(labels, value(usage), usage.at) for labels, usage in found]


def _family(name: str, kind: str, about: str, samples: Iterable[Sample]) -> str:
    """One metric, each sample with its time, as upstream's kubelet writes it."""
    lines = [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
    for labels, value, at in samples:
        named = ",".join(f'{label}="{text}"' for label, text in sorted(labels.items()))
        braced = f"{{{named}}}" if named else ""
        lines.append(f"{name}{braced} {value:.17g}" + (f" {int(at * 1000)}" if at else ""))
    return "\n".join(lines) + "\n"

"""Metrics that cost nothing until somebody asks: what of the server's state is shown as a number, and under which name.

Each `declare_…` is given what it reads. Declared once, by `ServerMetrics`. What is counted as it happens is declared
where it is counted: by `RequestMetrics`, `kube_core.admission.metrics` and `kube_core.storage.metrics`.

Upstream's behaviour: the "Kubernetes Metrics Reference"; the names of the process are those of every Prometheus client.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from kube_core._kit.metrics import Metrics, Reading
from kube_core.apiserver.fairness import Fairness
from kube_core.bus.bus import Bus, Topic
from kube_core.meta.gvk import GroupResource
from kube_core.storage.cache import ResourceCache, WatchCache

__all__ = ["declare_fairness", "declare_process", "declare_storage", "declare_watches"]

_OF_RESOURCE = ("group", "resource")


def declare_storage(metrics: Metrics, cache: WatchCache) -> None:
    """What is stored, and what the watch cache does."""

    def of_caches(value: Callable[[ResourceCache], float]) -> Reading:
        return lambda: [(_names(name), value(each)) for name, each in cache.resources()]

    def of_lists(value: str) -> Reading:
        return lambda: [
            ((name.group, index, name.resource), getattr(reads, value))
            for name, each in cache.resources()
            for index, reads in each.reads.items()
        ]

    stored = of_caches(len)
    metrics.reading("apiserver_resource_objects", "Objects that are stored.", stored, *_OF_RESOURCE)
    metrics.reading(
        "apiserver_storage_objects",
        "Objects that are stored; apiserver_resource_objects says it by group.",
        lambda: [((str(name),), len(each)) for name, each in cache.resources()],
        "resource",
    )
    metrics.reading(
        "apiserver_watch_cache_resource_version",
        "The last revision that the watch cache has.",
        of_caches(lambda _: cache.revision),
        *_OF_RESOURCE,
    )
    metrics.reading(
        "apiserver_watch_cache_events_received_total",
        "Changes that the watch cache has seen.",
        of_caches(lambda each: each.received),
        *_OF_RESOURCE,
        kind="counter",
    )
    of_index = ("group", "index", "resource")
    metrics.reading(
        "apiserver_cache_list_total",
        "Lists that were answered from the watch cache.",
        of_lists("lists"),
        *of_index,
        kind="counter",
    )
    metrics.reading(
        "apiserver_cache_list_fetched_objects_total",
        "Objects that lists looked at.",
        of_lists("fetched"),
        *of_index,
        kind="counter",
    )
    metrics.reading(
        "apiserver_cache_list_returned_objects_total",
        "Objects that lists returned.",
        of_caches(lambda each: sum(reads.returned for reads in each.reads.values())),
        *_OF_RESOURCE,
        kind="counter",
    )


def declare_watches(metrics: Metrics, bus: Bus) -> None:
    """Who watches, and what they are told."""

    def of_topics(value: Callable[[Topic], float]) -> Reading:
        return lambda: [(_names(each.resource), value(each)) for each in bus.topics()]

    metrics.reading(
        "apiserver_longrunning_requests",
        "Watches that are under way.",
        lambda: [
            (("WATCH", each.resource.group, each.resource.resource, "apiserver"), len(each)) for each in bus.topics()
        ],
        "verb",
        *_OF_RESOURCE,
        "component",
    )
    metrics.reading(
        "apiserver_watch_cache_events_dispatched_total",
        "Changes that were handed to watches.",
        of_topics(lambda each: each.dispatched),
        *_OF_RESOURCE,
        kind="counter",
    )
    metrics.reading(
        "apiserver_terminated_watchers_total",
        "Watches that were cut off because their clients did not read.",
        of_topics(lambda each: each.cut_off),
        *_OF_RESOURCE,
        kind="counter",
    )


def declare_fairness(metrics: Metrics, fairness: Fairness) -> None:
    """The seats of priority and fairness."""
    metrics.reading(
        "apiserver_flowcontrol_dispatched_requests_total",
        "Requests that were let in.",
        lambda: [((level, schema), count) for (schema, level), count in fairness.dispatched.items()],
        "priority_level",
        "flow_schema",
        kind="counter",
    )
    metrics.reading(
        "apiserver_flowcontrol_rejected_requests_total",
        "Requests that were not let in.",
        lambda: [((level, schema, why), count) for (schema, level, why), count in fairness.rejected.items()],
        "priority_level",
        "flow_schema",
        "reason",
        kind="counter",
    )
    metrics.reading(
        "apiserver_flowcontrol_current_executing_seats",
        "Seats that are taken.",
        lambda: [((name,), level.taken) for name, level in fairness.levels.items()],
        "priority_level",
    )
    metrics.reading(
        "apiserver_flowcontrol_nominal_limit_seats",
        "Seats that a level has of its own.",
        lambda: [((name,), level.nominal) for name, level in fairness.levels.items()],
        "priority_level",
    )


def declare_process(metrics: Metrics) -> None:
    """The process, and whatever else is in it."""
    metrics.reading(
        "process_cpu_seconds_total",
        "Processor time that the process has used.",
        lambda: [((), time.process_time())],
        kind="counter",
    )
    metrics.reading("process_resident_memory_bytes", "Memory of the process.", lambda: [((), _pages() * _PAGE)])
    metrics.reading("process_open_fds", "Descriptors that are open.", _descriptors)
    metrics.reading("process_start_time_seconds", "When the process began, in seconds since the epoch.", _began)


_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def _names(resource: GroupResource) -> tuple[str, str]:
    return resource.group, resource.resource


def _pages() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # not Linux
        return 0


def _descriptors() -> Iterator[tuple[tuple[str, ...], float]]:
    try:
        yield (), len(os.listdir("/proc/self/fd"))
    except OSError:  # not Linux
        return


def _began() -> Iterator[tuple[tuple[str, ...], float]]:
    moment = _start_time()
    if moment is not None:
        yield (), moment


@functools.cache
def _start_time() -> float | None:
    try:
        # The program's name, in parentheses, may have blanks; the 20th field after it: ticks since the machine began.
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        booted = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    except (OSError, StopIteration):  # not Linux
        return None
    return int(booted.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")

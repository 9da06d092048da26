"""The order of pods, the back-off, and what brings an unschedulable pod back."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.objects import node, pod
from kube_core._kit.clock import FakeClock
from kube_core.api import resources
from kube_core.scheduler.framework import Interest
from kube_core.scheduler.pods import PodInfo, read_pod
from kube_core.scheduler.queue import LONGEST_WAIT, SchedulingQueue

pytestmark = pytest.mark.anyio

INTERESTS = [
    ("Fit", Interest(resources.NODES, frozenset(("add",)))),
    ("Fit", Interest(resources.PODS, frozenset(("delete",)), lambda pod, before, after: before is not None)),
    ("Taints", Interest(resources.NODES, frozenset(("update",)))),
]


def info(name: str, priority: int = 0, **more: Any) -> PodInfo:
    return read_pod(pod(name, priority=priority, **more))


def popped(queue: SchedulingQueue) -> list[str]:
    names = []
    while (queued := queue.pop()) is not None:
        names.append(queued.pod.key.name)
    return names


async def test_pods_come_by_priority_and_then_in_order() -> None:
    queue = SchedulingQueue(FakeClock())
    for name, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 5)):
        queue.add(info(name, priority))
    assert popped(queue) == ["b", "d", "a", "c"]


async def test_a_deleted_pod_does_not_come() -> None:
    queue, gone = SchedulingQueue(FakeClock()), info("gone")
    queue.add(gone)
    queue.add(info("here"))
    queue.delete(gone.uid)
    assert len(queue) == 1
    assert popped(queue) == ["here"]


async def test_an_updated_pod_keeps_its_place() -> None:
    queue, first = SchedulingQueue(FakeClock()), info("first")
    queue.add(first)
    queue.add(info("second"))
    changed = read_pod({**first.document, "spec": {**first.document["spec"], "tolerations": [{}]}})
    queue.update(changed)
    queued = queue.pop()
    assert queued is not None
    assert queued.pod is changed


async def test_back_off_doubles_up_to_its_limit() -> None:
    clock = FakeClock()
    queue = SchedulingQueue(clock)
    queue.add(info("a"))
    for seconds in (1, 2, 4, 8, 10, 10):
        queued = queue.pop()
        assert queued is not None
        queue.put_back(queued, None)
        await clock.advance(seconds - 0.01)
        assert queue.idle
        await clock.advance(0.02)
        assert not queue.idle
    queue.close()


async def test_only_changes_that_a_refusing_plugin_is_interested_in_help() -> None:
    clock = FakeClock()
    queue = SchedulingQueue(clock, INTERESTS)
    queue.add(info("a"))
    queued = queue.pop()
    assert queued is not None
    queue.put_back(queued, frozenset(("Fit",)))
    await clock.advance(20)
    queue.changed("nodes", "update", node(), node())
    assert queue.idle
    queue.changed("pods", "delete", None, None)  # its hint says that this does not help
    assert queue.idle
    queue.changed("nodes", "add", None, node())
    assert popped(queue) == ["a"]


async def test_a_pod_that_is_helped_early_finishes_its_back_off_first() -> None:
    clock = FakeClock()
    queue = SchedulingQueue(clock, INTERESTS)
    queue.add(info("a"))
    queued = queue.pop()
    assert queued is not None
    queue.put_back(queued, frozenset(("Fit",)))
    queue.changed("nodes", "add", None, node())
    assert queue.idle
    await clock.advance(1.0)
    assert popped(queue) == ["a"]


async def test_a_pod_that_nothing_helps_is_looked_at_after_a_while() -> None:
    clock = FakeClock()
    queue = SchedulingQueue(clock, INTERESTS)
    queue.add(info("a"))
    queued = queue.pop()
    assert queued is not None
    queue.put_back(queued, frozenset(("Fit",)))
    await clock.advance(LONGEST_WAIT - 1)
    assert queue.idle
    await clock.advance(2)
    assert popped(queue) == ["a"]
    queue.close()


async def test_with_no_plugin_asked_anything_new_helps() -> None:
    clock = FakeClock()
    queue = SchedulingQueue(clock, INTERESTS)
    queue.add(info("a"))
    queued = queue.pop()
    assert queued is not None
    queue.put_back(queued, frozenset())
    await clock.advance(5)
    queue.changed("nodes", "add", None, node())
    assert popped(queue) == ["a"]

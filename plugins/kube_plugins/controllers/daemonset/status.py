"""The status of a daemon set: counters over nodes, each by its oldest daemon.

Pure; upstream's fields ("DaemonSet status").
"""

from __future__ import annotations

from kube_core.api import pods
from kube_core.meta.documents import MutableDocument, is_deleting, metadata_of
from kube_plugins.controllers.daemonset.plan import Scene, oldest_first

__all__ = ["calculate_status", "seconds_until_available"]


def calculate_status(scene: Scene, collisions: int, *, settled: bool = True) -> MutableDocument:
    """What the status should say. Only once everything written is seen, `settled`, is a generation observed."""
    before = scene.daemon_set.get("status") or {}
    observed = metadata_of(scene.daemon_set).get("generation") if settled else before.get("observedGeneration")
    desired = current = misscheduled = ready = available = updated = 0
    for node, wish in scene.nodes.items():
        daemons = oldest_first(scene.daemons.get(node, ()))
        if not wish.runs:
            misscheduled += bool(daemons)
            continue
        desired += 1
        if not daemons:
            continue
        current += 1
        daemon = daemons[0]
        ready += pods.is_ready(daemon)
        available += pods.is_ready(daemon) and scene.is_available(daemon)
        updated += scene.is_updated(daemon)
    status: MutableDocument = {
        "currentNumberScheduled": current,
        "desiredNumberScheduled": desired,
        "numberMisscheduled": misscheduled,
        "numberReady": ready,
    }
    if observed:
        status["observedGeneration"] = int(observed)
    counters = {
        "updatedNumberScheduled": updated,
        "numberAvailable": available,
        "numberUnavailable": desired - available,
        "collisionCount": collisions,
    }
    status |= {name: count for name, count in counters.items() if count}
    return status


def seconds_until_available(scene: Scene) -> float | None:
    """When the next daemon that is ready becomes available, if any is yet to."""
    min_ready_seconds = int(scene.daemon_set["spec"].get("minReadySeconds") or 0)
    waits = (
        pods.until_available(pod, min_ready_seconds, scene.now)
        for daemons in scene.daemons.values()
        for pod in daemons
        if not is_deleting(pod)
    )
    return min((wait for wait in waits if wait is not None), default=None)

"""Pods: the row that everybody reads.

The STATUS cell is no field of the API. It begins as the phase or the status' own reason, and what containers wait for
or ended with comes before it: first the init containers, in their order, then the containers, the first one last.
Mirrors the printer column of upstream's `kubectl get pods`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from kube_core.meta.documents import Document, is_deleting, name_of
from kube_core.registry.tables.cells import NONE, age_of, containers_of, labels_text, since, spec_of, status_of
from kube_core.registry.tables.columns import AGE, NAME, Printer, column, wide

__all__ = ["PRINTERS"]

_NOTHING: Mapping[str, Any] = {}
_FINISHED = {
    "Succeeded": "The pod has completed successfully.",
    "Failed": "The pod failed.",
}


@attrs.define
class _Tally:
    """What a walk over container statuses finds."""

    reason: str
    restarts: int = 0
    last_restart: str = ""
    ready: int = 0

    def count(self, container: Mapping[str, Any]) -> None:
        self.restarts += container.get("restartCount") or 0
        ended = ((container.get("lastState") or _NOTHING).get("terminated") or _NOTHING).get("finishedAt")
        if ended and ended > self.last_restart:
            self.last_restart = ended


def _pod(document: Document, now: float) -> list[Any]:
    spec, status = spec_of(document), status_of(document)
    sidecars = {
        container.get("name")
        for container in spec.get("initContainers") or ()
        if container.get("restartPolicy") == "Always"
    }
    tally = _Tally(status.get("reason") or status.get("phase") or "")
    conditions = status.get("conditions") or ()
    if any(item.get("type") == "PodScheduled" and item.get("reason") == "SchedulingGated" for item in conditions):
        tally.reason = "SchedulingGated"
    statuses = status.get("initContainerStatuses") or ()
    initializing = _init_containers(tally, statuses, sidecars, len(spec.get("initContainers") or ()))
    if not initializing or _is_true(conditions, "Initialized"):
        # Once it runs, only restarts of what still runs count.
        tally.restarts, tally.last_restart = 0, ""
        for container in statuses:
            if container.get("name") in sidecars:
                tally.count(container)
        _containers(tally, status.get("containerStatuses") or (), conditions)
    if is_deleting(document):
        if status.get("reason") == "NodeLost":
            tally.reason = "Unknown"
        elif status.get("phase") not in _FINISHED:
            tally.reason = "Terminating"
    restarts = str(tally.restarts)
    if tally.restarts and tally.last_restart:
        restarts = f"{tally.restarts} ({since(tally.last_restart, now)} ago)"
    addresses = status.get("podIPs") or ()
    return [
        name_of(document),
        f"{tally.ready}/{len(spec.get('containers') or ()) + len(sidecars)}",
        tally.reason,
        restarts,
        age_of(document, now),
        (addresses[0].get("ip") if addresses else "") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _readiness_gates(spec.get("readinessGates") or (), conditions),
    ]


def _init_containers(tally: _Tally, statuses: Iterable[Mapping[str, Any]], sidecars: set[Any], total: int) -> bool:
    """Whether an init container still runs or failed; the tally's reason then says so."""
    for position, container in enumerate(statuses):
        tally.count(container)
        state = container.get("state") or _NOTHING
        terminated, waiting = state.get("terminated"), state.get("waiting") or _NOTHING
        if terminated and not terminated.get("exitCode"):
            continue
        if container.get("name") in sidecars and container.get("started"):
            tally.ready += bool(container.get("ready"))
            continue
        if terminated:
            tally.reason = f"Init:{_ending(terminated)}"
        elif waiting.get("reason") and waiting["reason"] != "PodInitializing":
            tally.reason = f"Init:{waiting['reason']}"
        else:
            tally.reason = f"Init:{position}/{total}"
        return True
    return False


def _containers(tally: _Tally, statuses: Sequence[Mapping[str, Any]], conditions: Iterable[Mapping[str, Any]]) -> None:
    running = False
    for container in reversed(statuses):
        tally.count(container)
        state = container.get("state") or _NOTHING
        waiting, terminated = state.get("waiting") or _NOTHING, state.get("terminated")
        if waiting.get("reason"):
            tally.reason = waiting["reason"]
        elif terminated:
            tally.reason = _ending(terminated)
        elif container.get("ready") and state.get("running") is not None:
            running = True
            tally.ready += 1
    if tally.reason == "Completed" and running:
        tally.reason = "Running" if _is_true(conditions, "Ready") else "NotReady"


def _ending(terminated: Mapping[str, Any]) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode') or 0}"


def _is_true(conditions: Iterable[Mapping[str, Any]], kind: str) -> bool:
    return any(item.get("type") == kind and item.get("status") == "True" for item in conditions)


def _readiness_gates(gates: Sequence[Mapping[str, Any]], conditions: Iterable[Mapping[str, Any]]) -> str:
    if not gates:
        return NONE
    return f"{sum(_is_true(conditions, gate.get('conditionType', '')) for gate in gates)}/{len(gates)}"


def _conditions(document: Document) -> list[dict[str, str]] | None:
    phase = status_of(document).get("phase")
    if phase not in _FINISHED:
        return None
    return [{"type": "Completed", "status": "True", "reason": phase, "message": _FINISHED[phase]}]


def _pod_template(document: Document, _now: float) -> list[Any]:
    template = document.get("template") or _NOTHING
    labels = (template.get("metadata") or _NOTHING).get("labels")
    return [name_of(document), *containers_of(template.get("spec")), labels_text(labels)]


PRINTERS = {
    ("", "Pod"): Printer(
        (NAME, column("Ready"), column("Status"), column("Restarts"), AGE,
         wide("IP"), wide("Node"), wide("Nominated Node"), wide("Readiness Gates")),
        _pod,
        _conditions,
    ),
    ("", "PodTemplate"): Printer((NAME, column("Containers"), column("Images"), column("Pod Labels")), _pod_template),
}  # fmt: skip

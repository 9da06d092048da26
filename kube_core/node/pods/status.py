"""A pod's status, from its spec and what was observed. Pure.

Phases, conditions, container states, reasons and messages are those that upstream documents under "Pod lifecycle".
`lastTransitionTime` moves only when a condition's status does; conditions of others are not in here (the patch merges
by type). A container that the last status had running and the runtime does not know any more is one of which nothing is
known (`ContainerStatusUnknown`), never one that has not begun. Called by the pod's worker after everything that it
does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from kube_core.abc.runtime import ContainerStatus
from kube_core.meta.documents import Document, MutableDocument, metadata_of
from kube_core.meta.times import format_time
from kube_core.node.pods.restarts import is_sidecar, may_restart_all, restarts
from kube_core.node.pods.waiting import Waiting

__all__ = ["OUR_CONDITIONS", "Observed", "pod_status", "rejected_status"]

#: The conditions that this node's agent decides.
OUR_CONDITIONS = (
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    "PodResizePending",
    "PodResizeInProgress",
    "AllContainersRestarting",
)

_UNKNOWN = "ContainerStatusUnknown"
_UNKNOWN_CODE = 137


@attrs.frozen
class Observed:
    """What a worker knows. `ready` and `started` ask what the probes found of a running container."""

    runs: Mapping[str, Sequence[ContainerStatus]]
    waiting: Mapping[str, Waiting]
    ready: Callable[[ContainerStatus], bool]
    started: Callable[[ContainerStatus], bool]
    runtime_name: str
    host_ips: Sequence[str] = ()
    pod_ips: Sequence[str] = ()
    sandbox_ready: bool = False
    start_time: str = ""
    over: bool = False
    """No container runs and none will: the phase is final."""
    reason: str = ""
    message: str = ""
    """Why the pod failed as a whole."""
    messages: Mapping[str, str] = attrs.field(factory=dict)
    """What ended containers said, by their ids."""
    resetting: bool = False
    deleting: bool = False
    recursive_read_only: bool = False
    """Whether mounts can be read-only with all that is below."""
    conditions: Sequence[Document] = ()
    """Conditions that others of this node decided, whole but for their times."""


def rejected_status(pod: Document, reason: str, message: str, *, start_time: str) -> MutableDocument:
    """Of a pod that the node does not run."""
    status: MutableDocument = {"phase": "Failed", "reason": reason, "message": message, "startTime": start_time}
    generation = metadata_of(pod).get("generation")
    return {**status, "observedGeneration": generation} if generation else status


def pod_status(pod: Document, observed: Observed, *, before: Document, now: float) -> MutableDocument:
    """The whole status that this node owns. `before` is the status that was last written or read."""
    spec = pod["spec"]
    init_specs: Sequence[Document] = spec.get("initContainers") or ()
    ephemeral_specs: Sequence[Document] = spec.get("ephemeralContainers") or ()
    default = Waiting("PodInitializing" if init_specs else "ContainerCreating")

    def statuses(specs: Sequence[Document], field: str, *, init: bool = False) -> list[MutableDocument]:
        earlier = {each["name"]: each for each in before.get(field) or ()}
        return [_container(each, observed, default, earlier.get(each["name"]), init=init) for each in specs]

    inits = statuses(init_specs, "initContainerStatuses", init=True)
    apps = statuses(spec["containers"], "containerStatuses")
    ephemerals = statuses(ephemeral_specs, "ephemeralContainerStatuses")
    for ephemeral in ephemerals:
        ephemeral["ready"] = False
        del ephemeral["started"]
    begun = any(observed.runs.get(each["name"]) for each in spec["containers"])
    incomplete = [] if begun else _incomplete(init_specs, inits)
    phase = _phase(pod, inits, apps, over=observed.over, begun=begun)
    status: MutableDocument = {"phase": phase}
    generation = metadata_of(pod).get("generation")
    if generation:
        status["observedGeneration"] = generation
    status["conditions"] = _conditions(pod, before=before, now=now, wanted=[
        _truth("PodReadyToStartContainers", observed.sandbox_ready and bool(observed.pod_ips)),
        _initialized(phase, incomplete),
        *_readiness(pod, phase, [*_sidecars(init_specs, inits), *apps], before),
        _truth("PodScheduled", True),
        *([_truth("AllContainersRestarting", observed.resetting)] if may_restart_all(pod) else ()),
        *(dict(each) for each in observed.conditions),
    ])  # fmt: skip
    for field, value in (("reason", observed.reason), ("message", observed.message)):
        if value:
            status[field] = value
    if observed.host_ips:
        status["hostIP"] = observed.host_ips[0]
        status["hostIPs"] = [{"ip": ip} for ip in observed.host_ips]
    if observed.pod_ips:
        status["podIP"] = observed.pod_ips[0]
        status["podIPs"] = [{"ip": ip} for ip in observed.pod_ips]
    if observed.start_time:
        status["startTime"] = observed.start_time
    if inits:
        status["initContainerStatuses"] = inits
    status["containerStatuses"] = apps
    if ephemerals:
        status["ephemeralContainerStatuses"] = ephemerals
    return status


def _container(
    container: Document, observed: Observed, default: Waiting, before: Document | None, *, init: bool
) -> MutableDocument:
    """`before`: its status as it was last said."""
    name = str(container["name"])
    runs = observed.runs.get(name) or ()
    if not runs and before is not None and _has_run(before):
        return _lost(before, observed, default)
    last = runs[-1] if runs else None
    state, ended = _state(runs, observed, None if observed.over else observed.waiting.get(name), default)
    running = last is not None and last.state == "running"
    if init and not is_sidecar(container):
        ready = last is not None and last.state == "exited" and last.exit_code == 0
        started = running
    else:
        ready = last is not None and running and observed.ready(last)
        started = last is not None and running and observed.started(last)
    status: MutableDocument = {
        "name": name,
        "state": state,
        "lastState": ended or _ended_before(before, last, observed),
        "ready": ready,
        "restartCount": last.config.attempt if last is not None else int((before or {}).get("restartCount") or 0),
        "image": container["image"],
        "imageID": last.image_id if last is not None else "",
        "started": started,
    }
    if last is not None:
        status["containerID"] = f"{observed.runtime_name}://{last.id}"
        if last.user is not None:
            groups = (
                {"supplementalGroups": list(last.user.supplemental_groups)} if last.user.supplemental_groups else {}
            )
            status["user"] = {"linux": {"uid": last.user.user, "gid": last.user.group, **groups}}
    resources = container.get("resources")
    if resources:
        if resources.get("requests"):
            status["allocatedResources"] = dict(resources["requests"])
        status["resources"] = {key: dict(resources[key]) for key in ("limits", "requests") if resources.get(key)}
    if container.get("volumeMounts"):
        status["volumeMounts"] = [_mount(mount, observed.recursive_read_only) for mount in container["volumeMounts"]]
    return status


def _state(
    runs: Sequence[ContainerStatus], observed: Observed, waiting: Waiting | None, default: Waiting
) -> tuple[MutableDocument, MutableDocument]:
    """How a container is, and how it ended before that."""
    last = runs[-1] if runs else None
    ended = _terminated(runs[-2], observed) if len(runs) > 1 else {}
    if last is not None and last.state == "running":
        return {"running": {"startedAt": format_time(last.started_at)}}, ended
    if last is not None and last.state == "exited" and waiting is None:
        return _terminated(last, observed), ended
    waiting = waiting or default
    state = {"waiting": {"reason": waiting.reason, **({"message": waiting.message} if waiting.message else {})}}
    if last is not None and last.state == "exited":
        ended = _terminated(last, observed)
    return state, ended


def _has_run(before: Document) -> bool:
    state = before.get("state") or {}
    return "running" in state or "terminated" in state


def _lost(before: Document, observed: Observed, default: Waiting) -> MutableDocument:
    """Of a container that has run, and of which the runtime knows nothing any more."""
    status: MutableDocument = {**before, "ready": False, "started": False}
    if "terminated" in before["state"]:
        return status
    reason = "RestartingAllContainers" if observed.resetting else _UNKNOWN
    terminated: MutableDocument = {"exitCode": _UNKNOWN_CODE, "reason": reason, "startedAt": None, "finishedAt": None}
    if observed.over or observed.deleting:
        terminated["message"] = "The container could not be located when the pod was terminated"
        return {**status, "state": {"terminated": terminated}}
    waiting = observed.waiting.get(str(before["name"])) or default
    terminated["message"] = (
        "The container could not be located when the pod was deleted.  The container used to be Running"
    )
    status["state"] = {
        "waiting": {"reason": waiting.reason, **({"message": waiting.message} if waiting.message else {})}
    }
    status["lastState"] = {"terminated": terminated}
    status["restartCount"] = int(before.get("restartCount") or 0) + 1
    return status


def _ended_before(before: Document | None, last: ContainerStatus | None, observed: Observed) -> MutableDocument:
    """How a container ended whose earlier run the runtime does not know any more."""
    if before is None or last is None or last.config.attempt == 0:
        return {}
    if before.get("containerID") != f"{observed.runtime_name}://{last.id}" and "terminated" in (
        before.get("state") or {}
    ):
        return dict(before["state"])
    return dict(before.get("lastState") or {})


def _mount(mount: Document, recursive: bool) -> MutableDocument:
    status: MutableDocument = {"name": mount["name"], "mountPath": mount["mountPath"]}
    if mount.get("readOnly"):
        asked = mount.get("recursiveReadOnly") or "Disabled"
        whole = asked == "Enabled" or (asked == "IfPossible" and recursive)
        status |= {"readOnly": True, "recursiveReadOnly": "Enabled" if whole else "Disabled"}
    return status


def _terminated(run: ContainerStatus, observed: Observed) -> MutableDocument:
    if run.state != "exited":
        return {}
    terminated: MutableDocument = {"exitCode": run.exit_code}
    if run.reason:
        terminated["reason"] = run.reason
    if message := observed.messages.get(run.id, run.message):
        terminated["message"] = message
    terminated["startedAt"] = format_time(run.started_at) if run.started_at else None
    terminated["finishedAt"] = format_time(run.finished_at)
    terminated["containerID"] = f"{observed.runtime_name}://{run.id}"
    return {"terminated": terminated}


def _sidecars(specs: Sequence[Document], statuses: Sequence[MutableDocument]) -> list[MutableDocument]:
    return [status for spec, status in zip(specs, statuses, strict=True) if is_sidecar(spec)]


def _incomplete(specs: Sequence[Document], statuses: Sequence[MutableDocument]) -> list[str]:
    """The init containers that the app containers still wait for."""
    return [
        status["name"]
        for spec, status in zip(specs, statuses, strict=True)
        if not (status["started"] if is_sidecar(spec) else status["ready"])
    ]


def _phase(pod: Document, inits: Sequence[Document], apps: Sequence[Document], *, over: bool, begun: bool) -> str:
    spec = pod["spec"]
    if over:
        return _final_phase(spec, inits, apps)
    pending = False
    for container, status in zip(spec.get("initContainers") or (), inits, strict=True):
        code = _exit_code(status)
        if is_sidecar(container):
            pending = pending or (
                not begun and not status["started"] and ("running" in status["state"] or code is None)
            )
        elif "running" in status["state"] or code is None:
            pending = True
        elif code != 0:
            if not restarts(pod, container, code):
                return "Failed"
            pending = pending or not begun
    waiting = running = stopped = for_good = succeeded = 0
    for container, status in zip(spec["containers"], apps, strict=True):
        code = _exit_code(status)
        if "running" in status["state"]:
            running += 1
        elif code is None:
            waiting += 1
        else:
            stopped += 1
            for_good += not restarts(pod, container, code)
            succeeded += "terminated" in status["state"] and code == 0
    if pending or waiting:
        return "Pending"
    if running or stopped != for_good:
        return "Running"
    return "Succeeded" if stopped == succeeded else "Failed"


def _final_phase(spec: Document, inits: Sequence[Document], apps: Sequence[Document]) -> str:
    """Of a pod whose containers have ended for good."""
    once = [
        status for each, status in zip(spec.get("initContainers") or (), inits, strict=True) if not is_sidecar(each)
    ]
    ended = [_exit_code(status) for status in (*once, *apps)]
    return "Succeeded" if all(code == 0 for code in ended) else "Failed"


def _exit_code(status: Document) -> int | None:
    """Of a container that has ended: now, or before what it waits for now."""
    ended = status["state"].get("terminated")
    if ended is None and "waiting" in status["state"]:
        ended = (status.get("lastState") or {}).get("terminated")
    return None if ended is None else int(ended["exitCode"])


def _truth(kind: str, value: bool, reason: str = "", message: str = "") -> MutableDocument:
    condition: MutableDocument = {"type": kind, "status": "True" if value else "False"}
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition


def _initialized(phase: str, incomplete: Sequence[str]) -> MutableDocument:
    if phase == "Succeeded":
        return _truth("Initialized", True, "PodCompleted")
    if not incomplete:
        return _truth("Initialized", True)
    message = f"containers with incomplete status: [{' '.join(incomplete)}]"
    return _truth("Initialized", False, "ContainersNotInitialized", message)


def _readiness(pod: Document, phase: str, statuses: Sequence[Document], before: Document) -> list[MutableDocument]:
    """`Ready` and `ContainersReady`."""
    if phase in ("Succeeded", "Failed"):
        reason = "PodCompleted" if phase == "Succeeded" else "PodFailed"
        return [_truth(kind, False, reason) for kind in ("Ready", "ContainersReady")]
    unready = [status["name"] for status in statuses if not status["ready"]]
    if unready:
        message = f"containers with unready status: [{' '.join(unready)}]"
        return [_truth(kind, False, "ContainersNotReady", message) for kind in ("Ready", "ContainersReady")]
    containers_ready = _truth("ContainersReady", True)
    known = {each["type"]: each for each in before.get("conditions") or ()}
    missing = []
    for gate in pod["spec"].get("readinessGates") or ():
        kind = gate["conditionType"]
        if kind not in known:
            missing.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif known[kind].get("status") != "True":
            missing.append(f'the status of pod readiness gate "{kind}" is not "True", but {known[kind].get("status")}')
    if missing:
        return [_truth("Ready", False, "ReadinessGatesNotReady", ", ".join(missing)), containers_ready]
    return [_truth("Ready", True), containers_ready]


def _conditions(
    pod: Document, *, before: Document, now: float, wanted: Sequence[MutableDocument]
) -> list[MutableDocument]:
    known = {each["type"]: each for each in before.get("conditions") or ()}
    generation = metadata_of(pod).get("generation")
    conditions = []
    for condition in wanted:
        earlier = known.get(condition["type"])
        moved = earlier is None or earlier.get("status") != condition["status"]
        since = format_time(now) if moved or earlier is None else earlier.get("lastTransitionTime")
        observed_generation = {"observedGeneration": generation} if generation else {}
        conditions.append({**condition, **observed_generation, "lastProbeTime": None, "lastTransitionTime": since})
    return conditions

"""A pod's status, from its spec and what was observed. Pure.

Phases, conditions, container states, reasons and messages are those that upstream documents under "Pod lifecycle".
`lastTransitionTime` moves only when a condition's status does; conditions of others are not in here (the patch merges
by type). Called by the pod's worker after everything that it does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from kube_core.abc.runtime import ContainerStatus
from kube_core.meta.documents import Document, MutableDocument, metadata_of
from kube_core.meta.times import format_time
from kube_core.node.pods.plan import is_sidecar

__all__ = ["Observed", "Waiting", "pod_status"]


@attrs.frozen
class Waiting:
    """Why a container is not running: `CrashLoopBackOff`, `ErrImagePull`, …"""

    reason: str
    message: str = ""


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


def pod_status(pod: Document, observed: Observed, *, before: Document, now: float) -> MutableDocument:
    """The whole status that this node owns. `before` is the status that was last written or read."""
    spec = pod["spec"]
    init_specs: Sequence[Document] = spec.get("initContainers") or ()
    default = Waiting("PodInitializing" if init_specs else "ContainerCreating")
    inits = [_container(each, observed, default, init=True) for each in init_specs]
    apps = [_container(each, observed, default, init=False) for each in spec["containers"]]
    begun = any(observed.runs.get(each["name"]) for each in spec["containers"])
    incomplete = [] if begun else _incomplete(init_specs, inits)
    phase = _phase(spec, apps, over=observed.over, initialized=not incomplete)
    status: MutableDocument = {"phase": phase}
    generation = metadata_of(pod).get("generation")
    if generation:
        status["observedGeneration"] = generation
    status["conditions"] = _conditions(pod, before=before, now=now, wanted=[
        _truth("PodReadyToStartContainers", observed.sandbox_ready and bool(observed.pod_ips)),
        _initialized(phase, incomplete),
        *_readiness(pod, phase, [*_sidecars(init_specs, inits), *apps], before),
        _truth("PodScheduled", True),
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
    return status


def _container(container: Document, observed: Observed, default: Waiting, *, init: bool) -> MutableDocument:
    name = str(container["name"])
    runs = observed.runs.get(name) or ()
    last = runs[-1] if runs else None
    waiting = None if observed.over else observed.waiting.get(name)
    ended = runs[-2] if len(runs) > 1 else None
    state: MutableDocument
    if last is not None and last.state == "running":
        state = {"running": {"startedAt": format_time(last.started_at)}}
    elif last is not None and last.state == "exited" and waiting is None:
        state = _terminated(last, observed.runtime_name)
    else:
        waiting = waiting or default
        state = {"waiting": {"reason": waiting.reason, **({"message": waiting.message} if waiting.message else {})}}
        if last is not None and last.state == "exited":
            ended = last
    running = last is not None and last.state == "running"
    if init and not is_sidecar(container):
        ready = last is not None and last.state == "exited" and last.exit_code == 0
        started = False
    else:
        ready = last is not None and running and observed.ready(last)
        started = last is not None and running and observed.started(last)
    status: MutableDocument = {
        "name": name,
        "state": state,
        "lastState": _terminated(ended, observed.runtime_name) if ended is not None else {},
        "ready": ready,
        "restartCount": last.config.attempt if last is not None else 0,
        "image": container["image"],
        "imageID": last.image_id if last is not None else "",
        "started": started,
    }
    if last is not None:
        status["containerID"] = f"{observed.runtime_name}://{last.id}"
    resources = container.get("resources")
    if resources:
        if resources.get("requests"):
            status["allocatedResources"] = dict(resources["requests"])
        status["resources"] = {key: dict(resources[key]) for key in ("limits", "requests") if resources.get(key)}
    if container.get("volumeMounts"):
        status["volumeMounts"] = [_mount(mount) for mount in container["volumeMounts"]]
    return status


def _mount(mount: Document) -> MutableDocument:
    status: MutableDocument = {"name": mount["name"], "mountPath": mount["mountPath"]}
    if mount.get("readOnly"):
        status |= {"readOnly": True, "recursiveReadOnly": "Disabled"}
    return status


def _terminated(run: ContainerStatus, runtime_name: str) -> MutableDocument:
    if run.state != "exited":
        return {}
    terminated: MutableDocument = {"exitCode": run.exit_code}
    if run.reason:
        terminated["reason"] = run.reason
    if run.message:
        terminated["message"] = run.message
    terminated["startedAt"] = format_time(run.started_at) if run.started_at else None
    terminated["finishedAt"] = format_time(run.finished_at)
    terminated["containerID"] = f"{runtime_name}://{run.id}"
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


def _phase(spec: Document, apps: Sequence[Document], *, over: bool, initialized: bool) -> str:
    policy = spec.get("restartPolicy") or "Always"
    if not initialized:
        return "Failed" if over else "Pending"
    waiting = running = stopped = succeeded = 0
    for status in apps:
        state = status["state"]
        if "running" in state:
            running += 1
        elif _exit_code(status) is None:
            waiting += 1
        else:
            stopped += 1
            succeeded += "terminated" in state and state["terminated"]["exitCode"] == 0
    if waiting and not over:
        return "Pending"
    if running:
        return "Running"
    if not stopped:
        return "Failed" if over else "Pending"
    if policy == "Always" and not over:
        return "Running"
    if stopped == succeeded and not waiting:
        return "Succeeded"
    return "Failed" if policy == "Never" or over else "Running"


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

"""When pods pass the stages from their creation to Ready: for benchmarks, which print where the time goes.

    stages = follow_node()            # in the process of the node agent, before it starts
    stages.note("pod-1", "created")   # what else there is to see, by whom it sees it
    show(stages.moments)

The moments are of the machine's monotonic clock, which all its processes share. Looking costs some microseconds a pod.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs

__all__ = ["CREATED", "READY", "Moments", "Stages", "follow_node", "pod_seen", "show"]

#: The name of a pod → a stage → when.
Moments = dict[str, dict[str, float]]

CREATED, READY = "its creation is asked for", "Ready is seen by a client"
#: In the order in which a pod passes them; some are seen by a client that watches, the others by the node.
ORDER = (
    CREATED,
    "it is created",
    "a client sees it on its node",
    "the node sees it",
    "it has its address and sandbox",
    "its tokens are issued",
    "its volumes are there",
    "its image is there",
    "its container is made",
    "its container has started",
    "its status is written first",
    "that it is Ready is written",
    READY,
)


@attrs.define
class Stages:
    """The first time that each pod is seen in each stage."""

    moments: Moments = attrs.field(factory=dict)

    def note(self, pod: str, stage: str) -> None:
        self.moments.setdefault(pod, {}).setdefault(stage, time.monotonic())


def pod_seen(stages: Stages, pod: Mapping[str, Any]) -> None:
    """For a client that watches: note what this pod has come to."""
    name = pod["metadata"]["name"]
    if pod["spec"].get("nodeName"):
        stages.note(name, "a client sees it on its node")
    if _ready(pod.get("status") or {}):
        stages.note(name, READY)


def follow_node() -> Stages:
    """Have every node agent of this process note when its pods pass its stages."""
    from kube_core.node.agent import NodeAgent
    from kube_core.node.pods import containers, worker
    from kube_core.node.pods.reports import StatusReports
    from kube_core.node.volumes.mounting import PodVolumes
    from kube_core.node.volumes.payload import Payloads
    from kube_drivers.runtime.supervised.driver import SupervisedRuntime

    stages = Stages()

    def after(owner: Any, act: str, stage: str, pod_of: Callable[..., str]) -> None:
        original: Callable[..., Awaitable[Any]] = getattr(owner, act)

        @functools.wraps(original)
        async def noted(*arguments: Any, **named: Any) -> Any:
            result = await original(*arguments, **named)
            stages.note(pod_of(*arguments), stage)
            return result

        setattr(owner, act, noted)

    def container_of(runtime: SupervisedRuntime, sandbox_id: str, _config: Any) -> str:
        return runtime._sandboxes[sandbox_id].config.name

    def written(_reports: StatusReports, _uid: str, report: Any) -> str:
        if _ready(report.status):
            stages.note(_name(report.pod), "that it is Ready is written")
        return _name(report.pod)

    start_pod = NodeAgent.start_pod

    def seen(agent: NodeAgent, pod: Mapping[str, Any]) -> None:
        stages.note(_name(pod), "the node sees it")
        start_pod(agent, pod)

    NodeAgent.start_pod = seen  # type: ignore[method-assign, assignment]
    after(worker, "ensure_sandbox", "it has its address and sandbox", lambda _host, state: _name(state.pod))
    after(Payloads, "_token", "its tokens are issued", lambda _self, pod, *_: _name(pod))
    after(PodVolumes, "set_up", "its volumes are there", lambda _self, pod: _name(pod))
    after(containers, "ensure_image", "its image is there", lambda _host, starting, *_: _name(starting.pod))
    after(
        SupervisedRuntime,
        "create_container",
        "its container is made",
        lambda it, id_, _: it._sandboxes[id_].config.name,
    )
    after(containers, "start_container", "its container has started", lambda _host, starting: _name(starting.pod))
    after(StatusReports, "_write", "its status is written first", written)
    return stages


def show(moments: Moments, title: str) -> None:
    """Print, for each stage, when pods came to it, in milliseconds since their creation was asked for."""
    print(f"{title}, milliseconds since its creation was asked for: first, half of all, last pod")
    for stage in ORDER[1:]:
        passed = sorted((each[stage] - each[CREATED]) * 1000 for each in moments.values() if stage in each)
        if passed:
            print(f"  {stage:32}{passed[0]:9.1f}{statistics.median(passed):9.1f}{passed[-1]:9.1f}")


def _name(pod: Mapping[str, Any]) -> str:
    return str(pod["metadata"]["name"])


def _ready(status: Mapping[str, Any]) -> bool:
    conditions = status.get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

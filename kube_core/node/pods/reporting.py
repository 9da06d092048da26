"""Handing in a pod's status: what was observed, with what its containers said at their end. Called by the worker."""

from __future__ import annotations

from kube_core.api.pods import is_terminal
from kube_core.meta.documents import Document, is_deleting
from kube_core.node.pods.host import Host
from kube_core.node.pods.restarts import find_container
from kube_core.node.pods.state import PodState
from kube_core.node.pods.status import OUR_CONDITIONS, Observed, pod_status
from kube_core.node.pods.termination import termination_message

__all__ = ["report"]


async def report(host: Host, state: PodState) -> None:
    """Work the status out, keep it, and have it written."""
    runs = state.runs(host)
    for name, each in runs.items():
        if each[-1].state == "running":
            state.waiting.pop(name, None)
        for run in each:
            if run.state == "exited" and run.id not in state.messages:
                container = find_container(state.pod, name)
                state.messages[run.id] = await termination_message(host.runtime, container, run)
    observed = Observed(
        runs=runs,
        waiting=state.waiting,
        ready=host.probes.ready,
        started=host.probes.started,
        runtime_name=host.runtime.name,
        host_ips=host.node_ips,
        pod_ips=state.ips,
        sandbox_ready=any(each.ready for each in host.runtime.list_sandboxes(state.uid)),
        start_time=state.start_time,
        over=state.over,
        reason=state.reason,
        message=state.message,
        messages=state.messages,
        resetting=state.resetting,
        deleting=is_deleting(state.pod),
        recursive_read_only=host.runtime.capabilities.own_root,
        conditions=(
            *host.allocations.conditions(state.uid),
            *((state.disruption,) if state.disruption is not None else ()),
        ),
    )
    before = {**state.status, "conditions": _merged_conditions(state.status, state.pod)}
    status = pod_status(state.pod, observed, before=before, now=host.clock.now())
    if state.reason and state.over:
        status["phase"] = "Failed"
    if is_terminal(state.pod):
        status["phase"] = state.pod["status"]["phase"]  # a final phase stays
    state.status = status
    host.reports.submit(state.pod, status)


def _merged_conditions(status: Document, pod: Document) -> list[Document]:
    """Our own as we last reported them, everyone else's as they are now."""
    mine = {each["type"]: each for each in status.get("conditions") or ()}
    now = {each["type"]: each for each in (pod.get("status") or {}).get("conditions") or ()}
    return list({**now, **{kind: each for kind, each in mine.items() if kind in OUR_CONDITIONS}}.values())

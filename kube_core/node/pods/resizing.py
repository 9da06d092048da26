"""Giving running containers what their pod was granted: by the runtime, in place, or by a restart where one says so.

What a container has is its configuration, or what it was given since; what it is to have comes from the pod as granted.
A runtime that cannot change what runs is taken to have done it: where nothing is limited, there is nothing to change.

A container never has more than its pod: the pod's limits grow before those of its containers, and shrink after them.
"""

from __future__ import annotations

import attrs

from kube_core.abc.runtime import NO_LIMITS, ContainerStatus, Resources, RuntimeFailure
from kube_core.meta.documents import Document
from kube_core.node.pods.containers import Stopping
from kube_core.node.pods.ending import stop_one
from kube_core.node.pods.host import Host
from kube_core.node.pods.limits import container_resources, pod_resources
from kube_core.node.pods.plan import History
from kube_core.node.pods.state import PodState, grace_of

__all__ = ["resize"]

_CPU = ("cpu_shares", "cpu_quota")
_MEMORY = ("memory_bytes",)


async def resize(host: Host, state: PodState, runs: History) -> bool:
    """Bring what runs to what was granted; whether a container was ended for it, and has to be started again."""
    if not host.allocations.is_resizing(state.uid):
        return False
    pod, restarted = state.pod, False
    whole = pod_resources(pod, pids=host.settings.pod_pids_limit)
    try:
        await _resize_pod(host, state, _larger(whole, _present(state)))
        for container in (*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]):
            each = runs.get(container["name"])
            if each and each[-1].state == "running":
                restarted = await _resize_one(host, state, container, each[-1]) or restarted
        await _resize_pod(host, state, whole)
    except RuntimeFailure as error:
        host.allocations.fail(pod, str(error))
        return restarted
    if not restarted:
        host.allocations.finish(pod)
    return restarted


def _present(state: PodState) -> Resources:
    """What the pod as a whole has."""
    if state.whole is not None:
        return state.whole
    return state.sandbox.config.resources if state.sandbox is not None else NO_LIMITS


async def _resize_pod(host: Host, state: PodState, wanted: Resources) -> None:
    if state.sandbox is not None and host.runtime.capabilities.resize and wanted != _present(state):
        await host.runtime.update_sandbox(state.sandbox.id, wanted)
    state.whole = wanted


def _larger(one: Resources, other: Resources) -> Resources:
    """What both fit in; 0 is no limit."""

    def most(field: str) -> int:
        values = getattr(one, field), getattr(other, field)
        return max(values) if all(values) else 0

    return attrs.evolve(
        one,
        cpu_shares=max(one.cpu_shares, other.cpu_shares),
        cpu_quota=most("cpu_quota"),
        memory_bytes=most("memory_bytes"),
    )


async def _resize_one(host: Host, state: PodState, container: Document, run: ContainerStatus) -> bool:
    wanted = container_resources(state.pod, container, memory_capacity=host.memory_capacity)
    present = state.resources.get(run.id) or run.resources or run.config.resources
    # How likely the kernel ends it stays what it was when it began.
    wanted = attrs.evolve(wanted, oom_score_adj=present.oom_score_adj, unified=present.unified)
    if wanted == present:
        return False
    policies = {each["resourceName"]: each.get("restartPolicy") for each in container.get("resizePolicy") or ()}
    for resource, fields in (("cpu", _CPU), ("memory", _MEMORY)):
        if policies.get(resource) == "RestartContainer" and _differs(wanted, present, fields):
            why = f"Container {container['name']} resize requires restart"
            await stop_one(host, state, run, Stopping(grace_of(state.pod), why))
            host.probes.forget(run.id)
            state.unpunished |= {run.id}
            return True
    if host.runtime.capabilities.resize:
        await host.runtime.update_container(run.id, wanted)
    state.resources[run.id] = wanted
    return False


def _differs(one: Resources, other: Resources, fields: tuple[str, ...]) -> bool:
    return any(getattr(one, field) != getattr(other, field) for field in fields)

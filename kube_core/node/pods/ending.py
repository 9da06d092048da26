"""Ending a pod's containers, in order: the app containers at once, then the sidecars, the last one first.

Each container's preStop hook runs at the beginning, whatever its turn; a sidecar is asked to end once everything that
may need it has ended, or its grace is over, as upstream documents under "Sidecar containers: termination". What a pod
holds beyond its containers is given back here, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from kube_core.abc.runtime import ContainerStatus
from kube_core.meta.documents import Document
from kube_core.node.pods.containers import Stopping, stop_container
from kube_core.node.pods.host import Host
from kube_core.node.pods.plan import History
from kube_core.node.pods.restarts import is_sidecar
from kube_core.node.pods.state import PodState

__all__ = ["clean_up", "stop_all", "stop_one"]


async def stop_all(host: Host, state: PodState, runs: History, *, grace: float, why: str = "") -> None:
    """End every container that runs; return once all have ended."""
    running = [run for each in runs.values() for run in each if run.state != "exited"]
    if not running:
        return
    ended = {run.config.name: asyncio.Event() for run in running}
    turns = _turns(state.pod, ended)

    async def stop(run: ContainerStatus) -> None:
        try:
            turn = turns.get(run.config.name)
            await stop_one(host, state, run, Stopping(grace, why, turn=turn))
        finally:
            ended[run.config.name].set()

    await asyncio.gather(*(stop(run) for run in running))


async def stop_one(host: Host, state: PodState, run: ContainerStatus, stopping: Stopping) -> None:
    """End a container, whose preStop hook runs once, however often it is asked to end."""
    hook = run.id not in state.hooked
    state.hooked |= {run.id}
    if run.state == "created":
        await host.runtime.stop_container(run.id, 0)
        return
    await stop_container(host, state.pod, run, Stopping(stopping.grace, stopping.why, hook, stopping.turn))


async def clean_up(host: Host, state: PodState) -> None:
    """Give back what a pod holds whose containers all ended; its logs stay."""
    if state.cleaned:
        return
    uid = state.uid
    for run in host.runtime.list_containers(uid):
        host.probes.forget(run.id)
    for sandbox in host.runtime.list_sandboxes(uid):
        await host.runtime.stop_sandbox(sandbox.id)
    if not state.pod["spec"].get("hostNetwork"):
        await host.network.detach(uid)
    await host.volumes.tear_down(uid)
    host.user_ids.release(uid)
    state.cleaned = True


def _turns(pod: Document, ended: Mapping[str, asyncio.Event]) -> dict[str, Callable[[], Awaitable[None]]]:
    """For each sidecar, what waits until all that come before it have ended."""
    sidecars = [str(each["name"]) for each in pod["spec"].get("initContainers") or () if is_sidecar(each)]

    def waits_for(names: Sequence[str]) -> Callable[[], Awaitable[None]]:
        async def turn() -> None:
            for name in names:
                await ended[name].wait()

        return turn

    return {
        name: waits_for([each for each in ended if each not in sidecars[: number + 1]])
        for number, name in enumerate(sidecars)
    }

"""Doing what a pod's plan says, until it says nothing new: stopping, starting, waiting out back-offs.

One container after the other, in the plan's order, as upstream's kubelet. What keeps a container from starting is noted
in `state.waiting`, which the status shows. Called by the pod's worker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kube_core.abc.runtime import ContainerStatus
from kube_core.meta.documents import Document, is_deleting
from kube_core.node.pods import containers
from kube_core.node.pods.backoff import duration_text
from kube_core.node.pods.configuration import Starting
from kube_core.node.pods.containers import Stopping
from kube_core.node.pods.ending import clean_up, stop_all, stop_one
from kube_core.node.pods.host import Host
from kube_core.node.pods.plan import History, Stop, make_plan
from kube_core.node.pods.reporting import report
from kube_core.node.pods.resizing import resize
from kube_core.node.pods.restarts import every_container, find_container
from kube_core.node.pods.state import PodState, grace_of, pod_text
from kube_core.node.pods.waiting import LOOK_AGAIN, NotStarted, Waiting
from kube_core.node.probes import Probed

__all__ = ["carry_out"]


async def carry_out(host: Host, state: PodState, *, poke: Callable[[], None], later: Callable[[float], None]) -> None:
    """`poke` is for probes that find something, `later` asks for another look after so many seconds."""
    probes = host.probes
    while True:
        runs = state.runs(host)
        sandbox = state.sandbox.id if state.sandbox is not None else None
        plan = make_plan(state.pod, runs, started=probes.started, failed=probes.failed, sandbox_id=sandbox)
        if plan.over:
            await stop_all(host, state, runs, grace=grace_of(state.pod))
            state.over = True
            host.allocations.forget(state.uid)
            await report(host, state)
            await clean_up(host, state)
            return
        if plan.reset:
            if (remaining := await _reset(host, state, runs)) > 0:
                later(remaining)
                await report(host, state)
                return
            continue
        for stop in plan.stop:
            await stop_one(host, state, stop.run, Stopping(_grace(state.pod, stop), stop.why))
            probes.forget(stop.run.id)
            state.unpunished |= {stop.run.id}
        resized = await resize(host, state, runs)
        if host.allocations.is_resizing(state.uid):
            later(LOOK_AGAIN)
        begun = False
        for container in plan.start:
            begun = await _start(host, state, container, runs, later) or begun
        state.resetting = state.resetting and not begun
        _watch_probes(host, state, poke)
        if not plan.stop and not begun and not resized:
            await report(host, state)
            return


async def _start(
    host: Host, state: PodState, container: Document, runs: History, later: Callable[[float], None]
) -> bool:
    """Start a container unless it has to wait; whether it was started."""
    name = str(container["name"])
    earlier = list(runs.get(name) or ())
    if earlier and earlier[-1].state == "created":
        # Made by an agent that ended before it could start it.
        await host.runtime.remove_container(earlier.pop().id)
    key = f"{state.uid}/{name}"
    now = host.clock.now()
    failed = [run for run in earlier if run.id not in state.unpunished]
    if failed and (remaining := host.backoffs.remaining(key, failed[-1].finished_at, now)) > 0:
        _crash_looping(host, state, name, host.backoffs.delay(key))
        later(remaining)
        return False
    assert state.sandbox is not None
    attempt = _attempt(state, container, earlier)
    starting = Starting(
        state, state.with_addresses(host), container, state.sandbox.id, attempt, runs, lambda: report(host, state)
    )
    if failed:
        host.backoffs.next(key, now)
    try:
        await containers.start_container(host, starting)
    except NotStarted as error:
        state.waiting[name] = Waiting(error.reason, error.message)
        later(error.retry_after)
        return False
    state.waiting.pop(name, None)
    state.attempts.pop(name, None)
    for old in earlier[:-1]:
        host.probes.forget(old.id)
        state.forget(old.id)
        await host.runtime.remove_container(old.id)
    return True


def _attempt(state: PodState, container: Document, earlier: Sequence[ContainerStatus]) -> int:
    """The number of this run: what the runtime says, or else what was said of it before."""
    name = str(container["name"])
    if earlier:
        return earlier[-1].config.attempt + 1
    if name in state.attempts:
        return state.attempts[name]
    for field in ("containerStatuses", "initContainerStatuses"):
        for status in state.status.get(field) or ():
            if status["name"] == name and status.get("containerID"):
                return int(status.get("restartCount") or 0) + 1
    return 0


def _crash_looping(host: Host, state: PodState, name: str, delay: float) -> None:
    text = pod_text(state.pod)
    message = f"Back-off restarting failed container {name} in pod {text}"
    host.events.warning(state.pod, "BackOff", message, field_path=containers.field_path_of(state.pod, name))
    state.waiting[name] = Waiting(
        "CrashLoopBackOff", f"back-off {duration_text(delay)} restarting failed container={name} pod={text}"
    )


async def _reset(host: Host, state: PodState, runs: History) -> float:
    """End and remove all containers, so that the pod begins anew in its sandbox; seconds until that may be done."""
    key, now = f"{state.uid}/", host.clock.now()
    remaining = host.backoffs.remaining(key, max(run.finished_at for each in runs.values() for run in each), now)
    if remaining > 0:
        return remaining
    host.backoffs.next(key, now)
    state.resetting = True
    await stop_all(host, state, runs, grace=grace_of(state.pod))
    for name, each in state.runs(host).items():
        state.attempts[name] = each[-1].config.attempt + 1
        for run in each:
            host.probes.forget(run.id)
            state.forget(run.id)
            await host.runtime.remove_container(run.id)
    await report(host, state)
    return 0.0


def _grace(pod: Document, stop: Stop) -> float:
    """A probe may have a grace of its own for the container that failed it."""
    probe = (find_container(pod, stop.run.config.name) or {}).get(f"{stop.probe}Probe") or {}
    own = probe.get("terminationGracePeriodSeconds")
    return grace_of(pod) if own is None else float(own)


def _watch_probes(host: Host, state: PodState, poke: Callable[[], None]) -> None:
    runs = state.runs(host)
    address = state.ips[0] if state.ips else "127.0.0.1"
    statuses = [*(state.status.get("containerStatuses") or ()), *(state.status.get("initContainerStatuses") or ())]
    for container in every_container(state.pod):
        for run in runs.get(container["name"]) or ():
            if run.state == "exited":
                host.probes.forget(run.id)
            elif run.state == "running":
                path = containers.field_path_of(state.pod, container["name"])
                known = f"{host.runtime.name}://{run.id}"
                before = next((each for each in statuses if each.get("containerID") == known), None)
                host.probes.watch(
                    Probed(state.pod, container, run, address, path, poke, before, lambda: is_deleting(state.pod))
                )

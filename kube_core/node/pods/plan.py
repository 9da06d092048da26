"""What to do about a pod's containers, from what it wants and what there is. Pure.

Init containers run one after another, each to its end; a sidecar (an init container that is always restarted) counts as
done once it has started. Then the app containers run, all of them. What ended is started again as the restart policy
says. A container that failed its liveness or startup probe, or whose image was changed, is stopped, and is then one
that ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from kube_core.abc.runtime import ContainerStatus
from kube_core.meta.documents import Document

__all__ = ["Plan", "history", "is_sidecar", "make_plan", "restarts"]

#: The runs of each container of a pod, by its name, oldest first.
History = Mapping[str, Sequence[ContainerStatus]]


@attrs.frozen
class Plan:
    """`start`: container specs, in order. `stop`: running containers and why. `over`: the pod is done, for good."""

    start: tuple[Document, ...] = ()
    stop: tuple[tuple[ContainerStatus, str], ...] = ()
    initialized: bool = False
    over: bool = False


def history(statuses: Sequence[ContainerStatus]) -> dict[str, list[ContainerStatus]]:
    runs: dict[str, list[ContainerStatus]] = {}
    for status in sorted(statuses, key=lambda each: (each.config.attempt, each.created_at)):
        runs.setdefault(status.config.name, []).append(status)
    return runs


def is_sidecar(container: Document) -> bool:
    return container.get("restartPolicy") == "Always"


def restarts(policy: str, exit_code: int) -> bool:
    """Whether a container that ended so is started again."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def make_plan(
    pod: Document, runs: History, *, started: Callable[[ContainerStatus], bool], failed: Mapping[str, str]
) -> Plan:
    """`started`: whether a running container passed its startup probe. `failed`: container id → why it has to stop."""
    spec = pod["spec"]
    policy = str(spec.get("restartPolicy") or "Always")
    start: list[Document] = []
    stop: list[tuple[ContainerStatus, str]] = []
    begun = any(runs.get(app["name"]) for app in spec["containers"])
    initialized, over = True, False
    for init in spec.get("initContainers") or ():
        last = _last(runs, init)
        if is_sidecar(init):
            if not _to_stop(last, init, failed, stop) and (last is None or last.state != "running"):
                start.append(init)
            if begun or (last is not None and last.state == "running" and started(last)):
                continue
        elif begun or (last is not None and last.state == "exited" and last.exit_code == 0):
            continue
        elif last is None or last.state == "created":
            start.append(init)
        elif last.state == "exited":
            over = policy == "Never"
            start.append(init)
        initialized = False
        break
    if initialized:
        over = _plan_apps(spec["containers"], runs, policy, failed, start, stop)
    return Plan(() if over else tuple(start), tuple(stop), initialized, over)


def _plan_apps(
    apps: Sequence[Document],
    runs: History,
    policy: str,
    failed: Mapping[str, str],
    start: list[Document],
    stop: list[tuple[ContainerStatus, str]],
) -> bool:
    """Adds what the app containers need to `start` and `stop`; whether all of them have ended for good."""
    over = True
    for app in apps:
        last = _last(runs, app)
        if _to_stop(last, app, failed, stop) or (last is not None and last.state == "running"):
            over = False
        elif last is None or last.state == "created" or restarts(policy, last.exit_code):
            start.append(app)
            over = False
    return over


def _last(runs: History, container: Document) -> ContainerStatus | None:
    found = runs.get(container["name"])
    return found[-1] if found else None


def _to_stop(
    last: ContainerStatus | None,
    container: Document,
    failed: Mapping[str, str],
    stop: list[tuple[ContainerStatus, str]],
) -> bool:
    if last is None or last.state != "running":
        return False
    if last.id in failed:
        stop.append((last, failed[last.id]))
    elif last.config.image != container["image"]:
        stop.append((last, f"Container {container['name']} definition changed, will be restarted"))
    else:
        return False
    return True

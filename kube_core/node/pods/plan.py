"""What to do about a pod's containers, from what it wants and what there is. Pure.

Init containers run one after another, each to its end; a sidecar (an init container that is always restarted) counts as
done once it has started. Then the app containers run, all of them. Ephemeral containers run once, at any time. What
ended is started again as its rules and policies say (`restarts.py`). A container that failed its liveness or startup
probe, or whose image was changed, is stopped, and is then one that ended.

Only runs in the pod's present sandbox count, but for an app container that may run to its end once: having ended well
in an earlier sandbox, it is not run again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from kube_core.abc.runtime import ContainerStatus
from kube_core.meta.documents import Document
from kube_core.node.pods.restarts import is_sidecar, restarts, restarts_all

__all__ = ["History", "Plan", "Stop", "history", "make_plan"]

#: The runs of each container of a pod, by its name, oldest first.
History = Mapping[str, Sequence[ContainerStatus]]


@attrs.frozen
class Stop:
    """A running container that has to end, and why; `probe`: the kind of the probe that it failed."""

    run: ContainerStatus
    why: str
    probe: str = ""


@attrs.frozen
class Plan:
    """`start`: container specs, in order. `over`: the pod is done, for good. `reset`: all containers start anew."""

    start: tuple[Document, ...] = ()
    stop: tuple[Stop, ...] = ()
    initialized: bool = False
    over: bool = False
    reset: bool = False


def history(statuses: Sequence[ContainerStatus]) -> dict[str, list[ContainerStatus]]:
    runs: dict[str, list[ContainerStatus]] = {}
    for status in sorted(statuses, key=lambda each: (each.config.attempt, each.created_at)):
        runs.setdefault(status.config.name, []).append(status)
    return runs


def make_plan(
    pod: Document,
    runs: History,
    *,
    started: Callable[[ContainerStatus], bool],
    failed: Mapping[str, str],
    sandbox_id: str | None = None,
) -> Plan:
    """`started`: whether a running container passed its startup probe. `failed`: container id → the kind of probe that
    it failed. `sandbox_id` None: every run counts.
    """
    return _Planner(pod, runs, started, failed, sandbox_id).plan()


@attrs.define
class _Planner:
    pod: Document
    runs: History
    started: Callable[[ContainerStatus], bool]
    failed: Mapping[str, str]
    sandbox_id: str | None
    start: list[Document] = attrs.field(factory=list)
    stop: list[Stop] = attrs.field(factory=list)

    def plan(self) -> Plan:
        spec = self.pod["spec"]
        if self._asks_for_all():
            return Plan(reset=True)
        initialized, over = self._plan_inits(spec.get("initContainers") or ())
        if initialized:
            over = self._plan_apps(spec["containers"])
        if over:
            return Plan((), tuple(self.stop), initialized, over=True)
        ephemeral = [each for each in spec.get("ephemeralContainers") or () if not self.runs.get(each["name"])]
        return Plan((*ephemeral, *self.start), tuple(self.stop), initialized)

    def _asks_for_all(self) -> bool:
        spec = self.pod["spec"]
        for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
            last = self._last(container)
            if last is not None and last.state == "exited" and restarts_all(container, last.exit_code):
                return True
        return False

    def _plan_inits(self, inits: Sequence[Document]) -> tuple[bool, bool]:
        """Whether the app containers may run, and whether the pod has failed for good."""
        begun = any(self._last(app) for app in self.pod["spec"]["containers"])
        # Once a later one has run, the earlier ones are done, whatever is left of them.
        reached = max((number for number, init in enumerate(inits) if self._last(init)), default=0)
        for number, init in enumerate(inits):
            last, passed = self._last(init), begun or number < reached
            if is_sidecar(init):
                stops = self._to_stop(last, init, "Init container")
                if not stops and (last is None or last.state != "running"):
                    self.start.append(init)
                if passed or (last is not None and last.state == "running" and self.started(last)):
                    continue
            elif passed or (last is not None and last.state == "exited" and last.exit_code == 0):
                continue
            elif last is None or last.state == "created":
                self.start.append(init)
            elif last.state == "exited":
                if not restarts(self.pod, init, last.exit_code):
                    return False, True
                self.start.append(init)
            return False, False
        return True, False

    def _plan_apps(self, apps: Sequence[Document]) -> bool:
        """Whether all app containers have ended for good."""
        over = True
        for app in apps:
            last = self._last(app)
            if last is not None and last.state == "running":
                self._to_stop(last, app, "Container")
                over = False
            elif self._is_due(app, last):
                self.start.append(app)
                over = False
        return over

    def _is_due(self, app: Document, last: ContainerStatus | None) -> bool:
        if last is None:
            policy = app.get("restartPolicy") or self.pod["spec"].get("restartPolicy") or "Always"
            earlier = [run for run in self.runs.get(app["name"]) or () if run.state == "exited"]
            return not (policy == "OnFailure" and earlier and earlier[-1].exit_code == 0)
        return last.state == "created" or restarts(self.pod, app, last.exit_code)

    def _to_stop(self, last: ContainerStatus | None, container: Document, what: str) -> bool:
        """Adds a container that has to end to `stop`; whether it has to."""
        if last is None or last.state != "running":
            return False
        name = container["name"]
        if last.config.image != container["image"]:
            again, why, probe = True, f"{what} {name} definition changed", ""
        elif probe := self.failed.get(last.id, ""):
            again, why = self._restarts_alive(container), f"{what} {name} failed {probe} probe"
        else:
            return False
        self.stop.append(Stop(last, f"{why}, will be restarted" if again and what == "Container" else why, probe))
        return True

    def _restarts_alive(self, container: Document) -> bool:
        """Whether one that is ended for its probe runs again: there is no exit code for its rules yet."""
        return (container.get("restartPolicy") or self.pod["spec"].get("restartPolicy") or "Always") != "Never"

    def _last(self, container: Document) -> ContainerStatus | None:
        """Its latest run in the present sandbox."""
        found = self.runs.get(container["name"])
        if not found or (self.sandbox_id is not None and found[-1].sandbox_id != self.sandbox_id):
            return None
        return found[-1]

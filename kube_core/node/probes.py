"""Probes: whether containers have started, are alive, and are ready, as their specs say to ask.

One task for each probe of each running container. A startup probe comes first: until it succeeds, the other two wait.
`successThreshold` and `failureThreshold` count answers in a row; what could not be asked counts for neither. `ready`
and `started` are what the worker reports, a liveness or startup probe that failed too often puts the container in
`failed`, and the worker stops it. Each change pokes the worker; nothing is changed here but these results.

A container that an earlier agent found ready is ready until a probe says otherwise. How a container is asked is
`probing.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import attrs

from kube_core._kit.clock import Clock
from kube_core.abc.runtime import ContainerStatus, ProbeAnswer, Runtime, RuntimeFailure
from kube_core.control.events import EventRecorder
from kube_core.meta.documents import Document
from kube_core.node.probing import Prober

__all__ = ["Probed", "Probes"]

Kind = Literal["startup", "readiness", "liveness"]

_WORDS: dict[Kind, str] = {"startup": "Startup", "readiness": "Readiness", "liveness": "Liveness"}
_TRIES = 3


@attrs.frozen
class Probed:
    """A running container and what probing it needs. `poke` tells its worker that something changed."""

    pod: Document
    container: Document
    run: ContainerStatus
    address: str
    field_path: str
    poke: Callable[[], None]
    before: Document | None = None
    """What the pod's status says of this very container already."""
    deleting: Callable[[], bool] = bool
    """Whether the pod is being deleted: nothing is restarted then, so nobody asks whether it lives."""


@attrs.define
class _Results:
    started: bool
    ready: bool
    startup_passed: asyncio.Event | None = None
    """Where there is a startup probe that has not succeeded yet."""
    tasks: tuple[asyncio.Task[None], ...] = ()


class Probes:
    """All probes of a node. Leaving the agent's task group ends them."""

    def __init__(
        self, runtime: Runtime, *, clock: Clock, events: EventRecorder, spawn: Callable[[Any, str], asyncio.Task[None]]
    ) -> None:
        self._prober = Prober(runtime, clock)
        self._clock = clock
        self._events = events
        self._spawn = spawn
        self._results: dict[str, _Results] = {}
        self.failed: dict[str, str] = {}
        """Container id → the kind of the probe for which it has to be stopped."""

    def watch(self, probed: Probed) -> None:
        """Probe a running container from now on. Again for the same one does nothing."""
        if probed.run.id in self._results:
            return
        container = probed.container
        kinds: list[Kind] = [kind for kind in _WORDS if container.get(f"{kind}Probe")]
        before = probed.before or {}
        results = _Results(
            started="startup" not in kinds or bool(before.get("started")),
            ready="readiness" not in kinds or bool(before.get("ready")),
        )
        if not results.started:
            results.startup_passed = asyncio.Event()
        self._results[probed.run.id] = results
        for kind in kinds:
            if kind == "startup" and results.started:
                continue
            name = f"{kind} probe of {container['name']}"
            results.tasks += (self._spawn(self._run(probed, kind, results), name),)

    def forget(self, container_id: str) -> None:
        """Stop probing."""
        results = self._results.pop(container_id, None)
        self.failed.pop(container_id, None)
        for task in results.tasks if results is not None else ():
            task.cancel()

    def started(self, run: ContainerStatus) -> bool:
        results = self._results.get(run.id)
        return results is not None and results.started

    def ready(self, run: ContainerStatus) -> bool:
        results = self._results.get(run.id)
        return results is not None and results.started and results.ready

    async def close(self) -> None:
        for container_id in list(self._results):
            self.forget(container_id)
        await self._prober.close()

    async def _run(self, probed: Probed, kind: Kind, results: _Results) -> None:
        probe: Document = probed.container[f"{kind}Probe"]
        period = float(probe.get("periodSeconds") or 10)
        if kind != "startup" and results.startup_passed is not None:
            await results.startup_passed.wait()
        wait = float(probe.get("initialDelaySeconds") or 0) - (self._clock.now() - probed.run.started_at)
        if wait > 0:
            await self._clock.sleep(wait)
        in_a_row, last = 0, None
        while kind == "readiness" or not probed.deleting():
            answer = await self._ask(probed, probe, kind)
            if answer is not None:
                in_a_row = in_a_row + 1 if answer.success == last else 1
                last = answer.success
                threshold = probe.get("successThreshold", 1) if answer.success else probe.get("failureThreshold", 3)
                if in_a_row >= int(threshold or 1) and self._decide(probed, kind, results, answer.success):
                    return
            await self._clock.sleep(period)

    def _decide(self, probed: Probed, kind: Kind, results: _Results, success: bool) -> bool:
        """Take a verdict in; whether this probe is done."""
        if kind == "readiness":
            if results.ready != success:
                results.ready = success
                probed.poke()
            return False
        if not success:
            self.failed[probed.run.id] = kind
            probed.poke()
            return True
        if kind == "startup":
            results.started = True
            if results.startup_passed is not None:
                results.startup_passed.set()
            probed.poke()
            return True
        return False

    async def _ask(self, probed: Probed, probe: Document, kind: Kind) -> ProbeAnswer | None:
        """Ask, and tell of what is wrong. None: it could not be asked."""
        for tries_left in reversed(range(_TRIES)):
            try:
                answer = await self._prober.ask(probed.run.id, probed.container, probed.address, probe)
                break
            except RuntimeFailure as error:
                if not tries_left:
                    told = f"{_WORDS[kind]} probe errored and resulted in unknown state: {error}"
                    self._events.warning(probed.pod, "Unhealthy", told, field_path=probed.field_path)
                    return None
        if not answer.success:
            told = f"{_WORDS[kind]} probe failed: {answer.output}"
            self._events.warning(probed.pod, "Unhealthy", told, field_path=probed.field_path)
        elif answer.warning:
            told = f"{_WORDS[kind]} probe warning: {answer.output}"
            self._events.warning(probed.pod, "ProbeWarning", told, field_path=probed.field_path)
        return answer

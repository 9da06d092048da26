"""Containers in memory: nothing runs, and everything happens as it would, on the clock.

A container is a state and at most one pending timer, so one program holds thousands of pods on hundreds of nodes.
What a container does is its `FakeBehaviour`, looked for in this order:

* the pod's annotation `fake.kube-core.dev/behaviour`: JSON, container name (or `*`) → fields of `FakeBehaviour`;
* `runtime.behaviours`, by image;
* the default: starts at once, is ready at once, runs until it is stopped, ends with 0.

With a `FakeClock` all of it is deterministic. Used by tests and by clusters that try controllers rather than programs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import attrs
import orjson

from kube_core._kit.clock import Clock, Timer
from kube_core.abc.runtime import (
    ContainerConfig,
    ContainerEvent,
    ContainerNotFound,
    ContainerStatus,
    ExecRequest,
    ExecSession,
    ImageFailure,
    ImageStatus,
    LogLine,
    LogOptions,
    NetworkProbe,
    ProbeAnswer,
    Runtime,
    RuntimeCapabilities,
    RuntimeFailure,
    SandboxConfig,
    SandboxStatus,
    Stream,
)
from kube_core.abc.transport import ByteStream

__all__ = ["BEHAVIOUR_ANNOTATION", "FakeBehaviour", "FakeRuntime"]

BEHAVIOUR_ANNOTATION = "fake.kube-core.dev/behaviour"

_SIGKILL_CODE = 137


@attrs.frozen
class FakeBehaviour:
    """What a container does. Times are in seconds."""

    pull_latency: float = 0.0
    pull_error: str = ""
    """Not "": the image cannot be pulled, and why."""
    start_latency: float = 0.0
    start_error: str = ""
    runs_for: float | None = None
    """Ends by itself after so long; None: never."""
    exit_code: int = 0
    """Of a container that ends by itself. On SIGTERM it ends with 0."""
    out_of_memory: bool = False
    """It ends by itself as one that the kernel killed for its memory."""
    stop_latency: float = 0.0
    """How long it takes to end after SIGTERM; longer than its grace, it is ended by force."""
    ready_after: float = 0.0
    """How long after its start network probes succeed; negative: never."""
    log: str = ""
    """What it writes when it starts."""
    exec_output: str = ""
    exec_exit_code: int = 0


@attrs.define
class _Container:
    status: ContainerStatus
    behaviour: FakeBehaviour
    log: list[LogLine] = attrs.field(factory=list)
    timer: Timer | None = None
    deadline: float = 0.0
    #: When it will end by itself, and how: a monotonic moment, exit code and reason.
    end: tuple[float, int, str] | None = None
    exited: asyncio.Event = attrs.field(factory=asyncio.Event)

    def kept(self, now: float) -> _Kept:
        left = max(self.deadline - now, 0.001) if self.deadline else 0.0
        end = (max(self.end[0] - now, 0.0), *self.end[1:]) if self.end is not None else None
        return _Kept(self.status, self.behaviour, tuple(self.log), left, end)


@attrs.frozen
class _Kept:
    """A container in a snapshot. Times are seconds that are left."""

    status: ContainerStatus
    behaviour: FakeBehaviour
    log: tuple[LogLine, ...]
    grace: float
    end: tuple[float, int, str] | None


@attrs.frozen
class _State:
    """A runtime in a snapshot."""

    last_id: int
    behaviours: Mapping[str, FakeBehaviour]
    unready: frozenset[str]
    images: Mapping[str, ImageStatus]
    sandboxes: Mapping[str, SandboxStatus]
    containers: tuple[_Kept, ...]


class FakeRuntime(Runtime):
    """Tests put behaviours in `behaviours` (by image), call `crash`, and set `unready` (pod uids that fail probes)."""

    capabilities: ClassVar[RuntimeCapabilities] = RuntimeCapabilities(
        processes=False, reachable=False, exec=True, behaviours=True, snapshot=True
    )
    name: ClassVar[str] = "fake"

    def __init__(
        self,
        *,
        clock: Clock,
        node_name: str,
        state_directory: str = "",
        behaviours: Mapping[str, FakeBehaviour] | None = None,
    ) -> None:
        super().__init__(clock=clock, node_name=node_name, state_directory=state_directory)
        self.behaviours: dict[str, FakeBehaviour] = dict(behaviours or {})
        self.unready: set[str] = set()
        self._last_id = 0
        self._images: dict[str, ImageStatus] = {}
        self._sandboxes: dict[str, SandboxStatus] = {}
        self._containers: dict[str, _Container] = {}
        self._pods: dict[str, list[str]] = {}
        self._events: asyncio.Queue[ContainerEvent | None] = asyncio.Queue()

    def snapshot(self) -> _State:
        now = self.clock.monotonic()
        return _State(
            self._last_id,
            dict(self.behaviours),
            frozenset(self.unready),
            dict(self._images),
            dict(self._sandboxes),
            tuple(container.kept(now) for container in self._containers.values()),
        )

    def restore(self, state: _State) -> None:
        now = self.clock.monotonic()
        self._last_id = state.last_id
        self.behaviours.update(state.behaviours)
        self.unready = set(state.unready)
        self._images = dict(state.images)
        self._sandboxes = dict(state.sandboxes)
        for kept in state.containers:
            status = kept.status
            container = _Container(status, kept.behaviour, list(kept.log))
            container.deadline = now + kept.grace if kept.grace else 0.0
            if status.state == "exited":
                container.exited.set()
            self._containers[status.id] = container
            self._pods.setdefault(status.pod_uid, []).append(status.id)
            if kept.end is not None:
                self._exit_later(container, *kept.end)

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        await self.end()
        self._events.put_nowait(None)

    async def end(self) -> None:
        for sandbox in list(self._sandboxes):
            await self.remove_sandbox(sandbox)

    async def run_sandbox(self, config: SandboxConfig) -> SandboxStatus:
        identity = f"sandbox-{self.node_name}-{self._next_id()}"
        status = SandboxStatus(identity, config, ready=True, created_at=self.clock.now(), ips=config.ips)
        self._sandboxes[identity] = status
        return status

    async def stop_sandbox(self, sandbox_id: str) -> None:
        if (sandbox := self._sandboxes.get(sandbox_id)) is None:
            return
        for container in self._in_sandbox(sandbox):
            self._exit(container, _SIGKILL_CODE)
        self._sandboxes[sandbox_id] = attrs.evolve(sandbox, ready=False)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        if (sandbox := self._sandboxes.get(sandbox_id)) is None:
            return
        await self.stop_sandbox(sandbox_id)
        for container in self._in_sandbox(sandbox):
            await self.remove_container(container.status.id)
        del self._sandboxes[sandbox_id]

    def list_sandboxes(self, pod_uid: str = "") -> Sequence[SandboxStatus]:
        return [each for each in self._sandboxes.values() if pod_uid in ("", each.config.uid)]

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        sandbox = self._sandboxes.get(sandbox_id)
        if sandbox is None or not sandbox.ready:
            raise ContainerNotFound(f"there is no running sandbox {sandbox_id}")
        if (image := self._images.get(config.image)) is None:
            raise RuntimeFailure(f'image "{config.image}" is not present')
        identity = f"fake-{self.node_name}-{self._next_id()}"
        uid = sandbox.config.uid
        status = ContainerStatus(
            identity, sandbox_id, uid, config, "created", created_at=self.clock.now(), image_id=image.id
        )
        self._containers[identity] = _Container(status, self._behaviour(sandbox.config, config))
        self._pods.setdefault(uid, []).append(identity)
        return identity

    async def start_container(self, container_id: str) -> None:
        container = self._known(container_id)
        if container.status.state != "created":
            raise RuntimeFailure(f"container {container_id} was started already")
        behaviour = container.behaviour
        if behaviour.start_latency > 0:
            await self.clock.sleep(behaviour.start_latency)
            container = self._known(container_id)
        now = self.clock.now()
        if behaviour.start_error:
            container.status = attrs.evolve(
                container.status, state="exited", started_at=now, finished_at=now, exit_code=128,
                reason="StartError", message=behaviour.start_error,
            )  # fmt: skip
            container.exited.set()
            raise RuntimeFailure(behaviour.start_error, reason="StartError")
        container.status = attrs.evolve(container.status, state="running", started_at=now)
        for line in behaviour.log.splitlines():
            container.log.append(LogLine(_timestamp(now), "stdout", line.encode()))
        if behaviour.runs_for is not None:
            code = _SIGKILL_CODE if behaviour.out_of_memory else behaviour.exit_code
            reason = "OOMKilled" if behaviour.out_of_memory else ""
            self._exit_later(container, behaviour.runs_for, code, reason)
        self._announce(container)

    async def stop_container(self, container_id: str, grace: float) -> None:
        container = self._containers.get(container_id)
        if container is None or container.status.state != "running":
            if container is not None and container.status.state == "created":
                self._exit(container, _SIGKILL_CODE)
            return
        latency = container.behaviour.stop_latency
        within = latency <= grace
        if not container.deadline or self.clock.monotonic() + grace < container.deadline:
            container.deadline = self.clock.monotonic() + grace
            if not within or latency > 0:
                self._exit_later(container, min(latency, grace), 0 if within else _SIGKILL_CODE)
            else:
                self._exit(container, 0)
        await container.exited.wait()

    async def remove_container(self, container_id: str) -> None:
        if (container := self._containers.get(container_id)) is None:
            return
        self._exit(container, _SIGKILL_CODE)
        del self._containers[container_id]
        siblings = self._pods[container.status.pod_uid]
        siblings.remove(container_id)
        if not siblings:
            del self._pods[container.status.pod_uid]

    def list_containers(self, pod_uid: str = "") -> Sequence[ContainerStatus]:
        ids = self._pods.get(pod_uid, ()) if pod_uid else self._containers
        return [self._containers[identity].status for identity in ids]

    async def events(self) -> AsyncIterator[ContainerEvent]:
        while (event := await self._events.get()) is not None:
            yield event

    async def exec(self, container_id: str, request: ExecRequest) -> ExecSession:
        container = self._known(container_id)
        if container.status.state != "running":
            raise RuntimeFailure(f"container {container_id} is not running")
        return _FakeExec(container.behaviour)

    async def port_forward(self, sandbox_id: str, port: int) -> ByteStream:
        raise RuntimeFailure("the fake runtime has nothing that listens")

    async def logs(self, container_id: str, options: LogOptions) -> AsyncIterator[LogLine]:
        container = self._known(container_id)
        lines = [line for line in container.log if datetime.fromisoformat(line.timestamp).timestamp() >= options.since]
        if options.tail_lines >= 0:
            lines = lines[len(lines) - min(options.tail_lines, len(lines)) :]
        for line in lines:
            yield line
        if options.follow and container.status.state != "exited":
            await container.exited.wait()

    async def pull_image(self, image: str, *, sandbox_id: str = "") -> ImageStatus:
        behaviour = self.behaviours.get(image, _DEFAULT)
        if behaviour.pull_latency > 0:
            await self.clock.sleep(behaviour.pull_latency)
        if behaviour.pull_error:
            raise ImageFailure(behaviour.pull_error)
        return self._images.setdefault(image, ImageStatus(f"fake://{image}", (image,)))

    async def image_status(self, image: str, *, sandbox_id: str = "") -> ImageStatus | None:
        return self._images.get(image)

    async def probe(self, container_id: str, request: NetworkProbe) -> ProbeAnswer:
        container = self._known(container_id)
        ready_after = container.behaviour.ready_after
        running_for = self.clock.now() - container.status.started_at
        if ready_after < 0 or running_for < ready_after or container.status.pod_uid in self.unready:
            return ProbeAnswer(False, "connection refused")
        return ProbeAnswer(True)

    def crash(self, container_id: str, exit_code: int = 1) -> None:
        """End a container as if its program had failed."""
        self._exit(self._known(container_id), exit_code)

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _behaviour(self, sandbox: SandboxConfig, config: ContainerConfig) -> FakeBehaviour:
        text = sandbox.annotations.get(BEHAVIOUR_ANNOTATION)
        if text:
            try:
                told: Mapping[str, Any] = orjson.loads(text)
                fields = told.get(config.name, told.get("*"))
                if fields is not None:
                    return FakeBehaviour(**fields)
            except (ValueError, TypeError, AttributeError) as error:
                raise RuntimeFailure(f"annotation {BEHAVIOUR_ANNOTATION}: {error}") from None
        return self.behaviours.get(config.image, _DEFAULT)

    def _known(self, container_id: str) -> _Container:
        container = self._containers.get(container_id)
        if container is None:
            raise ContainerNotFound(f"there is no container {container_id}")
        return container

    def _in_sandbox(self, sandbox: SandboxStatus) -> list[_Container]:
        ids = self._pods.get(sandbox.config.uid, ())
        found = [self._containers[identity] for identity in ids]
        return [container for container in found if container.status.sandbox_id == sandbox.id]

    def _exit_later(self, container: _Container, delay: float, code: int, reason: str = "") -> None:
        if container.timer is not None:
            container.timer.cancel()
        container.end = (self.clock.monotonic() + delay, code, reason)
        container.timer = self.clock.call_later(delay, lambda: self._exit(container, code, reason))

    def _exit(self, container: _Container, code: int, reason: str = "") -> None:
        if container.timer is not None:
            container.timer.cancel()
            container.timer = container.end = None
        if container.status.state == "exited":
            return
        container.status = attrs.evolve(
            container.status,
            state="exited",
            exit_code=code,
            finished_at=self.clock.now(),
            reason=reason or ("Completed" if code == 0 else "Error"),
        )
        container.exited.set()
        self._announce(container)

    def _announce(self, container: _Container) -> None:
        self._events.put_nowait(ContainerEvent(container.status.pod_uid, container.status.id))


_DEFAULT = FakeBehaviour()


class _FakeExec(ExecSession):
    """Says its line and ends; what is written to it is lost."""

    def __init__(self, behaviour: FakeBehaviour) -> None:
        self._behaviour = behaviour

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        if self._behaviour.exec_output:
            yield "stdout", self._behaviour.exec_output.encode()

    async def write(self, data: bytes) -> None:
        pass

    async def close_stdin(self) -> None:
        pass

    async def resize(self, width: int, height: int) -> None:
        pass

    async def exit_code(self) -> int:
        return self._behaviour.exec_exit_code

    async def close(self) -> None:
        pass


def _timestamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")

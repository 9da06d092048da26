"""Containers in memory: nothing runs, and everything happens as it would, on the clock.

A container is a state and at most one pending timer, so one program holds thousands of pods on hundreds of nodes.
What a container does is its `FakeBehaviour`, looked for in this order:

* the pod's annotation `fake.kube-core.dev/behaviour`: JSON, container name (or `*`) → fields of `FakeBehaviour`;
* `runtime.behaviours`, by image, or by its name without tag and digest;
* the default: starts at once, is ready at once, runs until it is stopped, ends with 0.

A behaviour may be a function (`functions.py`): then the container is a task that runs it, and is over when that is.
What containers seem to use is told by `cpu` and `memory` (`load.py`); of CPU it is never more than their limit.

With a `FakeClock` all of it is deterministic. Used by tests and by clusters that try controllers rather than programs.
"""

from __future__ import annotations

import asyncio
import math
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
    RegistryCredentials,
    Resources,
    Runtime,
    RuntimeCapabilities,
    RuntimeFailure,
    SandboxConfig,
    SandboxStatus,
    Stream,
)
from kube_core.abc.snapshots import SnapshotRefused
from kube_core.abc.transport import ByteStream
from kube_core.abc.usage import RuntimeUsage, Usage
from kube_core.drivers import DriverError
from kube_drivers.runtime.connections import connect
from kube_drivers.runtime.functions import (
    ExecFunction,
    Function,
    FunctionExec,
    Input,
    ProbeFunction,
    RunningContainer,
    ask_probe,
    run_function,
)
from kube_drivers.runtime.load import Curve, Load, SharedLoad, read_curve

__all__ = ["BEHAVIOUR_ANNOTATION", "Behaviour", "FakeBehaviour", "FakeRuntime", "RunningContainer", "SharedLoad"]

BEHAVIOUR_ANNOTATION = "fake.kube-core.dev/behaviour"

_SIGKILL_CODE = 137
#: Lines of a container's log that are kept; up to as many older ones may be there as well.
_LOG_LINES = 10_000

_NOTHING = Curve([(0.0, 0.0)])


def _load(value: Any) -> Load:
    return value if isinstance(value, SharedLoad) else read_curve(value)


_CALLABLE = attrs.validators.optional(attrs.validators.is_callable())


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
    cpu: Load = attrs.field(default=_NOTHING, converter=_load)
    """Cores that it uses: a number or a quantity ("250m"), a curve over the time since its start, or a `SharedLoad`."""
    memory: Curve = attrs.field(default=_NOTHING, converter=read_curve)
    """Bytes that it uses, or a quantity ("64Mi"), or a curve of them."""
    function: Function | None = attrs.field(default=None, validator=_CALLABLE)
    """What it runs, instead of what `runs_for`, `exit_code`, `out_of_memory` and `stop_latency` say."""
    probe: ProbeFunction | None = attrs.field(default=None, validator=_CALLABLE)
    """Answers network probes, instead of `ready_after`."""
    exec: ExecFunction | None = attrs.field(default=None, validator=_CALLABLE)
    """Answers commands, instead of `exec_output`."""


#: What containers of an image do, in short: a function, or the fields of a `FakeBehaviour`.
Behaviour = FakeBehaviour | Function | Mapping[str, Any]


@attrs.define
class _Container:
    status: ContainerStatus
    behaviour: FakeBehaviour
    log: list[LogLine] = attrs.field(factory=list)
    #: Lines that are not kept any more.
    dropped: int = 0
    #: Set, and made anew, when something is written and at the end.
    changed: asyncio.Event = attrs.field(factory=asyncio.Event)
    #: What functions know it as.
    handle: RunningContainer | None = None
    task: asyncio.Task[int] | None = None
    #: The exit code of one whose function is being ended by force.
    forced: int | None = None
    timer: Timer | None = None
    deadline: float = 0.0
    #: When it will end by itself, and how: a monotonic moment, exit code and reason.
    end: tuple[float, int, str] | None = None
    exited: asyncio.Event = attrs.field(factory=asyncio.Event)
    #: Core-seconds that it had used when it was last looked at, and that moment (seconds since it started).
    used: float = 0.0
    looked_at: float = 0.0

    def turn(self) -> None:
        """Something was written, or it is over."""
        self.changed.set()
        self.changed = asyncio.Event()

    def usage(self, now: float) -> Usage:
        """`now` in seconds since the epoch; it has to be running."""
        age, load = now - self.status.started_at, self.behaviour.cpu
        most = _cores(self.status.resources or self.status.config.resources)
        if isinstance(load, SharedLoad):
            rate = min(load.part, most)
            self.used += rate * (age - self.looked_at)
        else:
            rate = min(load.at(age), most)
            self.used += load.integral(self.looked_at, age, most)
        self.looked_at = age
        memory = int(self.behaviour.memory.at(age))
        return Usage(now, int(self.used * 1e9), memory, nanocores=round(rate * 1e9))

    def kept(self, now: float) -> _Kept:
        left = max(self.deadline - now, 0.001) if self.deadline else 0.0
        end = (max(self.end[0] - now, 0.0), *self.end[1:]) if self.end is not None else None
        return _Kept(self.status, self.behaviour, tuple(self.log), left, end, (self.used, self.looked_at))


@attrs.frozen
class _Kept:
    """A container in a snapshot. Times are seconds that are left."""

    status: ContainerStatus
    behaviour: FakeBehaviour
    log: tuple[LogLine, ...]
    grace: float
    end: tuple[float, int, str] | None
    used: tuple[float, float]


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
        processes=False,
        reachable=False,
        exec=True,
        port_forward=True,
        attach=True,
        resize=True,
        behaviours=True,
        snapshot=True,
    )
    name: ClassVar[str] = "fake"

    def __init__(
        self,
        *,
        clock: Clock,
        node_name: str,
        state_directory: str = "",
        behaviours: Mapping[str, Behaviour] | None = None,
    ) -> None:
        """Raises `DriverError` for behaviours that cannot be."""
        super().__init__(clock=clock, node_name=node_name, state_directory=state_directory)
        self.behaviours = {image: _in_full(image, each) for image, each in (behaviours or {}).items()}
        self.unready: set[str] = set()
        self._last_id = 0
        self._images: dict[str, ImageStatus] = {}
        self._sandboxes: dict[str, SandboxStatus] = {}
        #: The sandboxes of each pod.
        self._runs: dict[str, tuple[str, ...]] = {}
        self._containers: dict[str, _Container] = {}
        self._pods: dict[str, list[str]] = {}
        self._events: asyncio.Queue[ContainerEvent | None] = asyncio.Queue()

    def snapshot(self) -> _State:
        running = [each.handle for each in self._containers.values() if each.task is not None and each.handle]
        if running:
            names = ", ".join(f"{each.name} of {each.namespace}/{each.pod}" for each in running)
            raise SnapshotRefused(f"containers of {self.node_name} run functions, whose state cannot be taken: {names}")
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
        for identity, sandbox in self._sandboxes.items():
            self._runs[sandbox.config.uid] = (*self._runs.get(sandbox.config.uid, ()), identity)
        for kept in state.containers:
            status = kept.status
            container = _Container(status, kept.behaviour, list(kept.log))
            container.deadline = now + kept.grace if kept.grace else 0.0
            container.used, container.looked_at = kept.used
            if status.state == "exited":
                container.exited.set()
            elif status.state == "running" and isinstance(kept.behaviour.cpu, SharedLoad):
                kept.behaviour.cpu.join(status.id)
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
        self._runs[config.uid] = (*self._runs.get(config.uid, ()), identity)
        return status

    async def stop_sandbox(self, sandbox_id: str) -> None:
        if (sandbox := self._sandboxes.get(sandbox_id)) is None:
            return
        self._sandboxes[sandbox_id] = attrs.evolve(sandbox, ready=False)
        for container in self._in_sandbox(sandbox):
            await self._end(container)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        if (sandbox := self._sandboxes.get(sandbox_id)) is None:
            return
        await self.stop_sandbox(sandbox_id)
        for container in self._in_sandbox(sandbox):
            await self.remove_container(container.status.id)
        if self._sandboxes.pop(sandbox_id, None) is not None:
            left = tuple(each for each in self._runs.pop(sandbox.config.uid, ()) if each != sandbox_id)
            if left:
                self._runs[sandbox.config.uid] = left

    def list_sandboxes(self, pod_uid: str = "") -> Sequence[SandboxStatus]:
        if not pod_uid:
            return list(self._sandboxes.values())
        return [self._sandboxes[identity] for identity in self._runs.get(pod_uid, ())]

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
            if container.status.state != "created":
                raise RuntimeFailure(f"container {container_id} was stopped before it had started")
        now = self.clock.now()
        if behaviour.start_error:
            container.status = attrs.evolve(
                container.status, state="exited", started_at=now, finished_at=now, exit_code=128,
                reason="StartError", message=behaviour.start_error,
            )  # fmt: skip
            container.exited.set()
            raise RuntimeFailure(behaviour.start_error, reason="StartError")
        container.status = attrs.evolve(container.status, state="running", started_at=now)
        if isinstance(behaviour.cpu, SharedLoad):
            behaviour.cpu.join(container_id)
        if behaviour.log:
            self._write(container, "stdout", behaviour.log)
        if behaviour.function is not None:
            name = f"{container.status.config.name} of {self.node_name}: {container_id}"
            container.task = asyncio.create_task(run_function(behaviour.function, self._handle(container)), name=name)
            container.task.add_done_callback(lambda task: self._function_ended(container, task))
        elif behaviour.runs_for is not None:
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
        if container.task is not None:
            self._handle(container).request_stop()
            within = False
        if not container.deadline or self.clock.monotonic() + grace < container.deadline:
            container.deadline = self.clock.monotonic() + grace
            if not within or latency > 0:
                self._exit_later(container, latency if within else grace, 0 if within else _SIGKILL_CODE)
            else:
                self._exit(container, 0)
        await container.exited.wait()

    async def remove_container(self, container_id: str) -> None:
        if (container := self._containers.get(container_id)) is None:
            return
        await self._end(container)
        if self._containers.get(container_id) is not container:  # somebody else was faster
            return
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
        if (answer := container.behaviour.exec) is not None:
            return FunctionExec(answer, self._handle(container), request.command)
        return _FakeExec(container.behaviour)

    async def attach(self, container_id: str, request: ExecRequest) -> ExecSession:
        container = self._known(container_id)
        if container.status.state != "running":
            raise RuntimeFailure(f"container {container_id} is not running")
        return _Attached(container, self._handle(container).stdin if request.stdin else None)

    async def port_forward(self, sandbox_id: str, port: int) -> ByteStream:
        sandbox = self._sandboxes.get(sandbox_id)
        for container in self._in_sandbox(sandbox) if sandbox is not None else ():
            if container.handle is not None and (place := container.handle.endpoints.get(port)) is not None:
                return await connect(*place)
        raise RuntimeFailure(f"nothing listens at port {port}: the fake runtime has only what functions listen at")

    async def logs(self, container_id: str, options: LogOptions) -> AsyncIterator[LogLine]:
        container = self._known(container_id)
        lines = [line for line in container.log if datetime.fromisoformat(line.timestamp).timestamp() >= options.since]
        if options.tail_lines >= 0:
            lines = lines[len(lines) - min(options.tail_lines, len(lines)) :]
        seen = container.dropped + len(container.log)
        for line in lines:
            yield line
        while options.follow:
            changed, over = container.changed, container.exited.is_set()
            fresh = container.log[max(seen - container.dropped, 0) :]
            seen = container.dropped + len(container.log)
            for line in fresh:
                yield line
            if over:
                return
            if not fresh:
                await changed.wait()

    async def pull_image(
        self, image: str, *, sandbox_id: str = "", credentials: RegistryCredentials | None = None
    ) -> ImageStatus:
        behaviour = self._of_image(image)
        if behaviour.pull_latency > 0:
            await self.clock.sleep(behaviour.pull_latency)
        if behaviour.pull_error:
            raise ImageFailure(behaviour.pull_error)
        return self._images.setdefault(image, ImageStatus(f"fake://{image}", (image,)))

    async def image_status(self, image: str, *, sandbox_id: str = "") -> ImageStatus | None:
        return self._images.get(image)

    async def update_container(self, container_id: str, resources: Resources) -> None:
        container = self._known(container_id)
        if container.status.state == "running":
            container.usage(self.clock.now())  # until now it had what it had
        container.status = attrs.evolve(container.status, resources=resources)

    async def update_sandbox(self, sandbox_id: str, resources: Resources) -> None:
        sandbox = self._sandboxes.get(sandbox_id)
        if sandbox is None:
            raise ContainerNotFound(f"there is no sandbox {sandbox_id}")
        config = attrs.evolve(sandbox.config, resources=resources)
        self._sandboxes[sandbox_id] = attrs.evolve(sandbox, config=config)

    async def usage(self) -> RuntimeUsage:
        now = self.clock.now()
        running = (each for each in self._containers.values() if each.status.state == "running")
        return RuntimeUsage({each.status.id: each.usage(now) for each in running})

    async def probe(self, container_id: str, request: NetworkProbe) -> ProbeAnswer:
        container = self._known(container_id)
        ready_after = container.behaviour.ready_after
        running_for = self.clock.now() - container.status.started_at
        if ready_after < 0 or running_for < ready_after or container.status.pod_uid in self.unready:
            return ProbeAnswer(False, "connection refused")
        if container.behaviour.probe is not None:
            return await ask_probe(container.behaviour.probe, self._handle(container), request)
        if container.handle is not None and not container.handle.ready:
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
        return self._of_image(config.image)

    def _of_image(self, image: str) -> FakeBehaviour:
        exact = self.behaviours.get(image)
        return exact if exact is not None else self.behaviours.get(_repository(image), _DEFAULT)

    def _handle(self, container: _Container) -> RunningContainer:
        if container.handle is None:
            sandbox = self._sandboxes[container.status.sandbox_id]
            container.handle = RunningContainer(
                sandbox.config,
                container.status.config,
                clock=self.clock,
                write=lambda stream, text: self._write(container, stream, text),
            )
        return container.handle

    def _write(self, container: _Container, stream: Stream, text: str) -> None:
        moment = _timestamp(self.clock.now())
        container.log += [LogLine(moment, stream, line.encode()) for line in text.splitlines()]
        if len(container.log) > 2 * _LOG_LINES:
            container.dropped += len(container.log) - _LOG_LINES
            del container.log[:-_LOG_LINES]
        container.turn()

    def _function_ended(self, container: _Container, task: asyncio.Task[int]) -> None:
        container.task = None
        code = _SIGKILL_CODE if task.cancelled() else task.result()
        self._exit(container, container.forced if container.forced is not None else code)

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
        if container.task is not None:
            # Over once the function is; its end comes back here.
            if container.forced is None and container.task.cancel():
                container.forced = code
            return
        container.status = attrs.evolve(
            container.status,
            state="exited",
            exit_code=code,
            finished_at=self.clock.now(),
            reason=reason or ("Completed" if code == 0 else "Error"),
        )
        if isinstance(container.behaviour.cpu, SharedLoad):
            container.behaviour.cpu.leave(container.status.id)
        container.exited.set()
        container.turn()
        self._announce(container)

    async def _end(self, container: _Container) -> None:
        """By force; return once it is over."""
        self._exit(container, _SIGKILL_CODE)
        await container.exited.wait()

    def _announce(self, container: _Container) -> None:
        self._events.put_nowait(ContainerEvent(container.status.pod_uid, container.status.id))


_DEFAULT = FakeBehaviour()


def _in_full(image: str, given: Behaviour) -> FakeBehaviour:
    if isinstance(given, FakeBehaviour):
        return given
    try:
        return FakeBehaviour(**given) if isinstance(given, Mapping) else FakeBehaviour(function=given)
    except (TypeError, ValueError) as error:
        raise DriverError(f"the behaviour of {image} cannot be: {error.args[0]}") from None


def _cores(resources: Resources) -> float:
    """How many it may use."""
    return resources.cpu_quota / resources.cpu_period if resources.cpu_quota > 0 else math.inf


def _repository(image: str) -> str:
    """An image's name without tag and digest."""
    name = image.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name


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


class _Attached(ExecSession):
    """What a container writes from now on, and its stdin; a terminal is as any other to it."""

    def __init__(self, container: _Container, stdin: Input | None) -> None:
        self._container = container
        self._stdin = stdin
        self._seen = container.dropped + len(container.log)
        self._detached = False

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        container = self._container
        while not self._detached:
            changed, over = container.changed, container.exited.is_set()
            fresh = container.log[max(self._seen - container.dropped, 0) :]
            self._seen = container.dropped + len(container.log)
            for line in fresh:
                yield line.stream, line.content + b"\n"
            if over:
                return
            if not fresh:
                await changed.wait()

    async def write(self, data: bytes) -> None:
        if self._stdin is not None:
            await self._stdin.write(data)

    async def close_stdin(self) -> None:
        if self._stdin is not None:
            self._stdin.end()

    async def resize(self, width: int, height: int) -> None:
        pass

    async def exit_code(self) -> int:
        await self._container.exited.wait()
        return self._container.status.exit_code

    async def close(self) -> None:
        if self._stdin is not None and self._container.status.config.stdin_once:
            self._stdin.end()
        self._detached = True
        self._container.turn()


def _timestamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")

"""The driver: containers of any CRI v1 endpoint, over gRPC.

    --runtime cri:unix:///run/containerd/containerd.sock

The endpoint makes everything: sandboxes with their networks (CNI), containers, their logs; it keeps images, and runs on
while this program is away. Here is what lies between it and the contract: what is told to it (`requests.py`), what it
answers (`statuses.py`), its picture, kept so that lists need not be asked for (`picture.py`), how it is
(`condition.py`), images (`images.py`), and streams (`streams.py`). As with upstream's kubelet, the pod's cgroup with
its limits is the node's to make, and so are the folders of logs, and their removal.

Names are the endpoint's: of a pod, no two sandboxes may have one `attempt`, and no two containers one name and
`attempt`, so that one that is taken is counted on; in `config` it is as it was asked for.
"""

from __future__ import annotations

import asyncio
import glob
import hashlib
import math
import os
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import anyio
import attrs

from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core.abc.runtime import (
    ContainerConfig,
    ContainerEvent,
    ContainerNotFound,
    ContainerStatus,
    ExecRequest,
    ExecResult,
    ExecSession,
    HandlerFeatures,
    ImageFailure,
    ImageStatus,
    ImageUsage,
    LogLine,
    LogOptions,
    RegistryCredentials,
    Resources,
    Runtime,
    RuntimeCapabilities,
    RuntimeFailure,
    SandboxConfig,
    SandboxStatus,
)
from kube_core.abc.transport import ByteStream
from kube_core.abc.usage import RuntimeUsage
from kube_drivers.runtime.cri.condition import Condition
from kube_drivers.runtime.cri.endpoint import REQUEST_TIMEOUT, Endpoint, EndpointFailure, Unavailable, target_of
from kube_drivers.runtime.cri.images import Images
from kube_drivers.runtime.cri.picture import Picture
from kube_drivers.runtime.cri.podcgroups import PodCgroups
from kube_drivers.runtime.cri.requests import (
    OWNER,
    Fields,
    container_fields,
    image_fields,
    resource_fields,
    sandbox_fields,
)
from kube_drivers.runtime.cri.statuses import usage_of
from kube_drivers.runtime.cri.streams import ForwardedPort, StreamedSession
from kube_drivers.runtime.supervised.logs import read_log
from kube_drivers.threads import to_the_end

__all__ = ["CriRuntime"]

_CAPABILITIES = RuntimeCapabilities(
    processes=True,
    reachable=True,
    exec=True,
    port_forward=True,
    persistent=True,
    networked=True,
    own_root=True,
    confinement=True,
    image_volumes=True,
    resize=True,
    attach=True,
    images=True,
    log_rotation=True,
)
_log = get_logger("kube_core.cri")
#: Seconds between two questions after something that has to come.
_AGAIN = 0.1


class CriRuntime(Runtime):
    """The containers of one node at an endpoint that others may use, too: it sees and ends none but its own."""

    #: As far as the endpoint says nothing of itself.
    capabilities: ClassVar[RuntimeCapabilities] = _CAPABILITIES
    name: ClassVar[str] = "cri"

    def __init__(self, *, clock: Clock, node_name: str, state_directory: str, url: str = "cri") -> None:
        """Raises `RuntimeFailure` for a `url` that names no endpoint."""
        super().__init__(clock=clock, node_name=node_name, state_directory=state_directory)
        if not state_directory:
            raise RuntimeFailure("the cri runtime needs a state directory")
        self._root = Path(state_directory).absolute() / "cri"
        # Two nodes may have one name: of two clusters, on one machine.
        whose = f"{node_name}\0{os.path.realpath(state_directory)}"
        self._owner = hashlib.sha256(whose.encode()).hexdigest()[:32]
        self._endpoint = Endpoint(target_of(url), clock)
        self._images = Images(self._endpoint)
        self._changes: dict[ContainerEvent, None] = {}
        self._changed = asyncio.Event()
        self._picture = Picture(self._endpoint, self._owner, clock, self._note)
        self._condition = Condition(self._endpoint, clock, self._back)
        self._cgroups = PodCgroups(self._endpoint)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._starting = asyncio.Lock()
        self._started = False

    # -- the node ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        async with self._starting:
            if self._started:
                return
            self._endpoint.connect()
            try:
                await self._learn()
                await self._picture.look()
            except RuntimeFailure as error:
                await self._endpoint.close()
                raise RuntimeFailure(f"the CRI endpoint {self._endpoint.target} cannot be used: {error}") from None
            self._started = True
            for work in (self._picture.follow(), self._picture.listen(), self._condition.watch()):
                self._spawn(work, "cri endpoint")

    async def stop(self) -> None:
        async with self._starting:
            self._started = False
            self._changed.set()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._endpoint.close()

    async def end(self) -> None:
        await self.start()
        try:
            await asyncio.gather(*(self.remove_sandbox(each.id) for each in self.list_sandboxes()))
            # Those whose sandbox went without them.
            for each in self.list_containers():
                await self.remove_container(each.id)
        finally:
            await self.stop()

    async def events(self) -> AsyncIterator[ContainerEvent]:
        while self._started or self._changes:
            if not self._changes:
                self._changed.clear()
                await self._changed.wait()
                continue
            event = next(iter(self._changes))
            del self._changes[event]
            yield event

    def problems(self) -> Sequence[str]:
        return self._condition.problems()

    def handlers(self) -> Sequence[HandlerFeatures]:
        return self._condition.handlers

    async def usage(self) -> RuntimeUsage | None:
        answer = await self._endpoint.call("ListContainerStats", filter={"label_selector": {OWNER: self._owner}})
        now, containers = self.clock.now(), {}
        for stats in answer.stats:
            status = self._picture.containers.get(stats.attributes.id)
            if status is not None and status.state == "running" and (usage := usage_of(stats, now)) is not None:
                containers[status.id] = usage
        return RuntimeUsage(containers)

    async def _learn(self) -> None:
        """What the endpoint says of itself. A node can do what its endpoint can."""
        version = await self._endpoint.call("Version")
        vars(self)["name"] = version.runtime_name or "cri"
        self.version = version.runtime_version
        await self._condition.check()
        await self._images.learn()
        usual = next((each for each in self._condition.handlers if not each.name), None)
        vars(self)["capabilities"] = attrs.evolve(
            _CAPABILITIES,
            user_namespaces=usual is not None and usual.user_namespaces,
            supplemental_groups_policy=self._condition.supplemental_groups_policy,
        )
        await self._cgroups.learn()

    async def _back(self) -> None:
        """The endpoint was away."""
        await self._picture.look()
        self._note("", "")

    def _note(self, pod_uid: str, container_id: str) -> None:
        self._changes[ContainerEvent(pod_uid, container_id)] = None
        self._changed.set()

    def _spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # What a runtime may raise is told to whoever waits, if anybody does.
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, RuntimeFailure):
            _log.error("work at a CRI endpoint failed", work=task.get_name(), exc_info=error)

    # -- pods --------------------------------------------------------------------------------------------------------

    async def run_sandbox(self, config: SandboxConfig) -> SandboxStatus:
        place = config.log_directory or str(self._root / "logs" / f"{config.namespace}_{config.name}_{config.uid}")
        config = attrs.evolve(config, log_directory=place, cgroup_parent=self._cgroups.name_of(config.cgroup_parent))
        known = [self._picture.attempts[each.id] for each in self.list_sandboxes(config.uid)]
        attempt = max([config.attempt, *(each + 1 for each in known)])
        await to_the_end(_make_folder, place)
        await self._cgroups.make(config)
        try:
            made = await self._endpoint.call(
                "RunPodSandbox",
                deadline=2 * REQUEST_TIMEOUT,
                config=sandbox_fields(config, owner=self._owner, attempt=attempt),
                runtime_handler=config.handler,
            )
            status = await self._picture.see_sandbox(made.pod_sandbox_id)
        except BaseException:
            self._picture.look_soon()
            with anyio.CancelScope(shield=True):
                await self._cgroups.remove(config)
            raise
        if status is None:
            raise RuntimeFailure("the sandbox was removed as soon as it was made")
        return status

    async def stop_sandbox(self, sandbox_id: str) -> None:
        sandbox = self._picture.sandboxes.get(sandbox_id)
        if sandbox is None:
            return
        try:
            await self._endpoint.call("StopPodSandbox", pod_sandbox_id=sandbox_id)
        except ContainerNotFound:
            self._picture.forget_sandbox(sandbox_id)
        else:
            await self._picture.see_sandbox(sandbox_id)
        for container in self._of_sandbox(sandbox_id):
            await self._picture.see_container(container.id)
        await self._cgroups.remove(sandbox.config)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        sandbox = self._picture.sandboxes.get(sandbox_id)
        if sandbox is None:
            return
        await self.stop_sandbox(sandbox_id)
        for container in self._of_sandbox(sandbox_id):
            await self.remove_container(container.id)
        await self._idempotently("RemovePodSandbox", pod_sandbox_id=sandbox_id)
        self._picture.forget_sandbox(sandbox_id)
        await to_the_end(_remove_folder, sandbox.config.log_directory)

    def list_sandboxes(self, pod_uid: str = "") -> Sequence[SandboxStatus]:
        found = [each for each in self._picture.sandboxes.values() if pod_uid in ("", each.config.uid)]
        return sorted(found, key=lambda each: each.created_at)

    async def update_sandbox(self, sandbox_id: str, resources: Resources) -> None:
        sandbox = self._known_sandbox(sandbox_id)
        await self._cgroups.limit(sandbox.config, resources)
        try:
            await self._endpoint.call(
                "UpdatePodSandboxResources", pod_sandbox_id=sandbox_id, resources=resource_fields(resources)
            )
        except EndpointFailure as error:
            if error.code != "UNIMPLEMENTED":
                raise

    async def port_forward(self, sandbox_id: str, port: int) -> ByteStream:
        self._known_sandbox(sandbox_id)
        answer = await self._endpoint.call("PortForward", pod_sandbox_id=sandbox_id, port=[port])
        return await ForwardedPort.open(answer.url, port)

    # -- containers --------------------------------------------------------------------------------------------------

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        sandbox = self._known_sandbox(sandbox_id)
        uid = sandbox.config.uid
        known = [
            self._picture.attempts[each.id] for each in self.list_containers(uid) if each.config.name == config.name
        ]
        attempt = max([config.attempt, *(each + 1 for each in known)])
        config = attrs.evolve(config, log_path=config.log_path or f"{config.name}/{attempt}.log")
        log = os.path.join(sandbox.config.log_directory, config.log_path)
        await to_the_end(_make_folder, os.path.dirname(log))
        fields = container_fields(await self._with_user(config), sandbox.config, owner=self._owner, attempt=attempt)
        try:
            made = await self._endpoint.call(
                "CreateContainer", pod_sandbox_id=sandbox_id, config=fields, sandbox_config=self._told(sandbox)
            )
            await self._picture.see_container(made.container_id, sandbox_id)
        except ContainerNotFound as error:
            # Of what could be missing, the sandbox was there just now.
            self._picture.look_soon()
            raise ImageFailure(str(error)) from None
        except BaseException:
            self._picture.look_soon()
            raise
        return str(made.container_id)

    async def start_container(self, container_id: str) -> None:
        if self._known(container_id).state != "created":
            raise RuntimeFailure(f"container {container_id} was started already")
        try:
            await self._endpoint.call("StartContainer", container_id=container_id)
        except Unavailable:
            # It may have been started all the same, and must not be begun again then.
            if await self._answered(container_id) != "created":
                return
            raise
        finally:
            self._picture.look_soon()
            if container_id in self._picture.containers:
                await self._seen(container_id)

    async def stop_container(self, container_id: str, grace: float) -> None:
        container = self._picture.containers.get(container_id)
        if container is None or container.state == "exited":
            return
        # Who gives up waiting does not spare the container its end.
        stopping = self._spawn(self._stop(container_id, grace), f"stop of {container.config.name}")
        try:
            await asyncio.shield(stopping)
        except asyncio.CancelledError:
            if stopping.cancelled():
                raise RuntimeFailure("the cri runtime was stopped") from None
            raise

    async def remove_container(self, container_id: str) -> None:
        container = self._picture.containers.get(container_id)
        if container is None:
            return
        await self.stop_container(container_id, 0)
        # Logs first: who is killed in between finds the container again, and removes it again.
        await to_the_end(_remove_logs, container.log_path)
        await self._idempotently("RemoveContainer", container_id=container_id)
        self._picture.forget_container(container_id)

    def list_containers(self, pod_uid: str = "") -> Sequence[ContainerStatus]:
        found = [each for each in self._picture.containers.values() if pod_uid in ("", each.pod_uid)]
        return sorted(found, key=lambda each: each.created_at)

    async def update_container(self, container_id: str, resources: Resources) -> None:
        self._known(container_id)
        await self._endpoint.call(
            "UpdateContainerResources", container_id=container_id, linux=resource_fields(resources)
        )
        self._picture.resized[container_id] = resources
        await self._picture.see_container(container_id)

    async def reopen_log(self, container_id: str) -> None:
        self._known(container_id)
        await self._endpoint.call("ReopenContainerLog", container_id=container_id)

    async def logs(self, container_id: str, options: LogOptions) -> AsyncIterator[LogLine]:
        path = self._known(container_id).log_path
        async for line in read_log(path, options, clock=self.clock, ended=lambda: self._has_ended(container_id)):
            yield line

    # -- commands ----------------------------------------------------------------------------------------------------

    async def exec(self, container_id: str, request: ExecRequest) -> ExecSession:
        self._known(container_id)
        if not request.command:
            raise RuntimeFailure("no command was given")
        answer = await self._endpoint.call("Exec", container_id=container_id, cmd=request.command, **_streams(request))
        return await StreamedSession.open(answer.url, request)

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout: float | None = None) -> ExecResult:
        self._known(container_id)
        try:
            async with self.clock.timeout(timeout):
                answer = await self._endpoint.call(
                    "ExecSync",
                    deadline=None if timeout is None else timeout + REQUEST_TIMEOUT,
                    container_id=container_id,
                    cmd=command,
                    timeout=math.ceil(timeout or 0),
                )
        except EndpointFailure as error:
            if error.code == "DEADLINE_EXCEEDED":
                raise TimeoutError(str(error)) from None
            raise
        return ExecResult(answer.exit_code, answer.stdout, answer.stderr)

    async def attach(self, container_id: str, request: ExecRequest) -> ExecSession:
        container = self._known(container_id)
        request = attrs.evolve(request, tty=container.config.tty)
        answer = await self._endpoint.call("Attach", container_id=container_id, **_streams(request))
        return await StreamedSession.open(answer.url, request, lambda: self._exit_code(container))

    # -- images ------------------------------------------------------------------------------------------------------

    async def pull_image(
        self, image: str, *, sandbox_id: str = "", credentials: RegistryCredentials | None = None
    ) -> ImageStatus:
        sandbox = self._picture.sandboxes.get(sandbox_id)
        fields = image_fields(image, sandbox.config if sandbox is not None else None)
        return await self._images.pull(fields, credentials, self._told(sandbox) if sandbox is not None else None)

    async def image_status(self, image: str, *, sandbox_id: str = "") -> ImageStatus | None:
        sandbox = self._picture.sandboxes.get(sandbox_id)
        return await self._images.status(image_fields(image, sandbox.config if sandbox is not None else None))

    async def list_images(self) -> Sequence[ImageStatus]:
        return await self._images.list()

    async def remove_image(self, image_id: str) -> None:
        await self._images.remove(image_id)

    async def image_usage(self) -> ImageUsage | None:
        return await self._images.usage()

    # -- below -------------------------------------------------------------------------------------------------------

    def _told(self, sandbox: SandboxStatus) -> Fields:
        """The `PodSandboxConfig` that it was made of."""
        return sandbox_fields(sandbox.config, owner=self._owner, attempt=self._picture.attempts[sandbox.id])

    async def _with_user(self, config: ContainerConfig) -> ContainerConfig:
        """CRI takes no group without a user: the image's, then."""
        security = config.security
        if security.group is None or security.user is not None or security.user_name:
            return config
        image = await self._images.status(image_fields(config.image))
        name = (image.user or "").partition(":")[0] if image is not None else ""
        user = {"user": int(name or 0)} if name.isdigit() or not name else {"user_name": name}
        return attrs.evolve(config, security=attrs.evolve(security, **user))

    async def _stop(self, container_id: str, grace: float) -> None:
        try:
            await self._endpoint.call(
                "StopContainer",
                deadline=grace + REQUEST_TIMEOUT,
                container_id=container_id,
                timeout=math.ceil(max(grace, 0.0)),
            )
        except ContainerNotFound:
            self._picture.forget_container(container_id)
        # One that was never started stays what it is, until it is removed.
        while await self._seen(container_id) == "running":
            await self.clock.sleep(_AGAIN)

    async def _answered(self, container_id: str) -> str:
        """The state of a container, once the endpoint is back; "": it is gone."""
        while True:
            try:
                return await self._seen(container_id)
            except Unavailable:
                await self.clock.sleep(5 * _AGAIN)

    async def _seen(self, container_id: str) -> str:
        status = await self._picture.see_container(container_id)
        return status.state if status is not None else ""

    async def _exit_code(self, container: ContainerStatus) -> int:
        self._picture.look_soon()
        while not self._has_ended(container.id):
            await self.clock.sleep(_AGAIN)
        return self._picture.containers.get(container.id, container).exit_code

    async def _idempotently(self, name: str, **fields: Any) -> None:
        try:
            await self._endpoint.call(name, **fields)
        except ContainerNotFound:
            pass  # as was wanted

    def _has_ended(self, container_id: str) -> bool:
        container = self._picture.containers.get(container_id)
        return container is None or container.state == "exited"

    def _known(self, container_id: str) -> ContainerStatus:
        container = self._picture.containers.get(container_id)
        if container is None:
            raise ContainerNotFound(f"there is no container {container_id}")
        return container

    def _known_sandbox(self, sandbox_id: str) -> SandboxStatus:
        sandbox = self._picture.sandboxes.get(sandbox_id)
        if sandbox is None or not sandbox.ready:
            raise ContainerNotFound(f"there is no running sandbox {sandbox_id}")
        return sandbox

    def _of_sandbox(self, sandbox_id: str) -> list[ContainerStatus]:
        return [each for each in self._picture.containers.values() if each.sandbox_id == sandbox_id]


def _streams(request: ExecRequest) -> dict[str, bool]:
    """With a terminal there is one stream of output."""
    return {
        "stdin": request.stdin,
        "stdout": request.stdout,
        "stderr": request.stderr and not request.tty,
        "tty": request.tty,
    }


def _make_folder(path: str) -> None:
    try:
        os.makedirs(path, mode=0o755, exist_ok=True)
    except OSError as error:
        raise RuntimeFailure(f"{path} cannot be made: {error.strerror}") from None


def _remove_logs(log: str) -> None:
    for path in _files_of(log):
        try:
            os.unlink(path)
        except OSError:
            continue
    if log:
        _remove_folder(os.path.dirname(log))


def _files_of(log: str) -> Iterator[str]:
    """A log, and what was rotated away of it."""
    if log:
        yield log
        yield from glob.glob(f"{glob.escape(log)}.*")


def _remove_folder(path: str) -> None:
    """Unless there is something in it."""
    try:
        os.rmdir(path)
    except OSError:
        pass

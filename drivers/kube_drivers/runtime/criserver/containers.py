"""CRI's calls about containers, but for their streams and figures."""

from __future__ import annotations

from typing import Any, Final

import attrs
import orjson

from kube_core.abc.runtime import ContainerStatus, ImageFailure, Runtime
from kube_drivers.runtime.cri.messages import message
from kube_drivers.runtime.criserver import statuses
from kube_drivers.runtime.criserver.container_configs import container_config
from kube_drivers.runtime.criserver.events import Events
from kube_drivers.runtime.criserver.lookups import container_of, find_container, matches, sandbox_of, selected
from kube_drivers.runtime.criserver.refusals import Refusal, invalid
from kube_drivers.runtime.criserver.resources import resources_of
from kube_drivers.runtime.criserver.statuses import KnownImages

__all__ = ["Containers"]

#: Bytes of each stream that `ExecSync` answers with, so that the answer is a message that clients take.
_MOST_OUTPUT: Final = 7 * 1024 * 1024


class Containers:
    """A part of the server; see the package."""

    def __init__(self, runtime: Runtime, events: Events) -> None:
        self._runtime = runtime
        self._events = events

    async def create_container(self, request: Any) -> Any:
        sandbox = sandbox_of(self._runtime, request.pod_sandbox_id)
        config = container_config(request.config, sandbox.config)
        taken = any(
            each.sandbox_id == sandbox.id and (each.config.name, each.config.attempt) == (config.name, config.attempt)
            for each in self._runtime.list_containers(sandbox.config.uid)
        )
        if taken:
            raise Refusal("ALREADY_EXISTS", f"container {config.name} of attempt {config.attempt} is there already")
        if config.target_id:
            target = container_of(self._runtime, config.target_id)
            if target.sandbox_id != sandbox.id:
                raise invalid(f"the container {config.target_id} is in another pod")
            config = attrs.evolve(config, target_id=target.id)
        identity = await self._runtime.create_container(sandbox.id, config)
        return message("CreateContainerResponse")(container_id=identity)

    async def start_container(self, request: Any) -> Any:
        await self._runtime.start_container(container_of(self._runtime, request.container_id).id)
        return message("StartContainerResponse")()

    async def stop_container(self, request: Any) -> Any:
        status = find_container(self._runtime, request.container_id)
        if status is not None and status.state == "running":
            await self._runtime.stop_container(status.id, float(max(request.timeout, 0)))
        return message("StopContainerResponse")()

    async def remove_container(self, request: Any) -> Any:
        status = find_container(self._runtime, request.container_id)
        if status is not None:
            await self._runtime.remove_container(status.id)
            self._events.container_removed(status)
        return message("RemoveContainerResponse")()

    async def list_containers(self, request: Any) -> Any:
        wanted, images = request.filter, await known_images(self._runtime)
        found = [
            each
            for each in (statuses.container(status, images) for status in self._runtime.list_containers())
            if matches(each.id, wanted.id)
            and matches(each.pod_sandbox_id, wanted.pod_sandbox_id)
            and (not wanted.HasField("state") or each.state == wanted.state.state)
            and selected(each.labels, wanted.label_selector)
        ]
        return message("ListContainersResponse")(containers=found)

    async def container_status(self, request: Any) -> Any:
        status = container_of(self._runtime, request.container_id)
        told = statuses.container_status(status, await known_images(self._runtime))
        info = {"info": orjson.dumps(_info(status)).decode()} if request.verbose else {}
        return message("ContainerStatusResponse")(status=told, info=info)

    async def update_container_resources(self, request: Any) -> Any:
        status = container_of(self._runtime, request.container_id)
        if status.state == "exited":
            raise Refusal("FAILED_PRECONDITION", f"container {status.id} has exited")
        if not self._runtime.capabilities.resize:
            raise Refusal("UNIMPLEMENTED", f"the runtime {self._runtime.name} cannot change a container's limits")
        before = status.resources or status.config.resources
        wanted = resources_of(request.linux)
        # What is not said stays as it is.
        told = {
            field.name: getattr(wanted, field.name)
            for field in attrs.fields(type(wanted))
            if getattr(wanted, field.name) != getattr(_NOTHING, field.name)
        }
        await self._runtime.update_container(status.id, attrs.evolve(before, **told))
        return message("UpdateContainerResourcesResponse")()

    async def reopen_container_log(self, request: Any) -> Any:
        status = container_of(self._runtime, request.container_id)
        if status.state != "running":
            raise Refusal("FAILED_PRECONDITION", "container is not running")
        await self._runtime.reopen_log(status.id)
        return message("ReopenContainerLogResponse")()

    async def exec_sync(self, request: Any) -> Any:
        status = container_of(self._runtime, request.container_id)
        if not request.cmd:
            raise invalid("cmd is required")
        timeout = float(request.timeout) if request.timeout > 0 else None
        try:
            result = await self._runtime.exec_sync(status.id, list(request.cmd), timeout)
        except TimeoutError:
            raise Refusal(
                "DEADLINE_EXCEEDED",
                f"failed to exec in container: timeout {request.timeout}s exceeded: context deadline exceeded",
            ) from None
        return message("ExecSyncResponse")(
            stdout=result.stdout[:_MOST_OUTPUT], stderr=result.stderr[:_MOST_OUTPUT], exit_code=result.exit_code
        )


_NOTHING: Final = resources_of(message("LinuxContainerResources")())


async def known_images(runtime: Runtime) -> KnownImages:
    try:
        return KnownImages.of(await runtime.list_images())
    except ImageFailure:
        return KnownImages.of(())


def _info(status: ContainerStatus) -> dict[str, Any]:
    config = status.config
    return {
        "sandboxID": status.sandbox_id,
        "removing": False,
        "config": {
            "metadata": {"name": config.name, "attempt": config.attempt},
            "image": {"image": config.image},
            "command": list(config.command),
            "args": list(config.args),
            "working_dir": config.working_dir,
            "tty": config.tty,
        },
    }

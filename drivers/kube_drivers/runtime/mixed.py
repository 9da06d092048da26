"""Several runtimes on one node, each pod on the one that its RuntimeClass names: `mixed:fake+process`.

A pod without a class runs on the first; a class's `handler` is the name of a driver, so

    apiVersion: node.k8s.io/v1
    kind: RuntimeClass
    metadata: {name: process}
    handler: process

puts every pod with `runtimeClassName: process` on the second. A handler that is none of them refuses the sandbox, and
the pod's event says so.

What always holds: a sandbox and its containers are one runtime's for good, and every call about them, their images too,
is that one's. `capabilities`, which speak of the whole node, claim no more than holds of all, except for what the agent
prepares (volumes that are real directories, a hosts file), which it does as soon as one runtime has a use for it;
`reachable`, `attachable` and `probe` are asked for each container.

What the runtimes do is none of this file's: it only hands on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, ClassVar

import attrs

from kube_core._kit.clock import Clock
from kube_core.abc.runtime import (
    ContainerConfig,
    ContainerEvent,
    ContainerNotFound,
    ContainerStatus,
    ExecRequest,
    ExecSession,
    HandlerFeatures,
    ImageStatus,
    ImageUsage,
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
)
from kube_core.abc.snapshots import SnapshotRefused
from kube_core.abc.transport import ByteStream
from kube_core.abc.usage import RuntimeUsage, total
from kube_core.drivers import DriverError, load_driver

__all__ = ["MixedRuntime"]


class MixedRuntime(Runtime):
    """The runtimes that `url` names, by their drivers' names. The first is the default."""

    #: Those of `mixed:fake+process`; an instance has those of its own runtimes.
    capabilities: ClassVar[RuntimeCapabilities] = RuntimeCapabilities(
        processes=True, reachable=False, exec=True, port_forward=True, attach=True, behaviours=True
    )
    name: ClassVar[str] = "mixed"

    def __init__(
        self,
        *,
        clock: Clock,
        node_name: str,
        state_directory: str,
        url: str,
        behaviours: Mapping[str, Any] | None = None,
        image_folders: Sequence[Any] = (),
        runtimes: Mapping[str, Runtime] | None = None,
    ) -> None:
        """`behaviours` are for the runtimes that take them, `image_folders` for those with processes.

        `runtimes`: these by name, instead of new ones. Raises `DriverError` for runtimes that cannot be mixed.
        """
        super().__init__(clock=clock, node_name=node_name, state_directory=state_directory)
        if runtimes is None:
            runtimes = {}
            for name in _names(url):
                driver = load_driver("runtime", name)
                options: dict[str, Any] = {"behaviours": behaviours} if driver.capabilities.behaviours else {}
                if driver.capabilities.processes and image_folders:
                    options["image_folders"] = image_folders
                runtimes[name] = driver(clock=clock, node_name=node_name, state_directory=state_directory, **options)
        self.runtimes: dict[str, Runtime] = dict(runtimes)
        self._default = next(iter(self.runtimes))
        # What a node can do depends on what it was given.
        vars(self)["capabilities"] = _combined([each.capabilities for each in self.runtimes.values()])

    def snapshot(self) -> Mapping[str, Any]:
        self._require_snapshots()
        return {name: each.snapshot() for name, each in self.runtimes.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._require_snapshots()
        for name, each in self.runtimes.items():
            each.restore(state[name])

    async def start(self) -> None:
        await self._each(lambda runtime: runtime.start())

    async def stop(self) -> None:
        await self._each(lambda runtime: runtime.stop())

    async def end(self) -> None:
        await self._each(lambda runtime: runtime.end())

    async def run_sandbox(self, config: SandboxConfig) -> SandboxStatus:
        name = config.handler or self._default
        if (runtime := self.runtimes.get(name)) is None:
            raise RuntimeFailure(f'no runtime for "{name}" is configured')
        return await runtime.run_sandbox(attrs.evolve(config, handler=""))

    async def stop_sandbox(self, sandbox_id: str) -> None:
        if (runtime := self._of_sandbox(sandbox_id)) is not None:
            await runtime.stop_sandbox(sandbox_id)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        if (runtime := self._of_sandbox(sandbox_id)) is not None:
            await runtime.remove_sandbox(sandbox_id)

    def list_sandboxes(self, pod_uid: str = "") -> Sequence[SandboxStatus]:
        found = [status for each in self.runtimes.values() for status in each.list_sandboxes(pod_uid)]
        return sorted(found, key=lambda status: status.created_at)

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        return await self._with_sandbox(sandbox_id).create_container(sandbox_id, config)

    async def start_container(self, container_id: str) -> None:
        await self._with_container(container_id).start_container(container_id)

    async def stop_container(self, container_id: str, grace: float) -> None:
        if (runtime := self._of_container(container_id)) is not None:
            await runtime.stop_container(container_id, grace)

    async def remove_container(self, container_id: str) -> None:
        if (runtime := self._of_container(container_id)) is not None:
            await runtime.remove_container(container_id)

    def list_containers(self, pod_uid: str = "") -> Sequence[ContainerStatus]:
        found = [status for each in self.runtimes.values() for status in each.list_containers(pod_uid)]
        return sorted(found, key=lambda status: status.created_at)

    async def events(self) -> AsyncIterator[ContainerEvent]:
        # One at a time is enough: an event says only where to look.
        merged: asyncio.Queue[ContainerEvent | None] = asyncio.Queue(maxsize=1)

        async def follow(runtime: Runtime) -> None:
            async for event in runtime.events():
                await merged.put(event)
            await merged.put(None)

        following = [
            asyncio.create_task(follow(each), name=f"events of {name}") for name, each in self.runtimes.items()
        ]
        try:
            left = len(following)
            while left:
                if (event := await merged.get()) is not None:
                    yield event
                else:
                    left -= 1
        finally:
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)

    async def exec(self, container_id: str, request: ExecRequest) -> ExecSession:
        return await self._with_container(container_id).exec(container_id, request)

    async def port_forward(self, sandbox_id: str, port: int) -> ByteStream:
        return await self._with_sandbox(sandbox_id).port_forward(sandbox_id, port)

    async def logs(self, container_id: str, options: LogOptions) -> AsyncIterator[LogLine]:
        async for line in self._with_container(container_id).logs(container_id, options):
            yield line

    async def pull_image(
        self, image: str, *, sandbox_id: str = "", credentials: RegistryCredentials | None = None
    ) -> ImageStatus:
        runtime = self._for_image(sandbox_id)
        return await runtime.pull_image(image, sandbox_id=sandbox_id, credentials=credentials)

    async def image_status(self, image: str, *, sandbox_id: str = "") -> ImageStatus | None:
        return await self._for_image(sandbox_id).image_status(image, sandbox_id=sandbox_id)

    def reachable(self, container_id: str) -> bool:
        return self._with_container(container_id).reachable(container_id)

    def attachable(self, container_id: str) -> bool:
        return self._with_container(container_id).attachable(container_id)

    async def probe(self, container_id: str, request: NetworkProbe) -> ProbeAnswer:
        return await self._with_container(container_id).probe(container_id, request)

    def problems(self) -> Sequence[str]:
        return [problem for each in self.runtimes.values() for problem in each.problems()]

    def handlers(self) -> Sequence[HandlerFeatures]:
        """Each runtime's usual one by the runtime's name, and the default's once more without."""
        usual = {name: each for name, runtime in self.runtimes.items() for each in runtime.handlers() if not each.name}
        named = [attrs.evolve(each, name=name) for name, each in usual.items()]
        return [*([usual[self._default]] if self._default in usual else []), *named]

    async def update_container(self, container_id: str, resources: Resources) -> None:
        await self._with_container(container_id).update_container(container_id, resources)

    async def update_sandbox(self, sandbox_id: str, resources: Resources) -> None:
        await self._with_sandbox(sandbox_id).update_sandbox(sandbox_id, resources)

    async def attach(self, container_id: str, request: ExecRequest) -> ExecSession:
        return await self._with_container(container_id).attach(container_id, request)

    async def reopen_log(self, container_id: str) -> None:
        await self._with_container(container_id).reopen_log(container_id)

    async def list_images(self) -> Sequence[ImageStatus]:
        return [image for each in self.runtimes.values() for image in await each.list_images()]

    async def remove_image(self, image_id: str) -> None:
        for runtime in self.runtimes.values():
            await runtime.remove_image(image_id)

    async def image_usage(self) -> ImageUsage | None:
        # One runtime with images of its own is the usual case; of several, what the first says is as good as any.
        for runtime in self.runtimes.values():
            if (usage := await runtime.image_usage()) is not None:
                return usage
        return None

    async def usage(self) -> RuntimeUsage | None:
        found = [each for each in [await runtime.usage() for runtime in self.runtimes.values()] if each is not None]
        if not found:
            return None
        containers = {identity: usage for each in found for identity, usage in each.containers.items()}
        # One that says nothing of the node causes no more than its containers.
        now = self.clock.now()
        nodes = [each.node or total(each.containers.values(), now) for each in found]
        return RuntimeUsage(containers, total(nodes, now))

    def _require_snapshots(self) -> None:
        if refusing := [name for name, each in self.runtimes.items() if not each.capabilities.snapshot]:
            raise SnapshotRefused(f"the runtimes {', '.join(refusing)} have state outside of the program")

    async def _each(self, act: Callable[[Runtime], Any]) -> None:
        """Do it with every runtime, whatever becomes of the others; then raise the first failure."""
        results = await asyncio.gather(*(act(each) for each in self.runtimes.values()), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def _of_sandbox(self, sandbox_id: str) -> Runtime | None:
        for runtime in self.runtimes.values():
            if any(each.id == sandbox_id for each in runtime.list_sandboxes()):
                return runtime
        return None

    def _of_container(self, container_id: str) -> Runtime | None:
        for runtime in self.runtimes.values():
            if any(each.id == container_id for each in runtime.list_containers()):
                return runtime
        return None

    def _with_sandbox(self, sandbox_id: str) -> Runtime:
        if (runtime := self._of_sandbox(sandbox_id)) is None:
            raise ContainerNotFound(f"there is no running sandbox {sandbox_id}")
        return runtime

    def _for_image(self, sandbox_id: str) -> Runtime:
        """Without a sandbox, an image is the default's."""
        return self._with_sandbox(sandbox_id) if sandbox_id else self.runtimes[self._default]

    def _with_container(self, container_id: str) -> Runtime:
        if (runtime := self._of_container(container_id)) is None:
            raise ContainerNotFound(f"there is no container {container_id}")
        return runtime


def _names(url: str) -> list[str]:
    """The drivers of `mixed:fake+process`."""
    names = [name for name in url.partition(":")[2].split("+") if name]
    if not names or len(set(names)) < len(names) or "mixed" in names:
        raise DriverError(f'the runtime "{url}" should name drivers, each once: mixed:fake+process')
    return names


def _combined(all_of: Sequence[RuntimeCapabilities]) -> RuntimeCapabilities:
    if len({each.networked for each in all_of}) > 1:
        raise DriverError("a runtime that gives pods their addresses itself cannot be mixed with one that does not")
    # Of what the agent prepares for containers, those who cannot use it take no notice.
    some = {"processes", "images", "behaviours", "own_root", "confinement", "supplemental_groups_policy"}
    return RuntimeCapabilities(**{
        field.name: (any if field.name in some else all)(getattr(each, field.name) for each in all_of)
        for field in attrs.fields(RuntimeCapabilities)
    })  # fmt: skip

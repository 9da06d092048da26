"""CRI's calls about pods: their sandboxes, and what they have of the network.

A sandbox's network comes first, from the network driver, under a key that the sandbox's record keeps; so after a crash
in between it can be told whose network is nobody's. Stopping takes it back; both can be asked for again.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import Any

import anyio
import attrs
import orjson

from kube_core._kit.logs import get_logger
from kube_core.abc.network import Network, NetworkError, SandboxRequest
from kube_core.abc.runtime import Runtime, SandboxConfig, SandboxStatus
from kube_drivers.runtime.cri.messages import message
from kube_drivers.runtime.criserver import statuses
from kube_drivers.runtime.criserver.events import Events
from kube_drivers.runtime.criserver.lookups import find_sandbox, matches, sandbox_of, selected
from kube_drivers.runtime.criserver.refusals import Refusal, invalid
from kube_drivers.runtime.criserver.resources import resources_of, together
from kube_drivers.runtime.criserver.sandbox_configs import ADDRESS_NOTE, sandbox_config

__all__ = ["Sandboxes"]

_log = get_logger("kube_core.cri")


class Sandboxes:
    """A part of the server; see the package."""

    def __init__(self, runtime: Runtime, network: Network, events: Events) -> None:
        self._runtime = runtime
        self._network = network
        self._events = events
        #: Those that are being made, by what must not be twice.
        self._making: set[tuple[str, str, str, int]] = set()

    async def find_again(self) -> None:
        """After the start: give back the networks that are no sandbox's."""
        known = {_key(each.config) for each in self._runtime.list_sandboxes() if each.ready}
        for key in self._network.attached():
            if key not in known:
                with contextlib.suppress(NetworkError):
                    await self._network.detach(key)

    async def run_pod_sandbox(self, request: Any) -> Any:
        config = sandbox_config(request.config, request.runtime_handler, secrets.token_hex(8))
        if config.user_namespace is not None and not self._runtime.capabilities.user_namespaces:
            raise invalid("the runtime does not support user namespaces")
        name = config.namespace, config.name, config.uid, config.attempt
        there = {
            (each.config.namespace, each.config.name, each.config.uid, each.config.attempt)
            for each in self._runtime.list_sandboxes()
        }
        if name in there | self._making:
            raise Refusal("ALREADY_EXISTS", f"sandbox {config.namespace}/{config.name} is there already")
        self._making.add(name)
        try:
            status = await self._run(config)
        finally:
            self._making.discard(name)
        self._events.sandbox_started(status)
        return message("RunPodSandboxResponse")(pod_sandbox_id=status.id)

    async def stop_pod_sandbox(self, request: Any) -> Any:
        status = find_sandbox(self._runtime, request.pod_sandbox_id)
        if status is not None:
            await self._stop(status)
        return message("StopPodSandboxResponse")()

    async def remove_pod_sandbox(self, request: Any) -> Any:
        status = find_sandbox(self._runtime, request.pod_sandbox_id)
        if status is not None:
            inside = [each for each in self._runtime.list_containers(status.config.uid) if each.sandbox_id == status.id]
            await self._stop(status)
            await self._runtime.remove_sandbox(status.id)
            for container in inside:
                self._events.container_removed(container)
            self._events.sandbox_removed(status)
        return message("RemovePodSandboxResponse")()

    async def pod_sandbox_status(self, request: Any) -> Any:
        status = sandbox_of(self._runtime, request.pod_sandbox_id)
        info = {"info": orjson.dumps(_info(status)).decode()} if request.verbose else {}
        return message("PodSandboxStatusResponse")(status=statuses.sandbox_status(status), info=info)

    async def list_pod_sandbox(self, request: Any) -> Any:
        wanted = request.filter
        found = [
            each
            for each in map(statuses.sandbox, self._runtime.list_sandboxes())
            if matches(each.id, wanted.id)
            and (not wanted.HasField("state") or each.state == wanted.state.state)
            and selected(each.labels, wanted.label_selector)
        ]
        return message("ListPodSandboxResponse")(items=found)

    async def update_pod_sandbox_resources(self, request: Any) -> Any:
        status = sandbox_of(self._runtime, request.pod_sandbox_id)
        wanted = together(resources_of(request.resources), resources_of(request.overhead))
        await self._runtime.update_sandbox(status.id, wanted)
        return message("UpdatePodSandboxResourcesResponse")()

    async def _run(self, config: SandboxConfig) -> SandboxStatus:
        if config.host_network or self._runtime.capabilities.networked:
            return await self._runtime.run_sandbox(config)
        key = _key(config)
        asked = SandboxRequest(key, config.namespace, config.name, config.uid, config.annotations, config.ports)
        try:
            attached = await self._network.attach(asked)
        except NetworkError as error:
            raise NetworkError(f"failed to setup network for sandbox: {error}") from None
        try:
            return await self._runtime.run_sandbox(
                attrs.evolve(config, ips=attached.ips, namespace_path=attached.namespace_path)
            )
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._detach(key)
            raise

    async def _stop(self, status: SandboxStatus) -> None:
        await self._runtime.stop_sandbox(status.id)
        if not status.config.host_network:
            await self._network.detach(_key(status.config))
        if status.ready:
            self._events.sandbox_stopped(attrs.evolve(status, ready=False))

    async def _detach(self, key: str) -> None:
        try:
            await self._network.detach(key)
        except NetworkError as error:
            _log.warning("the network of a sandbox cannot be taken back", error=str(error))


def _key(config: SandboxConfig) -> str:
    return config.annotations.get(ADDRESS_NOTE, config.uid)


def _info(status: SandboxStatus) -> dict[str, Any]:
    config = status.config
    return {
        "namespacePath": config.namespace_path,
        "cgroupParent": config.cgroup_parent,
        "logDirectory": config.log_directory,
        "hostname": config.hostname,
    }

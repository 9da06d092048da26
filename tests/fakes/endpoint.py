"""A CRI endpoint whose answers a test decides: sandboxes and containers are messages that it holds.

async with serving(tmp_path) as endpoint:
    endpoint.containers["c"].state = 2          # it exited, and nobody told
    await endpoint.tell("c")                    # somebody told, where `events` says so
    endpoint.conditions["NetworkReady"] = ("NetworkPluginNotReady", "cni plugin not initialized")
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs

from kube_core.abc.runtime import ContainerNotFound
from kube_drivers.runtime.cri.messages import message
from kube_drivers.runtime.criserver.refusals import Refusal
from kube_drivers.runtime.criserver.server import CriServer

__all__ = ["ScriptedEndpoint", "serving"]


@attrs.define(eq=False)
class ScriptedEndpoint:
    """`conditions`: by type, reason and message of one that does not hold. `asked`: the calls, in order."""

    folder: Path
    events: bool = False
    conditions: dict[str, tuple[str, str]] = attrs.field(factory=dict)
    handlers: list[Any] = attrs.field(factory=list)
    #: Calls that fail once they have been carried out, as those of an endpoint that dies do.
    lost: set[str] = attrs.field(factory=set)
    #: Calls that do nothing.
    ignored: set[str] = attrs.field(factory=set)
    asked: list[str] = attrs.field(factory=list)
    requests: list[Any] = attrs.field(factory=list)
    sandboxes: dict[str, Any] = attrs.field(factory=dict)
    containers: dict[str, Any] = attrs.field(factory=dict)
    holders: dict[str, str] = attrs.field(factory=dict)
    _server: CriServer | None = None
    _ids: Any = attrs.field(factory=itertools.count)
    _told: asyncio.Queue[str] = attrs.field(factory=asyncio.Queue)

    @property
    def url(self) -> str:
        return f"cri:unix://{self.folder}/cri.sock"

    async def begin(self) -> None:
        self._server = CriServer([self])
        await self._server.listen([self.folder / "cri.sock"])

    async def away(self) -> None:
        """It stops answering; what it has it keeps."""
        if self._server is not None:
            await self._server.stop()
            self._server = None

    async def tell(self, container_id: str) -> None:
        await self._told.put(container_id)

    async def version(self, request: Any) -> Any:
        return message("VersionResponse")(version="0.1.0", runtime_name="scripted", runtime_version="3.2.1")

    async def status(self, request: Any) -> Any:
        self.asked.append("Status")
        conditions = []
        for kind in ("RuntimeReady", "NetworkReady"):
            reason, text = self.conditions.get(kind, ("", ""))
            conditions.append({"type": kind, "status": not reason, "reason": reason, "message": text})
        return message("StatusResponse")(status={"conditions": conditions}, runtime_handlers=self.handlers)

    async def list_pod_sandbox(self, request: Any) -> Any:
        items = [
            {"id": each.id, "metadata": each.metadata, "state": each.state, "created_at": each.created_at}
            for each in self.sandboxes.values()
            if _selected(each, request.filter.label_selector)
        ]
        return message("ListPodSandboxResponse")(items=items)

    async def list_containers(self, request: Any) -> Any:
        self.asked.append("ListContainers")
        containers = [
            {"id": each.id, "pod_sandbox_id": self.holders[each.id], "state": each.state, "created_at": each.created_at}
            for each in self.containers.values()
            if _selected(each, request.filter.label_selector)
        ]
        return message("ListContainersResponse")(containers=containers)

    async def pod_sandbox_status(self, request: Any) -> Any:
        return message("PodSandboxStatusResponse")(status=_found(self.sandboxes, request.pod_sandbox_id))

    async def container_status(self, request: Any) -> Any:
        return message("ContainerStatusResponse")(status=_found(self.containers, request.container_id))

    async def run_pod_sandbox(self, request: Any) -> Any:
        config = request.config
        names = [each.metadata.attempt for each in self.sandboxes.values() if each.metadata.uid == config.metadata.uid]
        if config.metadata.attempt in names:
            raise Refusal("UNKNOWN", "the name is reserved")
        identity = f"sandbox-{next(self._ids)}"
        self.requests.append(request)
        self.sandboxes[identity] = message("PodSandboxStatus")(
            id=identity,
            metadata=config.metadata,
            created_at=len(self.sandboxes) + 1,
            network={"ip": "192.0.2.5"},
            labels=config.labels,
            annotations=config.annotations,
        )
        return message("RunPodSandboxResponse")(pod_sandbox_id=identity)

    async def create_container(self, request: Any) -> Any:
        identity = f"container-{next(self._ids)}"
        self.requests.append(request)
        self.holders[identity] = request.pod_sandbox_id
        self.containers[identity] = message("ContainerStatus")(
            id=identity,
            metadata=request.config.metadata,
            created_at=len(self.containers) + 1,
            labels=request.config.labels,
            annotations=request.config.annotations,
        )
        return message("CreateContainerResponse")(container_id=identity)

    async def start_container(self, request: Any) -> Any:
        self.asked.append("StartContainer")
        status = _found(self.containers, request.container_id)
        if "StartContainer" not in self.lost:
            status.state, status.started_at = 1, 5
            return message("StartContainerResponse")()
        self.lost.discard("StartContainer")
        raise Refusal("UNAVAILABLE", "connection reset by peer")

    async def stop_container(self, request: Any) -> Any:
        self.asked.append(f"StopContainer {request.container_id} {request.timeout}")
        status = _found(self.containers, request.container_id)
        if "StopContainer" not in self.ignored:
            status.state, status.finished_at, status.exit_code = 2, 9, 137
        return message("StopContainerResponse")()

    async def get_container_events(self, request: Any) -> AsyncIterator[Any]:
        if not self.events:
            raise Refusal("UNIMPLEMENTED", "no events here")
        while True:
            yield message("ContainerEventResponse")(container_id=await self._told.get())


def _selected(status: Any, labels: Any) -> bool:
    return all(status.labels.get(name) == value for name, value in labels.items())


def _found(among: dict[str, Any], identity: str) -> Any:
    if identity not in among:
        raise ContainerNotFound(f"there is no {identity}")
    return among[identity]


@asynccontextmanager
async def serving(folder: Path, **fields: Any) -> AsyncIterator[ScriptedEndpoint]:
    endpoint = ScriptedEndpoint(folder, **fields)
    await endpoint.begin()
    try:
        yield endpoint
    finally:
        await endpoint.away()

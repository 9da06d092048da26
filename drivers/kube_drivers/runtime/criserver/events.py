"""`GetContainerEvents`: what happens to containers and sandboxes, as it happens, for whoever listens.

The runtime says only that something about a container changed; what it was is told by how the container was seen last.
A removal nobody tells of but whoever carried it out. By CRI a sandbox's own beginnings and ends are events of a
container of its id. A listener that does not read is cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from kube_core._kit.clock import Clock
from kube_core.abc.failures import DriverFailure
from kube_core.abc.runtime import ContainerStatus, Runtime, SandboxStatus
from kube_drivers.runtime.cri.messages import message
from kube_drivers.runtime.criserver import statuses
from kube_drivers.runtime.criserver.statuses import KnownImages

__all__ = ["Events"]

#: Events that wait for a listener.
_WAITING: Final = 1000
_CREATED, _STARTED, _STOPPED, _DELETED = (
    f"CONTAINER_{what}_EVENT" for what in ("CREATED", "STARTED", "STOPPED", "DELETED")
)
#: What became of a container that is seen in a state, in order.
_UNTIL: Final = {
    "created": (_CREATED,),
    "running": (_CREATED, _STARTED),
    "exited": (_CREATED, _STARTED, _STOPPED),
}


class Events:
    """A part of the server; see the package."""

    def __init__(self, runtime: Runtime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._seen: dict[str, str] = {}
        self._listeners: set[asyncio.Queue[Any]] = set()

    async def follow(self) -> None:
        """For as long as the server runs. What is there already is no news."""
        self._seen = {each.id: each.state for each in self._runtime.list_containers()}
        async for event in self._runtime.events():
            for status in self._runtime.list_containers(event.pod_uid):
                if event.container_id in ("", status.id):
                    await self._look(status)

    async def get_container_events(self, request: Any) -> AsyncIterator[Any]:
        queue: asyncio.Queue[Any] = asyncio.Queue(_WAITING)
        self._listeners.add(queue)
        try:
            while queue in self._listeners or not queue.empty():
                yield await queue.get()
        finally:
            self._listeners.discard(queue)

    def container_removed(self, status: ContainerStatus) -> None:
        self._seen.pop(status.id, None)
        self._tell(status.id, _DELETED, status.sandbox_id)

    def sandbox_started(self, status: SandboxStatus) -> None:
        self._tell(status.id, _CREATED, status.id)
        self._tell(status.id, _STARTED, status.id)

    def sandbox_stopped(self, status: SandboxStatus) -> None:
        self._tell(status.id, _STOPPED, status.id)

    def sandbox_removed(self, status: SandboxStatus) -> None:
        self._tell(status.id, _DELETED, status.id)

    async def _look(self, status: ContainerStatus) -> None:
        before = self._seen.get(status.id)
        if before == status.state:
            return
        self._seen[status.id] = status.state
        images = KnownImages.of(())
        if self._listeners:
            try:
                images = KnownImages.of(await self._runtime.list_images())
            except DriverFailure:
                pass  # then they are told by what the containers were made of
        known = _UNTIL.get(before or "", ())
        for kind in _UNTIL[status.state][len(known) :]:
            self._tell(status.id, kind, status.sandbox_id, images)

    def _tell(self, identity: str, kind: str, sandbox_id: str, images: KnownImages | None = None) -> None:
        if not self._listeners:
            return
        sandbox = next((each for each in self._runtime.list_sandboxes() if each.id == sandbox_id), None)
        inside = self._runtime.list_containers(sandbox.config.uid) if sandbox is not None else ()
        event = message("ContainerEventResponse")(
            container_id=identity,
            container_event_type=kind,
            created_at=statuses.nanoseconds(self._clock.now()),
            pod_sandbox_status=statuses.sandbox_status(sandbox) if sandbox is not None else None,
            containers_statuses=[
                statuses.container_status(each, images or KnownImages.of(()))
                for each in inside
                if each.sandbox_id == sandbox_id
            ],
        )
        for queue in list(self._listeners):
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                self._listeners.discard(queue)

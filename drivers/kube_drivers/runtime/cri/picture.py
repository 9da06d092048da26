"""What an endpoint has of one node, kept: CRI is asked for lists, the node looks at what is here.

`look` asks for everything of this node, and then for each container and sandbox of which the answer is new. It is
called again and again (`follow`): soon after something was done, once a second when nothing happens, and at once where
the endpoint tells of events itself (`GetContainerEvents`), which not every one does. What was done through this program
is seen at once (`see_container`, `see_sandbox`).

What always holds: a container only goes forward (created, running, exited), whichever answers overtake each other;
what was removed here does not come back from an answer that was on its way; every change is told to `changed`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from kube_core._kit.clock import Clock
from kube_core.abc.runtime import ContainerNotFound, ContainerStatus, Resources, RuntimeFailure, SandboxStatus
from kube_drivers.runtime.cri.endpoint import Endpoint
from kube_drivers.runtime.cri.requests import OWNER
from kube_drivers.runtime.cri.statuses import UNKNOWN, container_status, sandbox_status, state_of

__all__ = ["Picture"]

#: Seconds between two looks: the first after something was done, doubled up to the second; the third with events.
_SOON, _USUAL, _WITH_EVENTS = 0.1, 1.0, 10.0
_RANKS = {"created": 0, "running": 1, "exited": 2}


class Picture:
    """`owner`: the label's value. `changed` is told the pod's uid and the container's id."""

    def __init__(self, endpoint: Endpoint, owner: str, clock: Clock, changed: Callable[[str, str], None]) -> None:
        self.sandboxes: dict[str, SandboxStatus] = {}
        self.containers: dict[str, ContainerStatus] = {}
        #: By sandbox and by container: as the endpoint counts.
        self.attempts: dict[str, int] = {}
        #: By container, what it was limited to since.
        self.resized: dict[str, Resources] = {}
        self._endpoint = endpoint
        self._selector = {"label_selector": {OWNER: owner}}
        self._clock = clock
        self._changed = changed
        self._looking = asyncio.Lock()
        self._removed: set[str] = set()
        self._due = 0.0
        self._asked = asyncio.Event()
        self._events = False

    # -- looking -----------------------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Bring all of it up to date. Raises `RuntimeFailure`, and changes nothing, where the endpoint is not there."""
        async with self._looking:
            self._removed.clear()
            sandboxes, containers = set(self.sandboxes), set(self.containers)
            listed = await self._endpoint.call("ListPodSandbox", filter=self._selector)
            held = await self._endpoint.call("ListContainers", filter=self._selector)
            for each in sorted(listed.items, key=lambda item: item.created_at):
                known = self.sandboxes.get(each.id)
                if known is None or known.ready != (each.state == 0):
                    await self.see_sandbox(each.id)
            for each in sorted(held.containers, key=lambda item: item.created_at):
                before = self.containers.get(each.id)
                if before is None or before.state != state_of(each.state):
                    await self.see_container(each.id, each.pod_sandbox_id)
                if each.state == UNKNOWN:
                    # Whether it runs nobody knows, so that it has to end before it is begun again.
                    await self._endpoint.call("StopContainer", container_id=each.id, timeout=0)
                    await self.see_container(each.id, each.pod_sandbox_id)
            for identity in containers - {each.id for each in held.containers}:
                self.forget_container(identity)
            for identity in sandboxes - {each.id for each in listed.items}:
                self.forget_sandbox(identity)

    async def see_container(self, container_id: str, sandbox_id: str = "") -> ContainerStatus | None:
        """Ask for one; what is known of it now. `sandbox_id`: of one that is new."""
        try:
            answer = await self._endpoint.call("ContainerStatus", container_id=container_id)
        except ContainerNotFound:
            self.forget_container(container_id)
            return None
        if container_id in self._removed:
            return None
        known = self.containers.get(container_id)
        holder = known.sandbox_id if known is not None else sandbox_id
        status = container_status(answer.status, holder, self.resized.get(container_id))
        if known is not None and _RANKS[status.state] < _RANKS[known.state]:
            return known
        self.attempts[container_id] = answer.status.metadata.attempt
        self.containers[container_id] = status
        if known != status:
            self._changed(status.pod_uid, container_id)
        return status

    async def see_sandbox(self, sandbox_id: str) -> SandboxStatus | None:
        try:
            answer = await self._endpoint.call("PodSandboxStatus", pod_sandbox_id=sandbox_id)
        except ContainerNotFound:
            self.forget_sandbox(sandbox_id)
            return None
        if sandbox_id in self._removed:
            return None
        known, status = self.sandboxes.get(sandbox_id), sandbox_status(answer.status)
        if known is not None and known.ready < status.ready:
            return known
        self.attempts[sandbox_id] = answer.status.metadata.attempt
        self.sandboxes[sandbox_id] = status
        if known is not None and known.ready != status.ready:
            self._changed(status.config.uid, "")
        return status

    def forget_container(self, container_id: str) -> None:
        """It is gone."""
        self._removed.add(container_id)
        self.resized.pop(container_id, None)
        self.attempts.pop(container_id, None)
        if (known := self.containers.pop(container_id, None)) is not None:
            self._changed(known.pod_uid, container_id)

    def forget_sandbox(self, sandbox_id: str) -> None:
        self._removed.add(sandbox_id)
        self.attempts.pop(sandbox_id, None)
        if (known := self.sandboxes.pop(sandbox_id, None)) is not None:
            self._changed(known.config.uid, "")

    # -- following ---------------------------------------------------------------------------------------------------

    def look_soon(self) -> None:
        """Something was done that may lead to a change."""
        self._ask(_SOON)

    async def follow(self) -> None:
        """Look again and again, until cancelled. An endpoint that is away is tried on."""
        step = _USUAL
        self._due = self._clock.monotonic() + step
        while True:
            while (left := self._due - self._clock.monotonic()) > 0:
                self._asked.clear()
                with suppress(TimeoutError):
                    async with self._clock.timeout(left):
                        await self._asked.wait()
                        step = _SOON
            try:
                await self.look()
            except RuntimeFailure:
                step = _USUAL  # its status says that it is away
            self._due = self._clock.monotonic() + step
            step = min(step * 2, _WITH_EVENTS if self._events else _USUAL)

    async def listen(self) -> None:
        """Look whenever the endpoint tells of something, until cancelled; return where it never does."""
        while True:
            try:
                async for _ in self._endpoint.stream("GetContainerEvents"):
                    self._events = True
                    self._ask(0.0)
            except RuntimeFailure as error:
                if getattr(error, "code", "") == "UNIMPLEMENTED":
                    return
            self._events = False
            await self._clock.sleep(_USUAL)

    def _ask(self, delay: float) -> None:
        """Have a look at this moment at the latest."""
        self._due = min(self._due, self._clock.monotonic() + delay)
        self._asked.set()

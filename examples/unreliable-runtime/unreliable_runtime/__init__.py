"""A runtime driver: simulated containers that fail after a random while, where their pod asks for it.

Chance is seeded by the names of node and container, so that a cluster in virtual time fails in the same way every time.
"""

from __future__ import annotations

import random
from typing import Any, ClassVar

import attrs

from kube_core._kit.clock import Timer
from kube_core.abc.runtime import ContainerNotFound, RuntimeCapabilities
from kube_core.abc.snapshots import SnapshotRefused
from kube_drivers.runtime.fake import FakeRuntime

__all__ = ["MEAN_LIFETIME", "UnreliableRuntime"]

#: The annotation with the mean lifetime of a pod's containers, in seconds.
MEAN_LIFETIME = "unreliable.example.dev/mean-lifetime"
EXIT_CODE = 1


class UnreliableRuntime(FakeRuntime):
    """What is not said here is the simulated runtime's."""

    capabilities: ClassVar[RuntimeCapabilities] = attrs.evolve(FakeRuntime.capabilities, snapshot=False)

    def __init__(self, *, node_name: str, **options: Any) -> None:
        super().__init__(node_name=node_name, **options)
        self._failing: dict[str, Timer] = {}

    async def start_container(self, container_id: str) -> None:
        await super().start_container(container_id)
        status = next(each for each in self.list_containers() if each.id == container_id)
        sandbox = next(each for each in self.list_sandboxes() if each.id == status.sandbox_id)
        if mean := _seconds(sandbox.config.annotations.get(MEAN_LIFETIME, "")):
            lifetime = random.Random(f"{self.node_name}/{container_id}").expovariate(1 / mean)
            self._failing[container_id] = self.clock.call_later(lifetime, lambda: self._fail(container_id))

    async def remove_container(self, container_id: str) -> None:
        if (timer := self._failing.pop(container_id, None)) is not None:
            timer.cancel()
        await super().remove_container(container_id)

    async def end(self) -> None:
        for timer in self._failing.values():
            timer.cancel()
        self._failing.clear()
        await super().end()

    def snapshot(self) -> Any:
        raise SnapshotRefused(f"{self.node_name}: when a container will fail is in no snapshot")

    def restore(self, state: Any) -> None:
        raise SnapshotRefused(f"{self.node_name}: when a container will fail is in no snapshot")

    def _fail(self, container_id: str) -> None:
        self._failing.pop(container_id, None)
        try:
            running = any(each.id == container_id and each.state == "running" for each in self.list_containers())
            if running:
                self.crash(container_id, EXIT_CODE)
        except ContainerNotFound:
            """It went in the meantime."""


def _seconds(text: str) -> float:
    """A positive number, or 0 for anything else: who writes nonsense gets containers that last."""
    try:
        return max(float(text), 0.0)
    except ValueError:
        return 0.0

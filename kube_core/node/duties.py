"""What a node does besides running the pods that it is given: static pods, pressure, images, logs, its own end.

Each duty is a module of its own; here they are made, and given their tasks, but for those that have nothing to do with
the settings and the runtime that there are. Made by the agent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from kube_core.client.client import ApiClient
from kube_core.meta.documents import uid_of
from kube_core.node.eviction.evictor import Evictor
from kube_core.node.health import NodeHealth
from kube_core.node.imagegc import ImageCollection
from kube_core.node.logrotation import LogRotation
from kube_core.node.pods.host import Host
from kube_core.node.pods.worker import PodWorker
from kube_core.node.registration import NodeConfig, Registration
from kube_core.node.shutdown import Shutdown
from kube_core.node.statics import PodsOfNode, StaticPods

__all__ = ["Duties"]


class Agent(PodsOfNode, Protocol):
    """What the agent is for its duties."""

    @property
    def workers(self) -> Sequence[PodWorker]: ...


class Duties:
    """Of one node."""

    def __init__(
        self,
        host: Host,
        agent: Agent,
        registration: Registration,
        health: NodeHealth,
        client: ApiClient,
        config: NodeConfig,
    ) -> None:
        settings = config.kubelet
        self._host = host
        self._registration = registration
        self._health = health
        self.statics = StaticPods(
            client,
            node_name=config.name,
            node_uid=lambda: uid_of(registration.node or {}),
            settings=settings,
            clock=host.clock,
            log=host.log,
            pods=agent,
        )
        self.images = ImageCollection(host.runtime, host.clock, settings, self._warn)
        self.logs = LogRotation(host.runtime, host.clock, settings)
        self.evictor = Evictor(
            host,
            workers=lambda: agent.workers,
            node_directory=config.state_directory or "/",
            free_images=self.images.free_all,
            changed=self._pressure_changed,
            node_event=self._warn,
        )
        self.shutdown = Shutdown(host.clock, settings, lambda: agent.workers, self._shutdown_begun)

    async def begin(self, group: asyncio.TaskGroup) -> None:
        """Start their tasks. Static pods are found before anybody asks what belongs to this node."""
        name = self._host.name
        if self.statics.wanted:
            await self.statics.look()
            group.create_task(self.statics.run(), name=f"static pods of {name}")
        for duty, what in ((self.images, "images"), (self.logs, "logs"), (self.evictor, "pressure")):
            if duty.wanted:
                group.create_task(duty.run(), name=f"{what} of {name}")

    def _pressure_changed(self) -> None:
        self._health.pressures = self.evictor.conditions
        self._host.spawn(self._registration.report(), f"pressure of {self._host.name}")

    def _shutdown_begun(self) -> None:
        self._health.shutting_down = True
        self._host.spawn(self._registration.report(), f"end of {self._host.name}")

    def _warn(self, reason: str, message: str) -> None:
        name = self._host.name
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": name}}
        self._host.events.warning(node, reason, message)

"""What a node does besides running the pods that it is given: static pods, pressure, images, logs, its own end.

Each duty is a module of its own, imported and given a task only where the settings and the runtime have something for
it to do: a simulated node costs nothing for what it will never need. Made by the agent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from kube_core.client.client import ApiClient
from kube_core.meta.documents import Document, uid_of
from kube_core.node.health import NodeHealth
from kube_core.node.pods.host import Host
from kube_core.node.pods.worker import PodWorker
from kube_core.node.registration import NodeConfig, Registration

if TYPE_CHECKING:
    from kube_core.node.eviction.evictor import Evictor
    from kube_core.node.imagegc import ImageCollection
    from kube_core.node.statics import StaticPods

__all__ = ["Duties"]


class Agent(Protocol):
    """What the agent is for its duties."""

    @property
    def workers(self) -> Sequence[PodWorker]: ...

    def start_pod(self, pod: Document) -> None: ...

    def stop_pod(self, pod: Document) -> None: ...

    def look_again(self, uid: str) -> None: ...


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
        self._host = host
        self._agent = agent
        self._registration = registration
        self._health = health
        self._config = config
        self.statics: StaticPods | None = None
        if config.kubelet.static_pod_path is not None:
            from kube_core.node.statics import StaticPods

            self.statics = StaticPods(
                client,
                node_name=config.name,
                node_uid=lambda: uid_of(registration.node or {}),
                settings=config.kubelet,
                clock=host.clock,
                log=host.log,
                pods=agent,
            )
        self._images: ImageCollection | None = None
        self._evictor: Evictor | None = None

    async def begin(self, group: asyncio.TaskGroup) -> None:
        """Start their tasks. Static pods are found before anybody asks what belongs to this node."""
        host, settings, name = self._host, self._config.kubelet, self._host.name
        capabilities = host.runtime.capabilities
        if self.statics is not None:
            await self.statics.look()
            group.create_task(self.statics.run(), name=f"static pods of {name}")
        if capabilities.images:
            from kube_core.node.imagegc import ImageCollection

            self._images = ImageCollection(host.runtime, host.clock, settings, self._warn)
            if settings.image_gc_high_threshold_percent < 100 or settings.image_maximum_gc_age > 0:
                group.create_task(self._images.run(), name=f"images of {name}")
        if capabilities.log_rotation and settings.container_log_max_size > 0:
            from kube_core.node.logrotation import LogRotation

            group.create_task(LogRotation(host.runtime, host.clock, settings).run(), name=f"logs of {name}")
        if settings.eviction_hard or settings.eviction_soft or host.volumes.writes:
            from kube_core.node.eviction.evictor import Evictor

            self._evictor = Evictor(
                host,
                workers=lambda: self._agent.workers,
                node_directory=self._config.state_directory or "/",
                free_images=self._free_images,
                changed=self._pressure_changed,
                node_event=self._warn,
            )
            group.create_task(self._evictor.run(), name=f"pressure of {name}")

    async def shut_down(self) -> None:
        """End all pods within the periods of the settings; the node takes none from now on."""
        from kube_core.node.shutdown import Shutdown

        await Shutdown(self._host.clock, self._config.kubelet, lambda: self._agent.workers, self._shutdown_begun).run()

    async def _free_images(self) -> None:
        if self._images is not None:
            await self._images.free_all()

    def _pressure_changed(self) -> None:
        assert self._evictor is not None
        self._health.pressures = self._evictor.conditions
        self._host.spawn(self._registration.report(), f"pressure of {self._host.name}")

    def _shutdown_begun(self) -> None:
        self._health.shutting_down = True
        self._host.spawn(self._registration.report(), f"end of {self._host.name}")

    def _warn(self, reason: str, message: str) -> None:
        name = self._host.name
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": name}}
        self._host.events.warning(node, reason, message)

"""The node agent: registers its node, and runs the pods that are bound to it.

    async with Informers(client) as informers, EventWriter(client, ...) as events:
        agent = NodeAgent(NodeConfig("node-1"), client=client, informers=informers, events=events, runtime=runtime,
                          network=network, volumes=[volumes], clock=clock, random=random)
        await agent.run(ready=...)          # until cancelled

Many agents may share one program, one client and one `Informers`: each watches its own pods, all share one informer of
Services. The drivers are the agent's to start and to stop; stopping leaves persistent containers as they are.

The outline is here; a pod's life is in `pods/worker.py`, what the node does besides in `duties.py`. What streams to
clients (logs, exec, port-forward) is `streams.PodStreams(agent)`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core._kit.random import Random
from kube_core.abc.network import Network
from kube_core.abc.runtime import Runtime
from kube_core.abc.volume import VolumeDriver
from kube_core.api import resources
from kube_core.client.client import ApiClient
from kube_core.client.informer import Informer, Informers, Lister
from kube_core.control.events import EventRecorder, EventWriter
from kube_core.meta import quantities
from kube_core.meta.documents import Document, annotations_of, name_of, namespace_of, uid_of
from kube_core.meta.times import format_time
from kube_core.node.duties import Duties
from kube_core.node.environment import service_variables
from kube_core.node.health import NodeHealth
from kube_core.node.pods.admission import MIRROR, is_static
from kube_core.node.pods.allocations import Allocations
from kube_core.node.pods.backoff import Backoffs
from kube_core.node.pods.host import Host
from kube_core.node.pods.reports import StatusReports
from kube_core.node.pods.turns import Turns
from kube_core.node.pods.worker import PodWorker
from kube_core.node.probes import Probes
from kube_core.node.registration import MayWait, NodeConfig, Registration
from kube_core.node.sources import ApiSources
from kube_core.node.volumes.mounting import PodVolumes
from kube_core.node.volumes.podcertificates import PodCertificates

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

__all__ = ["NodeAgent", "NodeConfig"]

#: Pods of processes that are brought up at the same time.
_AT_ONCE = 8


class NodeAgent:
    """One node."""

    def __init__(  # noqa: PLR0913 (an agent is given what it works with)
        self,
        config: NodeConfig,
        *,
        client: ApiClient,
        informers: Informers,
        events: EventWriter,
        runtime: Runtime,
        network: Network,
        volumes: Sequence[VolumeDriver],
        clock: Clock,
        random: Random,
        may_wait: MayWait | None = None,
    ) -> None:
        """`may_wait`: asked which renewals of the node's lease may be left out, in virtual time."""
        self.config = config
        self.client = client.with_field_manager("kubelet")
        self.runtime = runtime
        self.network = network
        self.clock = clock
        self._random = random
        self._may_wait = may_wait
        self._volume_drivers = volumes
        self._informers = informers
        self._events = events
        self._log: FilteringBoundLogger = get_logger("kube_core.node").bind(node=config.name)
        self._workers: dict[str, PodWorker] = {}
        # Simulated containers cost nothing to bring up; processes share this machine's processors.
        self._turns = Turns(clock, _AT_ONCE if runtime.capabilities.processes else 0)
        self._services = _Services(informers.informer(resources.SERVICES))
        self._group: asyncio.TaskGroup | None = None
        self._host: Host | None = None
        self._duties: Duties | None = None
        self._certificates: PodCertificates | None = None
        #: The Node as last seen.
        self.node: Document | None = None

    async def run(self, *, ready: Callable[[], None] | None = None) -> None:
        """Until cancelled. `ready` is called once the Node is Ready and its pods are known."""
        await self.runtime.start()
        try:
            await self.network.start()
            for driver in self._volume_drivers:
                await driver.start()
            async with asyncio.TaskGroup() as group:
                self._group = group
                await self._begin(group)
                if ready is not None:
                    ready()
        finally:
            for worker in self._workers.values():
                worker.close()
            self._workers.clear()
            if self._host is not None:
                await self._host.probes.close()
            if self._certificates is not None:
                self._certificates.close()
            self._group = self._host = self._duties = self._certificates = None
            await self.network.stop()
            for driver in self._volume_drivers:
                await driver.stop()
            await self.runtime.stop()

    @property
    def idle(self) -> bool:
        """Whether no pod is being worked on and every status is written."""
        return not any(worker.busy for worker in self._workers.values()) and (
            self._host is None or self._host.reports.idle
        )

    @property
    def pods(self) -> Sequence[Document]:
        """The pods of this node."""
        return [worker.pod for worker in self._workers.values()]

    def pod(self, namespace: str, name: str) -> Document | None:
        """A pod of this node, the newest of that name, with its status as this node sees it."""
        found = None
        for worker in self._workers.values():
            if name_of(worker.pod) == name and namespace_of(worker.pod) == namespace and not worker.gone:
                found = {**worker.pod, "status": worker.state.status}
        return found

    async def shut_down(self) -> None:
        """End all pods within the periods of the settings; the node takes none from now on."""
        if self._duties is not None:
            await self._duties.shut_down()

    async def _begin(self, group: asyncio.TaskGroup) -> None:
        addresses = tuple(self.config.addresses or await self.network.node_addresses())
        events = self._events.recorder("kubelet", host=self.config.name, client=self.client, before=self._turns.calm)
        health = NodeHealth(self.runtime)
        registration = Registration(
            self.client,
            self.config,
            clock=self.clock,
            addresses=addresses,
            health=health,
            events=events,
            log=self._log,
            may_wait=self._may_wait,
        )
        await registration.register()
        self.node = registration.node
        host = self._host = self._make_host(registration, health, addresses, events)
        self._duties = Duties(host, self, registration, health, self.client, self.config)
        group.create_task(registration.run(), name=f"heartbeat of {self.config.name}")
        group.create_task(host.reports.run(), name=f"pod statuses of {self.config.name}")
        group.create_task(self._follow_runtime(), name=f"container events of {self.config.name}")
        await self._services.informer.synced()
        pods = self._informers.informer(resources.PODS, field_selector=f"spec.nodeName={self.config.name}")
        pods.add_handler(self._pod_changed)
        group.create_task(self._until_cancelled(pods), name=f"pods of {self.config.name}")
        await pods.synced()
        await self._duties.begin(group)
        await self._clear_orphans(host)

    def _make_host(
        self, registration: Registration, health: NodeHealth, addresses: Sequence[str], events: EventRecorder
    ) -> Host:
        config = self.config
        sources = ApiSources(self.client)
        certificates = self._certificates = PodCertificates(
            sources,
            clock=self.clock,
            random=self._random,
            events=events,
            node=lambda: registration.node,
            requests=lambda: self._informers.informer(
                resources.POD_CERTIFICATE_REQUESTS, field_selector=f"spec.nodeName={config.name}"
            ),
            poke=self.look_again,
        )
        volumes = PodVolumes(
            sources,
            clock=self.clock,
            state_directory=config.state_directory,
            drivers=self._volume_drivers,
            runtime=self.runtime.capabilities,
            node=lambda: registration.node,
            certificates=certificates,
        )
        return Host(
            name=config.name,
            clock=self.clock,
            runtime=self.runtime,
            network=self.network,
            volumes=volumes,
            sources=sources,
            reports=StatusReports(
                self.client, clock=self.clock, log=self._log, shown_as=self._shown_as, ended=self._let_go
            ),
            probes=Probes(self.runtime, clock=self.clock, events=events, spawn=self._spawn),
            events=events,
            log=self._log,
            node_ips=addresses,
            log_directory=f"{config.state_directory}/logs" if config.state_directory else "",
            node=lambda: registration.node,
            see_node=registration.see,
            services=self._services.variables,
            spawn=self._spawn,
            allocations=Allocations(lambda: registration.node, events, self.look_again),
            turns=self._turns,
            settings=config.kubelet,
            memory_capacity=_memory_capacity(registration.node),
            seccomp_root=f"{config.state_directory}/seccomp",
            pressures=lambda: health.pressures,
            shutting_down=lambda: health.shutting_down,
            backoffs=Backoffs(config.kubelet.max_container_restart_period),
        )

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        assert self._group is not None
        return self._group.create_task(work, name=name)

    def _pod_changed(self, before: Document | None, after: Document | None) -> None:
        if self._host is None or self._duties is None:
            return
        if MIRROR in annotations_of(after or before or {}):
            if (statics := self._duties.statics) is not None:
                statics.mirror_changed(before, after)
            return  # it only shows a pod
        uid = uid_of(after or before or {})
        worker = self._workers.get(uid)
        if after is None:
            if worker is not None:
                worker.vanish()
        elif worker is None:
            self.start_pod(after)
        else:
            worker.update(after)

    # -- for those who look after pods --------------------------------------------------------------------------------

    @property
    def workers(self) -> Sequence[PodWorker]:
        return list(self._workers.values())

    def start_pod(self, pod: Document) -> None:
        """Have a pod run."""
        assert self._host is not None
        worker = self._workers[uid_of(pod)] = PodWorker(self._host, pod, ended=self._ended)
        worker.poke()

    def stop_pod(self, pod: Document) -> None:
        """End a static pod, within its grace."""
        if (worker := self._workers.get(uid_of(pod))) is not None:
            deletion = {
                "deletionTimestamp": format_time(self.clock.now()),
                "deletionGracePeriodSeconds": pod["spec"].get("terminationGracePeriodSeconds"),
            }
            worker.update({**pod, "metadata": {**pod["metadata"], **deletion}})

    def look_again(self, uid: str) -> None:
        """Something about a pod may have changed."""
        if self._host is not None and (worker := self._workers.get(uid)) is not None:
            if is_static(worker.pod):
                self._host.reports.forget(uid)  # it is another object that shows it now
            worker.poke()

    def _shown_as(self, pod: Document) -> Document | None:
        """The pod in the API that shows a pod of this node."""
        if self._duties is None or (statics := self._duties.statics) is None or not is_static(pod):
            return pod
        return statics.mirror_of(uid_of(pod))

    async def _let_go(self, pod: Document) -> bool:
        """A pod has ended that was to: a static one is gone by that."""
        if self._duties is None or self._duties.statics is None or not is_static(pod):
            return False
        if (worker := self._workers.get(uid_of(pod))) is not None:
            worker.vanish()
        return True

    def _ended(self, worker: PodWorker) -> None:
        self._workers.pop(worker.uid, None)
        statics = self._duties.statics if self._duties is not None else None
        if statics is not None and statics.owns(worker.uid):
            self._spawn(statics.ended(worker.uid), f"mirror of {name_of(worker.pod)}")

    async def _follow_runtime(self) -> None:
        async for event in self.runtime.events():
            if (worker := self._workers.get(event.pod_uid)) is not None:
                worker.poke()
            elif not event.pod_uid:
                for each in self._workers.values():
                    each.poke()

    async def _clear_orphans(self, host: Host) -> None:
        """End what runtime and network still have of pods that went while nobody looked."""
        for sandbox in self.runtime.list_sandboxes():
            uid = sandbox.config.uid
            if uid in self._workers:
                continue
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"namespace": sandbox.config.namespace, "name": sandbox.config.name, "uid": uid},
                "spec": {"containers": []},
            }
            worker = self._workers[uid] = PodWorker(host, pod, ended=self._ended)
            worker.vanish()
        for uid in self.network.attached():
            if uid not in self._workers:
                await self.network.detach(uid)

    async def _until_cancelled(self, pods: Informer) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            pods.remove_handler(self._pod_changed)


def _memory_capacity(node: Document | None) -> int:
    amount = (((node or {}).get("status") or {}).get("capacity") or {}).get("memory")
    return quantities.parse(amount).value if amount else 0


class _Services:
    """Service variables by namespace, made once for each change of Services. One informer for all agents."""

    def __init__(self, informer: Informer) -> None:
        self.informer = informer
        self._lister: Lister = informer.lister
        self._made: dict[tuple[str, bool], Mapping[str, str]] = {}
        informer.add_handler(self._changed)

    def variables(self, namespace: str, links: bool) -> Mapping[str, str]:
        key = (namespace, links)
        if key not in self._made:
            self._made[key] = service_variables(self._lister.list(), namespace, links=links)
        return self._made[key]

    def _changed(self, before: Document | None, after: Document | None) -> None:
        self._made.clear()

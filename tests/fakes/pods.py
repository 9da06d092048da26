"""A node without an API server: pods run by their real workers on the fake runtime, in time that the test moves.

    async with FakeNode(behaviours={"fails": FakeBehaviour(runs_for=1, exit_code=3)}) as node:
        node.run(pod("p", {"name": "c", "image": "fails"}))
        await node.clock.advance(1)
        assert node.status("p")["phase"] == "Failed"

Statuses and events are kept as they were handed in; the objects that pods refer to are in `node.objects`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from kube_core._kit.clock import FakeClock
from kube_core._kit.logs import get_logger
from kube_core._kit.random import Random
from kube_core.abc.runtime import ContainerStatus
from kube_core.api.kubelet import DEFAULT_SETTINGS, KubeletSettings
from kube_core.control.events import EventRecorder
from kube_core.meta.documents import Document, name_of, uid_of
from kube_core.node.pods.allocations import Allocations
from kube_core.node.pods.backoff import Backoffs
from kube_core.node.pods.host import Host
from kube_core.node.pods.reports import StatusReports
from kube_core.node.pods.turns import Turns
from kube_core.node.pods.worker import PodWorker
from kube_core.node.probes import Probes
from kube_core.node.sources import ApiSources
from kube_core.node.volumes.mounting import PodVolumes
from kube_core.node.volumes.podcertificates import PodCertificates
from kube_drivers.network.fake import FakeNetwork
from kube_drivers.runtime.fake import Behaviour, FakeRuntime

__all__ = ["FakeNode", "RecordedEvents", "no_certificates", "pod"]


def pod(name: str, *containers: Document, **spec: Any) -> dict[str, Any]:
    """A pod as the server hands it out; with one container of the image `x`, unless there are others."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "generation": 1},
        "spec": {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "containers": list(containers) or [{"name": "c", "image": "x"}],
            **spec,
        },
    }


def no_certificates(clock: FakeClock) -> PodCertificates:
    """For nodes none of whose pods wants any."""

    def nothing(*_: object) -> Any:
        raise AssertionError("a certificate is wanted")

    objects, events = cast(ApiSources, _Objects()), cast(EventRecorder, RecordedEvents())
    return PodCertificates(
        objects, clock=clock, random=Random(1), events=events, node=nothing, requests=nothing, poke=nothing
    )


class RecordedEvents:
    """Events in memory: type, reason, message."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []

    def normal(self, regarding: Document, reason: str, message: str, *, field_path: str = "") -> None:
        self.seen.append(("Normal", reason, message))

    def warning(self, regarding: Document, reason: str, message: str, *, field_path: str = "") -> None:
        self.seen.append(("Warning", reason, message))

    def messages(self, reason: str) -> list[str]:
        return [message for _, each, message in self.seen if each == reason]


class _Objects:
    """What pods refer to, by kind and name."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], Document] = {}

    def __getattr__(self, kind: str) -> Any:
        async def read(*place: str) -> Document | None:
            return self.known.get((kind, place[-1]))

        return read


class _Reports:
    """The statuses that workers hand in, and which pods they let go."""

    def __init__(self) -> None:
        self.latest: dict[str, Document] = {}
        self.history: dict[str, list[Document]] = {}
        self.deleted: list[str] = []

    def submit(self, pod: Document, status: Document, *, delete: bool = False) -> None:
        uid = uid_of(pod)
        self.latest[uid] = status
        self.history.setdefault(uid, []).append(status)
        if delete:
            self.deleted.append(uid)

    def forget(self, uid: str) -> None:
        pass

    def contradicted(self, before: Document, after: Document) -> bool:
        return False


class FakeNode:
    """Entered, it runs; left, nothing of it does."""

    def __init__(
        self,
        *,
        behaviours: Mapping[str, Behaviour] | None = None,
        settings: KubeletSettings = DEFAULT_SETTINGS,
        node: Document | None = None,
        services: Mapping[str, str] | None = None,
        at_once: int = 0,
    ) -> None:
        self.clock = FakeClock()
        self.events = RecordedEvents()
        self.objects = _Objects()
        self.reports = _Reports()
        self.runtime = FakeRuntime(clock=self.clock, node_name="n", behaviours=behaviours)
        self.workers: dict[str, PodWorker] = {}
        self.node = node or {"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "4", "pods": "10"}}}
        self.pressures: tuple[str, ...] = ()
        self._tasks: set[asyncio.Task[None]] = set()
        events, sources = cast(EventRecorder, self.events), cast(ApiSources, self.objects)
        self.host = Host(
            name="n",
            clock=self.clock,
            runtime=self.runtime,
            network=FakeNetwork(clock=self.clock, node_name="n", pod_cidr="10.244.0.0/24"),
            volumes=PodVolumes(
                sources, clock=self.clock, state_directory="", drivers=(), runtime=self.runtime.capabilities,
                node=lambda: self.node, certificates=no_certificates(self.clock),
            ),
            sources=sources,
            reports=cast(StatusReports, self.reports),
            probes=Probes(self.runtime, clock=self.clock, events=events, spawn=self._spawn),
            events=events,
            log=get_logger("tests"),
            node_ips=("10.1.0.1",),
            log_directory="",
            node=lambda: self.node,
            see_node=self._see_node,
            services=lambda namespace, links: services or {},
            spawn=self._spawn,
            allocations=Allocations(lambda: self.node, events, self._look_again),
            turns=Turns(self.clock, at_once),
            settings=settings,
            memory_capacity=8 * 1024**3,
            pressures=lambda: self.pressures,
            backoffs=Backoffs(settings.max_container_restart_period),
        )  # fmt: skip

    async def __aenter__(self) -> FakeNode:
        await self.host.network.start()
        self._following = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self.workers.values():
            worker.close()
        await self.host.probes.close()
        for task in (*self._tasks, self._following):
            task.cancel()
        await asyncio.gather(*self._tasks, self._following, return_exceptions=True)
        await self.runtime.end()

    def run(self, document: Document) -> PodWorker:
        """Have a pod run, or tell its worker that it changed."""
        worker = self.workers.get(name_of(document))
        if worker is None:
            worker = self.workers[name_of(document)] = PodWorker(self.host, document, ended=lambda _: None)
            worker.poke()
        else:
            worker.update(document)
        return worker

    async def settle(self) -> None:
        """Let everything happen that needs no time."""
        await self.clock.advance(0)

    def status(self, name: str = "p") -> dict[str, Any]:
        return cast(dict[str, Any], self.reports.latest[f"uid-{name}"])

    def container(self, container: str = "c", name: str = "p", field: str = "containerStatuses") -> dict[str, Any]:
        """A container's status."""
        return next(each for each in self.status(name)[field] if each["name"] == container)

    def runs(self, container: str, name: str = "p") -> list[ContainerStatus]:
        return [each for each in self.runtime.list_containers(f"uid-{name}") if each.config.name == container]

    def condition(self, kind: str, name: str = "p") -> dict[str, Any] | None:
        return next((each for each in self.status(name)["conditions"] if each["type"] == kind), None)

    async def _see_node(self) -> None:
        """There is no server that would know better."""

    async def _follow(self) -> None:
        async for event in self.runtime.events():
            self._look_again(event.pod_uid)

    def _look_again(self, uid: str) -> None:
        if (worker := self.workers.get(uid.removeprefix("uid-"))) is not None:
            worker.poke()

    def _spawn(self, work: Any, name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

"""What a node does besides running pods: pressure and eviction, shutdown, old images, long logs."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from fakes.pods import FakeNode, pod
from kube_core._kit.clock import FakeClock
from kube_core.abc.runtime import (
    ContainerConfig,
    ContainerStatus,
    ImageFailure,
    ImageStatus,
    ImageUsage,
    RuntimeCapabilities,
    RuntimeFailure,
)
from kube_core.api.kubelet import UPSTREAM_EVICTION, KubeletSettings, ShutdownPriority
from kube_core.config import ClusterConfig
from kube_core.meta.documents import Document
from kube_core.node.eviction.evictor import Evictor
from kube_core.node.eviction.machine import bytes_below, measure_machine
from kube_core.node.eviction.ranking import PodUse, eviction_message, rank
from kube_core.node.eviction.thresholds import Measured, Pressure, Threshold, read_thresholds
from kube_core.node.health import NodeHealth
from kube_core.node.imagegc import ImageCollection
from kube_core.node.logrotation import LogRotation
from kube_core.node.shutdown import Shutdown, groups_of
from kube_drivers.runtime.fake import FakeBehaviour, FakeRuntime

pytestmark = pytest.mark.anyio

MIB = 1024**2


def test_thresholds_are_amounts_or_shares_hard_or_soft() -> None:
    settings = KubeletSettings(
        eviction_hard={**UPSTREAM_EVICTION, "nothing.known": "1", "pid.available": "0%"},
        eviction_soft={"memory.available": "1Gi"},
        eviction_soft_grace_period={"memory.available": 90.0},
    )
    read = {(each.signal, each.grace): each for each in read_thresholds(settings)}
    assert read["memory.available", 0.0].least(Measured(0, 10)) == 100 * MIB
    assert read["nodefs.available", 0.0].least(Measured(0, 1000)) == 100
    assert read["memory.available", 90.0].amount == 1024 * MIB
    assert len(read) == len(UPSTREAM_EVICTION) + 1


def test_a_soft_threshold_holds_once_it_was_met_for_its_grace_and_a_condition_lasts() -> None:
    hard, soft = Threshold("memory.available", amount=10), Threshold("memory.available", amount=50, grace=30)
    disk = Threshold("nodefs.available", share=0.1)
    pressure = Pressure([soft, disk, hard], transition=300)

    def look(memory: int, now: float, space: int = 50) -> list[Threshold]:
        return pressure.look({"memory.available": Measured(memory, 100), "nodefs.available": Measured(space, 100)}, now)

    assert (look(40, 0), pressure.conditions) == ([], ("MemoryPressure",))
    assert look(40, 29) == []
    assert look(40, 30) == [soft]
    assert look(60, 40) == []
    assert look(40, 41) == []
    assert look(5, 42, space=5) == [hard, disk]
    assert pressure.conditions == ("MemoryPressure", "DiskPressure")
    assert look(90, 341) == []
    assert pressure.conditions == ("MemoryPressure", "DiskPressure")
    assert look(90, 343) == []
    assert not pressure.conditions


def asking(name: str, memory: str = "", priority: int = 0, **spec: Any) -> dict[str, Any]:
    resources = {"requests": {"memory": memory}} if memory else {}
    return pod(name, {"name": "c", "image": "x", "resources": resources}, priority=priority, **spec)


def test_who_uses_more_than_it_asked_for_goes_first_then_the_less_important() -> None:
    pods = [
        asking("within", "100Mi"),
        asking("important", "10Mi", priority=5),
        asking("little", "10Mi"),
        asking("much"),
        asking("critical", priority=2_000_000_000),
        asking("unknown", "1Gi"),
    ]
    used = {"within": 90, "important": 500, "little": 20, "much": 80, "critical": 900}
    uses = {f"uid-{name}": PodUse({"c": amount * MIB}) for name, amount in used.items()}
    names = [each["metadata"]["name"] for each in rank(pods, uses, "memory")]
    assert names == ["unknown", "much", "little", "important", "within"]
    counts = {"within": 5, "little": 50, "much": 7, "important": 900, "unknown": 1}
    counted = {f"uid-{name}": PodUse(processes=count) for name, count in counts.items()}
    names = [each["metadata"]["name"] for each in rank(pods, counted, "pids")]
    assert names == ["little", "much", "within", "unknown", "important"]


def test_an_eviction_says_what_was_short_and_who_used_too_much() -> None:
    threshold = Threshold("memory.available", amount=100 * MIB)
    message = eviction_message(
        asking("p", "10Mi"), PodUse({"c": 20 * MIB}), threshold, {"memory.available": Measured(50 * MIB, 1024 * MIB)}
    )
    assert message == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "
        "Container c was using 20Mi, request is 10Mi, has larger consumption of memory. "
    )


def evictor(node: FakeNode, changed: list[tuple[str, ...]]) -> Evictor:
    async def nothing() -> None: ...

    made: Evictor

    def conditions_changed() -> None:
        node.pressures = made.conditions
        changed.append(made.conditions)

    made = Evictor(
        node.host, workers=lambda: list(node.workers.values()), node_directory="/", free_images=nothing,
        changed=conditions_changed, node_event=lambda reason, message: node.events.warning({}, reason, message),
    )  # fmt: skip
    return made


async def test_a_node_short_of_memory_ends_one_pod_at_a_time_until_there_is_enough() -> None:
    settings = KubeletSettings(eviction_hard={"memory.available": "1Gi"}, eviction_pressure_transition_period=60)
    behaviours = {"big": FakeBehaviour(memory="4Gi"), "small": FakeBehaviour(memory="1Gi")}
    changed: list[tuple[str, ...]] = []
    async with FakeNode(settings=settings, behaviours=behaviours) as node:
        for name, image in (("one", "small"), ("two", "big"), ("three", "big")):
            node.run(pod(name, {"name": "c", "image": image}))
        await node.settle()
        watch = evictor(node, changed)
        running = asyncio.create_task(watch.run())
        await node.clock.advance(10)
        failed = [name for name in node.workers if node.status(name)["phase"] == "Failed"]
        assert len(failed) == 1
        assert failed[0] in ("two", "three")
        assert changed == [("MemoryPressure",)]
        assert node.status(failed[0])["reason"] == "Evicted"
        assert node.status(failed[0])["message"].startswith(
            "The node was low on resource: memory. Threshold quantity: 1Gi"
        )
        assert node.condition("DisruptionTarget", failed[0])["reason"] == "TerminationByKubelet"  # type: ignore[index]
        assert node.events.messages("EvictionThresholdMet") == ["Attempting to reclaim memory"]
        node.run(pod("late"))
        await node.clock.advance(70)
        assert node.status("late")["message"] == "Pod was rejected: The node had condition: [MemoryPressure]. "
        assert changed == [("MemoryPressure",), ()]
        assert len([name for name in node.workers if node.status(name)["phase"] == "Failed"]) == 2
        running.cancel()


def test_a_machine_is_measured(tmp_path: Path) -> None:
    measured = measure_machine(str(tmp_path), None)
    for signal in ("memory.available", "nodefs.available", "imagefs.available", "pid.available"):
        assert 0 < measured[signal].available <= measured[signal].capacity
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(b"x" * 100_000)
    (tmp_path / "link").symlink_to("/usr")
    assert 100_000 <= bytes_below([str(tmp_path), str(tmp_path / "gone")]) < 200_000


class Ending:
    """A pod that takes its time to end."""

    def __init__(self, name: str, priority: int, takes: float, clock: FakeClock, log: list[Any]) -> None:
        self.pod: Document = pod(name, priority=priority, terminationGracePeriodSeconds=30)
        self.over = False
        self._ended = asyncio.Event()
        self._takes, self._clock, self._log = takes, clock, log

    def evict(self, eviction: Any) -> None:
        self._log.append((self.pod["metadata"]["name"], self._clock.monotonic(), eviction.grace, eviction.reason))
        self._clock.call_later(self._takes, self._ended.set)

    async def wait_until_over(self) -> None:
        await self._ended.wait()


PERIODS = KubeletSettings(
    shutdown_grace_period_by_pod_priority=(ShutdownPriority(0, 10), ShutdownPriority(1000, 20), ShutdownPriority(-5, 3))
)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (KubeletSettings(), []),
        (
            KubeletSettings(shutdown_grace_period=30, shutdown_grace_period_critical_pods=10),
            [(20, ["low", "normal", "high"]), (10, ["critical"])],
        ),
        (PERIODS, [(3, ["low"]), (10, ["normal"]), (20, ["high", "critical"])]),
    ],
)
async def test_pods_end_in_groups_by_their_priority(settings: KubeletSettings, expected: list[Any]) -> None:
    priorities = {"low": -5, "normal": 999, "high": 1000, "critical": 2_000_000_000}
    workers = [Ending(name, priority, 0, FakeClock(), []) for name, priority in priorities.items()]
    found = [
        (group.seconds, [each.pod["metadata"]["name"] for each in group.workers])
        for group in groups_of(settings, workers)
    ]
    assert found == expected


async def test_a_shutdown_waits_for_each_group_no_longer_than_it_has() -> None:
    clock, log = FakeClock(), []  # type: ignore[var-annotated]
    settings = KubeletSettings(shutdown_grace_period=30, shutdown_grace_period_critical_pods=10)
    workers: Sequence[Ending] = [
        Ending("quick", 0, 2, clock, log), Ending("slow", 0, 1000, clock, log),
        Ending("critical", 2_000_000_000, 1, clock, log),
    ]  # fmt: skip
    begun = []
    shutdown = Shutdown(clock, settings, lambda: workers, lambda: begun.append(clock.monotonic()))
    running = asyncio.create_task(shutdown.run())
    await clock.advance(40)
    assert (begun, running.done()) == ([0.0], True)
    assert log == [
        ("quick", 0, 20, "Terminated"), ("slow", 0, 20, "Terminated"), ("critical", 20, 10, "Terminated"),
    ]  # fmt: skip


class Imaged(FakeRuntime):
    """Images that take place on a disk of 100 bytes."""

    capabilities = RuntimeCapabilities(processes=False, reachable=False, images=True, log_rotation=True)

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock, node_name="n", state_directory="")
        self.images = {name: ImageStatus(name, (f"{name}:1",), 20) for name in ("a", "b", "c", "d")}
        self.images["pinned"] = ImageStatus("pinned", ("pinned:1",), 5, pinned=True)
        self.containers: list[ContainerStatus] = []
        self.other = 10

    def list_containers(self, pod_uid: str = "") -> Sequence[ContainerStatus]:
        return self.containers

    async def list_images(self) -> Sequence[ImageStatus]:
        return list(self.images.values())

    async def remove_image(self, image_id: str) -> None:
        if image_id == "d":
            raise ImageFailure("it is in use")
        del self.images[image_id]

    async def image_usage(self) -> ImageUsage:
        used = sum(each.size for each in self.images.values()) + self.other
        return ImageUsage("/", used, 100, 100 - used)

    def uses(self, image: str, **more: Any) -> None:
        fields = {"state": "running", "created_at": 0.0, "image_id": image, **more}
        self.containers = [ContainerStatus("id", "s", "u", ContainerConfig("c", image), **fields)]


async def test_images_are_removed_when_their_disk_fills_up_the_least_used_first() -> None:
    clock, told = FakeClock(), []
    settings = KubeletSettings(image_gc_high_threshold_percent=85, image_gc_low_threshold_percent=60)
    runtime = Imaged(clock)
    images = ImageCollection(runtime, clock, settings, lambda reason, message: told.append((reason, message)))
    runtime.uses("b")
    await images.collect()
    assert set(runtime.images) == {"a", "b", "c", "d", "pinned"}  # none has been there for two minutes
    assert told[0][0] == "FreeDiskSpaceFailed"
    await clock.advance(121)
    runtime.uses("c")
    await images.collect()
    assert set(runtime.images) == {"c", "d", "pinned"}
    assert len(told) == 1


async def test_images_that_were_not_used_for_long_are_removed() -> None:
    clock = FakeClock()
    runtime = Imaged(clock)
    images = ImageCollection(runtime, clock, KubeletSettings(image_maximum_gc_age=3600), lambda *_: None)
    await images.collect()
    runtime.uses("a")
    await clock.advance(3601)
    await images.collect()
    assert set(runtime.images) == {"a", "d", "pinned"}


async def away(*_: object) -> Any:
    raise RuntimeFailure("connection refused")


async def test_nobody_who_looks_at_images_or_pressure_gives_up_on_a_runtime_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = KubeletSettings(eviction_hard={"memory.available": "1Gi"}, image_gc_period=5)
    told: list[tuple[str, str]] = []
    async with FakeNode(settings=settings) as node:
        runtime = Imaged(node.clock)
        images = ImageCollection(runtime, node.clock, settings, lambda *event: told.append(event))
        health = NodeHealth(runtime)
        monkeypatch.setattr(runtime, "capabilities", attrs.evolve(runtime.capabilities, images=True))
        with monkeypatch.context() as absence:
            for call in ("list_images", "image_usage"):
                absence.setattr(runtime, call, away)
            absence.setattr(node.runtime, "usage", away)
            running = [asyncio.create_task(each.run()) for each in (evictor(node, []), images)]
            await node.clock.advance(20)
            assert await health.images() == []
            assert ("ImageGCFailed", "connection refused") in told
            assert not any(each.done() for each in running)
        assert len(await health.images()) == 5
        await node.clock.advance(20)
        for each in running:
            each.cancel()
        assert [type(each) for each in await asyncio.gather(*running, return_exceptions=True)] == [
            asyncio.CancelledError
        ] * 2


def names_in(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


async def test_a_log_that_is_too_long_is_put_aside_and_the_oldest_parts_go(tmp_path: Path) -> None:
    clock, reopened = FakeClock(), []
    runtime = Imaged(clock)
    log = tmp_path / "0.log"

    async def reopen(container_id: str) -> None:
        reopened.append(container_id)
        log.touch()

    runtime.reopen_log = reopen  # type: ignore[method-assign]
    runtime.uses("a", log_path=str(log))
    settings = KubeletSettings(container_log_max_size=100, container_log_max_files=3)
    rotation = LogRotation(runtime, clock, settings)
    log.write_text("short")
    await rotation.rotate()
    assert not reopened
    for number in range(5):
        log.write_text(str(number) * 100)
        await rotation.rotate()
        await clock.advance(10)
    assert reopened == ["id"] * 5
    kept = names_in(tmp_path)
    assert kept == ["0.log", "0.log.20260101-000030.gz", "0.log.20260101-000040"]
    assert gzip.decompress((tmp_path / kept[1]).read_bytes()) == b"3" * 100
    assert (tmp_path / kept[2]).read_text() == "4" * 100


async def test_a_log_that_nobody_opens_again_stays_where_it_is(tmp_path: Path) -> None:
    clock = FakeClock()
    runtime = Imaged(clock)
    log = tmp_path / "0.log"
    log.write_text("x" * 200)

    async def gone(container_id: str) -> None:
        raise RuntimeFailure("it has ended")

    runtime.reopen_log = gone  # type: ignore[method-assign]
    runtime.uses("a", log_path=str(log))
    await LogRotation(runtime, clock, KubeletSettings(container_log_max_size=100)).rotate()
    assert names_in(tmp_path) == ["0.log"]


def test_a_clusters_file_says_what_its_nodes_are_told(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("""
kubelet:
  eviction_hard: {memory.available: 100Mi, nodefs.available: 10%}
  static_pod_path: manifests
  shutdown_grace_period: 30
  shutdown_grace_period_by_pod_priority: [{priority: 0, seconds: 10}]
""")
    settings = ClusterConfig.from_yaml(tmp_path / "cluster.yaml").kubelet
    assert settings == KubeletSettings(
        eviction_hard={"memory.available": "100Mi", "nodefs.available": "10%"},
        static_pod_path=tmp_path / "manifests",
        shutdown_grace_period=30.0,
        shutdown_grace_period_by_pod_priority=(ShutdownPriority(0, 10.0),),
    )

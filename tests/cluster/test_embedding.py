"""Clusters inside a program: they come and go, many times and several at once, and leave nothing of themselves."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest

from fakes.waiting import eventually
from kube_core.api import resources
from kube_core.cluster import Cluster, ClusterConfig
from kube_core.meta.documents import name_of

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


@attrs.frozen
class Held:
    """What this program holds of the system."""

    tasks: frozenset[str]
    threads: int
    descriptors: int
    children: Sequence[str]
    directories: Sequence[str]
    collector: tuple[bool, tuple[int, int, int]]

    @classmethod
    def now(cls, temporary: Path) -> Held:
        mine = asyncio.current_task()
        return cls(
            frozenset(task.get_name() for task in asyncio.all_tasks() if task is not mine),
            threading.active_count(),
            len(os.listdir("/proc/self/fd")),
            sorted(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()),
            sorted(path.name for path in temporary.iterdir()),
            (gc.isenabled(), gc.get_threshold()),
        )


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this program's temporary files go."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


async def back_to(before: Held, temporary: Path) -> None:
    """Closed sockets and ended processes take a turn or two to be gone."""

    async def is_back() -> bool:
        now = Held.now(temporary)
        # Worker threads of the loop are kept for the next work; there is a bound to them.
        return attrs.evolve(now, threads=before.threads) == before and now.threads <= before.threads + 8

    try:
        await eventually(is_back, seconds=5)
    except TimeoutError:
        assert Held.now(temporary) == before


async def test_fifty_clusters_one_after_another_leave_nothing(temporary: Path) -> None:
    async with Cluster():
        pass  # what is made once a program: worker threads, caches
    before = Held.now(temporary)
    for _ in range(50):
        async with Cluster() as cluster:
            await cluster.client.create(resources.CONFIG_MAPS, {"metadata": {"name": "a", "namespace": "default"}})
    await back_to(before, temporary)


async def test_clusters_with_processes_leave_nothing(temporary: Path) -> None:
    async with Cluster(runtime="process"):
        pass
    before = Held.now(temporary)
    for _ in range(3):
        async with Cluster(runtime="process", nodes=2):
            assert Held.now(temporary).directories
    await back_to(before, temporary)


@pytest.mark.parametrize("runtime", ["fake", "process"])
async def test_clusters_at_once_do_not_disturb_each_other(temporary: Path, runtime: str) -> None:
    before = Held.now(temporary)

    async def one(number: int) -> None:
        async with Cluster(runtime=runtime) as cluster:
            names = [f"of-{number}-{each}" for each in range(20)]
            for name in names:
                await cluster.client.create(resources.CONFIG_MAPS, {"metadata": {"name": name, "namespace": "default"}})
            found = (await cluster.client.list(resources.CONFIG_MAPS, "default")).items
            assert [name_of(each) for each in found if name_of(each).startswith("of-")] == sorted(names)
            pod = {"spec": {"containers": [{"name": "c", "image": "host", "command": ["sleep", "1000"]}]}}

            async def runs() -> bool:
                (found,) = (await cluster.client.list(resources.PODS, "default")).items
                return bool(found["status"]["phase"] == "Running")

            await cluster.client.create(resources.PODS, {"metadata": {"name": "p", "namespace": "default"}, **pod})
            await eventually(runs)

    await asyncio.gather(*(one(number) for number in range(3)))
    await back_to(before, temporary)


async def test_an_error_in_the_body_stops_the_cluster_and_comes_out(temporary: Path) -> None:
    async with Cluster():
        pass
    before = Held.now(temporary)
    with pytest.raises(LookupError, match="mine"):
        async with Cluster():
            raise LookupError("mine")
    await back_to(before, temporary)


@pytest.mark.parametrize("kind", ["fake", "process", "kept"])
async def test_cancelled_at_any_moment_of_its_start_it_leaves_nothing(
    temporary: Path, tmp_path: Path, kind: str
) -> None:
    config = ClusterConfig(runtime="fake" if kind == "fake" else "process")
    if kind == "kept":
        config = attrs.evolve(config, state_directory=tmp_path / "kept", store=f"sqlite://{tmp_path}/store.db")
    async with Cluster(config):
        pass
    before = Held.now(temporary)

    async def whole() -> None:
        async with Cluster(config):
            await asyncio.sleep(60)

    for step in range(16):
        task = asyncio.create_task(whole())
        # By turns of the loop first, which its start takes hundreds of; then by time.
        for _ in range(step**3):
            await asyncio.sleep(0)
        if step % 2:
            await asyncio.sleep(step / 100)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(task), 20)
    async with Cluster(config):
        pass
    await back_to(before, temporary)

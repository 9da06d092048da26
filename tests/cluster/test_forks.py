"""Snapshots, forks and restoring: a cluster's whole state, carried to others that go their own ways."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kube_core._kit.clock import FakeClock, SystemClock
from kube_core.abc.snapshots import SnapshotRefused
from kube_core.abc.store import KeyRange
from kube_core.abc.transport import WatchRequest
from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.cluster import Cluster
from kube_core.cluster.identities import ADMIN
from kube_core.config import ConfigError
from kube_core.meta.documents import Document
from kube_core.meta.status import NotFound

pytestmark = pytest.mark.anyio

BEHAVIOUR = "fake.kube-core.dev/behaviour"


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(clock=FakeClock(), seed=1, nodes=2, listen=False) as cluster:
        await cluster.settled()
        yield cluster


def deployment(replicas: int) -> dict[str, Any]:
    labels = {"app": "web"}
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}},
        },
    }


def pod(name: str, **behaviour: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "annotations": {BEHAVIOUR: json.dumps({"*": behaviour})}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "main:1"}]},
    }


async def pods_of(cluster: Cluster) -> dict[str, Document]:
    return {each["metadata"]["name"]: each for each in (await cluster.client.list(resources.PODS, "default")).items}


async def test_a_fork_has_everything_and_goes_its_own_way(cluster: Cluster) -> None:
    await cluster.client.create(resources.DEPLOYMENTS, deployment(2))
    await cluster.settled()
    before = await pods_of(cluster)
    async with cluster.fork() as fork:
        await fork.settled()
        assert await pods_of(fork) == before
        assert fork.clock.now() == cluster.clock.now()
        scaled = await fork.client.patch(resources.DEPLOYMENTS, "web", {"spec": {"replicas": 3}}, "default")
        await fork.advance(minutes=5)
        after = await pods_of(fork)
        assert len(after) == 3
        assert after.keys() > before.keys()
        assert {each["status"]["phase"] for each in after.values()} == {"Running"}
        assert (
            scaled["metadata"]["uid"]
            == (await cluster.client.get(resources.DEPLOYMENTS, "web", "default"))["metadata"]["uid"]
        )
    assert await pods_of(cluster) == before
    assert fork.clock.now() == cluster.clock.now() + 300


async def test_a_fork_begins_with_no_write_but_what_a_controller_tells_that_starts(cluster: Cluster) -> None:
    await cluster.client.create(resources.DEPLOYMENTS, deployment(2))
    snapshot = await cluster.snapshot()
    async with snapshot.fork() as fork:
        await fork.settled()
        stored = await fork.server.store.range(KeyRange.prefix("/"))
        written = [each for each in stored.entries if each.mod_revision > snapshot.store.revision]
        # As upstream does after each of its starts.
        assert {json.loads(each.value)["reason"] for each in written if "/events/" in each.key} <= {"RegisteredNode"}
        assert [each.key for each in written if "/events/" not in each.key] == []
        kept = await snapshot.store.range(KeyRange.prefix("/"))
        assert {each.key for each in kept.entries} <= {each.key for each in stored.entries}


async def test_forks_share_the_objects_of_their_snapshot(cluster: Cluster) -> None:
    await cluster.client.create(resources.CONFIG_MAPS, {"metadata": {"name": "note"}, "data": {"a": "b"}}, "default")
    snapshot = await cluster.snapshot()
    async with snapshot.fork() as one, snapshot.fork() as two:
        found = [await each.client.get(resources.CONFIG_MAPS, "note", "default") for each in (cluster, one, two)]
        assert found[0] is found[1] is found[2]


async def test_two_forks_of_a_snapshot_do_the_same(cluster: Cluster) -> None:
    snapshot = await cluster.snapshot()

    async def run(fork: Cluster) -> dict[str, Document]:
        async with fork:
            await fork.client.create(resources.DEPLOYMENTS, deployment(3))
            await fork.advance(minutes=1)
            return await pods_of(fork)

    first, second = await run(snapshot.fork()), await run(snapshot.fork())
    assert first == second
    assert first.keys() != (await run(snapshot.fork(seed=2))).keys()


async def test_a_container_goes_on_where_it_was(cluster: Cluster) -> None:
    await cluster.client.create(resources.PODS, pod("job", runs_for=100, exit_code=3, log="began"), "default")
    await cluster.advance(seconds=60)
    async with cluster.fork() as fork:
        await fork.advance(seconds=39)
        assert (await pods_of(fork))["job"]["status"]["phase"] == "Running"
        await fork.advance(seconds=2)
        ended = (await pods_of(fork))["job"]["status"]
        assert ended["phase"] == "Failed"
        assert ended["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
    assert (await pods_of(cluster))["job"]["status"]["phase"] == "Running"


async def test_restore_brings_back_objects_time_and_containers_to_the_same_client(cluster: Cluster) -> None:
    client = cluster.client
    await client.create(resources.PODS, pod("kept"), "default")
    snapshot = await cluster.snapshot()
    moment = cluster.clock.now()
    await client.delete(resources.PODS, "kept", "default")
    await client.create(resources.PODS, pod("late"), "default")
    await cluster.advance(hours=1)
    assert list(await pods_of(cluster)) == ["late"]
    await cluster.restore(snapshot)
    await cluster.settled()
    assert cluster.clock.now() == pytest.approx(moment)
    assert cluster.client is client
    assert {name: each["status"]["phase"] for name, each in (await pods_of(cluster)).items()} == {"kept": "Running"}
    await cluster.advance(minutes=2)
    node = await client.get(resources.NODES, "node-1")
    assert next(each for each in node["status"]["conditions"] if each["type"] == "Ready")["status"] == "True"


async def test_restore_goes_on_listening_on_the_same_port() -> None:
    clock = FakeClock(SystemClock().now())
    async with Cluster(nodes=0, seed=1, clock=clock) as cluster:
        port = cluster.port
        snapshot = await cluster.snapshot()
        await cluster.client.create(resources.NAMESPACES, {"metadata": {"name": "late"}})
        await cluster.restore(snapshot)
        assert cluster.port == port
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()
        with pytest.raises(NotFound):
            await cluster.client.get(resources.NAMESPACES, "late")


async def test_a_snapshot_of_a_fork_and_of_a_restored_cluster_hold_too(cluster: Cluster) -> None:
    await cluster.client.create(resources.PODS, pod("one"), "default")
    async with cluster.fork() as fork:
        await fork.client.create(resources.PODS, pod("two"), "default")
        second = await fork.snapshot()
    await cluster.restore(second)
    await cluster.settled()
    async with cluster.fork() as fork:
        await fork.settled()
        assert [each["status"]["phase"] for each in (await pods_of(fork)).values()] == ["Running", "Running"]


async def test_a_watch_from_before_a_fork_goes_on_in_it(cluster: Cluster) -> None:
    made = await cluster.client.create(resources.CONFIG_MAPS, {"metadata": {"name": "one"}}, "default")
    await cluster.client.create(resources.CONFIG_MAPS, {"metadata": {"name": "two"}}, "default")
    async with cluster.fork() as fork:
        await fork.client.create(resources.CONFIG_MAPS, {"metadata": {"name": "three"}}, "default")
        version = made["metadata"]["resourceVersion"]
        events = fork.watch(WatchRequest(resources.CONFIG_MAPS, "default", resource_version=version), ADMIN)
        seen = [(await anext(events)).object["metadata"]["name"] for _ in range(2)]
        await events.aclose()  # type: ignore[attr-defined]
    assert seen == ["two", "three"]


async def test_definitions_are_served_in_a_fork(cluster: Cluster) -> None:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}
    await cluster.client.create(
        resources.CUSTOM_RESOURCE_DEFINITIONS,
        {
            "metadata": {"name": "things.example.dev"},
            "spec": {
                "group": "example.dev",
                "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
                "scope": "Namespaced",
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
            },
        },
    )
    await cluster.settled()
    async with cluster.fork() as fork:
        things = ResourceType("example.dev", "v1", "Thing", "things", True)
        await fork.client.create(things, {"metadata": {"name": "one"}, "spec": {"size": 1, "other": 2}}, "default")
        assert (await fork.client.get(things, "one", "default"))["spec"] == {"size": 1}


async def test_a_namespace_can_be_deleted_in_a_fork(cluster: Cluster) -> None:
    await cluster.client.create(resources.NAMESPACES, {"metadata": {"name": "demo"}})
    await cluster.client.create(resources.CONFIG_MAPS, {"metadata": {"name": "note"}}, "demo")
    async with cluster.fork() as fork:
        await fork.client.delete(resources.NAMESPACES, "demo")
        await fork.advance(minutes=1)
        with pytest.raises(NotFound):
            await fork.client.get(resources.NAMESPACES, "demo")
    await cluster.client.get(resources.CONFIG_MAPS, "note", "demo")


async def test_owned_objects_are_collected_in_a_fork(cluster: Cluster) -> None:
    await cluster.client.create(resources.DEPLOYMENTS, deployment(2))
    async with cluster.fork() as fork:
        await fork.client.delete(resources.DEPLOYMENTS, "web", "default")
        await fork.advance(minutes=1)
        assert not await pods_of(fork)


async def test_a_snapshot_outlives_its_cluster_and_keeps_nothing_of_it_alive() -> None:
    cluster = Cluster(clock=FakeClock(), seed=1, nodes=1, listen=False)
    async with cluster:
        await cluster.client.create(resources.PODS, pod("web"), "default")
        snapshot = await cluster.snapshot()
    server = weakref.ref(cluster.server)
    del cluster
    await asyncio.sleep(0)
    gc.collect()
    assert server() is None
    async with snapshot.fork() as fork:
        await fork.settled()
        assert (await pods_of(fork))["web"]["status"]["phase"] == "Running"


def test_a_snapshot_belongs_to_no_event_loop() -> None:
    async def begin() -> Any:
        async with Cluster(clock=FakeClock(), seed=1, nodes=1, listen=False) as cluster:
            await cluster.client.create(resources.PODS, pod("web"), "default")
            return await cluster.snapshot()

    async def go_on(snapshot: Any) -> str:
        async with snapshot.fork() as fork:
            await fork.advance(minutes=2)
            return str((await pods_of(fork))["web"]["status"]["phase"])

    snapshot = asyncio.run(begin())
    assert [asyncio.run(go_on(snapshot)) for _ in range(2)] == ["Running", "Running"]


async def test_what_has_its_state_elsewhere_refuses_by_name(tmp_path: Path) -> None:
    async with Cluster(nodes=0, listen=False, store=f"sqlite://{tmp_path}/store.db") as cluster:
        with pytest.raises(SnapshotRefused, match=r"the store \(SqliteStore\)"):
            await cluster.snapshot()


async def test_a_fork_takes_options_that_say_nothing_about_state(cluster: Cluster) -> None:
    snapshot = await cluster.snapshot()
    with pytest.raises(ConfigError, match="nodes, store"):
        snapshot.fork(nodes=5, store="sqlite:")
    async with snapshot.fork(controllers=()) as fork:
        assert fork.controllers is None
    with pytest.raises(ConfigError, match="another nodes"):
        async with Cluster(nodes=0, listen=False, clock=FakeClock()) as other:
            await other.restore(snapshot)


async def test_a_cluster_on_the_machines_time_is_forked_as_well() -> None:
    async with Cluster(seed=1, nodes=1, listen=False) as cluster:
        await cluster.client.create(resources.PODS, pod("web"), "default")
        async with cluster.fork() as fork:
            await fork.settled()
            assert (await pods_of(fork))["web"]["status"]["phase"] == "Running"

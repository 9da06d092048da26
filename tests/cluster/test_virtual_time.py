"""Whole clusters on a clock that only tests move: hours of heartbeats, grace periods, back-offs and deadlines."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.api import pods, resources
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document
from kube_core.settling import NotSettled, TimeStandsStill

pytestmark = pytest.mark.anyio

BEHAVIOUR = "fake.kube-core.dev/behaviour"
LEASES = "kube-node-lease"


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(clock=FakeClock(), seed=1, nodes=3, listen=False) as cluster:
        await cluster.settled()
        yield cluster


def deployment(replicas: int = 3, image: str = "web:1", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": image}]},
            },
            **spec,
        },
    }


def pod(name: str, behaviour: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    annotations = {BEHAVIOUR: json.dumps({"*": behaviour})}
    return {
        "metadata": {"name": name, "namespace": "default", "annotations": annotations},
        "spec": {"containers": [{"name": "main", "image": "main:1"}], **spec},
    }


def condition(document: Document, kind: str) -> Document:
    conditions: Sequence[Document] = document["status"]["conditions"]
    return next(each for each in conditions if each["type"] == kind)


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def fall_silent(cluster: Cluster, node: str) -> None:
    """End a node's heartbeat, and nothing else."""
    [heartbeat] = [task for task in asyncio.all_tasks() if task.get_name() == f"heartbeat of {node}"]
    heartbeat.cancel()


async def test_a_settled_cluster_has_done_all_it_can(cluster: Cluster) -> None:
    before = cluster.clock.monotonic()
    await cluster.client.create(resources.DEPLOYMENTS, deployment(12))
    await cluster.settled()
    found = await cluster.client.get(resources.DEPLOYMENTS, "web", "default")
    assert found["status"]["readyReplicas"] == 12
    assert condition(found, "Progressing")["reason"] == "NewReplicaSetAvailable"
    assert cluster.clock.monotonic() - before < 1.5
    # Settled is settled: nothing is written, however often the loop turns.
    revision = cluster.server.store.revision
    for _ in range(1000):
        await asyncio.sleep(0)
    assert cluster.server.store.revision == revision


async def test_leases_are_renewed_every_ten_seconds_and_nodes_stay_ready(cluster: Cluster) -> None:
    subscription = cluster.bus.subscribe(resources.LEASES, limit=10_000)
    await cluster.advance(hours=1)
    renewals = [change.after.document for change in subscription.drain() if change.after is not None]
    mine = [
        seconds(lease["spec"]["renewTime"])
        for lease in renewals
        if (lease["metadata"]["namespace"], lease["metadata"]["name"]) == (LEASES, "node-1")
    ]
    assert len(mine) == 360
    assert {later - earlier for earlier, later in itertools.pairwise(mine)} == {10.0}
    nodes = (await cluster.client.list(resources.NODES)).items
    assert [condition(node, "Ready")["status"] for node in nodes] == ["True"] * 3
    assert not any(node["spec"].get("taints") for node in nodes)


async def test_a_node_that_falls_silent_is_unknown_after_its_grace_and_tainted(cluster: Cluster) -> None:
    await cluster.advance(seconds=15)
    fall_silent(cluster, "node-2")
    lease = await cluster.client.get(resources.LEASES, "node-2", LEASES)
    last_heard = seconds(lease["spec"]["renewTime"])
    await cluster.advance(seconds=44)
    node = await cluster.client.get(resources.NODES, "node-2")
    assert condition(node, "Ready")["status"] == "True"
    await cluster.advance(seconds=2)
    node = await cluster.client.get(resources.NODES, "node-2")
    ready = condition(node, "Ready")
    assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
    assert seconds(ready["lastTransitionTime"]) - last_heard == 50
    assert {(taint["key"], taint["effect"]) for taint in node["spec"]["taints"]} == {
        ("node.kubernetes.io/unreachable", "NoSchedule"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
    }
    others = [await cluster.client.get(resources.NODES, name) for name in ("node-1", "node-3")]
    assert [condition(other, "Ready")["status"] for other in others] == ["True", "True"]
    # What comes now goes to the others.
    await cluster.client.create(resources.DEPLOYMENTS, deployment(4))
    await cluster.settled()
    placed = {pods.node_name_of(each) for each in (await cluster.client.list(resources.PODS, "default")).items}
    assert placed == {"node-1", "node-3"}


async def test_a_container_that_crashes_waits_twice_as_long_each_time(cluster: Cluster) -> None:
    subscription = cluster.bus.subscribe(resources.PODS, limit=10_000)
    await cluster.client.create(resources.PODS, pod("crasher", {"runs_for": 1.0, "exit_code": 3}))
    await cluster.advance(minutes=30)
    starts: list[float] = []
    for change in subscription.drain():
        for status in (change.after.document["status"] if change.after else {}).get("containerStatuses") or ():
            running = status["state"].get("running")
            if running is not None and seconds(running["startedAt"]) not in starts:
                starts.append(seconds(running["startedAt"]))
    pauses = [later - earlier - 1 for earlier, later in itertools.pairwise(starts)]
    # Upstream's back-off: the first restart at once or nearly so, then 10 s doubled up to 5 min.
    assert pauses[1:7] == pytest.approx([10, 20, 40, 80, 160, 300], abs=2)
    assert pauses[7:] == pytest.approx([300] * len(pauses[7:]), abs=2)
    found = await cluster.client.get(resources.PODS, "crasher", "default")
    [status] = found["status"]["containerStatuses"]
    assert status["restartCount"] == len(starts) - 1
    assert status["state"]["waiting"]["reason"] == "CrashLoopBackOff"


async def test_a_rollout_that_makes_no_progress_says_so_at_its_deadline(cluster: Cluster) -> None:
    await cluster.client.create(resources.DEPLOYMENTS, deployment(2, progressDeadlineSeconds=600))
    await cluster.settled()
    annotations = {BEHAVIOUR: '{"*": {"start_error": "no such command"}}'}
    broken = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    await cluster.client.patch(resources.DEPLOYMENTS, "web", broken, "default")
    await cluster.advance(minutes=9)
    found = await cluster.client.get(resources.DEPLOYMENTS, "web", "default")
    assert condition(found, "Progressing")["reason"] == "ReplicaSetUpdated"
    await cluster.advance(minutes=2)
    found = await cluster.client.get(resources.DEPLOYMENTS, "web", "default")
    assert condition(found, "Progressing")["reason"] == "ProgressDeadlineExceeded"
    assert found["status"]["readyReplicas"] == 2  # the old ones are left alone


async def test_a_pod_that_takes_its_time_keeps_nobody_from_settling(cluster: Cluster) -> None:
    await cluster.client.create(resources.PODS, pod("slow", {"start_latency": 30.0}))
    await cluster.settled()
    assert (await cluster.client.get(resources.PODS, "slow", "default"))["status"]["phase"] == "Pending"
    await cluster.advance(seconds=31)
    assert (await cluster.client.get(resources.PODS, "slow", "default"))["status"]["phase"] == "Running"


async def test_a_hold_that_never_ends_is_named(cluster: Cluster) -> None:
    with cluster.clock.hold("the bank is asked"):
        with pytest.raises(NotSettled, match="hold: the bank is asked"):
            await cluster.settled(limit=0.05)
        with pytest.raises(NotSettled, match="hold: the bank is asked"):
            await cluster.advance(seconds=1, limit=0.05)


async def test_a_cluster_on_the_machines_time_settles_but_cannot_be_advanced() -> None:
    async with Cluster(nodes=1, listen=False, seed=1) as cluster:
        await cluster.client.create(resources.DEPLOYMENTS, deployment(3))
        await cluster.settled()
        found = await cluster.client.get(resources.DEPLOYMENTS, "web", "default")
        assert found["status"]["readyReplicas"] == 3
        with pytest.raises(TimeStandsStill, match="FakeClock"):
            await cluster.advance(hours=1)


#: What happens, written out: every write from the first one on, with its moment, name, revision and unique id.
SCENARIO = """
import asyncio
from kube_core._kit.clock import FakeClock
from kube_core.api import resources
from kube_core.cluster import Cluster

LABELS = {"app": "web"}

def template(image):
    return {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "web", "image": image}]}}

async def main():
    cluster = Cluster(clock=FakeClock(), seed=SEED, nodes=3, listen=False)
    async with cluster:
        topics = [cluster.bus.subscribe(each, limit=100_000) for each in (
            resources.PODS, resources.DEPLOYMENTS, resources.REPLICA_SETS, resources.EVENTS, resources.NODES,
            resources.LEASES, resources.ENDPOINTS, resources.ENDPOINT_SLICES, resources.NAMESPACES,
            resources.CONFIG_MAPS, resources.SERVICE_ACCOUNTS,
        )]
        client = cluster.client
        await client.create(resources.SERVICES, {
            "metadata": {"name": "web", "namespace": "default"}, "spec": {"selector": LABELS, "ports": [{"port": 80}]},
        })
        await client.create(resources.DEPLOYMENTS, {
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"replicas": 6, "selector": {"matchLabels": LABELS}, "template": template("web:1")},
        })
        await client.create(resources.NAMESPACES, {"metadata": {"name": "demo"}})
        await cluster.settled()
        await client.patch(resources.DEPLOYMENTS, "web", {"spec": {"template": template("web:2")}}, "default")
        await cluster.advance(minutes=3)
        await client.delete(resources.DEPLOYMENTS, "web", "default")
        await client.delete(resources.NAMESPACES, "demo")
        await cluster.advance(minutes=3)
        changes = sorted((change.revision, change.key.namespace, change.key.name, topic.topic.resource.resource,
                          change.after.document["metadata"]["uid"] if change.after else "gone")
                         for topic in topics for change in topic.drain())
        print("\\n".join(" ".join(map(str, each)) for each in changes))

asyncio.run(main())
"""


def writes(seed: int, hash_seed: int) -> list[str]:
    finished = subprocess.run(
        [sys.executable, "-c", SCENARIO.replace("SEED", str(seed))],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()


@pytest.mark.timeout(300)
async def test_with_a_seed_two_runs_write_the_same_in_the_same_order() -> None:
    """In two processes, whose sets are in two orders: order must come from nowhere else than the program."""
    runs = [(1, 1), (1, 2), (2, 1)]
    first, second, other = await asyncio.gather(*(asyncio.to_thread(writes, *run) for run in runs))
    assert len(first) > 150
    assert first == second
    assert first != other

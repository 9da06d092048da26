"""Nodes that fall silent, and what becomes of their pods: evicted after their time, made again elsewhere, forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.api import pods, resources
from kube_core.cluster import Cluster
from kube_core.cluster.faults import Fault
from kube_core.meta.documents import Document
from kube_core.meta.status import NotFound

pytestmark = pytest.mark.anyio

UNREACHABLE = "node.kubernetes.io/unreachable"


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(clock=FakeClock(), seed=1, nodes=3, listen=False) as cluster:
        await cluster.settled()
        yield cluster


def deployment(replicas: int) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
        },
    }


def pod(name: str, node: str = "", **spec: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "main", "image": "main:1"}], **spec}
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {**spec, **({"nodeName": node} if node else {})},
    }


async def pods_of(cluster: Cluster, node: str = "") -> Sequence[Document]:
    found = (await cluster.client.list(resources.PODS, "default")).items
    return [each for each in found if not node or pods.node_name_of(each) == node]


async def taints(cluster: Cluster, node: str) -> set[tuple[str, str]]:
    found = (await cluster.client.get(resources.NODES, node))["spec"].get("taints") or ()
    return {(each["key"].removeprefix("node.kubernetes.io/"), each["effect"]) for each in found}


async def events(cluster: Cluster, reason: str) -> list[Document]:
    return [each for each in (await cluster.client.list(resources.EVENTS)).items if each["reason"] == reason]


def since(document: Document, condition: str) -> float:
    found = next(each for each in document["status"]["conditions"] if each["type"] == condition)
    return datetime.fromisoformat(found["lastTransitionTime"]).timestamp()


async def test_the_pods_of_a_node_that_is_cut_off_are_evicted_after_five_minutes_and_come_back_elsewhere(
    cluster: Cluster,
) -> None:
    await cluster.client.create(resources.DEPLOYMENTS, deployment(6))
    await cluster.settled()
    lost = {pods.node_name_of(each) for each in await pods_of(cluster)}
    assert lost == {"node-1", "node-2", "node-3"}
    cluster.faults.add(Fault.partitions("node-2"))
    await cluster.advance(seconds=52)
    node = await cluster.client.get(resources.NODES, "node-2")
    assert await taints(cluster, "node-2") == {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")}
    # Its pods are not ready, so no Service leads to them, and nobody has given them up yet.
    assert [pods.is_ready(each) for each in await pods_of(cluster, "node-2")] == [False, False]
    assert len(await events(cluster, "NodeNotReady")) == 3
    unknown = since(node, "Ready")
    await cluster.advance(seconds=unknown + 299 - cluster.clock.now())
    assert not any(each["metadata"].get("deletionTimestamp") for each in await pods_of(cluster))
    await cluster.advance(seconds=2)
    stuck = await pods_of(cluster, "node-2")
    assert all(each["metadata"].get("deletionTimestamp") for each in stuck)
    reasons = {(each["type"], each.get("reason")) for one in stuck for each in one["status"]["conditions"]}
    assert ("DisruptionTarget", "DeletionByTaintManager") in reasons
    others = [each for each in await pods_of(cluster) if each not in stuck]
    assert len(others) == 6
    assert {pods.node_name_of(each) for each in others} == {"node-1", "node-3"}
    assert all(map(pods.is_ready, others))
    told = [each["message"] for each in await events(cluster, "TaintManagerEviction")]
    assert sorted(told) == sorted(f"Marking for deletion Pod default/{each['metadata']['name']}" for each in stuck)
    # When the node comes back it ends them, and takes new ones.
    cluster.faults.clear()
    await cluster.advance(minutes=6)
    assert await taints(cluster, "node-2") == set()
    assert len(await pods_of(cluster)) == 6


async def test_an_eviction_is_called_off_when_the_node_comes_back_in_time(cluster: Cluster) -> None:
    await cluster.client.create(resources.PODS, pod("web", "node-2"))
    with cluster.faults.inject(Fault.partitions("node-2")):
        await cluster.advance(minutes=4)
        assert ("unreachable", "NoExecute") in await taints(cluster, "node-2")
    await cluster.advance(minutes=10)
    [found] = await pods_of(cluster)
    assert pods.is_ready(found)
    assert [each["message"] for each in await events(cluster, "TaintManagerEviction")] == [
        "Cancelling deletion of Pod default/web"
    ]


async def test_a_pod_is_ready_again_as_soon_as_its_node_is_heard_of(cluster: Cluster) -> None:
    await cluster.client.create(resources.PODS, pod("web", "node-2", automountServiceAccountToken=False))
    await cluster.settled()
    with cluster.faults.inject(Fault.partitions("node-2")):
        await cluster.advance(minutes=2)
        assert not any(map(pods.is_ready, await pods_of(cluster)))
    await cluster.advance(minutes=1)
    assert all(map(pods.is_ready, await pods_of(cluster)))


async def test_a_taint_evicts_at_once_who_does_not_tolerate_it_and_in_time_who_does(cluster: Cluster) -> None:
    tolerations = [{"key": "team", "operator": "Exists"}]
    await cluster.client.create(resources.PODS, pod("stays", "node-1", tolerations=tolerations))
    await cluster.client.create(
        resources.PODS,
        pod("a-while", "node-1", tolerations=[{**tolerations[0], "effect": "NoExecute", "tolerationSeconds": 60}]),
    )
    await cluster.client.create(resources.PODS, pod("goes", "node-1"))
    await cluster.settled()
    taint = {"key": "team", "value": "a", "effect": "NoExecute"}
    await cluster.client.patch(resources.NODES, "node-1", {"spec": {"taints": [taint]}})
    await cluster.advance(seconds=40)
    assert {each["metadata"]["name"] for each in await pods_of(cluster)} == {"stays", "a-while"}
    await cluster.advance(seconds=60)
    assert {each["metadata"]["name"] for each in await pods_of(cluster)} == {"stays"}


async def test_a_node_whose_runtime_is_away_is_not_ready_until_it_is_back(cluster: Cluster) -> None:
    runtime: Any = cluster.nodes["node-1"].runtime
    runtime.problems = lambda: ["container runtime is down", "PLEG is not healthy"]
    await cluster.advance(seconds=15)
    node: Any = await cluster.client.get(resources.NODES, "node-1")
    ready = next(each for each in node["status"]["conditions"] if each["type"] == "Ready")
    assert (ready["status"], ready["reason"], ready["message"]) == (
        "False", "KubeletNotReady", "[container runtime is down, PLEG is not healthy]"
    )  # fmt: skip
    assert ("not-ready", "NoExecute") in await taints(cluster, "node-1")
    assert len(await events(cluster, "NodeNotReady")) >= 1
    del runtime.problems
    await cluster.advance(seconds=15)
    assert await taints(cluster, "node-1") == set()


async def test_nobody_is_evicted_where_all_nodes_are_silent(cluster: Cluster) -> None:
    await cluster.client.create(resources.DEPLOYMENTS, deployment(6))
    await cluster.settled()
    partition = [Fault.partitions(f"node-{number}") for number in (1, 2, 3)]
    with cluster.faults.inject(*partition):
        await cluster.advance(minutes=20)
        for number in (1, 2, 3):
            assert await taints(cluster, f"node-{number}") == {("unreachable", "NoSchedule")}
    await cluster.advance(minutes=1)
    found = await pods_of(cluster)
    assert len(found) == 6
    assert await events(cluster, "TaintManagerEviction") == []


async def test_two_nodes_that_fall_silent_are_evicted_one_after_the_other() -> None:
    async with Cluster(clock=FakeClock(), seed=1, nodes=5, listen=False) as cluster:
        with cluster.faults.inject(Fault.partitions("node-1"), Fault.partitions("node-2")):
            await cluster.advance(seconds=90)
            evicting = [(await cluster.client.get(resources.NODES, f"node-{number}"))["spec"] for number in (1, 2)]
            moments = [
                datetime.fromisoformat(taint["timeAdded"]).timestamp()
                for spec in evicting
                for taint in spec["taints"]
                if taint["effect"] == "NoExecute"
            ]
            assert abs(moments[0] - moments[1]) == 10


async def test_a_node_that_never_says_how_it_is_is_unknown_after_a_minute(cluster: Cluster) -> None:
    await cluster.client.create(resources.NODES, {"metadata": {"name": "mute"}})
    await cluster.advance(seconds=59)
    assert not (await cluster.client.get(resources.NODES, "mute"))["status"].get("conditions")
    await cluster.advance(seconds=2)
    found = (await cluster.client.get(resources.NODES, "mute"))["status"]["conditions"]
    assert {(each["type"], each["status"], each["reason"]) for each in found} == {
        (kind, "Unknown", "NodeStatusNeverUpdated")
        for kind in ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
    }


async def test_the_pods_of_a_node_that_is_gone_are_gone_after_a_while(cluster: Cluster) -> None:
    await cluster.client.create(resources.NODES, {"metadata": {"name": "gone"}})
    await cluster.client.create(resources.PODS, pod("orphan", "gone", tolerations=[{"operator": "Exists"}]))
    await cluster.settled()
    subscription = cluster.bus.subscribe(resources.PODS, limit=100)
    await cluster.client.delete(resources.NODES, "gone")
    await cluster.advance(seconds=39)
    assert len(await pods_of(cluster)) == 1
    await cluster.advance(seconds=2)
    assert await pods_of(cluster) == []
    last = [change.after.document for change in subscription.drain() if change.after is not None][-1]
    assert last["status"]["phase"] == "Failed"
    [condition] = [each for each in last["status"]["conditions"] if each["type"] == "DisruptionTarget"]
    assert (condition["reason"], condition["message"]) == ("DeletionByPodGC", "PodGC: node no longer exists")
    assert len(await events(cluster, "RemovingNode")) == 1


async def test_pods_that_end_on_a_node_out_of_service_are_not_waited_for(cluster: Cluster) -> None:
    await cluster.client.create(resources.PODS, pod("stuck", "node-2"))
    await cluster.settled()
    cluster.faults.add(Fault.partitions("node-2"))
    await cluster.advance(seconds=60)
    await cluster.client.delete(resources.PODS, "stuck", "default")
    await cluster.advance(minutes=2)
    assert len(await pods_of(cluster)) == 1
    taint = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
    present = (await cluster.client.get(resources.NODES, "node-2"))["spec"]["taints"]
    await cluster.client.patch(resources.NODES, "node-2", {"spec": {"taints": [*present, taint]}})
    await cluster.settled()
    assert await pods_of(cluster) == []


async def test_a_pod_that_was_never_bound_and_is_held_back_has_failed(cluster: Cluster) -> None:
    held = pod("held", schedulingGates=[{"name": "example.dev/wait"}])
    held["metadata"]["finalizers"] = ["example.dev/hold"]
    await cluster.client.create(resources.PODS, held)
    await cluster.client.delete(resources.PODS, "held", "default")
    await cluster.settled()
    [found] = await pods_of(cluster)
    assert pods.phase_of(found) == "Failed"
    await cluster.client.patch(resources.PODS, "held", {"metadata": {"finalizers": None}}, "default")
    with pytest.raises(NotFound):
        await cluster.client.get(resources.PODS, "held", "default")


async def test_nodes_from_elsewhere_are_given_ranges_of_their_own_and_every_node_its_ttl(cluster: Cluster) -> None:
    for name in ("far-1", "far-2"):
        await cluster.client.create(resources.NODES, {"metadata": {"name": name}})
    await cluster.settled()
    nodes = (await cluster.client.list(resources.NODES)).items
    ranges = [each["spec"]["podCIDR"] for each in nodes]
    assert len(set(ranges)) == 5
    assert all(each["spec"]["podCIDRs"] == [each["spec"]["podCIDR"]] for each in nodes)
    assert {each["metadata"]["annotations"]["node.alpha.kubernetes.io/ttl"] for each in nodes} == {"0"}

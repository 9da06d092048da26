"""Daemon sets in a whole cluster with simulated nodes, in virtual time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.api import pods, resources
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document, name_of
from kube_drivers.runtime.fake import BEHAVIOUR_ANNOTATION

pytestmark = pytest.mark.anyio


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(nodes=3, listen=False, clock=FakeClock(), seed=1) as made:
        yield made


def daemon_set(behaviour: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    annotations = {BEHAVIOUR_ANNOTATION: json.dumps({"log": behaviour or {}})}
    template = {
        "metadata": {"labels": {"app": "log"}, "annotations": annotations},
        "spec": {"containers": [{"name": "log", "image": "log:1"}]},
    }
    return {
        "metadata": {"name": "log", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "log"}}, "template": template, **spec},
    }


async def pods_of(cluster: Cluster) -> Sequence[Document]:
    return (await cluster.client.list(resources.PODS, "default")).items


async def placed(cluster: Cluster) -> list[str]:
    found = await pods_of(cluster)
    return sorted(f"{pods.node_name_of(pod)} {pod['spec']['containers'][0]['image']}" for pod in found)


async def status_of(cluster: Cluster) -> dict[str, Any]:
    return dict((await cluster.client.get(resources.DAEMON_SETS, "log", "default")).get("status") or {})


async def patch(cluster: Cluster, spec: dict[str, Any]) -> None:
    await cluster.client.patch(resources.DAEMON_SETS, "log", {"spec": spec}, "default", patch_type="strategic")


def image(name: str) -> dict[str, Any]:
    return {"template": {"spec": {"containers": [{"name": "log", "image": name}]}}}


async def test_every_node_gets_a_daemon_and_loses_it_to_a_taint(cluster: Cluster) -> None:
    await cluster.client.create(resources.DAEMON_SETS, daemon_set())
    await cluster.advance(seconds=10)
    assert await placed(cluster) == ["node-1 log:1", "node-2 log:1", "node-3 log:1"]
    status = await status_of(cluster)
    assert [status[name] for name in ("desiredNumberScheduled", "numberReady", "numberAvailable")] == [3, 3, 3]
    taint = {"spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}}
    await cluster.client.patch(resources.NODES, "node-2", taint)
    await cluster.advance(seconds=60)
    assert await placed(cluster) == ["node-1 log:1", "node-3 log:1"]
    assert (await status_of(cluster))["desiredNumberScheduled"] == 2
    await cluster.client.patch(resources.NODES, "node-2", {"spec": {"taints": None}})
    await cluster.advance(seconds=10)
    assert len(await placed(cluster)) == 3


async def test_an_update_rolls_over_the_nodes_and_keeps_a_history(cluster: Cluster) -> None:
    await cluster.client.create(resources.DAEMON_SETS, daemon_set(minReadySeconds=5))
    await cluster.advance(seconds=20)
    await patch(cluster, image("log:2"))
    await cluster.advance(seconds=3)
    status = await status_of(cluster)
    assert (status["updatedNumberScheduled"], status["numberUnavailable"]) == (1, 1)
    await cluster.advance(seconds=60)
    assert await placed(cluster) == ["node-1 log:2", "node-2 log:2", "node-3 log:2"]
    assert (await status_of(cluster))["updatedNumberScheduled"] == 3
    revisions = (await cluster.client.list(resources.CONTROLLER_REVISIONS, "default")).items
    assert sorted(each["revision"] for each in revisions) == [1, 2]


async def test_a_surge_starts_the_new_daemon_before_the_old_one_ends(cluster: Cluster) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    await cluster.client.create(resources.DAEMON_SETS, daemon_set(minReadySeconds=5, updateStrategy=strategy))
    await cluster.advance(seconds=20)
    await patch(cluster, image("log:2"))
    await cluster.advance(seconds=3)
    assert len(await placed(cluster)) == 4
    await cluster.advance(seconds=60)
    assert await placed(cluster) == ["node-1 log:2", "node-2 log:2", "node-3 log:2"]


async def test_on_delete_updates_what_is_deleted(cluster: Cluster) -> None:
    await cluster.client.create(resources.DAEMON_SETS, daemon_set(updateStrategy={"type": "OnDelete"}))
    await cluster.advance(seconds=10)
    await patch(cluster, image("log:2"))
    await cluster.advance(seconds=30)
    assert await placed(cluster) == ["node-1 log:1", "node-2 log:1", "node-3 log:1"]
    victim = next(pod for pod in await pods_of(cluster) if pods.node_name_of(pod) == "node-2")
    await cluster.client.delete(resources.PODS, name_of(victim), "default")
    await cluster.advance(seconds=60)
    assert await placed(cluster) == ["node-1 log:1", "node-2 log:2", "node-3 log:1"]

"""Stateful sets in a whole cluster with a simulated node, in virtual time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.api import pods, resources
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document, name_of, uid_of
from kube_drivers.runtime.fake import BEHAVIOUR_ANNOTATION

pytestmark = pytest.mark.anyio


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(nodes=2, listen=False, clock=FakeClock(), seed=1) as made:
        yield made


def stateful_set(replicas: int = 3, image: str = "web:1", ready_after: float = 2, **spec: Any) -> dict[str, Any]:
    annotations = {BEHAVIOUR_ANNOTATION: json.dumps({"web": {"ready_after": ready_after}})}
    probe = {"tcpSocket": {"port": 80}, "periodSeconds": 1}
    container = {
        "name": "web",
        "image": image,
        "readinessProbe": probe,
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "serviceName": "web",
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}, "annotations": annotations},
                "spec": {"containers": [container]},
            },
            "volumeClaimTemplates": [claim],
            **spec,
        },
    }


async def pods_of(cluster: Cluster) -> Sequence[Document]:
    found = (await cluster.client.list(resources.PODS, "default")).items
    return sorted(found, key=name_of)


async def images(cluster: Cluster) -> list[str]:
    return [f"{name_of(pod)} {pod['spec']['containers'][0]['image']}" for pod in await pods_of(cluster)]


async def status_of(cluster: Cluster) -> dict[str, Any]:
    return dict((await cluster.client.get(resources.STATEFUL_SETS, "web", "default")).get("status") or {})


async def claims(cluster: Cluster) -> list[str]:
    return sorted(map(name_of, (await cluster.client.list(resources.PERSISTENT_VOLUME_CLAIMS, "default")).items))


async def patch(cluster: Cluster, spec: dict[str, Any]) -> None:
    await cluster.client.patch(resources.STATEFUL_SETS, "web", {"spec": spec}, "default", patch_type="strategic")


def image(name: str) -> dict[str, Any]:
    return {"template": {"spec": {"containers": [{"name": "web", "image": name}]}}}


async def test_pods_come_in_order_with_claims_that_stay(cluster: Cluster) -> None:
    await cluster.client.create(resources.STATEFUL_SETS, stateful_set())
    await cluster.advance(seconds=1)
    assert [name_of(pod) for pod in await pods_of(cluster)] == ["web-0"]
    await cluster.advance(seconds=30)
    found = await pods_of(cluster)
    assert [name_of(pod) for pod in found] == ["web-0", "web-1", "web-2"]
    assert all(pods.is_ready(pod) for pod in found)
    assert await claims(cluster) == ["data-web-0", "data-web-1", "data-web-2"]
    status = await status_of(cluster)
    assert (status["replicas"], status["readyReplicas"], status["availableReplicas"]) == (3, 3, 3)
    assert status["currentRevision"] == status["updateRevision"]
    await patch(cluster, {"replicas": 1})
    await cluster.advance(seconds=60)
    assert [name_of(pod) for pod in await pods_of(cluster)] == ["web-0"]
    assert len(await claims(cluster)) == 3
    await patch(cluster, {"replicas": 2})
    await cluster.advance(seconds=60)
    assert [name_of(pod) for pod in await pods_of(cluster)] == ["web-0", "web-1"]


async def test_an_update_rolls_down_to_its_partition_and_is_undone_by_its_revision(cluster: Cluster) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    await cluster.client.create(resources.STATEFUL_SETS, stateful_set(updateStrategy=rolling))
    await cluster.advance(seconds=30)
    await patch(cluster, image("web:2"))
    await cluster.advance(seconds=60)
    assert await images(cluster) == ["web-0 web:1", "web-1 web:2", "web-2 web:2"]
    status = await status_of(cluster)
    assert (status["currentReplicas"], status["updatedReplicas"]) == (1, 2)
    assert status["currentRevision"] != status["updateRevision"]
    await patch(cluster, {"updateStrategy": {"rollingUpdate": {"partition": 0}}})
    await cluster.advance(seconds=60)
    assert await images(cluster) == ["web-0 web:2", "web-1 web:2", "web-2 web:2"]
    status = await status_of(cluster)
    assert status["currentRevision"] == status["updateRevision"]
    revisions = (await cluster.client.list(resources.CONTROLLER_REVISIONS, "default")).items
    assert sorted(each["revision"] for each in revisions) == [1, 2]
    first = min(revisions, key=lambda each: int(each["revision"]))
    await patch(cluster, dict(first["data"]["spec"]))
    await cluster.advance(seconds=90)
    assert await images(cluster) == ["web-0 web:1", "web-1 web:1", "web-2 web:1"]
    revisions = (await cluster.client.list(resources.CONTROLLER_REVISIONS, "default")).items
    assert sorted(each["revision"] for each in revisions) == [2, 3]


async def test_on_delete_updates_what_is_deleted(cluster: Cluster) -> None:
    await cluster.client.create(resources.STATEFUL_SETS, stateful_set(2, updateStrategy={"type": "OnDelete"}))
    await cluster.advance(seconds=30)
    await patch(cluster, image("web:2"))
    await cluster.advance(seconds=30)
    assert await images(cluster) == ["web-0 web:1", "web-1 web:1"]
    before = uid_of((await pods_of(cluster))[0])
    await cluster.client.delete(resources.PODS, "web-0", "default")
    await cluster.advance(seconds=60)
    assert await images(cluster) == ["web-0 web:2", "web-1 web:1"]
    assert uid_of((await pods_of(cluster))[0]) != before


async def test_in_parallel_pods_do_not_wait_and_claims_can_go_with_the_set(cluster: Cluster) -> None:
    policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
    document = stateful_set(podManagementPolicy="Parallel", ready_after=-1, persistentVolumeClaimRetentionPolicy=policy)
    await cluster.client.create(resources.STATEFUL_SETS, document)
    await cluster.advance(seconds=5)
    assert len(await pods_of(cluster)) == 3
    await patch(cluster, {"replicas": 1})
    await cluster.advance(seconds=60)
    assert await claims(cluster) == ["data-web-0"]
    await cluster.client.delete(resources.STATEFUL_SETS, "web", "default")
    await cluster.advance(seconds=60)
    assert await pods_of(cluster) == []
    assert await claims(cluster) == []

"""The built-in admission plugins in a running server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.cluster import Cluster
from kube_core.meta.status import Forbidden, StatusError

pytestmark = pytest.mark.anyio

QUOTAS = ResourceType("", "v1", "ResourceQuota", "resourcequotas", True)
LIMITS = ResourceType("", "v1", "LimitRange", "limitranges", True)
RUNTIMES = ResourceType("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", False)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(nodes=0, controllers=(), listen=False) as cluster:
        await cluster.client.create(resources.SERVICE_ACCOUNTS, {"metadata": named("default")})
        yield cluster


def named(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": "default"}


def pod(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": named(name), "spec": {"containers": [{"name": "main", "image": "i:1"}], **spec}}


async def test_many_at_once_do_not_exceed_a_quota(cluster: Cluster) -> None:
    hard = {"count/configmaps": "3"}
    await cluster.client.create(QUOTAS, {"metadata": named("few"), "spec": {"hard": hard}})
    status = {"status": {"hard": hard, "used": {"count/configmaps": "0"}}}
    await cluster.client.patch(QUOTAS, "few", status, namespace="default", subresource="status")
    made = await asyncio.gather(
        *(cluster.client.create(resources.CONFIG_MAPS, {"metadata": named(f"c{i}")}) for i in range(10)),
        return_exceptions=True,
    )
    refused = [each for each in made if isinstance(each, StatusError)]
    assert len(refused) == 7
    assert all(isinstance(each, Forbidden) and "exceeded quota: few" in each.message for each in refused)
    quota = await cluster.client.get(QUOTAS, "few", namespace="default")
    assert quota["status"]["used"] == {"count/configmaps": "3"}
    assert "kube-apiserver" in {entry["manager"] for entry in quota["metadata"]["managedFields"]}


async def test_a_limit_range_fills_in_and_bounds(cluster: Cluster) -> None:
    item = {"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "1"}}
    await cluster.client.create(LIMITS, {"metadata": named("d"), "spec": {"limits": [item]}})
    made = await cluster.client.create(resources.PODS, pod("p"))
    assert made["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "500m"}, "requests": {"cpu": "100m"}}
    assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu request for container main; cpu limit for container main"
    )
    greedy = pod("greedy")
    greedy["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "2"}}
    with pytest.raises(Forbidden, match="maximum cpu usage per Container is 1, but limit is 2"):
        await cluster.client.create(resources.PODS, greedy)


async def test_a_runtime_class_adds_its_overhead_and_place(cluster: Cluster) -> None:
    await cluster.client.create(
        RUNTIMES,
        {
            "metadata": {"name": "box"},
            "handler": "box",
            "overhead": {"podFixed": {"cpu": "10m"}},
            "scheduling": {"nodeSelector": {"box": "yes"}},
        },
    )
    made = await cluster.client.create(resources.PODS, pod("p", runtimeClassName="box"))
    assert (made["spec"]["overhead"], made["spec"]["nodeSelector"]) == ({"cpu": "10m"}, {"box": "yes"})
    with pytest.raises(Forbidden, match='RuntimeClass "ghost" not found'):
        await cluster.client.create(resources.PODS, pod("q", runtimeClassName="ghost"))


async def test_a_restricted_namespace_refuses_an_ordinary_pod(cluster: Cluster) -> None:
    labels = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    await cluster.client.patch(resources.NAMESPACES, "default", labels)
    with pytest.raises(Forbidden, match='violates PodSecurity "restricted:latest"'):
        await cluster.client.create(resources.PODS, pod("p"))


async def test_new_nodes_are_tainted_and_claims_are_held(cluster: Cluster) -> None:
    node = await cluster.client.create(resources.NODES, {"metadata": {"name": "n"}})
    assert node["spec"]["taints"] == [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]
    claim = {
        "metadata": named("c"),
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    made = await cluster.client.create(resources.PERSISTENT_VOLUME_CLAIMS, claim)
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]

"""Quotas in a whole cluster, in virtual time: counted whole, given back when things go, and for every kind there is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.api import resources
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document
from kube_core.meta.status import Forbidden

pytestmark = pytest.mark.anyio

QUOTAS = resources.RESOURCE_QUOTAS


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(nodes=1, listen=False, clock=FakeClock(), seed=1) as made:
        yield made


def quota(name: str = "few", hard: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"hard": hard or {"pods": "2"}, **spec}}


def pod(name: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "web", "image": "web:1", "resources": {"requests": {"cpu": "100m"}}}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"containers": [container], **spec}}


def config_map(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "data": {}}


async def status_of(cluster: Cluster, name: str = "few") -> Document:
    found: Document = (await cluster.client.get(QUOTAS, name, "default")).get("status") or {}
    return found


async def used(cluster: Cluster, name: str = "few") -> dict[str, str]:
    return dict((await status_of(cluster, name))["used"])


async def test_what_is_there_already_is_counted_and_what_goes_is_given_back(cluster: Cluster) -> None:
    await cluster.client.create(resources.PODS, pod("one"))
    await cluster.client.create(QUOTAS, quota(hard={"pods": "2", "requests.cpu": "1"}))
    await cluster.settled()
    assert await status_of(cluster) == {
        "hard": {"pods": "2", "requests.cpu": "1"},
        "used": {"pods": "1", "requests.cpu": "100m"},
    }
    await cluster.client.create(resources.PODS, pod("two"))
    with pytest.raises(Forbidden) as refused:
        await cluster.client.create(resources.PODS, pod("three"))
    assert "exceeded quota: few, requested: pods=1, used: pods=2, limited: pods=2" in refused.value.message
    await cluster.client.delete(resources.PODS, "one", "default", grace_period=0)
    await cluster.settled()
    assert await used(cluster) == {"pods": "1", "requests.cpu": "100m"}
    await cluster.client.create(resources.PODS, pod("three"))


async def test_new_limits_are_taken_over_and_old_ones_forgotten(cluster: Cluster) -> None:
    await cluster.client.create(QUOTAS, quota())
    await cluster.settled()
    await cluster.client.patch(QUOTAS, "few", {"spec": {"hard": {"pods": None, "secrets": "3"}}}, "default")
    await cluster.settled()
    assert await status_of(cluster) == {"hard": {"secrets": "3"}, "used": {"secrets": "0"}}


async def test_a_finished_pod_gives_its_room_back(cluster: Cluster) -> None:
    await cluster.client.create(QUOTAS, quota(hard={"pods": "1", "count/pods": "5"}))
    await cluster.settled()
    await cluster.client.create(resources.PODS, pod("one", restartPolicy="Never", activeDeadlineSeconds=5))
    await cluster.advance(seconds=60)
    assert (await cluster.client.get(resources.PODS, "one", "default"))["status"]["phase"] == "Failed"
    assert await used(cluster) == {"pods": "0", "count/pods": "1"}


async def test_kinds_of_ones_own_are_counted_once_they_are_served(cluster: Cluster) -> None:
    await cluster.client.create(QUOTAS, quota(hard={"count/farms.example.dev": "1"}))
    await cluster.settled()
    assert (await status_of(cluster)).get("used", {}) == {}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object"}},
    }
    definition = {
        "metadata": {"name": "farms.example.dev"},
        "spec": {
            "group": "example.dev",
            "scope": "Namespaced",
            "names": {"plural": "farms", "singular": "farm", "kind": "Farm", "listKind": "FarmList"},
            "versions": [version],
        },
    }
    await cluster.client.create(resources.CUSTOM_RESOURCE_DEFINITIONS, definition)
    await cluster.advance(minutes=1)
    assert await used(cluster) == {"count/farms.example.dev": "0"}
    farms = await cluster.client.resource("farms")
    await cluster.client.create(farms, {"metadata": {"name": "a", "namespace": "default"}})
    with pytest.raises(Forbidden):
        await cluster.client.create(farms, {"metadata": {"name": "b", "namespace": "default"}})
    await cluster.client.delete(farms, "a", "default")
    await cluster.settled()
    assert await used(cluster) == {"count/farms.example.dev": "0"}
    await cluster.client.create(farms, {"metadata": {"name": "b", "namespace": "default"}})


async def test_what_was_charged_and_never_stored_is_given_back_in_time(cluster: Cluster) -> None:
    await cluster.client.create(QUOTAS, quota(hard={"configmaps": "9"}))
    await cluster.settled()
    before = int((await used(cluster))["configmaps"])
    await cluster.client.patch(
        QUOTAS, "few", {"status": {"used": {"configmaps": str(before + 4)}}}, "default", subresource="status"
    )
    await cluster.advance(minutes=6)
    assert int((await used(cluster))["configmaps"]) == before


async def test_a_burst_is_refused_exactly_where_the_limit_is(cluster: Cluster) -> None:
    await cluster.client.create(QUOTAS, quota(hard={"count/configmaps": "5"}))
    await cluster.settled()
    there = int((await used(cluster))["count/configmaps"])

    async def create(name: str) -> str:
        try:
            await cluster.client.create(resources.CONFIG_MAPS, config_map(name))
        except Forbidden:
            return ""
        return name

    for batch in "ab":
        made = [name for name in await asyncio.gather(*(create(f"{batch}{number}") for number in range(40))) if name]
        assert len(made) == 5 - there
        await cluster.settled()
        assert (await used(cluster))["count/configmaps"] == "5"
        for name in made:
            await cluster.client.delete(resources.CONFIG_MAPS, name, "default")
        await cluster.settled()
        assert int((await used(cluster))["count/configmaps"]) == there


async def test_services_and_claims_count_by_what_they_are(cluster: Cluster) -> None:
    hard = {
        "services.nodeports": "3",
        "services.loadbalancers": "1",
        "requests.storage": "5Gi",
        "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
    }
    await cluster.client.create(QUOTAS, quota(hard=hard))
    await cluster.settled()
    service = {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "NodePort", "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]},
    }
    await cluster.client.create(resources.SERVICES, service)
    claim = {
        "metadata": {"name": "data", "namespace": "default"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "fast",
            "resources": {"requests": {"storage": "2Gi"}},
        },
    }
    await cluster.client.create(resources.PERSISTENT_VOLUME_CLAIMS, claim)
    await cluster.settled()
    assert await used(cluster) == {
        "services.nodeports": "2",
        "services.loadbalancers": "0",
        "requests.storage": "2Gi",
        "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
    }
    await cluster.client.patch(resources.SERVICES, "web", {"spec": {"type": "ClusterIP"}}, "default")
    await cluster.settled()
    assert (await used(cluster))["services.nodeports"] == "0"

"""EndpointSlices in a cluster: as pods come and go, for zones and nodes, and mirrored from hand-made Endpoints."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.api import resources
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document

pytestmark = pytest.mark.anyio

TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(nodes=2, listen=False, seed=1, clock=FakeClock()) as cluster:
        yield cluster


def service(**spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": ports, **spec},
    }


def deployment(replicas: int = 2) -> dict[str, Any]:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


async def slices(cluster: Cluster) -> list[Document]:
    await cluster.settled()
    found = await cluster.client.list(
        resources.ENDPOINT_SLICES, "default", label_selector="kubernetes.io/service-name=web"
    )
    return list(found.items)


async def ready(cluster: Cluster) -> list[str]:
    found = [each for slice_ in await slices(cluster) for each in slice_["endpoints"] if each["conditions"]["ready"]]
    return sorted(each["targetRef"]["name"] for each in found)


async def pod_names(cluster: Cluster) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in (await cluster.client.list(resources.PODS, "default")).items)


async def test_new_pods_are_endpoints_as_soon_as_the_old_ones_are_gone(cluster: Cluster) -> None:
    await cluster.client.create(resources.SERVICES, service())
    await cluster.client.create(resources.DEPLOYMENTS, deployment())
    await cluster.advance(seconds=60)
    before = await pod_names(cluster)
    assert await ready(cluster) == before
    for name in before:
        await cluster.client.delete(resources.PODS, name, "default")
    await cluster.advance(seconds=60)
    after = await pod_names(cluster)
    assert not set(before) & set(after)
    assert await ready(cluster) == after


async def test_a_service_that_is_made_again_has_its_endpoints_at_once(cluster: Cluster) -> None:
    await cluster.client.create(resources.SERVICES, service())
    await cluster.client.create(resources.DEPLOYMENTS, deployment())
    await cluster.advance(seconds=60)
    names = await ready(cluster)
    [old] = await slices(cluster)
    await cluster.client.delete(resources.SERVICES, "web", "default")
    again = await cluster.client.create(resources.SERVICES, service())
    [new] = await slices(cluster)
    assert new["metadata"]["ownerReferences"][0]["uid"] == again["metadata"]["uid"]
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    assert await ready(cluster) == names


async def test_a_slice_says_since_when_it_should_have_been_so(cluster: Cluster) -> None:
    made = await cluster.client.create(resources.SERVICES, service())
    [slice_] = await slices(cluster)
    assert slice_["metadata"]["annotations"][TRIGGER] == made["metadata"]["creationTimestamp"]
    await cluster.advance(seconds=10)
    await cluster.client.create(resources.DEPLOYMENTS, deployment(1))
    await cluster.advance(seconds=60)
    [pod] = (await cluster.client.list(resources.PODS, "default")).items
    moment = next(each["lastTransitionTime"] for each in pod["status"]["conditions"] if each["type"] == "Ready")
    [slice_] = await slices(cluster)
    assert slice_["metadata"]["annotations"][TRIGGER] == moment


async def zone_nodes(cluster: Cluster) -> None:
    for name, zone in (("node-1", "east"), ("node-2", "west")):
        patch = {"metadata": {"labels": {"topology.kubernetes.io/zone": zone}}}
        await cluster.client.patch(resources.NODES, name, patch)


async def zones_hinted(cluster: Cluster) -> list[tuple[str, list[str]]]:
    found = [each for slice_ in await slices(cluster) for each in slice_["endpoints"]]
    return sorted(
        (each["zone"], [one["name"] for one in (each.get("hints") or {}).get("forZones", [])]) for each in found
    )


async def test_traffic_is_kept_near_where_the_service_says_so_and_no_longer(cluster: Cluster) -> None:
    await zone_nodes(cluster)
    await cluster.client.create(resources.SERVICES, service(trafficDistribution="PreferSameNode"))
    await cluster.client.create(resources.DEPLOYMENTS, deployment())
    await cluster.advance(seconds=60)
    assert await zones_hinted(cluster) == [("east", ["east"]), ("west", ["west"])]
    [slice_] = await slices(cluster)
    assert {each["hints"]["forNodes"][0]["name"] == each["nodeName"] for each in slice_["endpoints"]} == {True}
    await cluster.client.patch(resources.SERVICES, "web", {"spec": {"trafficDistribution": None}}, "default")
    assert await zones_hinted(cluster) == [("east", []), ("west", [])]


async def test_endpoints_are_shared_out_to_zones_and_it_is_said(cluster: Cluster) -> None:
    wanted = service()
    wanted["metadata"]["annotations"] = {"service.kubernetes.io/topology-mode": "Auto"}
    await cluster.client.create(resources.SERVICES, wanted)
    await cluster.client.create(resources.DEPLOYMENTS, deployment(4))
    await cluster.advance(seconds=60)
    await zone_nodes(cluster)
    assert await zones_hinted(cluster) == [("east", ["east"])] * 2 + [("west", ["west"])] * 2
    events = (
        await cluster.client.list(resources.EVENTS, "default", field_selector="involvedObject.kind=Service")
    ).items
    told = [(each["type"], each["reason"]) for each in events]
    assert ("Warning", "TopologyAwareHintsDisabled") in told
    assert ("Normal", "TopologyAwareHintsEnabled") in told


async def test_hand_made_endpoints_are_mirrored_until_the_service_has_a_selector(cluster: Cluster) -> None:
    await cluster.client.create(resources.SERVICES, service(selector=None))
    made = {
        "metadata": {"name": "web", "namespace": "default"},
        "subsets": [{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"name": "http", "port": 8080}]}],
    }
    await cluster.client.create(resources.ENDPOINTS, made)
    [slice_] = await slices(cluster)
    assert slice_["endpoints"] == [{"addresses": ["192.0.2.7"], "conditions": {"ready": True}}]
    assert slice_["metadata"]["ownerReferences"][0]["kind"] == "Endpoints"
    await cluster.client.patch(resources.SERVICES, "web", {"spec": {"selector": {"app": "web"}}}, "default")
    managed = [each["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] for each in await slices(cluster)]
    assert managed == ["endpointslice-controller.k8s.io"]


async def test_writes_that_overtake_the_cache_are_nobodys_news(cluster: Cluster) -> None:
    await cluster.client.create(resources.SERVICES, service())
    await cluster.client.create(resources.DEPLOYMENTS, deployment(8))
    await cluster.advance(seconds=60)
    for name in await pod_names(cluster):
        await cluster.client.delete(resources.PODS, name, "default")
    await cluster.advance(seconds=120)
    told = await cluster.client.list(resources.EVENTS, "default", field_selector="involvedObject.kind=Service")
    assert [event["reason"] for event in told.items] == []

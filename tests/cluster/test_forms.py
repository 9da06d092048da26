"""Kinds in two forms: one object, whichever way it is written, read, listed or watched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kube_core.abc.transport import User, WatchRequest
from kube_core.api.types import ResourceType
from kube_core.cluster import Cluster
from kube_core.meta.status import AlreadyExists, NotFound

pytestmark = pytest.mark.anyio

OLD_EVENTS = ResourceType("", "v1", "Event", "events", True)
NEW_EVENTS = ResourceType("events.k8s.io", "v1", "Event", "events", True)
OLD_SCALERS = ResourceType("autoscaling", "v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers", True)
NEW_SCALERS = ResourceType("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", True)
ANYONE = User("test", ("system:masters",))


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(nodes=0, controllers=(), listen=False) as cluster:
        yield cluster


def event(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reportingController": "example.dev/c",
        "reportingInstance": "i",
        "action": "Bind",
        "reason": "Scheduled",
        "note": "bound",
        "type": "Normal",
    }


async def test_an_event_is_one_object_in_both_groups(cluster: Cluster) -> None:
    made = await cluster.client.create(NEW_EVENTS, event("e"))
    assert (made["apiVersion"], made["note"]) == ("events.k8s.io/v1", "bound")
    old = await cluster.client.get(OLD_EVENTS, "e", namespace="default")
    assert (old["apiVersion"], old["message"], old["involvedObject"]["name"]) == ("v1", "bound", "p")
    assert old["metadata"]["uid"] == made["metadata"]["uid"]
    with pytest.raises(AlreadyExists, match=r"events\.events\.k8s\.io"):
        await cluster.client.create(NEW_EVENTS, event("e"))
    await cluster.client.delete(OLD_EVENTS, "e", namespace="default")
    with pytest.raises(NotFound, match=r"events\.events\.k8s\.io"):
        await cluster.client.get(NEW_EVENTS, "e", namespace="default")


async def test_lists_and_watches_show_the_form_that_is_asked_for(cluster: Cluster) -> None:
    server = cluster.server
    watch = server.watch(WatchRequest(OLD_EVENTS, "default", field_selector="involvedObject.kind=Pod"), ANYONE)
    first: asyncio.Future[Any] = asyncio.ensure_future(anext(watch))
    made = await cluster.client.create(NEW_EVENTS, event("e"))
    seen = await first
    assert (seen.type, seen.object["apiVersion"], seen.object["message"]) == ("ADDED", "v1", "bound")
    await watch.aclose()  # type: ignore[attr-defined]
    listed = await cluster.client.list(NEW_EVENTS, namespace="default", field_selector="regarding.kind=Pod")
    assert [each["metadata"]["uid"] for each in listed.items] == [made["metadata"]["uid"]]
    assert listed.items[0]["regarding"]["name"] == "p"


async def test_an_autoscaler_is_converted_between_its_versions(cluster: Cluster) -> None:
    old = {
        "metadata": {"name": "h", "namespace": "default"},
        "spec": {
            "maxReplicas": 4,
            "targetCPUUtilizationPercentage": 60,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
        },
    }
    await cluster.client.create(OLD_SCALERS, old)
    new = await cluster.client.get(NEW_SCALERS, "h", namespace="default")
    assert new["spec"]["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 60}
    patch = {"spec": {"maxReplicas": 9}}
    await cluster.client.patch(NEW_SCALERS, "h", patch, namespace="default")
    again = await cluster.client.get(OLD_SCALERS, "h", namespace="default")
    assert (again["spec"]["maxReplicas"], again["spec"]["targetCPUUtilizationPercentage"]) == (9, 60)
    assert "annotations" not in again["metadata"]


async def test_an_applier_that_changes_version_keeps_what_the_new_one_always_has(cluster: Cluster) -> None:
    client = cluster.client.with_field_manager("alpha")
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    spec: dict[str, Any] = {"scaleTargetRef": target, "maxReplicas": 4}
    named = {"name": "h", "namespace": "default"}
    await client.apply(OLD_SCALERS, {"metadata": named, "spec": {**spec, "targetCPUUtilizationPercentage": 60}})
    new = await client.apply(NEW_SCALERS, {"metadata": named, "spec": spec})
    assert new["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 60
    [owner] = new["metadata"]["managedFields"]
    assert (owner["apiVersion"], "f:metrics" in owner["fieldsV1"]["f:spec"]) == ("autoscaling/v2", False)

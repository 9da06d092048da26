"""Pods go from devices that are tainted; claims are allocated by hand here, as a scheduler would."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.api import resources
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document, uid_of
from kube_core.meta.status import NotFound
from kube_core.meta.times import format_time

pytestmark = pytest.mark.anyio


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(clock=FakeClock(), seed=1, nodes=1, listen=False) as cluster:
        device = {"name": "gpu-0"}
        spec: dict[str, Any] = {"driver": "gpu.example.dev", "nodeName": "node-1", "devices": [device]}
        spec["pool"] = {"name": "node-1", "generation": 1, "resourceSliceCount": 1}
        await cluster.client.create(resources.RESOURCE_SLICES, {"metadata": {"name": "gpus"}, "spec": spec})
        await use(cluster, tolerating=60)
        yield cluster


async def use(cluster: Cluster, tolerating: int) -> None:
    """A pod `web` with a claim on the device."""
    toleration = {"key": "broken", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": tolerating}
    request = {"name": "gpu", "exactly": {"deviceClassName": "gpu", "tolerations": [toleration]}}
    claim = {"metadata": {"name": "mine"}, "spec": {"devices": {"requests": [request]}}}
    made: Document = await cluster.client.create(resources.RESOURCE_CLAIMS, claim, "default")
    container = {"name": "main", "image": "main:1", "resources": {"claims": [{"name": "gpu"}]}}
    spec = {"containers": [container], "resourceClaims": [{"name": "gpu", "resourceClaimName": "mine"}]}
    pod = await cluster.client.create(
        resources.PODS,
        {"metadata": {"name": "web"}, "spec": {**spec, "schedulingGates": [{"name": "wait"}]}},
        "default",
    )
    given = {"request": "gpu", "driver": "gpu.example.dev", "pool": "node-1", "device": "gpu-0"}
    status = {
        "allocation": {"devices": {"results": [{**given, "tolerations": [toleration]}]}},
        "reservedFor": [{"resource": "pods", "name": "web", "uid": uid_of(pod)}],
    }
    await cluster.client.update_status(resources.RESOURCE_CLAIMS, {**made, "status": status})
    await cluster.client.patch(resources.PODS, "web", {"spec": {"schedulingGates": None}}, "default")
    await cluster.settled()
    bound = await cluster.client.get(resources.PODS, "web", "default")
    if not bound["spec"].get("nodeName"):
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": "web"},
            "target": {"apiVersion": "v1", "kind": "Node", "name": "node-1"},
        }
        await cluster.client.create_subresource(resources.PODS, "web", "binding", binding, "default")
        await cluster.settled()


async def taint(cluster: Cluster, effect: str = "NoExecute") -> None:
    found = {"key": "broken", "effect": effect, "timeAdded": format_time(cluster.clock.now())}
    spec = {"deviceSelector": {"driver": "gpu.example.dev"}, "taint": found}
    await cluster.client.create(resources.DEVICE_TAINT_RULES, {"metadata": {"name": "rule"}, "spec": spec})
    await cluster.settled()


async def said(cluster: Cluster) -> tuple[str, str]:
    rule = await cluster.client.get(resources.DEVICE_TAINT_RULES, "rule")
    [condition] = rule["status"]["conditions"]
    return condition["reason"], condition["message"]


async def messages(cluster: Cluster) -> list[str]:
    found = (await cluster.client.list(resources.EVENTS, "default")).items
    return [each["message"] for each in found if each["reason"] == "DeviceTaintManagerEviction"]


async def test_a_rule_evicts_after_what_the_claim_tolerates(cluster: Cluster) -> None:
    await taint(cluster)
    assert await said(cluster) == ("PodsPendingEviction", "1 pod needs to be evicted in 1 namespace.")
    await cluster.advance(seconds=58)
    await cluster.client.get(resources.PODS, "web", "default")
    await cluster.advance(seconds=40)
    with pytest.raises(NotFound):
        await cluster.client.get(resources.PODS, "web", "default")
    assert await messages(cluster) == ["Marking for deletion"]
    assert await said(cluster) == ("Completed", "1 pod evicted since starting the controller.")


async def test_a_rule_that_goes_calls_the_eviction_off(cluster: Cluster) -> None:
    await taint(cluster)
    await cluster.advance(seconds=30)
    await cluster.client.delete(resources.DEVICE_TAINT_RULES, "rule")
    await cluster.advance(minutes=5)
    await cluster.client.get(resources.PODS, "web", "default")
    assert await messages(cluster) == ["Cancelling deletion"]


async def test_a_rule_without_effect_says_what_it_would_do(cluster: Cluster) -> None:
    await taint(cluster, "None")
    await cluster.advance(minutes=5)
    reason, message = await said(cluster)
    assert reason == "NoEffect"
    assert "1 allocated device selected. 1 pod would be evicted in 1 namespace if the effect was NoExecute." in message


async def test_a_taint_in_the_slice_evicts_too(cluster: Cluster) -> None:
    found = {"key": "broken", "effect": "NoExecute", "timeAdded": format_time(cluster.clock.now())}
    devices = [{"name": "gpu-0", "taints": [found]}]
    await cluster.client.patch(resources.RESOURCE_SLICES, "gpus", {"spec": {"devices": devices}})
    await cluster.advance(minutes=2)
    with pytest.raises(NotFound):
        await cluster.client.get(resources.PODS, "web", "default")

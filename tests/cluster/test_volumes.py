"""Volumes in a cluster: they grow, belong to pods, are attached to nodes, and their classes are kept while used."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.api import resources
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document, finalizers_of
from kube_core.meta.status import NotFound

pytestmark = pytest.mark.anyio


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(nodes=1, listen=False, seed=1, clock=FakeClock()) as cluster:
        yield cluster


def claim_spec(size: str = "1Gi") -> dict[str, Any]:
    return {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}


def claim(name: str = "data", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {**claim_spec(), **spec}}


def pod(name: str, *volumes: dict[str, Any], **spec: Any) -> dict[str, Any]:
    containers = [{"name": "main", "image": "main:1"}]
    metadata = {"name": name, "namespace": "default"}
    return {"metadata": metadata, "spec": {"containers": containers, "volumes": list(volumes), **spec}}


async def get_claim(cluster: Cluster, name: str = "data") -> Document:
    await cluster.settled()
    return await cluster.client.get(resources.PERSISTENT_VOLUME_CLAIMS, name, "default")


async def events_of(cluster: Cluster, name: str) -> list[tuple[str, str, str]]:
    await cluster.settled()
    found = await cluster.client.list(resources.EVENTS, "default", field_selector=f"involvedObject.name={name}")
    return [(each["type"], each["reason"], each["message"]) for each in found.items]


async def grow(cluster: Cluster, size: str) -> None:
    patch = {"spec": {"resources": {"requests": {"storage": size}}}}
    await cluster.client.patch(resources.PERSISTENT_VOLUME_CLAIMS, "data", patch, "default")


async def test_a_volume_grows_when_its_claim_asks_for_more(cluster: Cluster) -> None:
    await cluster.client.create(resources.PERSISTENT_VOLUME_CLAIMS, claim())
    bound = await get_claim(cluster)
    assert bound["status"]["capacity"] == {"storage": "1Gi"}
    await grow(cluster, "3Gi")
    grown = await get_claim(cluster)
    assert grown["status"]["capacity"] == {"storage": "3Gi"}
    assert "conditions" not in grown["status"]
    volume = await cluster.client.get(resources.PERSISTENT_VOLUMES, grown["spec"]["volumeName"])
    assert volume["spec"]["capacity"] == {"storage": "3Gi"}
    assert ("Normal", "VolumeResizeSuccessful", "Resize volume succeeded") in await events_of(cluster, "data")


async def test_a_volume_that_cannot_grow_is_tried_again_and_the_claim_says_why(cluster: Cluster) -> None:
    await cluster.client.create(resources.PERSISTENT_VOLUME_CLAIMS, claim())
    await get_claim(cluster)
    driver: Any = cluster._drivers["volume"]
    driver.failures += ["no room"]
    await grow(cluster, "3Gi")
    told = [(kind, reason) for kind, reason, _ in await events_of(cluster, "data")]
    assert ("Warning", "VolumeResizeFailed") in told
    await cluster.advance(seconds=5)
    assert (await get_claim(cluster))["status"]["capacity"] == {"storage": "3Gi"}


async def test_an_ephemeral_volume_comes_and_goes_with_its_pod(cluster: Cluster) -> None:
    scratch = {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": claim_spec()}}}
    made = await cluster.client.create(resources.PODS, pod("web", scratch))
    await cluster.advance(seconds=30)
    found = await get_claim(cluster, "web-scratch")
    assert found["status"]["phase"] == "Bound"
    assert found["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
    assert (await cluster.client.get(resources.PODS, "web", "default"))["status"]["phase"] == "Running"
    await cluster.client.delete(resources.PODS, "web", "default")
    await cluster.advance(seconds=60)
    with pytest.raises(NotFound):
        await get_claim(cluster, "web-scratch")


async def test_a_claim_of_somebody_else_is_not_taken_for_an_ephemeral_one(cluster: Cluster) -> None:
    await cluster.client.create(resources.PERSISTENT_VOLUME_CLAIMS, claim("web-scratch"))
    scratch = {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": claim_spec()}}}
    await cluster.client.create(resources.PODS, pod("web", scratch))
    why = "PVC default/web-scratch was not created for pod default/web (pod is not owner)"
    assert ("Warning", "FailedBinding", f"ephemeral volume scratch: {why}") in await events_of(cluster, "web")


async def test_a_class_of_attributes_is_kept_while_a_claim_names_it(cluster: Cluster) -> None:
    gold = {"metadata": {"name": "gold"}, "driverName": "csi.example.dev", "parameters": {"iops": "9"}}
    await cluster.client.create(resources.VOLUME_ATTRIBUTES_CLASSES, gold)
    await cluster.client.create(
        resources.PERSISTENT_VOLUME_CLAIMS, claim(volumeAttributesClassName="gold", storageClassName="")
    )
    await cluster.settled()
    found = await cluster.client.get(resources.VOLUME_ATTRIBUTES_CLASSES, "gold")
    assert finalizers_of(found) == ["kubernetes.io/vac-protection"]
    await cluster.client.delete(resources.VOLUME_ATTRIBUTES_CLASSES, "gold")
    await cluster.settled()
    assert await cluster.client.get(resources.VOLUME_ATTRIBUTES_CLASSES, "gold")
    await cluster.client.delete(resources.PERSISTENT_VOLUME_CLAIMS, "data", "default")
    await cluster.settled()
    with pytest.raises(NotFound):
        await cluster.client.get(resources.VOLUME_ATTRIBUTES_CLASSES, "gold")


async def make_class(cluster: Cluster, name: str) -> None:
    driver: Any = cluster._drivers["volume"]
    made = {"metadata": {"name": name}, "driverName": driver.provisioner, "parameters": {"tier": name}}
    await cluster.client.create(resources.VOLUME_ATTRIBUTES_CLASSES, made)


async def test_a_volume_has_the_attributes_of_its_class_and_of_the_next_one(cluster: Cluster) -> None:
    driver: Any = cluster._drivers["volume"]
    await make_class(cluster, "silver")
    await cluster.client.create(resources.PERSISTENT_VOLUME_CLAIMS, claim(volumeAttributesClassName="silver"))
    bound = await get_claim(cluster)
    assert bound["status"]["currentVolumeAttributesClassName"] == "silver"
    assert driver.volumes[bound["spec"]["volumeName"]].attributes == {"tier": "silver"}
    patch = {"spec": {"volumeAttributesClassName": "gold"}}
    await cluster.client.patch(resources.PERSISTENT_VOLUME_CLAIMS, "data", patch, "default")
    assert (await get_claim(cluster))["status"]["modifyVolumeStatus"]["status"] == "Pending"
    await make_class(cluster, "gold")
    changed = await get_claim(cluster)
    assert changed["status"]["currentVolumeAttributesClassName"] == "gold"
    assert "modifyVolumeStatus" not in changed["status"]
    assert driver.volumes[bound["spec"]["volumeName"]].attributes == {"tier": "gold"}
    volume = await cluster.client.get(resources.PERSISTENT_VOLUMES, bound["spec"]["volumeName"])
    assert volume["spec"]["volumeAttributesClassName"] == "gold"


async def external_node(cluster: Cluster, name: str) -> None:
    """A node that is elsewhere, with a kubelet that leaves attaching to the controller."""
    managed = {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
    await cluster.client.create(resources.NODES, {"metadata": {"name": name, "annotations": managed}})


async def use_external_volume(cluster: Cluster) -> None:
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "",
        "csi": {"driver": "csi.example.dev", "volumeHandle": "disk-1"},
    }
    await cluster.client.create(resources.PERSISTENT_VOLUMES, {"metadata": {"name": "disk"}, "spec": spec})
    await cluster.client.create(resources.PERSISTENT_VOLUME_CLAIMS, claim(storageClassName=""))
    await cluster.settled()


DATA = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}


async def attachments(cluster: Cluster) -> list[Document]:
    await cluster.settled()
    return list((await cluster.client.list(resources.VOLUME_ATTACHMENTS)).items)


async def test_a_volume_is_attached_reported_and_detached_when_the_node_lets_go(cluster: Cluster) -> None:
    await external_node(cluster, "far")
    await use_external_volume(cluster)
    await cluster.client.create(resources.PODS, pod("web", DATA, nodeName="far", terminationGracePeriodSeconds=0))
    [wanted] = await attachments(cluster)
    assert wanted["spec"] == {
        "attacher": "csi.example.dev",
        "nodeName": "far",
        "source": {"persistentVolumeName": "disk"},
    }
    # The driver attaches it, and the kubelet mounts it.
    await cluster.client.patch_status(
        resources.VOLUME_ATTACHMENTS, wanted["metadata"]["name"], {"status": {"attached": True}}
    )
    await cluster.settled()
    node = await cluster.client.get(resources.NODES, "far")
    [reported] = node["status"]["volumesAttached"]
    assert reported["name"] == "kubernetes.io/csi/csi.example.dev^disk-1"
    attached = 'AttachVolume.Attach succeeded for volume "disk" '
    assert ("Normal", "SuccessfulAttachVolume", attached) in await events_of(cluster, "web")
    await cluster.client.patch_status(resources.NODES, "far", {"status": {"volumesInUse": [reported["name"]]}})
    await cluster.client.delete(resources.PODS, "web", "default", grace_period=0)
    assert len(await attachments(cluster)) == 1
    await cluster.client.patch_status(resources.NODES, "far", {"status": {"volumesInUse": []}})
    assert await attachments(cluster) == []
    assert not (await cluster.client.get(resources.NODES, "far"))["status"].get("volumesAttached")


async def test_a_second_node_waits_for_a_volume_and_says_so(cluster: Cluster) -> None:
    for name in ("far", "farther"):
        await external_node(cluster, name)
    await use_external_volume(cluster)
    await cluster.client.create(resources.PODS, pod("one", DATA, nodeName="far"))
    [first] = await attachments(cluster)
    await cluster.client.create(resources.PODS, pod("two", DATA, nodeName="farther"))
    why = 'Multi-Attach error for volume "disk" Volume is already used by pod(s) one'
    assert ("Warning", "FailedAttachVolume", why) in await events_of(cluster, "two")
    await cluster.client.delete(resources.PODS, "one", "default", grace_period=0)
    [second] = await attachments(cluster)
    assert (first["spec"]["nodeName"], second["spec"]["nodeName"]) == ("far", "farther")

"""Claims and volumes against a real server: binding, provisioning, reclaiming, protection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from kube_core._kit.clock import SystemClock
from kube_core._kit.random import Random
from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.client.client import ApiClient
from kube_core.cluster import Cluster
from kube_core.control.runtime import ControllerRuntime
from kube_core.meta.documents import Document, annotations_of, finalizers_of, thaw
from kube_core.meta.status import NotFound
from kube_drivers.volume.fake import FakeVolumes
from kube_plugins.controllers.persistentvolume import kube_core_controllers
from kube_plugins.controllers.persistentvolume.objects import BIND_COMPLETED, PROVISIONED_BY, STORAGE_PROVISIONER

pytestmark = pytest.mark.anyio

CLAIMS, VOLUMES, CLASSES = resources.PERSISTENT_VOLUME_CLAIMS, resources.PERSISTENT_VOLUMES, resources.STORAGE_CLASSES


@pytest.fixture
async def driver() -> FakeVolumes:
    return FakeVolumes(clock=SystemClock())


@pytest.fixture
async def client(driver: FakeVolumes) -> AsyncIterator[ApiClient]:
    """A server with the volume controllers and no others."""
    async with Cluster(nodes=0, listen=False, controllers=()) as cluster:
        specs = list(kube_core_controllers())
        runtime = ControllerRuntime(
            specs, lambda name: cluster.client, clock=cluster.clock, random=Random(1), drivers={"volume": driver}
        )
        async with runtime:
            await runtime.started()
            assert runtime.left_out == ()
            yield cluster.client


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 (what is waited for is the server's)
            await asyncio.sleep(0.01)


async def phase(client: ApiClient, resource: ResourceType, name: str) -> str:
    """An object's phase; "gone" where there is none."""
    try:
        found = await client.get(resource, name, "default" if resource.namespaced else "")
    except NotFound:
        return "gone"
    return str((found.get("status") or {}).get("phase"))


async def reaches(client: ApiClient, resource: ResourceType, name: str, wanted: str) -> Document:
    async def is_there() -> bool:
        return await phase(client, resource, name) == wanted

    await until(is_there)
    return {} if wanted == "gone" else await client.get(resource, name, "default" if resource.namespaced else "")


async def event(client: ApiClient, reason: str) -> Document:
    found: list[Document] = []

    async def is_there() -> bool:
        found[:] = [item for item in (await client.list(resources.EVENTS)).items if item["reason"] == reason]
        return bool(found)

    await until(is_there)
    return found[0]


def claim(name: str = "data", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec},
    }


def volume(name: str, size: str = "1Gi", policy: str = "Retain") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": policy,
            "hostPath": {"path": "/tmp/x"},
        },
    }


async def test_a_claim_gets_a_volume_from_the_default_class_and_gives_it_back(
    client: ApiClient, driver: FakeVolumes
) -> None:
    await client.create(CLASSES, driver.storage_class())
    await client.create(CLAIMS, claim())
    bound = await reaches(client, CLAIMS, "data", "Bound")
    name = bound["spec"]["volumeName"]
    assert bound["spec"]["storageClassName"] == "standard"
    assert bound["status"]["capacity"] == {"storage": "1Gi"}
    assert annotations_of(bound)[BIND_COMPLETED] == "yes"
    assert annotations_of(bound)[STORAGE_PROVISIONER] == driver.provisioner
    assert name == f"pvc-{bound['metadata']['uid']}"
    made = await reaches(client, VOLUMES, name, "Bound")
    assert annotations_of(made)[PROVISIONED_BY] == driver.provisioner
    assert set(driver.volumes) == {name}
    assert (await event(client, "ProvisioningSucceeded"))["message"] == f"Successfully provisioned volume {name}"
    await client.delete(CLAIMS, "data", "default")
    await reaches(client, CLAIMS, "data", "gone")
    await reaches(client, VOLUMES, name, "gone")
    assert driver.volumes == {}


async def test_the_smallest_ready_made_volume_is_bound_and_kept_when_it_is_released(client: ApiClient) -> None:
    await client.create(VOLUMES, volume("large", "10Gi"))
    await client.create(VOLUMES, volume("small", "2Gi"))
    await reaches(client, VOLUMES, "small", "Available")
    await reaches(client, VOLUMES, "large", "Available")
    await client.create(CLAIMS, claim(storageClassName=""))
    bound = await reaches(client, CLAIMS, "data", "Bound")
    assert bound["spec"]["volumeName"] == "small"
    assert bound["status"]["capacity"] == {"storage": "2Gi"}
    await client.delete(CLAIMS, "data", "default")
    await reaches(client, VOLUMES, "small", "Released")


async def test_a_claim_that_waits_is_bound_when_a_volume_comes(client: ApiClient) -> None:
    await client.create(CLAIMS, claim(storageClassName=""))
    await reaches(client, CLAIMS, "data", "Pending")
    waiting = await event(client, "FailedBinding")
    assert waiting["message"] == "no persistent volumes available for this claim and no storage class is set"
    await client.create(VOLUMES, volume("late"))
    await reaches(client, CLAIMS, "data", "Bound")


async def test_a_driver_that_fails_is_asked_again_and_says_why(client: ApiClient, driver: FakeVolumes) -> None:
    driver.failures[:] = ["the disk is full", "the disk is full"]
    await client.create(CLASSES, driver.storage_class())
    await client.create(CLAIMS, claim())
    failed = await event(client, "ProvisioningFailed")
    assert failed["message"] == 'failed to provision volume with StorageClass "standard": the disk is full'
    await reaches(client, CLAIMS, "data", "Bound")


async def test_a_class_of_another_provisioner_is_left_to_it(client: ApiClient, driver: FakeVolumes) -> None:
    await client.create(CLASSES, {**driver.storage_class(), "provisioner": "disks.example.org"})
    await client.create(CLAIMS, claim())
    waiting = await event(client, "ExternalProvisioning")
    assert "by the external provisioner 'disks.example.org'" in waiting["message"]
    pending = await reaches(client, CLAIMS, "data", "Pending")
    assert annotations_of(pending)[STORAGE_PROVISIONER] == "disks.example.org"
    assert driver.volumes == {}
    # What it makes is bound like any volume that is reserved for a claim.
    made = volume("theirs")
    made["spec"] |= {"storageClassName": "standard", "claimRef": {"namespace": "default", "name": "data"}}
    await client.create(VOLUMES, made)
    await reaches(client, CLAIMS, "data", "Bound")


async def test_a_volume_that_cannot_be_deleted_is_failed_and_tried_again(
    client: ApiClient, driver: FakeVolumes
) -> None:
    await client.create(CLASSES, driver.storage_class())
    await client.create(CLAIMS, claim())
    name = (await reaches(client, CLAIMS, "data", "Bound"))["spec"]["volumeName"]
    driver.failures[:] = ["it is stuck"]
    await client.delete(CLAIMS, "data", "default")
    assert (await event(client, "VolumeFailedDelete"))["message"] == "it is stuck"
    await reaches(client, VOLUMES, name, "gone")
    assert driver.volumes == {}


async def test_binding_waits_for_the_first_consumer(client: ApiClient, driver: FakeVolumes) -> None:
    late = {**driver.storage_class(), "volumeBindingMode": "WaitForFirstConsumer"}
    await client.create(CLASSES, late)
    await client.create(CLAIMS, claim())
    await event(client, "WaitForFirstConsumer")
    assert driver.volumes == {}
    patch = {"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "node-1"}}}
    await client.patch(CLAIMS, "data", patch, "default")
    await reaches(client, CLAIMS, "data", "Bound")


async def test_a_claim_in_use_stays_until_its_pod_has_gone(client: ApiClient, driver: FakeVolumes) -> None:
    await client.create(CLASSES, driver.storage_class())
    await client.create(CLAIMS, claim())
    await reaches(client, CLAIMS, "data", "Bound")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "user", "namespace": "default"},
        "spec": {
            "nodeName": "node-1",
            "containers": [{"name": "main", "image": "x"}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
        },
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}}
    await client.create(resources.SERVICE_ACCOUNTS, account)
    await client.create(resources.PODS, pod)
    await client.delete(CLAIMS, "data", "default")
    # A claim that nobody uses and is deleted later has gone: so the first was looked at, and kept.
    await client.create(CLAIMS, claim("unused"))
    await reaches(client, CLAIMS, "unused", "Bound")
    await client.delete(CLAIMS, "unused", "default")
    await reaches(client, CLAIMS, "unused", "gone")
    leaving = await client.get(CLAIMS, "data", "default")
    assert "kubernetes.io/pvc-protection" in finalizers_of(leaving)
    await client.delete(resources.PODS, "user", "default", grace_period=0)
    await reaches(client, CLAIMS, "data", "gone")


async def test_a_bound_volume_is_not_deleted_under_its_claim(client: ApiClient) -> None:
    await client.create(VOLUMES, volume("pv"))
    await client.create(CLAIMS, claim(storageClassName=""))
    await reaches(client, CLAIMS, "data", "Bound")
    await client.delete(VOLUMES, "pv")
    assert await phase(client, VOLUMES, "pv") == "Bound"
    await client.delete(CLAIMS, "data", "default")
    await reaches(client, VOLUMES, "pv", "gone")


async def test_a_claim_whose_volume_was_forced_away_is_lost(client: ApiClient) -> None:
    await client.create(VOLUMES, volume("pv"))
    await client.create(CLAIMS, claim(storageClassName=""))
    await reaches(client, CLAIMS, "data", "Bound")
    await client.delete(VOLUMES, "pv")
    forced = thaw(await client.get(VOLUMES, "pv"))
    forced["metadata"]["finalizers"] = []
    await client.update(VOLUMES, forced)
    await reaches(client, CLAIMS, "data", "Lost")
    assert (await event(client, "ClaimLost"))["type"] == "Warning"

"""Device claims, storage migrations and old tokens in a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.api import resources
from kube_core.cluster import Cluster
from kube_core.control.conditions import condition_of
from kube_core.meta.documents import Document, labels_of
from kube_core.meta.status import NotFound

pytestmark = pytest.mark.anyio

CONTROLLERS = (
    "resourceclaim-controller",
    "storage-version-migrator-controller",
    "legacy-serviceaccount-token-cleaner-controller",
    "serviceaccount-controller",
)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(nodes=0, listen=False, controllers=CONTROLLERS, seed=1, clock=FakeClock()) as cluster:
        yield cluster


async def make_user(cluster: Cluster) -> Document:
    """A pod that asks for a device by a template."""
    request = {"name": "gpu", "exactly": {"deviceClassName": "gpu"}}
    template = {
        "metadata": {"name": "gpus", "namespace": "default"},
        "spec": {"spec": {"devices": {"requests": [request]}}},
    }
    await cluster.client.create(resources.RESOURCE_CLAIM_TEMPLATES, template)
    pod: dict[str, Any] = {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "containers": [{"name": "web", "image": "web:1"}],
            "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "gpus"}],
        },
    }
    return await cluster.client.create(resources.PODS, pod)


async def claims(cluster: Cluster) -> list[Document]:
    await cluster.settled()
    return list((await cluster.client.list(resources.RESOURCE_CLAIMS, "default")).items)


async def test_a_pod_gets_its_claim_and_tells_its_name(cluster: Cluster) -> None:
    made = await make_user(cluster)
    [claim] = await claims(cluster)
    assert claim["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
    pod = await cluster.client.get(resources.PODS, "web", "default")
    told = [{"name": "gpu", "resourceClaimName": claim["metadata"]["name"]}]
    assert pod["status"]["resourceClaimStatuses"] == told


async def test_a_claim_is_deleted_when_its_pod_has_ended(cluster: Cluster) -> None:
    await make_user(cluster)
    [_] = await claims(cluster)
    await cluster.client.patch_status(resources.PODS, "web", {"status": {"phase": "Failed"}}, "default")
    assert await claims(cluster) == []


async def test_a_pod_whose_template_comes_late_is_told_and_served_then(cluster: Cluster) -> None:
    made = await make_user(cluster)
    await cluster.settled()
    await cluster.client.delete(resources.PODS, "web", "default", grace_period=0)
    template = await cluster.client.get(resources.RESOURCE_CLAIM_TEMPLATES, "gpus", "default")
    await cluster.client.delete(resources.RESOURCE_CLAIM_TEMPLATES, "gpus", "default")
    for claim in await claims(cluster):
        await cluster.client.delete(resources.RESOURCE_CLAIMS, claim["metadata"]["name"], "default")
    spec = {
        "containers": [{"name": "web", "image": "web:1"}],
        "resourceClaims": made["spec"]["resourceClaims"],
    }
    await cluster.client.create(resources.PODS, {"metadata": {"name": "web", "namespace": "default"}, "spec": spec})
    await cluster.settled()
    reasons = [event["reason"] for event in (await cluster.client.list(resources.EVENTS, "default")).items]
    assert "FailedResourceClaimCreation" in reasons
    late = {"metadata": {"name": "gpus", "namespace": "default"}, "spec": template["spec"]}
    await cluster.client.create(resources.RESOURCE_CLAIM_TEMPLATES, late)
    assert len(await claims(cluster)) == 1


def definition(stored: str) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [{"name": name, "served": True, "storage": name == stored, "schema": schema} for name in ("v1", "v2")]
    names = {"plural": "sites", "singular": "site", "kind": "Site", "listKind": "SiteList"}
    return {
        "metadata": {"name": "sites.example.dev"},
        "spec": {"group": "example.dev", "scope": "Namespaced", "names": names, "versions": versions},
    }


async def test_a_migration_has_every_object_stored_in_todays_version(cluster: Cluster) -> None:
    await cluster.client.create(resources.CUSTOM_RESOURCE_DEFINITIONS, definition("v1"))
    await cluster.settled()
    sites = await cluster.client.resource("sites.v1.example.dev")
    for number in range(3):
        await cluster.client.create(sites, {"metadata": {"name": f"s{number}", "namespace": "default"}})
    spec = {"spec": definition("v2")["spec"]}
    await cluster.client.patch(resources.CUSTOM_RESOURCE_DEFINITIONS, "sites.example.dev", spec)
    await cluster.settled()

    async def versions() -> list[str]:
        return [each["metadata"]["resourceVersion"] for each in (await cluster.client.list(sites, "default")).items]

    before = await versions()
    migration = {"metadata": {"name": "sites"}, "spec": {"resource": {"group": "example.dev", "resource": "sites"}}}
    await cluster.client.create(resources.STORAGE_VERSION_MIGRATIONS, migration)
    await cluster.settled()
    done = await cluster.client.get(resources.STORAGE_VERSION_MIGRATIONS, "sites")
    assert (condition_of(done, "Succeeded") or {})["status"] == "True"
    assert (condition_of(done, "Running") or {})["status"] == "False"
    defined = await cluster.client.get(resources.CUSTOM_RESOURCE_DEFINITIONS, "sites.example.dev")
    assert defined["status"]["storedVersions"] == ["v2"]
    assert (condition_of(defined, "StorageMigrating") or {})["reason"] == "MigrationSucceeded"
    assert not set(before) & set(await versions())
    # What is stored as it should be is not stored again.
    after = await versions()
    await cluster.client.create(resources.STORAGE_VERSION_MIGRATIONS, {**migration, "metadata": {"name": "again"}})
    await cluster.settled()
    assert await versions() == after


async def test_a_migration_of_what_is_not_served_fails_after_a_while(cluster: Cluster) -> None:
    migration = {"metadata": {"name": "none"}, "spec": {"resource": {"group": "example.dev", "resource": "nothings"}}}
    await cluster.client.create(resources.STORAGE_VERSION_MIGRATIONS, migration)
    await cluster.advance(seconds=30)
    waiting = await cluster.client.get(resources.STORAGE_VERSION_MIGRATIONS, "none")
    assert not (waiting.get("status") or {}).get("conditions")
    await cluster.advance(seconds=60)
    failed = await cluster.client.get(resources.STORAGE_VERSION_MIGRATIONS, "none")
    assert (condition_of(failed, "Failed") or {})["reason"] == "StorageVersionMigrationFailed"


async def test_a_token_that_nobody_used_for_years_is_marked_and_deleted(cluster: Cluster) -> None:
    await cluster.settled()
    secret = {
        "metadata": {
            "name": "old",
            "namespace": "default",
            "annotations": {"kubernetes.io/service-account.name": "default"},
        },
        "type": "kubernetes.io/service-account-token",
    }
    await cluster.client.create(resources.SECRETS, secret)
    listed = {"secrets": [{"name": "old"}]}
    await cluster.client.patch(resources.SERVICE_ACCOUNTS, "default", listed, "default")
    await cluster.advance(hours=24 * 364)
    assert "kubernetes.io/legacy-token-invalid-since" not in labels_of(
        await cluster.client.get(resources.SECRETS, "old", "default")
    )
    await cluster.advance(hours=24 * 4)
    marked = await cluster.client.get(resources.SECRETS, "old", "default")
    assert "kubernetes.io/legacy-token-invalid-since" in labels_of(marked)
    await cluster.advance(hours=24 * 368)
    with pytest.raises(NotFound):
        await cluster.client.get(resources.SECRETS, "old", "default")

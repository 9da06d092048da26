"""Owners, dependents and namespaces on a real server, with the controllers that clean up after them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakes.waiting import eventually
from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.client.client import ApiClient, Propagation
from kube_core.cluster import Cluster
from kube_core.control.conditions import condition_of
from kube_core.meta.documents import Document, is_deleting
from kube_core.meta.status import Forbidden, NotFound

pytestmark = pytest.mark.anyio

CONTROLLERS = (
    "namespace-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
    "garbage-collector-controller",
)


@pytest.fixture
async def client() -> AsyncIterator[ApiClient]:
    async with Cluster(nodes=0, listen=False, controllers=CONTROLLERS) as cluster:
        await cluster.client.create(resources.NAMESPACES, {"metadata": {"name": "web"}})
        yield cluster.client


async def make(
    client: ApiClient, name: str, *owners: Document, resource: ResourceType = resources.CONFIG_MAPS, **metadata: Any
) -> Document:
    references = [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": True,
        }
        for owner in owners
    ]
    document = {"metadata": {"name": name, "namespace": "web", "ownerReferences": references, **metadata}}
    return await client.create(resource, document)


async def find(client: ApiClient, name: str, resource: ResourceType = resources.CONFIG_MAPS) -> Document | None:
    try:
        return await client.get(resource, name, "web")
    except NotFound:
        return None


async def gone(client: ApiClient, *names: str) -> None:
    async def look() -> bool:
        return not [name for name in names if await find(client, name) is not None]

    await eventually(look)


async def test_dependents_follow_their_owner(client: ApiClient) -> None:
    owner = await make(client, "owner")
    child = await make(client, "child", owner)
    await make(client, "grandchild", child)
    await make(client, "other")
    await client.delete(resources.CONFIG_MAPS, "owner", "web", propagation="Background")
    await gone(client, "owner", "child", "grandchild")
    assert await find(client, "other") is not None


async def test_foreground_deletion_keeps_the_owner_until_its_dependents_are_gone(client: ApiClient) -> None:
    owner = await make(client, "owner")
    await make(client, "child", owner, finalizers=["example.dev/hold"])
    await client.delete(resources.CONFIG_MAPS, "owner", "web", propagation="Foreground")

    async def child_is_going() -> bool:
        child = await find(client, "child")
        return child is not None and is_deleting(child)

    await eventually(child_is_going)
    assert await find(client, "owner") is not None
    await client.patch(resources.CONFIG_MAPS, "child", {"metadata": {"finalizers": None}}, "web")
    await gone(client, "owner", "child")


async def test_orphans_stay_without_their_reference(client: ApiClient) -> None:
    owner = await make(client, "owner")
    await make(client, "child", owner)
    await client.delete(resources.CONFIG_MAPS, "owner", "web", propagation="Orphan")
    await gone(client, "owner")
    child = await find(client, "child")
    assert child is not None
    assert not child["metadata"].get("ownerReferences")


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
async def test_owners_of_many_kinds_are_followed(client: ApiClient, propagation: Propagation) -> None:
    owner = await client.create(resources.SECRETS, {"metadata": {"name": "owner", "namespace": "web"}})
    lease = await make(client, "lease", owner, resource=resources.LEASES)
    await make(client, "child", lease)
    await client.delete(resources.SECRETS, "owner", "web", propagation=propagation)
    await gone(client, "child")


async def test_namespace_gets_its_service_account_and_loses_everything_when_it_goes(client: ApiClient) -> None:
    async def account() -> Document | None:
        return await find(client, "default", resources.SERVICE_ACCOUNTS)

    async def authority() -> Document | None:
        return await find(client, "kube-root-ca.crt")

    await eventually(account)
    published = await eventually(authority)
    assert "BEGIN CERTIFICATE" in published["data"]["ca.crt"]
    await make(client, "held", finalizers=["example.dev/hold"])
    await make(client, "free")
    await client.delete(resources.NAMESPACES, "web")

    async def says_what_it_waits_for() -> bool:
        condition = condition_of(await client.get(resources.NAMESPACES, "web"), "NamespaceFinalizersRemaining")
        return condition is not None and "example.dev/hold in 1 resource instances" in condition["message"]

    await eventually(says_what_it_waits_for)
    assert await find(client, "free") is None
    with pytest.raises(Forbidden, match="because it is being terminated"):
        await make(client, "late")
    await client.patch(resources.CONFIG_MAPS, "held", {"metadata": {"finalizers": []}}, "web")

    async def namespace_is_gone() -> bool:
        names = [each["metadata"]["name"] for each in (await client.list(resources.NAMESPACES)).items]
        return "web" not in names

    await eventually(namespace_is_gone)
    assert (await client.list(resources.CONFIG_MAPS, "web")).items == []
    assert (await client.list(resources.SERVICE_ACCOUNTS, "web")).items == []

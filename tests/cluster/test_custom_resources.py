"""Custom resources in a running cluster, from their definition to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fakes.waiting import eventually
from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.client.client import ApiClient
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document, thaw
from kube_core.meta.status import BadRequest, Conflict, Forbidden, Invalid, NotFound, UnsupportedMediaType

pytestmark = pytest.mark.anyio

DEFINITIONS = resources.CUSTOM_RESOURCE_DEFINITIONS
GADGETS = ResourceType("toys.example.org", "v1", "Gadget", "gadgets", True)
OLD_GADGETS = ResourceType("toys.example.org", "v1beta1", "Gadget", "gadgets", True)
NAME = "gadgets.toys.example.org"
CONTROLLERS = ("namespace-controller", "garbage-collector-controller")


def schema(**properties: Any) -> dict[str, Any]:
    spec = {
        "type": "object",
        "properties": {"size": {"type": "integer", "maximum": 9}, "color": {"type": "string", "default": "gray"}},
    }
    spec["properties"].update(properties)  # type: ignore[attr-defined]
    status = {"type": "object", "properties": {"size": {"type": "integer"}}}
    return {"type": "object", "properties": {"spec": spec, "status": status}}


def version(name: str = "v1", of: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    scale = {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}
    return {
        "name": name,
        "served": True,
        "storage": name == "v1",
        "subresources": {"status": {}, "scale": scale},
        "schema": {"openAPIV3Schema": of or schema()},
        **options,
    }


def definition(*versions: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"name": NAME},
        "spec": {
            "group": "toys.example.org",
            "scope": "Namespaced",
            "names": {"plural": "gadgets", "kind": "Gadget", "shortNames": ["gd"]},
            "versions": list(versions) or [version()],
        },
    }


def gadget(name: str, namespace: str = "default", /, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "toys.example.org/v1",
        "kind": "Gadget",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


async def established(client: ApiClient, name: str = NAME) -> Document:
    async def look() -> Document | None:
        found = await client.get(DEFINITIONS, name)
        conditions = (found.get("status") or {}).get("conditions") or ()
        return found if any(each["type"] == "Established" and each["status"] == "True" for each in conditions) else None

    return await eventually(look)


async def gone(client: ApiClient, resource: ResourceType, name: str, namespace: str = "") -> None:
    async def look() -> bool:
        try:
            await client.get(resource, name, namespace)
        except NotFound:
            return True
        return False

    await eventually(look)


@pytest.fixture
async def client() -> AsyncIterator[ApiClient]:
    async with Cluster(nodes=0, listen=False, controllers=CONTROLLERS) as cluster:
        await cluster.client.create(DEFINITIONS, definition())
        await established(cluster.client)
        yield cluster.client


async def test_objects_are_pruned_defaulted_and_validated(client: ApiClient) -> None:
    made = await client.create(GADGETS, gadget("a", size=1, unknown=True))
    assert made["spec"] == {"size": 1, "color": "gray"}
    assert made["metadata"]["generation"] == 1
    with pytest.raises(Invalid, match=r"spec.size in body should be less than or equal to 9"):
        await client.patch(GADGETS, "a", {"spec": {"size": 10}}, "default")
    with pytest.raises(UnsupportedMediaType):
        await client.patch(GADGETS, "a", {"spec": {"size": 2}}, "default", patch_type="strategic")


async def test_an_update_says_what_it_is_of(client: ApiClient) -> None:
    made: Any = thaw(await client.create(GADGETS, gadget("a", size=1)))
    made["spec"]["size"] = 2
    changed = await client.update(GADGETS, made)
    assert changed["metadata"]["generation"] == 2
    with pytest.raises(Conflict):
        await client.update(GADGETS, made)
    del made["metadata"]["resourceVersion"]
    with pytest.raises(Invalid, match="must be specified for an update"):
        await client.update(GADGETS, made)


async def test_status_and_spec_change_apart(client: ApiClient) -> None:
    await client.create(GADGETS, {**gadget("a", size=1), "status": {"size": 7}})
    status = await client.patch(
        GADGETS, "a", {"spec": {"size": 5}, "status": {"size": 1}}, "default", subresource="status"
    )
    assert (status["spec"]["size"], status["status"], status["metadata"]["generation"]) == (1, {"size": 1}, 1)
    main = await client.patch(GADGETS, "a", {"spec": {"size": 2}, "status": {"size": 9}}, "default")
    assert (main["spec"]["size"], main["status"], main["metadata"]["generation"]) == (2, {"size": 1}, 2)


async def test_a_scale_changes_what_the_definition_says(client: ApiClient) -> None:
    await client.create(GADGETS, gadget("a", size=1))
    scale = await client.patch(GADGETS, "a", {"spec": {"replicas": 4}}, "default", subresource="scale")
    assert (scale["kind"], scale["spec"]) == ("Scale", {"replicas": 4})
    assert (await client.get(GADGETS, "a", "default"))["spec"]["size"] == 4


async def test_appliers_share_an_object(client: ApiClient) -> None:
    await client.apply(GADGETS, gadget("a", size=1), field_manager="one")
    await client.apply(GADGETS, gadget("a", color="red"), field_manager="two")
    assert (await client.get(GADGETS, "a", "default"))["spec"] == {"size": 1, "color": "red"}
    with pytest.raises(Conflict):
        await client.apply(GADGETS, gadget("a", size=2), field_manager="two")


async def test_rules_are_judged_on_every_write(client: ApiClient) -> None:
    ruled = schema()
    ruled["properties"]["spec"]["x-kubernetes-validations"] = [
        {"rule": "self.color != 'blue' || self.size > 1", "message": "what is blue is big", "fieldPath": ".size"},
        {"rule": "self.size >= oldSelf.size", "message": "sizes only grow"},
    ]
    await client.patch(DEFINITIONS, NAME, {"spec": {"versions": [version("v1", ruled)]}})
    await client.create(GADGETS, gadget("a", size=1))
    with pytest.raises(Invalid, match=r"spec.size: Invalid value: what is blue is big"):
        await client.patch(GADGETS, "a", {"spec": {"color": "blue"}}, "default")
    with pytest.raises(Invalid, match="sizes only grow"):
        await client.apply(GADGETS, gadget("a", size=0), force=True)
    await client.patch(GADGETS, "a", {"spec": {"color": "blue", "size": 2}}, "default")


async def test_discovery_and_openapi_follow_at_once(client: ApiClient) -> None:
    listed = await client.get_path("/apis/toys.example.org/v1")
    assert [each["name"] for each in listed["resources"]] == ["gadgets", "gadgets/status", "gadgets/scale"]
    document = await client.get_path("/openapi/v3/apis/toys.example.org/v1")
    described = document["components"]["schemas"]["org.example.toys.v1.Gadget"]["properties"]
    assert described["spec"]["properties"]["size"]["type"] == "integer"
    changed = schema(new={"type": "string"})
    await client.patch(DEFINITIONS, NAME, {"spec": {"versions": [version("v1", changed)]}})

    async def described_anew() -> bool:
        document = await client.get_path("/openapi/v3/apis/toys.example.org/v1")
        spec = document["components"]["schemas"]["org.example.toys.v1.Gadget"]["properties"]["spec"]
        return "new" in spec["properties"]

    await eventually(described_anew)


async def test_objects_of_before_get_the_defaults_of_a_changed_schema(client: ApiClient) -> None:
    await client.create(GADGETS, gadget("a", size=1))
    changed = schema(shape={"type": "string", "default": "round"})
    await client.patch(DEFINITIONS, NAME, {"spec": {"versions": [version("v1", changed)]}})

    async def read() -> bool:
        found = await client.get(GADGETS, "a", "default")
        return bool(found["spec"].get("shape") == "round")

    await eventually(read)
    assert [each["spec"]["shape"] for each in (await client.list(GADGETS, "default")).items] == ["round"]


async def test_versions_show_the_same_objects(client: ApiClient) -> None:
    old = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}
    await client.patch(DEFINITIONS, NAME, {"spec": {"versions": [version("v1"), version("v1beta1", old)]}})

    async def served() -> bool:
        try:
            await client.list(OLD_GADGETS)
        except NotFound:
            return False
        return True

    await eventually(served)
    written = {**gadget("a", size=1), "apiVersion": "toys.example.org/v1beta1"}
    assert (await client.create(OLD_GADGETS, written))["apiVersion"] == "toys.example.org/v1beta1"
    shown = await client.get(GADGETS, "a", "default")
    assert (shown["apiVersion"], shown["spec"]) == ("toys.example.org/v1", {"size": 1, "color": "gray"})
    assert (await client.get(OLD_GADGETS, "a", "default"))["spec"] == {"size": 1}
    events = client.watch(OLD_GADGETS, "default")
    first = await anext(events)
    assert first.object["apiVersion"] == "toys.example.org/v1beta1"
    with pytest.raises(BadRequest):
        await client.create(GADGETS, {**written, "metadata": {"name": "b", "namespace": "default"}})


async def test_a_watch_shows_what_happens(client: ApiClient) -> None:
    listing = await client.list(GADGETS, "default")
    events = client.watch(GADGETS, "default", after=listing)
    await client.create(GADGETS, gadget("a", size=1))
    await client.patch(GADGETS, "a", {"spec": {"size": 2}}, "default")
    await client.delete(GADGETS, "a", "default")
    async with asyncio.timeout(20):
        found = [await anext(events) for _ in range(3)]
    assert [(each.type, each.object["spec"]["size"]) for each in found] == [
        ("ADDED", 1),
        ("MODIFIED", 2),
        ("DELETED", 2),
    ]


async def test_deleting_a_definition_deletes_its_objects_first(client: ApiClient) -> None:
    await client.create(GADGETS, gadget("free", size=1))
    held = gadget("held", size=1)
    held["metadata"]["finalizers"] = ["example.org/hold"]
    await client.create(GADGETS, held)
    deleted = await client.delete(DEFINITIONS, NAME)
    assert deleted["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    await gone(client, GADGETS, "free", "default")

    async def refused() -> bool:
        try:
            await client.create(GADGETS, gadget("late", size=1))
        except Forbidden as error:
            return "create not allowed while custom resource definition is terminating" in error.message
        return False

    await eventually(refused)
    assert (await client.get(DEFINITIONS, NAME))["metadata"]["deletionTimestamp"]
    await client.patch(
        GADGETS, "held", [{"op": "remove", "path": "/metadata/finalizers"}], "default", patch_type="json"
    )
    await gone(client, DEFINITIONS, NAME)
    with pytest.raises(NotFound):
        await client.list(GADGETS)
    with pytest.raises(NotFound):
        await client.get_path("/apis/toys.example.org/v1")


async def test_a_definition_can_come_back(client: ApiClient) -> None:
    await client.create(GADGETS, gadget("a", size=1))
    await client.delete(DEFINITIONS, NAME)
    await gone(client, DEFINITIONS, NAME)
    await client.create(DEFINITIONS, definition())
    await established(client)
    assert (await client.list(GADGETS)).items == []
    await client.create(GADGETS, gadget("a", size=2))


async def test_a_name_that_is_freed_goes_to_who_waits_for_it(client: ApiClient) -> None:
    other: Any = definition()
    other["metadata"]["name"] = "widgets.toys.example.org"
    other["spec"]["names"] = {"plural": "widgets", "kind": "Gadget"}
    await client.create(DEFINITIONS, other)

    async def refused() -> bool:
        found = await client.get(DEFINITIONS, "widgets.toys.example.org")
        conditions = (found.get("status") or {}).get("conditions") or ()
        return any(each["type"] == "NamesAccepted" and each["status"] == "False" for each in conditions)

    await eventually(refused)
    await client.delete(DEFINITIONS, NAME)
    await established(client, "widgets.toys.example.org")
    await client.list(ResourceType("toys.example.org", "v1", "Gadget", "widgets", True))


async def test_what_custom_resources_own_is_collected(client: ApiClient) -> None:
    owner = await client.create(GADGETS, gadget("a", size=1))
    reference = {"apiVersion": "toys.example.org/v1", "kind": "Gadget", "name": "a", "uid": owner["metadata"]["uid"]}
    metadata = {"name": "owned", "namespace": "default", "ownerReferences": [reference]}
    await client.create(resources.CONFIG_MAPS, {"metadata": metadata})
    await client.create(GADGETS, {**gadget("child", size=1), "metadata": {**metadata, "name": "child"}})
    await client.delete(GADGETS, "a", "default")
    await gone(client, resources.CONFIG_MAPS, "owned", "default")
    await gone(client, GADGETS, "child", "default")


async def test_a_namespace_takes_its_custom_resources_along(client: ApiClient) -> None:
    await client.create(resources.NAMESPACES, {"metadata": {"name": "web"}})
    await client.create(GADGETS, gadget("a", "web", size=1))
    await client.create(GADGETS, gadget("a", size=1))
    await client.delete(resources.NAMESPACES, "web")
    await gone(client, resources.NAMESPACES, "web")
    assert [each["metadata"]["namespace"] for each in (await client.list(GADGETS)).items] == ["default"]


async def test_a_server_that_starts_anew_serves_what_was_established(tmp_path: Path) -> None:
    options: dict[str, Any] = {"nodes": 0, "listen": False, "controllers": (), "store": f"sqlite:///{tmp_path}/db"}
    async with Cluster(**options) as cluster:
        await cluster.client.create(DEFINITIONS, definition())
        await established(cluster.client)
        await cluster.client.create(GADGETS, gadget("a", size=1))
    async with Cluster(**options) as cluster:
        assert (await cluster.client.get(GADGETS, "a", "default"))["spec"]["size"] == 1

"""The garbage collector on a little API: what goes, what stays, and in which order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest

from fakes.api import (
    BUILT_IN,
    CONFIG_MAPS,
    DEPLOYMENTS,
    EVENTS,
    NODES,
    PODS,
    REPLICA_SETS,
    FakeApi,
    names,
    quiet,
    until,
)
from kube_core._kit.random import Random
from kube_core.abc.transport import Request
from kube_core.api.types import ResourceType
from kube_core.control.runtime import ControllerRuntime
from kube_core.meta.documents import Document
from kube_core.meta.status import InternalError, StatusError
from kube_plugins.controllers.garbagecollector import kube_core_controllers

pytestmark = pytest.mark.anyio


@attrs.frozen
class World:
    api: FakeApi
    running: ControllerRuntime

    def make(
        self, resource: ResourceType, name: str, *owners: Document, namespace: str = "web", **metadata: Any
    ) -> Document:
        if resource.namespaced:
            metadata["namespace"] = namespace
        references = [reference(owner) for owner in owners]
        return self.api.put(resource, {"metadata": {"name": name, "ownerReferences": references, **metadata}})

    async def delete(self, resource: ResourceType, name: str, propagation: Any, namespace: str = "web") -> None:
        await self.api.client().delete(resource, name, namespace, propagation=propagation)
        await self.settle()

    async def settle(self, seconds: float = 0) -> None:
        async def idle() -> None:
            await quiet(lambda: self.running.idle)

        await self.api.clock.advance(seconds, settle=idle)

    def left(self, resource: ResourceType) -> list[str]:
        return names(self.api.objects(resource).values())


def reference(owner: Document, *, blocks: bool = True) -> dict[str, Any]:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": blocks,
    }


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
async def world(api: FakeApi) -> AsyncIterator[World]:
    async with ControllerRuntime(kube_core_controllers(), api.client, clock=api.clock, random=Random(1)) as running:
        await running.started()
        world = World(api, running)
        await world.settle()
        yield world


async def test_background_deletion_collects_dependents_to_the_last(world: World) -> None:
    deployment = world.make(DEPLOYMENTS, "d")
    replica_set = world.make(REPLICA_SETS, "rs", deployment)
    for number in range(3):
        world.make(PODS, f"pod-{number}", replica_set)
    world.make(PODS, "free")
    await world.settle()
    assert len(world.left(PODS)) == 4
    await world.delete(DEPLOYMENTS, "d", "Background")
    assert (world.left(DEPLOYMENTS), world.left(REPLICA_SETS), world.left(PODS)) == ([], [], ["free"])


async def test_foreground_deletion_goes_from_the_bottom_up(world: World) -> None:
    deployment = world.make(DEPLOYMENTS, "d")
    replica_set = world.make(REPLICA_SETS, "rs", deployment)
    world.make(PODS, "pod", replica_set, finalizers=["example.dev/hold"])
    await world.settle()
    await world.delete(DEPLOYMENTS, "d", "Foreground")
    assert (world.left(DEPLOYMENTS), world.left(REPLICA_SETS), world.left(PODS)) == (["d"], ["rs"], ["pod"])
    held = world.api.get(PODS, "pod", "web")
    assert held is not None
    assert held["metadata"]["deletionTimestamp"]
    await world.api.client().patch(PODS, "pod", {"metadata": {"finalizers": []}}, "web")
    await world.settle()
    assert (world.left(DEPLOYMENTS), world.left(REPLICA_SETS), world.left(PODS)) == ([], [], [])
    deletions = [request for request in world.api.requests if request.startswith("DELETE")]
    assert deletions[-1].endswith("pods/pod")


async def test_foreground_deletion_does_not_wait_for_what_does_not_block(world: World) -> None:
    replica_set = world.make(REPLICA_SETS, "rs")
    pod = {"name": "pod", "namespace": "web", "ownerReferences": [reference(replica_set, blocks=False)]}
    world.api.put(PODS, {"metadata": {**pod, "finalizers": ["example.dev/hold"]}})
    await world.settle()
    await world.delete(REPLICA_SETS, "rs", "Foreground")
    assert world.left(REPLICA_SETS) == []
    assert world.left(PODS) == ["pod"]


async def test_orphaning_deletion_leaves_dependents_without_their_reference(world: World) -> None:
    replica_set, other = world.make(REPLICA_SETS, "rs"), world.make(REPLICA_SETS, "other")
    world.make(PODS, "pod", replica_set)
    world.make(PODS, "shared", replica_set, other)
    await world.settle()
    await world.delete(REPLICA_SETS, "rs", "Orphan")
    await world.settle(60)
    assert world.left(REPLICA_SETS) == ["other"]
    assert world.left(PODS) == ["pod", "shared"]
    owners = {
        document["metadata"]["name"]: [each["name"] for each in document["metadata"]["ownerReferences"]]
        for document in world.api.objects(PODS).values()
    }
    assert owners == {"pod": [], "shared": ["other"]}


async def test_object_with_another_owner_stays_and_loses_the_dead_reference(world: World) -> None:
    first, second = world.make(REPLICA_SETS, "first"), world.make(REPLICA_SETS, "second")
    world.make(PODS, "pod", first, second)
    await world.settle()
    await world.delete(REPLICA_SETS, "first", "Background")
    pod = world.api.get(PODS, "pod", "web")
    assert pod is not None
    assert [each["name"] for each in pod["metadata"]["ownerReferences"]] == ["second"]


async def test_object_of_an_owner_that_never_was_is_collected(world: World) -> None:
    ghost = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "ghost", "uid": "none"}}
    world.make(PODS, "pod", ghost)
    await world.settle()
    assert world.left(PODS) == []


async def test_owner_of_the_same_name_and_another_uid_is_not_the_owner(world: World) -> None:
    world.make(REPLICA_SETS, "rs")
    earlier = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "rs", "uid": "earlier"}}
    world.make(PODS, "pod", earlier)
    await world.settle()
    assert world.left(PODS) == []
    assert world.left(REPLICA_SETS) == ["rs"]


async def test_owner_in_another_namespace_is_absent_and_reported(world: World) -> None:
    owner = world.make(REPLICA_SETS, "rs", namespace="other")
    world.make(PODS, "pod", owner)
    await world.settle()
    assert world.left(PODS) == []
    [event] = world.api.objects(EVENTS).values()
    assert (event["reason"], event["type"]) == ("OwnerRefInvalidNamespace", "Warning")
    assert event["message"].endswith('does not exist in namespace "web"')


async def test_cluster_scoped_object_with_a_namespaced_owner_is_reported_and_stays(world: World) -> None:
    owner = world.make(REPLICA_SETS, "rs")
    world.make(NODES, "n1", owner)
    await world.settle()
    world.api.remove(REPLICA_SETS, "rs", "web")
    await world.settle()
    assert world.left(NODES) == ["n1"]
    assert {event["reason"] for event in world.api.objects(EVENTS).values()} == {"OwnerRefInvalidNamespace"}


async def test_cluster_scoped_owner_owns_across_namespaces(world: World) -> None:
    node = world.make(NODES, "n1")
    world.make(PODS, "pod", node)
    await world.settle()
    assert world.left(PODS) == ["pod"]
    await world.delete(NODES, "n1", "Background", namespace="")
    assert world.left(PODS) == []


async def test_owner_of_an_unknown_kind_keeps_its_dependents(world: World) -> None:
    owner = {"apiVersion": "example.dev/v1", "kind": "Website", "metadata": {"name": "site", "uid": "site"}}
    world.make(PODS, "pod", owner)
    await world.settle(600)
    assert world.left(PODS) == ["pod"]


async def test_ring_of_owners_is_broken_by_foreground_deletion(world: World) -> None:
    first = world.make(CONFIG_MAPS, "first")
    second = world.make(CONFIG_MAPS, "second", first)
    world.api.put(
        CONFIG_MAPS, {"metadata": {"name": "first", "namespace": "web", "ownerReferences": [reference(second)]}}
    )
    await world.settle()
    assert world.left(CONFIG_MAPS) == ["first", "second"]
    await world.delete(CONFIG_MAPS, "first", "Foreground")
    await world.settle(5)
    assert world.left(CONFIG_MAPS) == []


async def test_adoption_in_the_last_moment_saves_an_object(world: World) -> None:
    owner, heir = world.make(REPLICA_SETS, "rs"), world.make(REPLICA_SETS, "heir")
    world.make(PODS, "pod", owner)
    await world.settle()

    def adopt(request: Request) -> StatusError | None:
        """Between the decision and the deletion, someone else takes the pod."""
        if request.method == "DELETE" and request.path.endswith("/pods/pod"):
            world.api.refuse = None
            world.make(PODS, "pod", heir)
        return None

    world.api.refuse = adopt
    await world.delete(REPLICA_SETS, "rs", "Background")
    await world.settle(10)
    assert world.left(PODS) == ["pod"]


async def test_new_kind_is_collected_once_discovery_shows_it(world: World) -> None:
    websites = ResourceType("example.dev", "v1", "Website", "websites", True)
    world.api.resources.append(websites)
    site = world.make(websites, "site")
    world.make(DEPLOYMENTS, "d", site)
    await world.settle(31)
    await world.delete(websites, "site", "Background")
    assert world.left(DEPLOYMENTS) == []


async def test_kind_that_is_no_longer_served_does_not_take_its_dependents_with_it(world: World) -> None:
    websites = ResourceType("example.dev", "v1", "Website", "websites", True)
    world.api.resources.append(websites)
    world.make(DEPLOYMENTS, "d", world.make(websites, "site"))
    await world.settle(31)
    world.api.resources.remove(websites)
    await world.settle(600)
    assert world.left(DEPLOYMENTS) == ["d"]


async def test_group_that_does_not_answer_keeps_its_monitors(world: World) -> None:
    owner = world.make(REPLICA_SETS, "rs")
    world.make(PODS, "pod", owner)
    world.api.broken_groups.add("apps/v1")
    await world.settle(31)
    world.api.remove(REPLICA_SETS, "rs", "web")
    await world.settle()
    assert world.left(PODS) == []


async def test_failure_to_delete_is_tried_again(world: World) -> None:
    owner = world.make(REPLICA_SETS, "rs")
    world.make(PODS, "pod", owner)
    await world.settle()
    failures = [InternalError("no"), InternalError("no")]
    world.api.refuse = lambda request: failures.pop() if failures and request.method == "DELETE" else None
    world.api.remove(REPLICA_SETS, "rs", "web")
    await world.settle(1)
    assert world.left(PODS) == []


async def test_garbage_from_before_the_start_is_found(api: FakeApi) -> None:
    ghost = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "ghost", "uid": "none"}
    api.put(PODS, {"metadata": {"name": "pod", "namespace": "web", "ownerReferences": [ghost]}})
    async with ControllerRuntime(kube_core_controllers(), api.client, clock=api.clock, random=Random(1)):
        await until(lambda: not api.objects(PODS))


async def test_every_deletable_resource_but_events_is_watched_once(world: World) -> None:
    lists = [request for request in world.api.requests if request.startswith("GET") and request.count("/") == 3]
    watched = {request.rpartition("/")[2] for request in world.api.requests if request.startswith("GET")}
    assert watched >= {resource.plural for resource in BUILT_IN} - {"events"}
    assert "events" not in watched
    assert len(lists) == len(set(lists))

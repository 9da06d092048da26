"""The graph of owners, and the rules on it: no requests, no time."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.api import DEPLOYMENTS, NODES, PODS, REPLICA_SETS
from kube_core.api.types import ResourceType
from kube_core.meta.documents import Document
from kube_plugins.controllers.garbagecollector.graph import FOREGROUND, ORPHAN, Graph, Node
from kube_plugins.controllers.garbagecollector.plan import (
    Deletion,
    Keep,
    OwnerStates,
    Plan,
    RemoveReferences,
    blocking_dependents,
    plan_for,
    without_finalizer,
    without_owners,
)


def made(
    resource: ResourceType, name: str, *owners: Document, deleting: str | None = None, namespace: str = "web"
) -> dict[str, Any]:
    """An object whose uid is its name; `deleting`: with this finalizer."""
    metadata: dict[str, Any] = {"name": name, "uid": name, "namespace": namespace if resource.namespaced else ""}
    metadata["resourceVersion"] = "1"
    metadata["ownerReferences"] = list(owners)
    if deleting is not None:
        metadata |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [deleting]}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}


def ref(resource: ResourceType, name: str, *, blocks: bool = False) -> dict[str, Any]:
    reference = {"apiVersion": resource.api_version, "kind": resource.kind, "name": name, "uid": name}
    return {**reference, "blockOwnerDeletion": True} if blocks else reference


def node_of(graph: Graph, uid: str) -> Node:
    node = graph.get(uid)
    assert node is not None
    return node


def test_owned_object_is_looked_at_when_it_appears_and_others_are_not() -> None:
    graph = Graph()
    assert list(graph.observe(REPLICA_SETS, made(REPLICA_SETS, "rs"))) == []
    assert list(graph.observe(PODS, made(PODS, "pod", ref(REPLICA_SETS, "rs")))) == ["pod"]
    assert [node.uid for node in graph.dependents("rs")] == ["pod"]


def test_change_that_concerns_nobody_answers_nothing() -> None:
    graph = Graph()
    pod = made(PODS, "pod", ref(REPLICA_SETS, "rs"))
    graph.observe(PODS, pod)
    assert list(graph.observe(PODS, {**pod, "status": {"phase": "Running"}})) == []


def test_dependents_are_looked_at_when_their_owner_goes() -> None:
    graph = Graph()
    graph.observe(REPLICA_SETS, made(REPLICA_SETS, "rs"))
    for name in ("a", "b"):
        graph.observe(PODS, made(PODS, name, ref(REPLICA_SETS, "rs")))
    assert sorted(graph.forget("rs")) == ["a", "b"]
    owner = node_of(graph, "a").owners[0]
    assert graph.is_known_absent(node_of(graph, "a"), owner)


def test_dependents_of_an_owner_that_was_never_seen_are_known() -> None:
    graph = Graph()
    graph.observe(PODS, made(PODS, "pod", ref(REPLICA_SETS, "rs")))
    assert list(graph.forget("rs")) == ["pod"]


def test_lost_owner_is_not_absent() -> None:
    graph = Graph()
    graph.observe(REPLICA_SETS, made(REPLICA_SETS, "rs"))
    graph.observe(PODS, made(PODS, "pod", ref(REPLICA_SETS, "rs")))
    assert list(graph.lose("rs")) == ["pod"]
    pod = node_of(graph, "pod")
    assert not graph.is_known_absent(pod, pod.owners[0])


def test_reference_that_is_removed_is_no_edge_any_more() -> None:
    graph = Graph()
    graph.observe(PODS, made(PODS, "pod", ref(REPLICA_SETS, "rs"), ref(DEPLOYMENTS, "d")))
    graph.observe(PODS, made(PODS, "pod", ref(DEPLOYMENTS, "d")))
    assert graph.dependents("rs") == []
    assert list(graph.forget("rs")) == []
    assert len(graph.dependents("d")) == 1


@pytest.mark.parametrize(
    "owner",
    [
        made(REPLICA_SETS, "rs", namespace="other"),
        {**made(REPLICA_SETS, "rs"), "metadata": {"name": "another", "uid": "rs", "namespace": "web"}},
    ],
)
def test_owner_elsewhere_or_of_another_name_is_not_the_owner(owner: Document) -> None:
    graph = Graph()
    graph.observe(REPLICA_SETS, owner)
    graph.observe(PODS, made(PODS, "pod", ref(REPLICA_SETS, "rs")))
    pod = node_of(graph, "pod")
    assert graph.find_owner(pod, pod.owners[0]) is None


def test_cluster_scoped_owner_is_found_from_any_namespace() -> None:
    graph = Graph()
    graph.observe(NODES, made(NODES, "n1"))
    graph.observe(PODS, made(PODS, "pod", ref(NODES, "n1")))
    pod = node_of(graph, "pod")
    assert graph.find_owner(pod, pod.owners[0]) == node_of(graph, "n1")


def test_owner_of_another_version_of_its_group_is_found() -> None:
    graph = Graph()
    graph.observe(REPLICA_SETS, made(REPLICA_SETS, "rs"))
    graph.observe(PODS, made(PODS, "pod", {**ref(REPLICA_SETS, "rs"), "apiVersion": "apps/v1beta2"}))
    pod = node_of(graph, "pod")
    assert graph.find_owner(pod, pod.owners[0]) is not None


def test_foreground_deletion_looks_at_the_object_and_all_its_dependents() -> None:
    graph = Graph()
    graph.observe(REPLICA_SETS, made(REPLICA_SETS, "rs"))
    graph.observe(PODS, made(PODS, "a", ref(REPLICA_SETS, "rs", blocks=True)))
    graph.observe(PODS, made(PODS, "b", ref(REPLICA_SETS, "rs")))
    assert sorted(graph.observe(REPLICA_SETS, made(REPLICA_SETS, "rs", deleting=FOREGROUND))) == ["a", "b", "rs"]
    assert [node.uid for node in blocking_dependents(graph, node_of(graph, "rs"))] == ["a"]


def test_waiting_owner_is_looked_at_when_a_dependent_goes_or_stops_blocking() -> None:
    graph = Graph()
    graph.observe(REPLICA_SETS, made(REPLICA_SETS, "rs", deleting=FOREGROUND))
    for name in ("a", "b"):
        graph.observe(PODS, made(PODS, name, ref(REPLICA_SETS, "rs", blocks=True)))
    assert "rs" in graph.observe(PODS, made(PODS, "a", ref(REPLICA_SETS, "rs")))
    assert "rs" in graph.forget("b")
    assert blocking_dependents(graph, node_of(graph, "rs")) == []


def test_orphaning_deletion_is_looked_at() -> None:
    graph = Graph()
    assert list(graph.observe(REPLICA_SETS, made(REPLICA_SETS, "rs", deleting=ORPHAN))) == ["rs"]
    assert node_of(graph, "rs").orphaning


def test_finalizer_alone_is_no_deletion() -> None:
    graph = Graph()
    document = made(REPLICA_SETS, "rs")
    document["metadata"]["finalizers"] = [FOREGROUND]
    assert list(graph.observe(REPLICA_SETS, document)) == []
    assert not node_of(graph, "rs").foreground


def test_one_object_served_under_two_names_is_one_node() -> None:
    graph = Graph()
    twin = ResourceType("extensions", "v1beta1", "Deployment", "deployments", True)
    graph.observe(DEPLOYMENTS, made(DEPLOYMENTS, "d"))
    graph.observe(twin, made(twin, "d"))
    assert node_of(graph, "d").resource is DEPLOYMENTS


_GRAPH = Graph()
_GRAPH.observe(PODS, made(PODS, "pod", ref(REPLICA_SETS, "one"), ref(REPLICA_SETS, "two"), ref(REPLICA_SETS, "three")))
POD = node_of(_GRAPH, "pod")
ONE, TWO, THREE = POD.owners
_GRAPH.observe(PODS, made(PODS, "dependent", ref(PODS, "pod")))
_GRAPH.observe(PODS, made(PODS, "in the foreground", deleting=FOREGROUND))
DEPENDENT, IN_FOREGROUND = node_of(_GRAPH, "dependent"), node_of(_GRAPH, "in the foreground")


@pytest.mark.parametrize(
    ("owners", "dependents", "finalizers", "plan"),
    [
        (OwnerStates(solid=[ONE]), [], [], Keep()),
        (OwnerStates(solid=[ONE], dangling=[TWO], waiting=[THREE]), [], [], RemoveReferences([TWO, THREE])),
        (OwnerStates(dangling=[ONE], unknown=[TWO]), [], [], Keep()),
        (OwnerStates(dangling=[ONE], misplaced=[TWO]), [], [], Keep()),
        (OwnerStates(dangling=[ONE]), [], [], Deletion("Background")),
        (OwnerStates(dangling=[ONE]), [DEPENDENT], [ORPHAN], Deletion("Orphan")),
        (OwnerStates(dangling=[ONE]), [DEPENDENT], [FOREGROUND], Deletion("Foreground")),
        (OwnerStates(waiting=[ONE]), [], [], Deletion("Background")),
        (OwnerStates(waiting=[ONE]), [DEPENDENT], [], Deletion("Foreground")),
        (OwnerStates(waiting=[ONE]), [DEPENDENT, IN_FOREGROUND], [], Deletion("Foreground", unblock=True)),
    ],
)
def test_owners_decide(owners: OwnerStates, dependents: list[Node], finalizers: list[str], plan: Plan) -> None:
    assert plan_for(POD, owners, dependents, finalizers) == plan


def test_patches_name_the_version_they_were_made_from() -> None:
    document = made(PODS, "pod", ref(REPLICA_SETS, "one"), ref(REPLICA_SETS, "two"), deleting=FOREGROUND)
    document["metadata"]["finalizers"].append("mine")
    assert without_owners(document, {"one"})["metadata"] == {
        "uid": "pod",
        "resourceVersion": "1",
        "ownerReferences": [ref(REPLICA_SETS, "two")],
    }
    assert without_finalizer(document, FOREGROUND)["metadata"] == {
        "uid": "pod",
        "resourceVersion": "1",
        "finalizers": ["mine"],
    }

"""What to do with an object because of its owners, or of its dependents: pure functions from the graph to a plan.

The rules are upstream's ("Garbage Collection", "Owners and dependents"):

* one owner that is there keeps an object; references to owners that are gone, or that wait for it to go, are removed;
* without one, but with an owner that waits for its dependents, an object that has dependents of its own is deleted
  in the foreground in its turn, so that the lowest go first; in a ring of such objects somebody has to stop blocking;
* an owner of which nothing certain can be known keeps an object as it is;
* without any, it is deleted: as its own finalizers ask (orphan, foreground), otherwise in the background.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from kube_core.client.client import Propagation
from kube_core.meta.documents import Document, MutableDocument, finalizers_of, owner_references_of
from kube_plugins.controllers.garbagecollector.graph import FOREGROUND, ORPHAN, Graph, Node, Owner

__all__ = ["Deletion", "Keep", "OwnerStates", "Plan", "RemoveReferences", "blocking_dependents", "plan_for",
           "without_finalizer", "without_owners"]  # fmt: skip


@attrs.frozen
class OwnerStates:
    """An object's owners, sorted: `solid` are there, `dangling` are not, `waiting` wait for their dependents to go.

    Of `unknown` ones the kind is not served, so nobody can tell; `misplaced` are in a namespace, and own what is not.
    """

    solid: list[Owner] = attrs.field(factory=list)
    dangling: list[Owner] = attrs.field(factory=list)
    waiting: list[Owner] = attrs.field(factory=list)
    unknown: list[Owner] = attrs.field(factory=list)
    misplaced: list[Owner] = attrs.field(factory=list)


@attrs.frozen
class Keep:
    """Nothing is to be done."""


@attrs.frozen
class RemoveReferences:
    """The object stays, without its references to these owners."""

    owners: Sequence[Owner]


@attrs.frozen
class Deletion:
    """The object goes. `unblock`: it must first stop blocking its owners, or a ring would wait for ever."""

    propagation: Propagation
    unblock: bool = False


Plan = Keep | RemoveReferences | Deletion


def plan_for(node: Node, owners: OwnerStates, dependents: Sequence[Node], finalizers: Sequence[str]) -> Plan:
    """What the state of its owners means for an object that nobody has asked to delete."""
    if owners.unknown or owners.misplaced:
        return Keep()
    if owners.solid:
        needless = [*owners.dangling, *owners.waiting]
        return RemoveReferences(needless) if needless else Keep()
    if owners.waiting and dependents:
        ring = any(dependent.foreground for dependent in dependents)
        return Deletion("Foreground", unblock=ring)
    if ORPHAN in finalizers:
        return Deletion("Orphan")
    if FOREGROUND in finalizers:
        return Deletion("Foreground")
    return Deletion("Background")


def blocking_dependents(graph: Graph, node: Node) -> list[Node]:
    """What a foreground deletion waits for."""
    return [dependent for dependent in graph.dependents(node.uid) if dependent.blocks(node.uid)]


def without_owners(document: Document, uids: set[str]) -> MutableDocument:
    """The merge patch that takes owner references from exactly this version of an object."""
    kept = [dict(reference) for reference in owner_references_of(document) if reference.get("uid") not in uids]
    return _patch(document, ownerReferences=kept)


def without_finalizer(document: Document, finalizer: str) -> MutableDocument:
    """The merge patch that takes a finalizer from exactly this version of an object."""
    return _patch(document, finalizers=[each for each in finalizers_of(document) if each != finalizer])


def without_blocking(document: Document) -> MutableDocument:
    """The merge patch after which an object keeps none of its owners from going."""
    references = [{**reference, "blockOwnerDeletion": False} for reference in owner_references_of(document)]
    return _patch(document, ownerReferences=references)


def _patch(document: Document, **metadata: object) -> MutableDocument:
    present = document["metadata"]
    return {"metadata": {"uid": present["uid"], "resourceVersion": present["resourceVersion"], **metadata}}

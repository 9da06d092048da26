"""Who owns whom: the graph of every object that can be deleted, kept from what watches show.

Pure data: no clock, no requests. A `Node` is an object that was seen; edges go from owners to dependents by uid, and
an edge may start at a uid that was never seen (its owner is older than the watch, in another version, or gone). Each
change to the graph answers with the uids that someone should look at because of it; looking twice does no harm,
and looking too seldom would leave garbage, so when in doubt the answer is longer.

Uids are never used twice, so one that was seen to go (`is_known_absent`) stays absent. The graph remembers the latest
such uids, and the owners that the server said it does not have, within a bound.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence

import attrs

from kube_core.api.types import ResourceType
from kube_core.meta.documents import (
    Document,
    Key,
    finalizers_of,
    is_deleting,
    key_of,
    owner_references_of,
    uid_of,
)

__all__ = ["FOREGROUND", "ORPHAN", "Graph", "Node", "Owner"]

#: The finalizers that stand for a propagation policy.
FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"

_REMEMBERED = 20_000


@attrs.frozen(slots=True)
class Owner:
    """An owner reference, as far as it matters here."""

    api_version: str
    kind: str
    name: str
    uid: str
    blocks_deletion: bool

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]


@attrs.frozen(slots=True)
class Node:
    """An object as it was last seen."""

    resource: ResourceType
    key: Key
    uid: str
    owners: tuple[Owner, ...]
    deleting: bool
    foreground: bool
    """It is being deleted, and waits for its dependents to go first."""
    orphaning: bool
    """It is being deleted, and its dependents are to be left behind."""

    def blocks(self, uid: str) -> bool:
        """Whether this object keeps its owner from going, when that waits for its dependents."""
        return any(owner.uid == uid and owner.blocks_deletion for owner in self.owners)


class Graph:
    """The nodes and their edges. One owner: the garbage collector."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        #: Objects without owners that nobody asked to delete, as most are: made into nodes when somebody looks.
        self._plain: dict[str, Document] = {}
        self._resources: dict[str, ResourceType] = {}
        self._dependents: dict[str, dict[str, None]] = {}
        self._absent: OrderedDict[object, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._nodes) + len(self._plain)

    def get(self, uid: str) -> Node | None:
        node = self._nodes.get(uid)
        if node is None and (document := self._plain.get(uid)) is not None:
            return _node(self._resources[uid], document)
        return node

    def dependents(self, uid: str) -> Sequence[Node]:
        """The objects that name this uid as an owner."""
        return [self._nodes[dependent] for dependent in self._dependents.get(uid, ())]

    def find_owner(self, node: Node, owner: Owner) -> Node | None:
        """The object that a reference means, where it was seen: uid, kind, name and namespace must all fit."""
        found = self.get(owner.uid)
        if found is None or found.key.name != owner.name:
            return None
        if found.resource.kind != owner.kind or found.resource.group != owner.group:
            return None
        if found.resource.namespaced and found.key.namespace != node.key.namespace:
            return None
        return found

    def is_known_absent(self, node: Node, owner: Owner) -> bool:
        """Whether it is certain that the object which a reference means does not exist."""
        return owner.uid in self._absent or (node.key.namespace, owner) in self._absent

    def note_absent(self, node: Node, owner: Owner) -> None:
        """The server says that there is no such owner for an object in that namespace."""
        self._remember((node.key.namespace, owner))

    def observe(self, resource: ResourceType, document: Document) -> Collection[str]:
        """An object is there, in this state. Returns the uids to look at."""
        # Every object of a cluster comes by here when it starts.
        metadata = document["metadata"]
        uid = metadata["uid"]
        if not (uid in self._nodes or metadata.get("ownerReferences") or "deletionTimestamp" in metadata):
            known = self._resources.setdefault(uid, resource)
            if known is resource or known.group_resource == resource.group_resource:
                self._plain[uid] = document
            return ()
        node = _node(resource, document)
        before = self.get(uid)
        if before == node:
            return ()
        if before is not None and before.resource.group_resource != resource.group_resource:
            return ()  # one object, served under two names: one of them is enough
        self._nodes[node.uid] = node
        self._drop_plain(uid)
        self._link(node, before)
        return self._concerned(node, before)

    def forget(self, uid: str) -> Collection[str]:
        """An object was deleted. Returns the uids to look at: its dependents, and owners that waited for it."""
        self._remember(uid)
        return self.lose(uid)

    def lose(self, uid: str) -> Collection[str]:
        """An object is no longer watched, and may be there or not. Returns what `forget` does."""
        if self._drop_plain(uid):
            return tuple(self._dependents.get(uid, ()))
        node = self._nodes.pop(uid, None)
        if node is None:
            return tuple(self._dependents.get(uid, ()))
        for owner in node.owners:
            self._unlink(owner.uid, uid)
        return (*self._dependents.get(uid, ()), *self._waiting_owners(node))

    def _drop_plain(self, uid: str) -> bool:
        self._resources.pop(uid, None)
        return self._plain.pop(uid, None) is not None

    def _link(self, node: Node, before: Node | None) -> None:
        owners = {owner.uid for owner in node.owners}
        for owner in before.owners if before is not None else ():
            if owner.uid not in owners:
                self._unlink(owner.uid, node.uid)
        for uid in owners:
            self._dependents.setdefault(uid, {})[node.uid] = None

    def _unlink(self, owner: str, dependent: str) -> None:
        dependents = self._dependents.get(owner)
        if dependents is not None:
            dependents.pop(dependent, None)
            if not dependents:
                del self._dependents[owner]

    def _concerned(self, node: Node, before: Node | None) -> Collection[str]:
        concerned: dict[str, None] = {}
        if node.owners and (before is None or before.owners != node.owners):
            concerned[node.uid] = None
        if node.foreground or node.orphaning:
            concerned[node.uid] = None
        if node.foreground and not (before is not None and before.foreground):
            concerned.update(self._dependents.get(node.uid, {}))
        # What this object stopped blocking may now go; what it began to block is looked at too, to no effect.
        if before is not None and before.owners != node.owners:
            concerned.update(dict.fromkeys(self._waiting_owners(before)))
        if node.deleting and not (before is not None and before.deleting):
            concerned.update(dict.fromkeys(self._waiting_owners(node)))
        return tuple(concerned)

    def _waiting_owners(self, node: Node) -> list[str]:
        found = (self._nodes.get(owner.uid) for owner in node.owners)
        return [owner.uid for owner in found if owner is not None and owner.foreground]

    def _remember(self, absent: object) -> None:
        self._absent[absent] = None
        self._absent.move_to_end(absent)
        if len(self._absent) > _REMEMBERED:
            self._absent.popitem(last=False)


def _node(resource: ResourceType, document: Document) -> Node:
    deleting = is_deleting(document)
    finalizers = finalizers_of(document) if deleting else ()
    return Node(
        resource=resource,
        key=key_of(document),
        uid=uid_of(document),
        owners=tuple(
            Owner(
                api_version=str(reference.get("apiVersion") or ""),
                kind=str(reference.get("kind") or ""),
                name=str(reference.get("name") or ""),
                uid=str(reference.get("uid") or ""),
                blocks_deletion=bool(reference.get("blockOwnerDeletion")),
            )
            for reference in owner_references_of(document)
        ),
        deleting=deleting,
        foreground=FOREGROUND in finalizers,
        orphaning=ORPHAN in finalizers,
    )

"""The garbage collector's graph and rules under any order of events: what is garbage goes, and nothing else does.

A small world of objects that own each other changes by commands; what the watches show of it comes later, in any
interleaving of the objects, and the collector looks at uids in any order. Its writes are as the controller's: by the
version that they were decided on, or refused.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kube_core.api.resources import CONFIG_MAPS
from kube_plugins.controllers.garbagecollector import plan as plans
from kube_plugins.controllers.garbagecollector.graph import FOREGROUND, ORPHAN, Graph, Node, Owner

POLICIES = {"Background": None, "Foreground": FOREGROUND, "Orphan": ORPHAN}


class World:
    """The server's objects, and a collector whose view of them is behind."""

    def __init__(self, seed: int) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self._chance = random.Random(seed)
        self._version = 0
        self._made = 0
        self._events: dict[str, deque[dict[str, Any] | None]] = {}
        self._seen: dict[str, dict[str, Any]] = {}
        self._queue: dict[str, None] = {}
        self._graph = Graph()

    # What people do.

    def create(self, owners: list[int], *, blocks: bool) -> None:
        self._made += 1
        metadata = {"name": f"o{self._made}", "uid": f"o{self._made}", "namespace": "web", "finalizers": []}
        self._store({"metadata": {**metadata, "ownerReferences": [self._reference(each, blocks) for each in owners]}})

    def adopt(self, dependent: int, owner: int, *, blocks: bool) -> None:
        found = self._pick(dependent)
        reference = self._reference(owner, blocks)
        if found is None or reference["uid"] in (found["metadata"]["uid"], *_owner_uids(found)):
            return
        self._store(_with(found, ownerReferences=[*found["metadata"]["ownerReferences"], reference]))

    def delete(self, which: int, policy: str) -> None:
        found = self._pick(which)
        if found is not None and "deletionTimestamp" not in found["metadata"]:
            self._delete(found, policy)

    # What the collector does, as its controller would.

    def deliver(self, which: int) -> None:
        """Show one event of one object."""
        if not self._events:
            return
        uid = sorted(self._events)[which % len(self._events)]
        document = self._events[uid].popleft()
        if not self._events[uid]:
            del self._events[uid]
        if document is None:
            self._seen.pop(uid, None)
            self._look_at(self._graph.forget(uid))
        else:
            self._seen[uid] = document
            self._look_at(self._graph.observe(CONFIG_MAPS, document))

    def work(self, which: int) -> None:
        """Look at one uid."""
        if not self._queue:
            return
        uid = list(self._queue)[which % len(self._queue)]
        del self._queue[uid]
        node, document = self._graph.get(uid), self._seen.get(uid)
        if node is None or document is None:
            return
        if node.orphaning:
            for dependent in self._graph.dependents(uid):
                seen = self._seen.get(dependent.uid)
                if seen is not None and not self._patch(seen, plans.without_owners(seen, {uid})):
                    self._queue[uid] = None
                    return
            self._patch_or_retry(document, plans.without_finalizer(document, ORPHAN))
        elif node.foreground:
            blocking = plans.blocking_dependents(self._graph, node)
            if not blocking:
                self._patch_or_retry(document, plans.without_finalizer(document, FOREGROUND))
            self._look_at([each.uid for each in blocking if not each.foreground])
        elif not node.deleting and node.owners:
            self._collect(node, document)

    def drain(self) -> None:
        """Until everything was shown and looked at."""
        for _ in range(5000):
            if not (self._events or self._queue):
                return
            number = self._chance.randrange(1000)
            if self._events and (not self._queue or self._chance.random() < 0.5):
                self.deliver(number)
            else:
                self.work(number)
        raise AssertionError(f"never at rest: {self._queue}")

    def graph_is_right(self) -> bool:
        """Whether the graph is the one that somebody would have who sees the world for the first time."""
        fresh = Graph()
        for document in self.objects.values():
            fresh.observe(CONFIG_MAPS, document)
        uids = {*self.objects, *(owner for each in self.objects.values() for owner in _owner_uids(each))}
        return all(
            self._graph.get(uid) == fresh.get(uid)
            and {each.uid for each in self._graph.dependents(uid)} == {each.uid for each in fresh.dependents(uid)}
            for uid in uids
        )

    def _collect(self, node: Node, document: dict[str, Any]) -> None:
        states = plans.OwnerStates()
        for owner in node.owners:
            self._list_for(states, node, owner).append(owner)
        finalizers = document["metadata"]["finalizers"]
        match plans.plan_for(node, states, self._graph.dependents(node.uid), finalizers):
            case plans.RemoveReferences(needless):
                patch = plans.without_owners(document, {owner.uid for owner in needless})
                self._patch_or_retry(document, patch)
            case plans.Deletion(propagation, unblock):
                if unblock:
                    if not self._patch_or_retry(document, plans.without_blocking(document)):
                        return
                    document = self.objects[node.uid]
                present = self.objects.get(node.uid)
                if present is None or present["metadata"]["resourceVersion"] != document["metadata"]["resourceVersion"]:
                    self._queue[node.uid] = None
                    return
                self._must_be_garbage(present)
                self._delete(present, propagation)

    def _list_for(self, states: plans.OwnerStates, node: Node, owner: Owner) -> list[Owner]:
        found = self._graph.find_owner(node, owner)
        if found is not None:
            return states.waiting if found.foreground else states.solid
        if self._graph.is_known_absent(node, owner):
            return states.dangling
        present = self.objects.get(owner.uid)
        if present is None:
            self._graph.note_absent(node, owner)
            return states.dangling
        return states.waiting if _is_foreground(present) else states.solid

    def _must_be_garbage(self, document: dict[str, Any]) -> None:
        alive = [uid for uid in _owner_uids(document) if uid in self.objects and not _is_foreground(self.objects[uid])]
        assert not alive, f"{document['metadata']['uid']} was collected, and {alive} own it"

    # The server.

    def _store(self, document: dict[str, Any]) -> None:
        self._version += 1
        stored = _with(document, resourceVersion=str(self._version))
        uid = stored["metadata"]["uid"]
        gone = "deletionTimestamp" in stored["metadata"] and not stored["metadata"]["finalizers"]
        if gone:
            self.objects.pop(uid, None)
        else:
            self.objects[uid] = stored
        self._events.setdefault(uid, deque()).append(None if gone else stored)

    def _delete(self, document: dict[str, Any], policy: str) -> None:
        finalizer = POLICIES[policy]
        finalizers = [*document["metadata"]["finalizers"], *([finalizer] if finalizer else [])]
        self._store(_with(document, deletionTimestamp="now", finalizers=finalizers))

    def _patch(self, seen: dict[str, Any], patch: Any) -> bool:
        """Whether the patch was not refused; one of an object that is gone is as good as done."""
        present = self.objects.get(seen["metadata"]["uid"])
        if present is None:
            return True
        if present["metadata"]["resourceVersion"] != patch["metadata"]["resourceVersion"]:
            return False
        self._store(_with(present, **patch["metadata"]))
        return True

    def _patch_or_retry(self, seen: dict[str, Any], patch: Any) -> bool:
        done = self._patch(seen, patch)
        if not done:
            self._queue[seen["metadata"]["uid"]] = None
        return done and seen["metadata"]["uid"] in self.objects

    def _look_at(self, uids: Any) -> None:
        self._queue.update(dict.fromkeys(uids))

    def _pick(self, which: int) -> dict[str, Any] | None:
        uids = sorted(self.objects)
        return self.objects[uids[which % len(uids)]] if uids else None

    def _reference(self, owner: int, blocks: bool) -> dict[str, Any]:
        """To an object that is there, or to one that never was."""
        found = self._pick(owner) if owner % 7 else None
        uid = found["metadata"]["uid"] if found is not None else f"never{owner}"
        kind = {"apiVersion": "v1", "kind": "ConfigMap"}
        return {**kind, "name": uid, "uid": uid, "blockOwnerDeletion": blocks}


def _with(document: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"metadata": {**document["metadata"], **metadata}}


def _owner_uids(document: dict[str, Any]) -> list[str]:
    return [each["uid"] for each in document["metadata"]["ownerReferences"]]


def _is_foreground(document: dict[str, Any]) -> bool:
    return "deletionTimestamp" in document["metadata"] and FOREGROUND in document["metadata"]["finalizers"]


_number = st.integers(0, 99)
_commands = st.one_of(
    st.tuples(st.just("create"), st.lists(_number, max_size=3, unique=True), st.booleans()),
    st.tuples(st.just("adopt"), _number, _number, st.booleans()),
    st.tuples(st.just("delete"), _number, st.sampled_from(sorted(POLICIES))),
    st.tuples(st.just("deliver"), _number),
    st.tuples(st.just("work"), _number),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_commands, max_size=60), st.integers(0, 2**16))
def test_under_any_order_of_events_garbage_goes_and_nothing_else(commands: list[Any], seed: int) -> None:
    world = World(seed)
    for name, *arguments in commands:
        if name in ("create", "adopt"):
            getattr(world, name)(*arguments[:-1], blocks=arguments[-1])
        else:
            getattr(world, name)(*arguments)
    world.drain()
    for document in world.objects.values():
        metadata = document["metadata"]
        assert "deletionTimestamp" not in metadata, f"{metadata['uid']} waits for ever"
        assert all(uid in world.objects for uid in _owner_uids(document)), f"{metadata['uid']} names what is gone"
    assert world.graph_is_right()

"""What is counted as the pods change is what looking at each of them would count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.objects import NOW, owned_by, pod, replica_set
from kube_core.api import resources
from kube_core.client.cache import Cache, Change
from kube_core.control.claims import claim
from kube_core.meta.documents import Document, Key, freeze
from kube_plugins.controllers.adoption import selects
from kube_plugins.controllers.replicaset.status import count, count_sorts
from kube_plugins.controllers.replicaset.tally import Tally, sorted_out

OWNERS = (replica_set("web"), replica_set("api"))

#: A pod's next state: whose it is (by number; None: nobody's), and what counts about it.
states = st.fixed_dictionaries(
    {
        "owner": st.sampled_from([0, 0, 1, None]),
        "labels": st.sampled_from([{"app": "web"}, {"app": "web", "more": "x"}, {"app": "other"}]),
        "phase": st.sampled_from(["Pending", "Running", "Running", "Succeeded", "Failed"]),
        "ready": st.booleans(),
        "deleting": st.booleans(),
    }
)
#: Of one of few names: what its pod becomes (None: it goes), and whether it is another pod than before.
steps = st.lists(st.tuples(st.integers(0, 4), st.one_of(st.none(), states), st.booleans()), max_size=40)


def made(name: str, uid: str, revision: int, state: Mapping[str, Any]) -> Document:
    facts = {field: value for field, value in state.items() if field != "owner"}
    document = pod(name, **facts)
    owner = OWNERS[state["owner"]] if state["owner"] is not None else None
    document["metadata"] |= {
        "uid": uid,
        "resourceVersion": str(revision),
        "ownerReferences": owned_by(owner) if owner is not None else [],
    }
    return freeze(document)  # type: ignore[no-any-return]


@settings(max_examples=150, deadline=None)
@given(steps=steps)
def test_the_tally_is_what_is_in_the_cache(steps: list[tuple[int, Mapping[str, Any] | None, bool]]) -> None:
    cache, tally = Cache(), Tally(resources.REPLICA_SETS)

    def tell(changes: Sequence[Change]) -> None:
        for change in changes:
            tally.observe(*change)

    for revision, (number, state, another) in enumerate(steps, 1):
        name = f"pod-{number}"
        key = Key("default", name)
        present = cache.get(key)
        if state is None:
            # The last state is often told with the end, and is another one than was seen.
            last = (
                made(name, present["metadata"]["uid"], revision, steps[0][1] or {}) if present and steps[0][1] else None
            )
            tell(tuple(cache.remove(key, last)))
        else:
            uid = f"{name}-{revision}" if another or present is None else present["metadata"]["uid"]
            tell(cache.put(made(name, uid, revision, state)))
        for owner in OWNERS:
            theirs = [each for each in cache.list() if owned_by(owner)[0] in each["metadata"]["ownerReferences"]]
            assert tally.of(owner) == sorted_out(theirs)
            matches = selects(owner)
            claims = claim(owner, theirs, matches)
            if all(matches(dict(sort.labels)) for sort in tally.of(owner)):
                assert count_sorts(owner, tally.of(owner)) == count(owner, claims.owned, NOW)
    tell(cache.replace(()))
    assert all(tally.of(owner) == {} for owner in OWNERS)


def test_pods_of_another_kinds_owner_do_not_count() -> None:
    tally, owner = Tally(resources.REPLICATION_CONTROLLERS), OWNERS[0]
    document = pod("p")
    document["metadata"]["ownerReferences"] = owned_by(owner)
    tally.observe(None, document)
    assert tally.of(owner) == {}

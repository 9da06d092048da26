"""An index of a cache is what its function says of the objects that are there, after any changes in any order."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from kube_core.client.cache import OWNER_INDEX, Cache
from kube_core.meta.documents import Document, Key, labels_of, owner_references_of

#: One of few names, and what becomes of it: the uids of its owners and a label, of this object or of another in its
#: place; or nothing.
steps = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.one_of(
            st.none(),
            st.tuples(st.lists(st.sampled_from("abc"), max_size=3), st.sampled_from(["x", "y", ""]), st.booleans()),
        ),
    ),
    max_size=30,
)


def by_label(document: Document) -> Sequence[str]:
    value = labels_of(document).get("tier")
    return (value,) if value else ()


@given(steps=steps)
def test_an_index_is_what_its_function_says(steps: list[tuple[int, tuple[list[str], str, bool] | None]]) -> None:
    cache = Cache()
    cache.add_index("tier", by_label)
    generations = [0, 0, 0, 0]
    for revision, (number, state) in enumerate(steps, 1):
        name = f"pod-{number}"
        if state is None:
            cache.remove(Key("default", name))
        else:
            owners, tier, another = state
            generations[number] += another
            cache.put(
                {
                    "metadata": {
                        "name": name,
                        "namespace": "default",
                        "uid": f"{name}-{generations[number]}",
                        "resourceVersion": str(revision),
                        "labels": {"tier": tier} if tier else {},
                        "ownerReferences": [{"uid": uid} for uid in owners],
                    }
                }
            )
        for uid in "abc":
            theirs = [each for each in cache.list() if any(owner["uid"] == uid for owner in owner_references_of(each))]
            assert _names(cache.by_index(OWNER_INDEX, uid)) == _names(theirs)
        for tier in ("x", "y"):
            assert _names(cache.by_index("tier", tier)) == _names(cache.list("default", {"tier": tier}))


def _names(documents: Sequence[Document]) -> list[tuple[str, str]]:
    return sorted((each["metadata"]["name"], each["metadata"]["resourceVersion"]) for each in documents)

"""Keys of objects: there and back, and in the order of lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core.meta.documents import Key
from kube_core.meta.gvk import GroupResource
from kube_core.storage import keys

WORDS = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,8}[a-z0-9])?", fullmatch=True)
RESOURCES = st.builds(GroupResource, st.just("") | WORDS.filter(lambda word: word != "core"), WORDS)
OBJECTS = st.builds(Key, st.just("") | WORDS, WORDS)


@given(RESOURCES, OBJECTS)
def test_a_key_names_its_object(resource: GroupResource, key: Key) -> None:
    assert keys.parse(keys.store_key(resource, key)) == (resource, key)


@given(RESOURCES, OBJECTS, OBJECTS)
def test_the_range_of_a_namespace_holds_its_objects_and_no_others(
    resource: GroupResource, one: Key, other: Key
) -> None:
    namespace = one.namespace or "n"
    found = keys.object_range(resource, namespace)
    assert keys.store_key(resource, Key(namespace, one.name)) in found
    assert (keys.store_key(resource, other) in found) == (other.namespace == namespace)


@given(RESOURCES, RESOURCES, OBJECTS)
def test_the_range_of_a_resource_holds_its_objects_and_no_others(
    one: GroupResource, other: GroupResource, key: Key
) -> None:
    assert keys.store_key(one, key) in keys.object_range(one)
    assert (keys.store_key(other, key) in keys.object_range(one)) == (one == other)


def test_the_core_group_has_a_name_in_the_store() -> None:
    assert keys.store_key(GroupResource("", "pods"), Key("a", "b")) == "/registry/core/pods/a/b"
    assert keys.store_key(GroupResource("", "nodes"), Key("", "b")) == "/registry/core/nodes/b"


@pytest.mark.parametrize("text", ["/elsewhere/core/pods/a/b", "/registry/core", "/registry/core/pods/a/b/c", ""])
def test_a_key_of_something_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not below|does not name"):
        keys.parse(text)

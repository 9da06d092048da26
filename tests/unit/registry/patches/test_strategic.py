"""Strategic merge patch: lists by merge key, and every directive."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core.api.schemas import Schema, builtin_documents
from kube_core.meta import status
from kube_core.meta.documents import Document, MutableDocument, freeze, thaw
from kube_core.registry import patches

TEXT = {"type": "string"}
ITEM: dict[str, Any] = {
    "type": "object",
    "properties": {"name": TEXT, "image": TEXT, "args": {"type": "array", "items": TEXT}},
}
ITEM["properties"]["env"] = {
    "type": "array",
    "items": {"type": "object", "properties": {"name": TEXT, "value": TEXT}},
    "x-kubernetes-patch-strategy": "merge",
    "x-kubernetes-patch-merge-key": "name",
}
MERGED: dict[str, Any] = {"type": "array", "x-kubernetes-patch-strategy": "merge"}
SCHEMA = Schema(
    {
        "type": "object",
        "properties": {
            "containers": MERGED | {"items": ITEM, "x-kubernetes-patch-merge-key": "name"},
            "volumes": MERGED
            | {
                "items": ITEM,
                "x-kubernetes-patch-merge-key": "name",
                "x-kubernetes-patch-strategy": "merge,retainKeys",
            },
            "finalizers": MERGED | {"items": TEXT},
            "plain": {"type": "array", "items": ITEM},
            "labels": {"type": "object", "additionalProperties": TEXT},
            "strategy": {"type": "object", "x-kubernetes-patch-strategy": "retainKeys"},
            "replaced": {"type": "object", "x-kubernetes-patch-strategy": "replace"},
        },
    }
)


def patched(document: Document, patch: dict[str, Any]) -> MutableDocument:
    return patches.apply_patch(patches.STRATEGIC, freeze(document), patch, SCHEMA)


def named(*names: str, **more: str) -> list[dict[str, str]]:
    return [{"name": name} | more for name in names]


@pytest.mark.parametrize(
    ("document", "patch", "expected"),
    [
        # merging
        (
            {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]},
            {"containers": [{"name": "b", "image": "2"}]},
            {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]},
        ),
        (
            {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "1"}]}]},
            {"containers": [{"name": "a", "env": [{"name": "X", "value": "2"}, {"name": "Z", "value": "3"}]}]},
            {
                "containers": [
                    {
                        "name": "a",
                        "env": [
                            {"name": "X", "value": "2"},
                            {"name": "Z", "value": "3"},
                            {"name": "Y", "value": "1"},
                        ],
                    }
                ]
            },
        ),
        ({"containers": named("a")}, {"containers": named("new")}, {"containers": named("new", "a")}),
        ({}, {"containers": named("a")}, {"containers": named("a")}),
        ({"finalizers": ["a", "b"]}, {"finalizers": ["c", "a"]}, {"finalizers": ["c", "a", "b"]}),
        ({"plain": named("a")}, {"plain": named("b")}, {"plain": named("b")}),
        ({"containers": [{"name": "a", "args": ["x"]}]}, {"containers": [{"name": "a", "args": ["y"]}]},
         {"containers": [{"name": "a", "args": ["y"]}]}),
        ({"labels": {"a": "1", "b": "1"}}, {"labels": {"a": None, "c": "1"}}, {"labels": {"b": "1", "c": "1"}}),
        ({"labels": {"a": "1"}}, {"labels": None, "missing": None}, {}),
        ({"replaced": {"a": 1}}, {"replaced": {"b": 1}}, {"replaced": {"b": 1}}),
        ({"labels": "scalar"}, {"labels": {"a": "1"}}, {"labels": {"a": "1"}}),
        # $patch
        ({"containers": named("a", "b")}, {"containers": [{"name": "b", "$patch": "delete"}]},
         {"containers": named("a")}),
        ({"containers": named("a", "b")}, {"containers": [{"$patch": "replace"}, {"name": "c"}]},
         {"containers": named("c")}),
        ({"labels": {"a": "1"}}, {"labels": {"$patch": "delete"}}, {"labels": {}}),
        ({"labels": {"a": "1"}}, {"labels": {"$patch": "replace", "b": "2"}}, {"labels": {"b": "2"}}),
        ({"labels": {"a": "1"}}, {"$patch": "replace", "kept": 1}, {"kept": 1}),
        ({}, {"labels": {"$patch": "delete"}}, {"labels": {}}),
        ({}, {"containers": [{"name": "x", "$patch": "delete"}, {"name": "y"}]}, {"containers": named("y")}),
        # $deleteFromPrimitiveList
        ({"finalizers": ["a", "b", "c"]}, {"$deleteFromPrimitiveList/finalizers": ["b", "x"]},
         {"finalizers": ["a", "c"]}),
        ({}, {"$deleteFromPrimitiveList/finalizers": ["b"]}, {}),
        # $setElementOrder
        ({"containers": named("a", "b", "c")}, {"$setElementOrder/containers": named("c", "b", "a")},
         {"containers": named("c", "b", "a")}),
        ({"containers": named("c", "b", "a")},
         {"$setElementOrder/containers": named("d", "a"), "containers": named("d")},
         {"containers": named("d", "c", "b", "a")}),
        ({"containers": named("d", "c", "b", "a")}, {"$setElementOrder/containers": named("b", "c")},
         {"containers": named("d", "b", "c", "a")}),
        ({"finalizers": ["a", "b"]}, {"$setElementOrder/finalizers": ["c", "b"], "finalizers": ["c"]},
         {"finalizers": ["c", "a", "b"]}),
        ({}, {"$setElementOrder/containers": named("a")}, {}),
        # $retainKeys
        ({"strategy": {"type": "RollingUpdate", "rollingUpdate": {}}},
         {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}, {"strategy": {"type": "Recreate"}}),
        ({"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1"}}]},
         {"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "x"}}]},
         {"volumes": [{"name": "v", "configMap": {"name": "x"}}]}),
    ],
)  # fmt: skip
def test_patch_merges(document: dict[str, Any], patch: dict[str, Any], expected: dict[str, Any]) -> None:
    assert patched(document, patch) == expected


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"containers": [{"image": "x"}]}, "map: map[image:x] does not contain declared merge key: name"),
        ({"containers": [{"name": "a", "$patch": "explode"}]},
         "unknown patch type: explode in map: map[$patch:explode name:a]"),
        ({"labels": {"$patch": "upend"}}, "unknown patch type: upend in map: map[$patch:upend]"),
        ({"strategy": {"$retainKeys": ["rollingUpdate"], "type": "x"}}, "invalid patch format of retainKeys"),
        ({"strategy": {"$retainKeys": "type"}}, "invalid patch format of retainKeys"),
        ({"$deleteFromPrimitiveList/finalizers": "x"}, "invalid patch format of primitive list"),
        ({"$setElementOrder/containers": "x"}, "invalid patch format of setElementOrder list"),
        ({"$setElementOrder/containers": named("b"), "containers": named("z")},
         "The order in patch list:\n[map[name:z]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n"),
        ({"$setElementOrder/containers": named("a", "b"), "containers": named("b", "a")},
         "The order in patch list:\n[map[name:b] map[name:a]]\n"
         " doesn't match $setElementOrder list:\n[map[name:a] map[name:b]]\n"),
    ],
)  # fmt: skip
def test_malformed_directive_is_a_bad_request(patch: dict[str, Any], message: str) -> None:
    with pytest.raises(status.BadRequest) as caught:
        patched({"finalizers": ["a"]}, patch)
    assert caught.value.message == message


NAMES = st.lists(st.sampled_from("abcdef"), unique=True)


@given(NAMES, NAMES)
def test_merging_lists_loses_nothing_and_keeps_the_patch_order(live: list[str], changes: list[str]) -> None:
    result = [
        item["name"] for item in patched({"containers": named(*live)}, {"containers": named(*changes)})["containers"]
    ]
    assert sorted(result) == sorted({*live, *changes})
    assert [name for name in result if name in changes] == changes
    assert [name for name in result if name not in changes] == [name for name in live if name not in changes]


@given(NAMES, NAMES)
def test_deleting_items_leaves_exactly_the_others(live: list[str], unwanted: list[str]) -> None:
    patch = {"containers": [{"name": name, "$patch": "delete"} for name in unwanted]}
    result = patched({"containers": named(*live)}, patch)
    assert result["containers"] == named(*(name for name in live if name not in unwanted))


@given(NAMES, NAMES)
def test_patching_twice_changes_nothing_more(live: list[str], changes: list[str]) -> None:
    patch = {"containers": named(*changes, image="2"), "finalizers": changes}
    once = patched({"containers": named(*live), "finalizers": live}, patch)
    assert patched(once, patch) == once


def _merging_lists() -> list[tuple[str, str, Schema]]:
    """Every list of objects in a built-in type that merges: its owner, its name, and the owner's schema."""
    return [
        (owner, name, schema)
        for owner, document in builtin_documents().items()
        for name in document.get("properties") or ()
        if (field := (schema := Schema(document, builtin_documents())).field(name)) is not None
        and "merge" in field.patch_strategies
        and field.patch_merge_key
    ]


def test_every_list_that_merges_does_so_by_its_key() -> None:
    found = _merging_lists()
    assert len(found) > 60
    for owner, name, schema in found:
        field = schema.field(name)
        assert field is not None
        key = field.patch_merge_key
        live = {name: [{key: "a", "one": 1}, {key: "b"}]}
        patch = {name: [{key: "c"}, {key: "a", "two": 2}, {key: "b", "$patch": "delete"}]}
        merged = {name: [{key: "c"}, {key: "a", "one": 1, "two": 2}]}
        assert patches.apply_patch(patches.STRATEGIC, live, patch, schema) == merged, owner


def test_a_new_item_whose_key_is_no_scalar_is_left_for_the_decoder_to_refuse() -> None:
    patch = {"containers": [{"name": {"a": None}}]}
    assert patched({"containers": named("a")}, patch)["containers"] == [*named("a"), {"name": {}}]


def test_what_the_patch_leaves_alone_of_a_frozen_document_is_shared() -> None:
    live = freeze({"labels": {"a": "b"}, "plain": [{"name": "c"}]})
    patched = patches.apply_patch(patches.STRATEGIC, live, {"labels": {"x": "y"}}, SCHEMA)
    assert patched == {"labels": {"a": "b", "x": "y"}, "plain": [{"name": "c"}]}
    assert patched["plain"] is live["plain"]
    mutable = thaw(live)
    assert patches.apply_patch(patches.STRATEGIC, mutable, {"labels": {}}, SCHEMA)["plain"] is not mutable["plain"]

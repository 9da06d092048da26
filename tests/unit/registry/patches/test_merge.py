"""JSON merge patch: the examples of RFC 7386 that apply to objects, and the round trip with `diff`."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core.meta import status
from kube_core.meta.documents import freeze
from kube_core.meta.json_faults import OBJECT
from kube_core.registry import patches
from kube_core.registry.patches import merge

SCALARS = st.booleans() | st.integers() | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)
DOCUMENTS = st.dictionaries(st.sampled_from("abcd"), VALUES)


@pytest.mark.parametrize(
    ("document", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({}, {"a": [{"b": None, "c": 1}]}, {"a": [{"c": 1}]}),
        ({"a": None}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    ],
)
def test_patch_merges(document: dict[str, Any], patch: dict[str, Any], expected: dict[str, Any]) -> None:
    assert patches.apply_patch(patches.MERGE, freeze(document), patch, None) == expected


@given(DOCUMENTS, DOCUMENTS)
def test_diff_applied_to_the_old_document_gives_the_new_one(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert merge.apply(old, merge.diff(old, new)) == new


@given(DOCUMENTS)
def test_diff_of_equal_documents_is_empty(document: dict[str, Any]) -> None:
    assert merge.diff(document, document) == {}


@given(DOCUMENTS, st.dictionaries(st.sampled_from("abcd"), VALUES | st.none()))
def test_patching_twice_changes_nothing_more(document: dict[str, Any], patch: dict[str, Any]) -> None:
    once = merge.apply(document, patch)
    assert merge.apply(once, patch) == once


def test_touched_objects_come_out_sorted_and_others_as_they_were() -> None:
    document = {"z": {"y": 1, "x": 2}, "m": {"q": 1, "p": 2}, "a": 1}
    result = patches.apply_patch(patches.MERGE, document, {"m": {"o": 3}}, None)
    assert list(result) == ["a", "m", "z"]
    assert list(result["m"]) == ["o", "p", "q"]
    assert list(result["z"]) == ["y", "x"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"null", "Invalid JSON Patch"),
        (b'["x"]', f"error decoding patch: json: cannot unmarshal array into Go value of type {OBJECT}"),
        (b'"text"', f"error decoding patch: json: cannot unmarshal string into Go value of type {OBJECT}"),
        (b'{"data":', "invalid JSON patch"),
        (b"", "invalid JSON patch"),
    ],
)
def test_body_that_is_no_object_is_a_bad_request(body: bytes, message: str) -> None:
    with pytest.raises(status.BadRequest) as caught:
        patches.parse_patch(patches.MERGE, body)
    assert caught.value.message == message


@pytest.mark.parametrize("patch_type", [patches.STRATEGIC, "application/json", ""])
def test_type_that_the_resource_does_not_take_is_unsupported(patch_type: str) -> None:
    with pytest.raises(status.UnsupportedMediaType) as caught:
        patches.apply_patch(patch_type, {}, {}, None)
    assert caught.value.message == "415: Unsupported Media Type"


def test_refusal_quotes_the_patched_object() -> None:
    error = patches.refuse(patches.MERGE, {"data": {"a": 3}}, {"data": {"a": 3}, "kind": "X"}, "no text")
    value = '"{\\"data\\":{\\"a\\":3},\\"kind\\":\\"X\\"}"'
    assert error.message == f' "" is invalid: patch: Invalid value: {value}: no text'
    assert error.causes[0] == {
        "reason": "FieldValueInvalid",
        "message": f"Invalid value: {value}: no text",
        "field": "patch",
    }


def test_refusal_of_a_strategic_patch_quotes_the_patch() -> None:
    patch = {"spec": {"replicaz": 3, "on": True, "list": ["a", None]}}
    error = patches.refuse(patches.STRATEGIC, patch, {}, "no")
    assert '"map[spec:map[list:[a <nil>] on:true replicaz:3]]": no' in error.message

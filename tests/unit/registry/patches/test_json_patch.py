"""JSON Patch: RFC 6902, and the leniencies that upstream's clients see."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core.meta import status
from kube_core.meta.documents import Document, MutableDocument, freeze, thaw
from kube_core.registry import patches

FRUIT: dict[str, Any] = {"kind": "ConfigMap", "data": {"apple": "red", "banana": "yellow"}, "list": [1, 2, 3]}


def patched(*operations: dict[str, Any], document: Document = FRUIT) -> MutableDocument:
    return patches.apply_patch(patches.JSON, freeze(thaw(document)), list(operations), None)


@pytest.mark.parametrize(
    ("operation", "place", "expected"),
    [
        ({"op": "add", "path": "/data/cherry", "value": "dark"}, "data", FRUIT["data"] | {"cherry": "dark"}),
        ({"op": "add", "path": "/list/1", "value": 9}, "list", [1, 9, 2, 3]),
        ({"op": "add", "path": "/list/-", "value": 9}, "list", [1, 2, 3, 9]),
        ({"op": "add", "path": "/list/3", "value": 9}, "list", [1, 2, 3, 9]),
        ({"op": "remove", "path": "/list/0"}, "list", [2, 3]),
        ({"op": "remove", "path": "/list/-1"}, "list", [1, 2]),
        ({"op": "replace", "path": "/list/1", "value": 9}, "list", [1, 9, 3]),
        ({"op": "move", "from": "/data/apple", "path": "/data/pear"}, "data", {"banana": "yellow", "pear": "red"}),
        ({"op": "copy", "from": "/list/0", "path": "/list/-"}, "list", [1, 2, 3, 1]),
        ({"op": "test", "path": "/data/apple", "value": "red"}, "data", FRUIT["data"]),
        ({"op": "test", "path": "/data/missing", "value": None}, "data", FRUIT["data"]),
        # What RFC 6902 would refuse, and upstream's library takes:
        ({"op": "replace", "path": "/data/pear", "value": "x"}, "data", FRUIT["data"] | {"pear": "x"}),
        ({"op": "copy", "from": "/data/pear", "path": "/data/x"}, "data", FRUIT["data"] | {"x": None}),
        ({"op": "add", "path": "/data/x"}, "data", FRUIT["data"] | {"x": None}),
        ({"op": "add", "path": "lost/data", "value": "x"}, "data", "x"),
    ],
)
def test_operation_changes_the_place_it_names(operation: dict[str, Any], place: str, expected: Any) -> None:
    assert patched(operation)[place] == expected


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/data/pear"},
        {"op": "remove", "path": "/list/3"},
        {"op": "add", "path": "/metadata/labels/a", "value": "x"},
        {"op": "add", "path": "/list/4", "value": 9},
        {"op": "add", "path": "/list/x", "value": 9},
        {"op": "add", "value": 9},
        {"op": "move", "from": "/data/pear", "path": "/data/x"},
        {"op": "test", "path": "/data/apple", "value": "green"},
        {"op": "test", "path": "/list/0", "value": True},
        {"op": "replace", "path": "", "value": "text"},
        {"op": "shuffle", "path": "/data"},
        {"path": "/data"},
    ],
)
def test_operation_that_does_not_apply_is_unprocessable(operation: dict[str, Any]) -> None:
    with pytest.raises(status.Invalid) as caught:
        patched(operation)
    assert caught.value.code == 422
    assert caught.value.message == "the server rejected our request due to an error in our request"
    assert caught.value.details == {}


def test_escapes_stand_for_slash_and_tilde() -> None:
    document = {"a": {"example.org/x": 1, "t~1": 2}}
    result = patched(
        {"op": "remove", "path": "/a/example.org~1x"},
        {"op": "replace", "path": "/a/t~01", "value": 3},
        document=document,
    )
    assert result == {"a": {"t~1": 3}}


def test_operations_see_the_results_of_earlier_ones_and_fail_together() -> None:
    result = patched({"op": "add", "path": "/new", "value": {}}, {"op": "add", "path": "/new/a", "value": 1})
    assert result["new"] == {"a": 1}
    with pytest.raises(status.Invalid):
        patched({"op": "remove", "path": "/list"}, {"op": "remove", "path": "/list"})


def test_whole_document_is_replaced_by_the_empty_path() -> None:
    assert patched({"op": "replace", "path": "", "value": {"a": 1}}) == {"a": 1}


def test_copied_values_are_not_shared() -> None:
    result = patched(
        {"op": "copy", "from": "/data", "path": "/copied"}, {"op": "add", "path": "/copied/pear", "value": "x"}
    )
    assert "pear" not in result["data"]


@pytest.mark.parametrize("body", [b"", b"[{", b'{"op": "add"}', b'["add"]', b"null"])
def test_body_that_is_no_patch_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(status.BadRequest):
        patches.parse_patch(patches.JSON, body)


def test_too_many_operations_are_too_large() -> None:
    body = b"[" + b",".join([b'{"op":"test","path":"/a"}'] * 10_001) + b"]"
    with pytest.raises(status.RequestEntityTooLarge, match="is 10000, got 10001"):
        patches.parse_patch(patches.JSON, body)


def test_copies_cannot_grow_without_end() -> None:
    grow = [{"op": "copy", "from": "/data", "path": "/data/again"}]
    document = {"data": {"x": "y" * 1000}}
    assert len(patched(*grow * 40, document=document)["data"]) == 2
    with pytest.raises(status.Invalid):
        patched(*grow * 120, document=document)


def test_strict_validation_names_unknown_members() -> None:
    patch = [{"op": "add", "path": "/a", "value": 1}, {"op": "remove", "path": "/a", "extra": 1}]
    assert patches.strict_errors(patches.JSON, patch) == ['json patch unknown field "[1].extra"']
    assert patches.strict_errors(patches.MERGE, {"extra": 1}) == []


@given(st.dictionaries(st.text(), st.integers() | st.text(), min_size=1), st.data())
def test_any_key_can_be_addressed(document: dict[str, int | str], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(document)))
    pointer = "/" + key.replace("~", "~0").replace("/", "~1")
    assert patched({"op": "remove", "path": pointer}, document=document) == {
        name: value for name, value in document.items() if name != key
    }

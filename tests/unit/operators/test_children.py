"""Children: how their configuration is completed, when they count as unchanged, and which are strays."""

from __future__ import annotations

from typing import Any

import pytest

from kube_core.api import core, meta
from kube_core.api.resources import CONFIG_MAPS, NAMESPACES
from kube_core.operators.children import applied_document, is_as_applied, stray

OWNER: dict[str, Any] = {
    "apiVersion": "example.dev/v1",
    "kind": "Site",
    "metadata": {"name": "a", "namespace": "sites", "uid": "u"},
}
REFERENCE = {
    "apiVersion": "example.dev/v1",
    "kind": "Site",
    "name": "a",
    "uid": "u",
    "controller": True,
    "blockOwnerDeletion": True,
}
ELSEWHERE = {**REFERENCE, "uid": "x"}


def test_a_child_gets_the_owners_name_and_namespace_and_a_reference_to_it() -> None:
    wanted = applied_document(core.ConfigMap(data={"a": "b"}), CONFIG_MAPS, OWNER, owned=True)
    assert wanted == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "sites", "ownerReferences": [REFERENCE]},
        "data": {"a": "b"},
    }


def test_what_only_the_server_says_is_left_out() -> None:
    read = {
        "metadata": {"name": "b", "uid": "x", "resourceVersion": "3", "managedFields": [{}], "generation": 1},
        "status": {},
    }
    wanted = applied_document(read, CONFIG_MAPS, OWNER, owned=False)
    assert wanted["metadata"] == {"name": "b", "namespace": "sites"}
    assert "status" not in wanted


@pytest.mark.parametrize(
    ("child", "resource"),
    [
        (core.ConfigMap(metadata=meta.ObjectMeta(namespace="elsewhere")), CONFIG_MAPS),
        (core.Namespace(), NAMESPACES),
    ],
)
def test_what_is_elsewhere_cannot_be_owned(child: object, resource: Any) -> None:
    with pytest.raises(ValueError, match="cannot be owned from namespace 'sites'"):
        applied_document(child, resource, OWNER, owned=True)
    assert "ownerReferences" not in applied_document(child, resource, OWNER, owned=False)["metadata"]


def answer(version: str = "1", *, status: Any = None, data: Any = None, **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"uid": "u", "resourceVersion": version, **metadata},
        "data": data or {"a": "b"},
        "status": status,
    }


@pytest.mark.parametrize(
    ("cached", "unchanged"),
    [
        (answer("1"), True),
        (answer("2", status={"ready": True}), True),
        (answer("2", generation=7, managedFields=[]), True),
        (answer("2", data={"a": "c"}), False),
        (answer("2", labels={"a": "b"}), False),
        (answer("2", deletionTimestamp="now"), False),
        (answer("2", uid="other"), False),
    ],
)
def test_unchanged_is_what_differs_in_status_and_bookkeeping_only(cached: dict[str, Any], unchanged: bool) -> None:
    assert is_as_applied(answer("1"), cached) is unchanged


@pytest.mark.parametrize(
    ("metadata", "is_stray"),
    [
        ({"ownerReferences": [REFERENCE], "managedFields": [{"manager": "me", "operation": "Apply"}]}, True),
        ({"ownerReferences": [REFERENCE], "managedFields": [{"manager": "me", "operation": "Update"}]}, False),
        ({"ownerReferences": [REFERENCE], "managedFields": [{"manager": "other", "operation": "Apply"}]}, False),
        ({"ownerReferences": [ELSEWHERE], "managedFields": [{"manager": "me", "operation": "Apply"}]}, False),
        ({"managedFields": [{"manager": "me", "operation": "Apply"}]}, False),
    ],
)  # fmt: skip
def test_a_stray_is_owned_and_was_applied_by_this_manager(metadata: dict[str, Any], is_stray: bool) -> None:
    assert stray({"metadata": metadata}, "u", "me") is is_stray

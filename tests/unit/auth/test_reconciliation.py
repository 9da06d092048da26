"""What is put back into default roles and bindings, and what is left."""

from __future__ import annotations

from typing import Any

import pytest

from kube_core.auth.reconciliation import is_bound_elsewhere, is_protected, reconciled

GROUP = "rbac.authorization.k8s.io"


def rule(verbs: str, resources: str, group: str = "") -> dict[str, Any]:
    return {"verbs": verbs.split(","), "apiGroups": [group], "resources": resources.split(",")}


def role(*rules: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "r", **metadata}, "rules": list(rules)}


def binding(*names: str, to: str = "r") -> dict[str, Any]:
    subjects = [{"kind": "User", "apiGroup": GROUP, "name": name} for name in names]
    return {
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": to},
        "subjects": subjects,
    }


def test_what_is_as_it_should_be_is_left() -> None:
    wanted = role(rule("get,list", "pods"))
    assert reconciled(role(rule("get,list", "pods")), wanted) is None
    assert reconciled(role(rule("list", "pods"), rule("get", "pods,nodes")), wanted) is None
    assert reconciled(binding("ann", "bob"), binding("bob")) is None


def test_a_role_gets_what_it_lacks_and_keeps_what_it_was_given() -> None:
    present = role(rule("get", "pods"), rule("delete", "nodes"), labels={"mine": "yes", "app": "other"})
    wanted = role(rule("get,list", "pods"), labels={"app": "default", "new": "x"}, annotations={"a": "b"})
    right = reconciled(present, wanted)
    assert right is not None
    assert right["rules"] == [*present["rules"], rule("list", "pods")]
    assert right["metadata"]["labels"] == {"mine": "yes", "app": "other", "new": "x"}
    assert right["metadata"]["annotations"] == {"a": "b"}


def test_a_role_that_is_joined_from_others_keeps_their_rules_and_gets_its_selectors() -> None:
    selector, own = {"matchLabels": {"x": "y"}}, {"matchLabels": {"mine": "yes"}}
    wanted = {**role(), "rules": None, "aggregationRule": {"clusterRoleSelectors": [selector]}}
    present = {**role(rule("get", "pods")), "aggregationRule": {"clusterRoleSelectors": [own]}}
    right = reconciled(present, wanted)
    assert right is not None
    assert right["aggregationRule"]["clusterRoleSelectors"] == [own, selector]
    assert right["rules"] == present["rules"]
    assert reconciled(right, wanted) is None


def test_a_role_that_is_not_to_be_joined_is_not() -> None:
    present = {**role(rule("get", "pods")), "aggregationRule": {"clusterRoleSelectors": []}}
    right = reconciled(present, role(rule("get", "pods")))
    assert right is not None
    assert "aggregationRule" not in right


def test_a_binding_gets_its_subjects_and_is_made_anew_for_another_role() -> None:
    right = reconciled(binding("ann"), binding("bob"))
    assert right is not None
    assert [each["name"] for each in right["subjects"]] == ["ann", "bob"]
    assert is_bound_elsewhere(binding("ann", to="other"), binding("ann"))
    assert not is_bound_elsewhere(binding("ann"), binding("bob"))


@pytest.mark.parametrize(("value", "protected"), [("false", True), ("true", False), ("", False)])
def test_the_annotation_protects_only_where_it_says_false(value: str, protected: bool) -> None:
    annotations = {"rbac.authorization.kubernetes.io/autoupdate": value} if value else None
    assert is_protected(role(annotations=annotations)) is protected

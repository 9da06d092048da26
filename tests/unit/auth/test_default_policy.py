"""The default roles and bindings, as the table spells them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kube_core.auth.default_policy import policy


def named(documents: Sequence[Any], name: str) -> Any:
    return next(each for each in documents if each["metadata"]["name"] == name)


def test_a_rule_has_verbs_groups_resources_and_names() -> None:
    role = named(policy().roles, "extension-apiserver-authentication-reader")
    assert role["metadata"]["namespace"] == "kube-system"
    assert role["rules"] == [
        {
            "verbs": ["get", "list", "watch"],
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": ["extension-apiserver-authentication"],
        }
    ]


def test_a_rule_of_two_parts_is_of_paths() -> None:
    rules = named(policy().cluster_roles, "cluster-admin")["rules"]
    assert rules == [
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
        {"verbs": ["*"], "nonResourceURLs": ["*"]},
    ]


def test_a_long_rule_goes_on_in_the_next_line() -> None:
    edit = named(policy().cluster_roles, "system:aggregate-to-edit")["rules"]
    assert any("replicationcontrollers/scale" in rule["resources"] and "pods" not in rule["resources"] for rule in edit)
    assert all(" " not in resource for rule in edit for resource in rule["resources"])


def test_aggregated_roles_select_their_parts() -> None:
    roles = policy().cluster_roles
    for name in ("admin", "edit", "view"):
        (selector,) = named(roles, name)["aggregationRule"]["clusterRoleSelectors"]
        parts = [
            role["metadata"]["name"]
            for role in roles
            if selector["matchLabels"].items() <= role["metadata"]["labels"].items()
        ]
        assert f"system:aggregate-to-{name}" in parts


def test_every_binding_refers_to_a_role_that_is_there() -> None:
    default = policy()
    cluster_roles = {role["metadata"]["name"] for role in default.cluster_roles}
    roles = {(role["metadata"]["namespace"], role["metadata"]["name"]) for role in default.roles}
    assert {binding["roleRef"]["name"] for binding in default.cluster_bindings} <= cluster_roles
    assert {(each["metadata"]["namespace"], each["roleRef"]["name"]) for each in default.bindings} <= roles


def test_controllers_are_bound_to_the_role_of_their_name() -> None:
    binding = named(policy().cluster_bindings, "system:controller:job-controller")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "job-controller", "namespace": "kube-system"}]

"""What single rules allow, and what one set of rules lacks of another."""

from __future__ import annotations

from typing import Any

import pytest

from kube_core.abc.transport import User
from kube_core.auth.attributes import AccessAttributes
from kube_core.auth.rbac import GROUP, Rbac, allows, missing
from kube_core.bus.changes import Stored, encode
from kube_core.meta.documents import Key
from kube_core.meta.gvk import GroupResource
from kube_core.storage.cache import ResourceCache

ANN = User("ann", ("system:authenticated",))


def rule(verbs: str, groups: str, resources: str, *names: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "verbs": verbs.split(","),
        "apiGroups": groups.split(","),
        "resources": resources.split(","),
    }
    return found | ({"resourceNames": list(names)} if names else {})


def asks(verb: str, resource: str, subresource: str = "", *, group: str = "", name: str = "") -> AccessAttributes:
    return AccessAttributes(ANN, verb, group, "v1", resource, subresource, "shop", name)


@pytest.mark.parametrize(
    ("allowed", "asked"),
    [
        (rule("get,list", "", "pods"), asks("list", "pods")),
        (rule("*", "*", "*"), asks("delete", "nodes", "status", group="x")),
        (rule("get", "", "pods/log"), asks("get", "pods", "log")),
        (rule("update", "apps", "*/scale"), asks("update", "deployments", "scale", group="apps")),
        (rule("get", "", "pods", "web"), asks("get", "pods", name="web")),
    ],
)
def test_a_rule_allows_what_it_names(allowed: dict[str, Any], asked: AccessAttributes) -> None:
    assert allows(allowed, asked)


@pytest.mark.parametrize(
    ("allowed", "asked"),
    [
        (rule("get", "", "pods"), asks("list", "pods")),
        (rule("get", "apps", "pods"), asks("get", "pods")),
        (rule("get", "", "pods"), asks("get", "pods", "log")),
        (rule("get", "", "pods/log"), asks("get", "pods")),
        (rule("list", "", "pods", "web"), asks("list", "pods")),
        ({"verbs": ["*"], "nonResourceURLs": ["*"]}, asks("get", "pods")),
        (rule("*", "*", "*"), AccessAttributes(ANN, "get", path="/metrics")),
    ],
)
def test_a_rule_allows_nothing_else(allowed: dict[str, Any], asked: AccessAttributes) -> None:
    assert not allows(allowed, asked)


def test_a_star_ends_a_path() -> None:
    paths = {"verbs": ["get"], "nonResourceURLs": ["/metrics", "/debug/*"]}
    assert allows(paths, AccessAttributes(ANN, "get", path="/metrics"))
    assert allows(paths, AccessAttributes(ANN, "get", path="/debug/pprof"))
    assert not allows(paths, AccessAttributes(ANN, "get", path="/metrics/slis"))


def test_several_rules_cover_one_together() -> None:
    held = [rule("get", "", "pods"), rule("list", "", "pods,services"), rule("get", "", "services")]
    assert missing(held, [rule("get,list", "", "pods,services")]) == []


_HELD_AND_WANTED = [rule("get", "", "pods")], [rule("get,delete", "", "pods,secrets")]


def test_what_lacks_is_told_by_resource_with_its_verbs() -> None:
    lacking = {rule["resources"][0]: rule["verbs"] for rule in missing(*_HELD_AND_WANTED)}
    assert lacking == {"pods": ["delete"], "secrets": ["get", "delete"]}


def test_some_names_do_not_cover_all() -> None:
    held = [rule("get", "", "secrets", "one")]
    assert missing(held, [rule("get", "", "secrets", "one")]) == []
    assert missing(held, [rule("get", "", "secrets")]) != []
    assert missing(held, [rule("get", "", "secrets", "one", "two")]) == [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["two"]}
    ]


class Held:
    """Roles and bindings that a test changes."""

    def __init__(self) -> None:
        plurals = ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
        self.caches = {plural: ResourceCache(GroupResource(GROUP, plural), 0) for plural in plurals}
        self.rbac = Rbac(*self.caches.values())
        self.revision = 0

    def put(self, plural: str, name: str, namespace: str = "", **fields: Any) -> None:
        self.revision += 1
        key = Key(namespace, name)
        metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
        kind = "RoleBinding" if "bindings" in plural else "Role"
        data = encode({"kind": kind, "apiVersion": f"{GROUP}/v1", "metadata": metadata, **fields})
        self.caches[plural].apply(key, self.revision, Stored(key, self.revision, data))

    def bind(self, name: str, role: str) -> None:
        subjects = [{"kind": "User", "name": "ann"}]
        self.put("rolebindings", name, "shop", roleRef={"kind": "Role", "name": role}, subjects=subjects)


def test_a_change_of_role_or_binding_counts_at_once() -> None:
    held = Held()
    question = asks("get", "pods", name="web")
    assert not held.rbac.decide(question).allowed
    held.bind("ann", "reader")
    assert not held.rbac.decide(question).allowed
    held.put("roles", "reader", "shop", rules=[rule("get", "", "pods")])
    assert held.rbac.decide(question).allowed
    held.put("roles", "reader", "shop", rules=[rule("list", "", "pods")])
    assert not held.rbac.decide(question).allowed


def test_what_was_remembered_of_one_name_does_not_count_for_another() -> None:
    held = Held()
    held.bind("ann", "reader")
    held.put("roles", "reader", "shop", rules=[rule("get", "", "pods", "web")])
    answers = [held.rbac.decide(asks("get", "pods", name=name)).allowed for name in ("web", "db", "web", "")]
    assert answers == [True, False, True, False]


def test_until_they_are_stored_the_default_roles_are_asked_for_by_themselves() -> None:
    default = Rbac.by_default()
    scheduler = User("system:kube-scheduler", ("system:authenticated",))
    assert default.decide(AccessAttributes(scheduler, "create", "", "v1", "pods", "binding", "shop", "web")).allowed
    assert not default.decide(AccessAttributes(scheduler, "delete", "", "v1", "nodes", "", "", "n")).allowed

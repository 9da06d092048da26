"""Whom a request is taken for, and what its sender must be allowed for that."""

from __future__ import annotations

import pytest

from kube_core.abc.transport import User
from kube_core.auth.attributes import AccessAttributes
from kube_core.auth.impersonation import impersonated, is_asked_for
from kube_core.meta.status import BadRequest, Forbidden

pytestmark = pytest.mark.anyio

BOSS = User("boss", ("system:authenticated",))
KUBELET_POD = User(
    "system:serviceaccount:kube-system:agent",
    ("system:authenticated",),
    extra={"authentication.kubernetes.io/node-name": ["n1"]},
)


async def act_as(**headers: str) -> tuple[User, list[AccessAttributes]]:
    asked: list[AccessAttributes] = []

    async def require(attributes: AccessAttributes) -> None:
        asked.append(attributes)

    async def nothing(_: AccessAttributes) -> bool:
        return False

    names = {name.replace("_", "-"): value for name, value in headers.items()}
    found = await impersonated(AccessAttributes(BOSS, "list", resource="pods"), names, nothing, require)
    assert found.constraint == ""
    return found.user, asked


async def constrained(user: User, *allowed: str, verb: str = "list", **headers: str) -> tuple[User, str]:
    """`allowed`: verbs on resources, as `verb resource/name`. Raises Forbidden where they are not enough."""

    async def may(asked: AccessAttributes) -> bool:
        name = f"/{asked.name}" if asked.name else ""
        return f"{asked.verb} {asked.group}:{asked.resource}{name}" in allowed

    async def refuse(asked: AccessAttributes) -> None:
        raise Forbidden(asked.resource, details={})

    names = {name.replace("_", "-"): value for name, value in headers.items()}
    found = await impersonated(AccessAttributes(user, verb, resource="pods"), names, may, refuse)
    return found.user, found.constraint


def test_without_headers_one_is_oneself() -> None:
    assert not is_asked_for({"accept": "application/json"})
    assert is_asked_for({"accept": "application/json", "impersonate-group": "x"})


async def test_user_groups_uid_and_extra_are_taken_and_each_is_asked_for() -> None:
    user, asked = await act_as(
        impersonate_user="ann",
        impersonate_group="crew\nops,night",
        impersonate_uid="u-1",
        **{"impersonate_extra_example.org%2ffloor": "three"},
    )
    assert user == User("ann", ("crew", "ops,night", "system:authenticated"), "u-1", {"example.org/floor": ["three"]})
    assert [(each.resource, each.subresource, each.name) for each in asked] == [
        ("users", "", "ann"),
        ("groups", "", "crew"),
        ("groups", "", "ops,night"),
        ("uids", "", "u-1"),
        ("userextras", "example.org/floor", "three"),
    ]
    assert {each.verb for each in asked} == {"impersonate"}


async def test_a_service_account_gets_its_groups() -> None:
    user, (asked,) = await act_as(impersonate_user="system:serviceaccount:shop:robot")
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated")
    assert (asked.resource, asked.namespace, asked.name) == ("serviceaccounts", "shop", "robot")


async def test_the_anonymous_user_is_not_authenticated() -> None:
    user, _ = await act_as(impersonate_user="system:anonymous")
    assert user.groups == ("system:unauthenticated",)


async def test_groups_without_a_user_are_refused() -> None:
    with pytest.raises(BadRequest, match="impersonate-group without impersonating a user"):
        await act_as(impersonate_group="system:masters")


async def test_what_is_not_allowed_is_not_done() -> None:
    with pytest.raises(Forbidden, match="users"):
        await constrained(BOSS, impersonate_user="ann")


AUTH = "authentication.k8s.io"


async def test_constrained_one_needs_the_identity_and_what_is_done_in_its_name() -> None:
    who, what = f"impersonate:user-info {AUTH}:users/ann", "impersonate-on:user-info:list :pods"
    user, constraint = await constrained(BOSS, who, what, impersonate_user="ann")
    assert (user.name, user.groups, constraint) == ("ann", ("system:authenticated",), "impersonate:user-info")
    for half in ((who,), (what,)):
        with pytest.raises(Forbidden):
            await constrained(BOSS, *half, impersonate_user="ann")
    with pytest.raises(Forbidden):
        await constrained(BOSS, who, what, verb="delete", impersonate_user="ann")
    with pytest.raises(Forbidden):
        await constrained(BOSS, who, what, impersonate_user="ann", impersonate_group="crew")
    group = f"impersonate:user-info {AUTH}:groups/crew"
    user, _ = await constrained(BOSS, who, what, group, impersonate_user="ann", impersonate_group="crew")
    assert user.groups == ("crew", "system:authenticated")


async def test_constrained_to_service_accounts() -> None:
    allowed = f"impersonate:serviceaccount {AUTH}:serviceaccounts/robot", "impersonate-on:serviceaccount:list :pods"
    user, constraint = await constrained(BOSS, *allowed, impersonate_user="system:serviceaccount:shop:robot")
    assert constraint == "impersonate:serviceaccount"
    assert user.groups[:2] == ("system:serviceaccounts", "system:serviceaccounts:shop")
    with pytest.raises(Forbidden):
        await constrained(BOSS, *allowed, impersonate_user="robot")


async def test_a_pod_may_be_constrained_to_the_node_that_it_runs_on() -> None:
    allowed = f"impersonate:associated-node {AUTH}:nodes/*", "impersonate-on:associated-node:list :pods"
    user, constraint = await constrained(KUBELET_POD, *allowed, impersonate_user="system:node:n1")
    assert (constraint, user.groups) == ("impersonate:associated-node", ("system:nodes", "system:authenticated"))
    with pytest.raises(Forbidden):
        await constrained(KUBELET_POD, *allowed, impersonate_user="system:node:n2")
    with pytest.raises(Forbidden):
        await constrained(BOSS, *allowed, impersonate_user="system:node:n1")

"""Whom a request is taken for, and what its sender must be allowed for that."""

from __future__ import annotations

import pytest

from kube_core.abc.transport import User
from kube_core.auth.impersonation import impersonated
from kube_core.auth.rbac import AccessAttributes
from kube_core.meta.status import BadRequest, Forbidden

BOSS = User("boss", ("system:authenticated",))


def act_as(**headers: str) -> tuple[User, list[AccessAttributes]]:
    asked: list[AccessAttributes] = []
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return impersonated(BOSS, names, asked.append), asked


def test_without_headers_one_is_oneself() -> None:
    assert act_as(accept="application/json") == (BOSS, [])


def test_user_groups_uid_and_extra_are_taken_and_each_is_asked_for() -> None:
    user, asked = act_as(
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


def test_a_service_account_gets_its_groups() -> None:
    user, (asked,) = act_as(impersonate_user="system:serviceaccount:shop:robot")
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated")
    assert (asked.resource, asked.namespace, asked.name) == ("serviceaccounts", "shop", "robot")


def test_the_anonymous_user_is_not_authenticated() -> None:
    assert act_as(impersonate_user="system:anonymous")[0].groups == ("system:unauthenticated",)


def test_groups_without_a_user_are_refused() -> None:
    with pytest.raises(BadRequest, match="impersonate-group without impersonating a user"):
        act_as(impersonate_group="system:masters")


def test_what_is_not_allowed_is_not_done() -> None:
    def refuse(asked: AccessAttributes) -> None:
        raise Forbidden(asked.resource, details={})

    with pytest.raises(Forbidden, match="users"):
        impersonated(BOSS, {"impersonate-user": "ann"}, refuse)

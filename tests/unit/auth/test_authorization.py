"""May they, before and beside what roles say."""

from __future__ import annotations

from typing import Any

import pytest

from kube_core.abc.transport import User
from kube_core.auth.authorization import AccessAttributes, Authorizer, denial

KNOWN, UNKNOWN = "system:authenticated", "system:unauthenticated"
ALICE = User("alice", (KNOWN,))
NOBODY = User("system:anonymous", (UNKNOWN,))


class NoRoles:
    """Roles that allow nothing."""

    def authorize(self, attributes: AccessAttributes) -> str | None:
        return None


def allowed(user: User, verb: str, what: str, *, ready: bool = False) -> bool:
    roles: Any = NoRoles()
    authorizer = Authorizer(roles)
    authorizer.rules_ready = ready
    if what.startswith("/"):
        attributes = AccessAttributes(user, verb, path=what)
    else:
        attributes = AccessAttributes(user, verb, version="v1", resource=what)
    return authorizer.authorize(attributes) is not None


@pytest.mark.parametrize(
    "user",
    [
        User("admin", ("system:masters",)),
        User("system:kube-scheduler", (KNOWN,)),
        User("system:apiserver"),
        User("system:serviceaccount:kube-system:anything", (KNOWN,)),
        User("system:node:n", ("system:nodes",)),
    ],
)
def test_the_cluster_itself_may_do_everything(user: User) -> None:
    assert allowed(user, "delete", "nodes", ready=True)
    assert allowed(user, "post", "/anything", ready=True)


@pytest.mark.parametrize(
    "user",
    [
        ALICE,
        NOBODY,
        User("system:node:n", (KNOWN,)),
        User("kube-scheduler"),
        User("system:serviceaccount:default:kube-system", (KNOWN,)),
        User("x", ("masters",)),
    ],
)
def test_nobody_else_may_anything_that_no_role_says(user: User) -> None:
    assert not allowed(user, "get", "pods")
    assert not allowed(user, "get", "/metrics")
    assert not allowed(user, "get", "/version", ready=True)


@pytest.mark.parametrize(
    ("user", "verb", "what", "wanted"),
    [
        (NOBODY, "get", "/livez", True),
        (NOBODY, "get", "/version", True),
        (NOBODY, "post", "/version", False),
        (NOBODY, "get", "/apis", False),
        (NOBODY, "create", "selfsubjectaccessreviews", False),
        (ALICE, "get", "/apis", True),
        (ALICE, "get", "/apis/apps/v1", True),
        (ALICE, "get", "/openapi/v3", True),
        (ALICE, "get", "/apisx", False),
        (ALICE, "head", "/livez", True),
        (ALICE, "create", "selfsubjectaccessreviews", True),
        (ALICE, "list", "selfsubjectaccessreviews", False),
    ],
)
def test_until_the_default_roles_are_there_what_they_give_to_all_holds(
    user: User, verb: str, what: str, wanted: bool
) -> None:
    assert allowed(user, verb, what) == wanted


def test_a_denial_is_said_in_upstreams_words() -> None:
    assert denial(AccessAttributes(ALICE, "get", "apps", "v1", "deployments", "scale", "a", "d")) == (
        'User "alice" cannot get resource "deployments/scale" in API group "apps" in the namespace "a"'
    )
    assert denial(AccessAttributes(ALICE, "get", path="/x")) == 'User "alice" cannot get path "/x"'

"""May they: who is almighty, which authorizers are asked, and what holds while a server starts."""

from __future__ import annotations

import pytest

from kube_core.abc.transport import User
from kube_core.auth.attributes import AccessAttributes, AccessAuthorizer, Decision, Verdict
from kube_core.auth.authorization import AlwaysAllow, AlwaysDeny, Authorizer, denial
from kube_core.auth.rbac import GROUP, Rbac
from kube_core.meta.gvk import GroupResource
from kube_core.storage.cache import ResourceCache

pytestmark = pytest.mark.anyio

KNOWN, UNKNOWN = "system:authenticated", "system:unauthenticated"
ALICE = User("alice", (KNOWN,))
NOBODY = User("system:anonymous", (UNKNOWN,))


def no_roles() -> Rbac:
    plurals = ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
    return Rbac(*(ResourceCache(GroupResource(GROUP, plural), 0) for plural in plurals))


class Says(AccessAuthorizer):
    """Always says the same, and counts how often it was asked."""

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        self.asked = 0

    async def authorize(self, attributes: AccessAttributes) -> Decision:
        self.asked += 1
        return self.decision


def attributes(user: User, verb: str, what: str) -> AccessAttributes:
    if what.startswith("/"):
        return AccessAttributes(user, verb, path=what)
    return AccessAttributes(user, verb, version="v1", resource=what)


async def allowed(user: User, verb: str, what: str, *, ready: bool = False) -> bool:
    authorizer = Authorizer(no_roles())
    authorizer.rules_ready = ready
    return (await authorizer.authorize(attributes(user, verb, what))).allowed


async def test_the_almighty_group_may_do_everything() -> None:
    admin = User("admin", ("system:masters",))
    assert await allowed(admin, "delete", "nodes", ready=True)
    assert await allowed(admin, "post", "/anything", ready=True)


@pytest.mark.parametrize(
    "user",
    [
        ALICE,
        NOBODY,
        User("system:kube-scheduler", (KNOWN,)),
        User("system:apiserver"),
        User("system:serviceaccount:kube-system:anything", (KNOWN,)),
        User("system:node:n", ("system:nodes", KNOWN)),
        User("x", ("masters",)),
    ],
)
async def test_nobody_may_anything_that_no_role_says_for_being_called_something(user: User) -> None:
    assert not await allowed(user, "get", "pods", ready=True)
    assert not await allowed(user, "get", "/metrics", ready=True)
    assert not await allowed(user, "get", "/version", ready=True)


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
        (ALICE, "get", "/livez", True),
        (ALICE, "get", "pods", False),
        (User("system:kube-controller-manager", (KNOWN,)), "list", "pods", True),
        (User("system:kube-controller-manager", (KNOWN,)), "delete", "pods", False),
    ],
)
async def test_until_the_default_roles_are_there_the_default_policy_holds(
    user: User, verb: str, what: str, wanted: bool
) -> None:
    assert await allowed(user, verb, what) == wanted


async def test_the_first_that_decides_is_the_last_that_is_asked() -> None:
    undecided = Says(Decision(Verdict.NO_OPINION, "not mine"))
    no, yes = Says(Decision(Verdict.DENY, "never")), Says(Decision(Verdict.ALLOW, "sure"))
    question = attributes(ALICE, "get", "pods")
    assert (await Authorizer(no_roles(), [undecided, yes, no]).authorize(question)).reason == "sure"
    refused = await Authorizer(no_roles(), [undecided, no, yes]).authorize(question)
    assert (refused.allowed, refused.verdict, refused.reason) == (False, Verdict.DENY, "never")
    assert (undecided.asked, no.asked, yes.asked) == (2, 1, 1)
    assert (await Authorizer(no_roles(), [undecided]).authorize(question)).reason == "not mine"


async def test_always_allow_and_always_deny_do_what_they_say() -> None:
    question = attributes(NOBODY, "delete", "nodes")
    assert (await Authorizer(no_roles(), [AlwaysAllow()]).authorize(question)).allowed
    refused = await Authorizer(no_roles(), [AlwaysDeny()]).authorize(question)
    assert (refused.allowed, refused.reason) == (False, "Everything is forbidden.")


def test_a_denial_is_said_in_upstreams_words() -> None:
    assert denial(AccessAttributes(ALICE, "get", "apps", "v1", "deployments", "scale", "a", "d")) == (
        'User "alice" cannot get resource "deployments/scale" in API group "apps" in the namespace "a"'
    )
    assert denial(AccessAttributes(ALICE, "get", path="/x")) == 'User "alice" cannot get path "/x"'

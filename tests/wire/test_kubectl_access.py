"""kubectl against a cluster: who one is, what one may do, and acting as somebody else."""

from __future__ import annotations

import pytest

from fakes.kubectl import Kubectl


@pytest.fixture
def robot(kubectl: Kubectl) -> str:
    """A service account that may read config maps in the test's namespace: its user name."""
    kubectl("create", "serviceaccount", "robot")
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=configmaps")
    kubectl("create", "rolebinding", "robot", "--role=reader", f"--serviceaccount={kubectl.namespace}:robot")
    return f"system:serviceaccount:{kubectl.namespace}:robot"


def test_whoami_names_the_administrator_and_its_credential(kubectl: Kubectl) -> None:
    said = kubectl("auth", "whoami")
    assert "kubernetes-admin" in said
    assert "[system:masters system:authenticated]" in said
    assert "X509SHA256=" in said


def test_whoami_as_somebody_else(kubectl: Kubectl) -> None:
    said = kubectl("auth", "whoami", "-o", "yaml", "--as=ann", "--as-group=crew", "--as-uid=u7")
    assert "username: ann" in said
    assert "- crew" in said
    assert "uid: u7" in said


def test_can_i_answers_for_oneself_and_for_others(kubectl: Kubectl, robot: str) -> None:
    assert kubectl("auth", "can-i", "delete", "nodes") == "yes\n"
    assert kubectl("auth", "can-i", "list", "configmaps", "--as", robot) == "yes\n"
    refused = kubectl.run("auth", "can-i", "delete", "configmaps", "--as", robot)
    assert (refused.code, refused.stdout) == (1, "no\n")
    assert kubectl.run("auth", "can-i", "list", "configmaps", "-n", "default", "--as", robot).stdout == "no\n"
    assert kubectl("auth", "can-i", "get", "/healthz", "--as", robot) == "yes\n"


def test_can_i_list_shows_the_rules_that_there_are(kubectl: Kubectl, robot: str) -> None:
    lines = kubectl("auth", "can-i", "--list", "--as", robot).splitlines()
    rules = {" ".join(line.split()) for line in lines}
    assert "configmaps [] [] [get list]" in rules
    assert "selfsubjectreviews.authentication.k8s.io [] [] [create]" in rules
    assert "[/openapi/*] [] [get]" in rules


def test_what_one_may_not_is_refused_in_upstreams_words(kubectl: Kubectl, robot: str) -> None:
    refused = kubectl.run("get", "secrets", "--as", robot)
    assert refused.stderr == (
        f'Error from server (Forbidden): secrets is forbidden: User "{robot}" cannot list resource "secrets" in API '
        f'group "" in the namespace "{kubectl.namespace}"\n'
    )


def test_nobody_gives_more_than_they_have(kubectl: Kubectl, robot: str) -> None:
    kubectl("create", "rolebinding", "binder", "--clusterrole=admin", f"--serviceaccount={kubectl.namespace}:robot")
    command = ("create", "role", "more", "--verb=impersonate", "--resource=users", "--as", robot)
    assert "attempting to grant RBAC permissions not currently held" in kubectl.run(*command).stderr


def test_controllers_and_the_scheduler_have_upstreams_roles_and_no_more(kubectl: Kubectl) -> None:
    accounts = {
        "system:serviceaccount:kube-system:daemon-set-controller": ("create", "pods", "delete", "nodes"),
        "system:serviceaccount:kube-system:deployment-controller": ("create", "replicasets", "create", "pods"),
        "system:kube-scheduler": ("delete", "pods", "create", "pods"),
        "system:kube-controller-manager": ("list", "secrets", "delete", "pods"),
    }
    for user, (verb, may, other_verb, may_not) in accounts.items():
        assert kubectl("auth", "can-i", verb, may, "--as", user) == "yes\n", user
        assert kubectl.run("auth", "can-i", other_verb, may_not, "--as", user).stdout.strip() == "no", user

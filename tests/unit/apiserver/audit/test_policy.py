"""Which rule of a policy counts for a request."""

from __future__ import annotations

from pathlib import Path

import pytest

from kube_core.abc.transport import User
from kube_core.api.config_files import ConfigFileError
from kube_core.apiserver.audit.policy import Policy, read_policy
from kube_core.auth.attributes import AccessAttributes

ANN = User("ann", ("crew", "system:authenticated"))


def policy(path: Path, rules: str, more: str = "") -> Policy:
    file = path / "policy.yaml"
    file.write_text(f"kind: Policy\napiVersion: audit.k8s.io/v1\n{more}rules:\n{rules}")
    return read_policy(file)


def asks(verb: str, what: str, *, namespace: str = "shop", name: str = "", group: str = "") -> AccessAttributes:
    if what.startswith("/"):
        return AccessAttributes(ANN, verb, path=what)
    plural, _, subresource = what.partition("/")
    return AccessAttributes(ANN, verb, group, "v1", plural, subresource, namespace, name)


@pytest.mark.parametrize(
    ("rule", "asked", "matches"),
    [
        ("{level: Metadata}", asks("get", "pods"), True),
        ("{level: Metadata}", asks("get", "/metrics"), True),
        ("{level: Metadata, users: [ann]}", asks("get", "pods"), True),
        ("{level: Metadata, users: [bob]}", asks("get", "pods"), False),
        ("{level: Metadata, userGroups: [crew]}", asks("get", "pods"), True),
        ("{level: Metadata, userGroups: [ops]}", asks("get", "pods"), False),
        ("{level: Metadata, verbs: [get]}", asks("list", "pods"), False),
        ("{level: Metadata, namespaces: [shop]}", asks("get", "pods"), True),
        ('{level: Metadata, namespaces: [""]}', asks("get", "nodes", namespace=""), True),
        ("{level: Metadata, namespaces: [other]}", asks("get", "pods"), False),
        ("{level: Metadata, namespaces: [shop]}", asks("get", "/metrics"), False),
        ('{level: Metadata, resources: [{group: ""}]}', asks("get", "pods/log"), True),
        ("{level: Metadata, resources: [{group: apps}]}", asks("get", "pods"), False),
        ('{level: Metadata, resources: [{group: "", resources: [pods]}]}', asks("get", "pods"), True),
        ('{level: Metadata, resources: [{group: "", resources: [pods]}]}', asks("get", "pods/log"), False),
        ('{level: Metadata, resources: [{group: "", resources: [pods/log]}]}', asks("get", "pods/log"), True),
        ('{level: Metadata, resources: [{group: "", resources: ["pods/*"]}]}', asks("get", "pods/log"), True),
        ('{level: Metadata, resources: [{group: "", resources: ["*/log"]}]}', asks("get", "pods/log"), True),
        ('{level: Metadata, resources: [{group: "", resources: ["*"]}]}', asks("get", "pods/log"), True),
        (
            '{level: Metadata, resources: [{group: "", resources: [pods], resourceNames: [web]}]}',
            asks("get", "pods", name="db"),
            False,
        ),
        ('{level: Metadata, nonResourceURLs: ["/healthz*"]}', asks("get", "/healthz/ping"), True),
        ('{level: Metadata, nonResourceURLs: ["/healthz*"]}', asks("get", "/metrics"), False),
        ('{level: Metadata, nonResourceURLs: ["*"]}', asks("get", "pods"), False),
    ],
)
def test_a_rule_matches_what_it_says(tmp_path: Path, rule: str, asked: AccessAttributes, matches: bool) -> None:
    wanted = "Metadata" if matches else "None"
    assert policy(tmp_path, f"- {rule}\n").verdict(asked).level == wanted


def test_the_first_rule_that_matches_counts_and_stages_add_up(tmp_path: Path) -> None:
    rules = (
        "- {level: None, verbs: [watch]}\n- {level: Request, omitStages: [ResponseStarted], omitManagedFields: false}\n"
    )
    found = policy(tmp_path, rules, "omitStages: [RequestReceived]\nomitManagedFields: true\n")
    assert found.verdict(asks("watch", "pods")).level == "None"
    verdict = found.verdict(asks("get", "pods"))
    assert (verdict.level, verdict.omit_managed_fields) == ("Request", False)
    assert verdict.omitted_stages == {"RequestReceived", "ResponseStarted"}


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ("- {level: Everything}", r'rules\[0\]\.level: "Everything" is not supported; one of None, Metadata'),
        ("- {}", r"rules\[0\]\.level: required"),
        ("- {level: None, verb: [get]}", r"rules\[0\]\.verb: unknown field"),
        ("- {level: None, omitStages: [Never]}", r"rules\[0\]\.omitStages\[0\]: \"Never\" is not supported"),
        ('- {level: None, namespaces: [a], nonResourceURLs: ["/x"]}', "cannot apply to both"),
        ('- {level: None, nonResourceURLs: ["/x*/y"]}', r"nonResourceURLs\[0\]"),
        ("- {level: None, resources: [{group: apps/v1}]}", r"resources\[0\]\.group"),
        ("- {level: None, resources: [{resourceNames: [x]}]}", "requires at least one resource"),
    ],
)
def test_a_policy_that_is_wrong_is_told_with_its_field(tmp_path: Path, rules: str, wanted: str) -> None:
    with pytest.raises(ConfigFileError, match=wanted):
        policy(tmp_path, rules + "\n")

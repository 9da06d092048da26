"""The Pod Security Standards: what each level forbids, and how it is told."""

from __future__ import annotations

from typing import Any

import pytest

from kube_plugins.admission.pod_security.checks import violations
from kube_plugins.admission.pod_security.policy import Policy, label_errors, policy_of

GOOD_CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
GOOD_POD = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def spec(container: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {"containers": [{"name": "main", "securityContext": container or {}}], **fields}


def found(level: str, pod: dict[str, Any]) -> list[str]:
    return [str(each) for each in violations(level, pod, {})]


def test_privileged_forbids_nothing() -> None:
    assert found("privileged", spec({"privileged": True}, hostNetwork=True)) == []


def test_baseline_lets_an_ordinary_pod_be() -> None:
    assert found("baseline", spec()) == []


@pytest.mark.parametrize(
    ("pod", "told"),
    [
        (spec(hostNetwork=True, hostPID=True), "host namespaces (hostNetwork=true, hostPID=true)"),
        (spec({"privileged": True}), 'privileged (container "main" must not set securityContext.privileged=true)'),
        (spec(volumes=[{"name": "v", "hostPath": {"path": "/"}}]), 'hostPath volumes (volume "v")'),
        (
            spec({"capabilities": {"add": ["SYS_ADMIN", "CHOWN"]}}),
            'non-default capabilities (container "main" must not include "SYS_ADMIN" in '
            "securityContext.capabilities.add)",
        ),
        (spec(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}), "forbidden sysctls"),
        (
            {"containers": [{"name": "a", "ports": [{"containerPort": 1, "hostPort": 80}]}]},
            'hostPort (container "a" uses hostPort 80)',
        ),
    ],
)
def test_baseline_forbids_what_reaches_the_host(pod: dict[str, Any], told: str) -> None:
    (only,) = found("baseline", pod)
    assert only.startswith(told)


def test_restricted_tells_all_that_lacks() -> None:
    assert found("restricted", spec()) == [
        'allowPrivilegeEscalation != false (container "main" must set securityContext.allowPrivilegeEscalation=false)',
        'unrestricted capabilities (container "main" must set securityContext.capabilities.drop=["ALL"])',
        'runAsNonRoot != true (pod or container "main" must set securityContext.runAsNonRoot=true)',
        'seccompProfile (pod or container "main" must set securityContext.seccompProfile.type to "RuntimeDefault" or '
        '"Localhost")',
    ]


def test_restricted_lets_a_careful_pod_be() -> None:
    assert found("restricted", spec(GOOD_CONTAINER, securityContext=GOOD_POD)) == []


def test_restricted_names_volumes_by_their_types() -> None:
    volumes = [{"name": "a", "nfs": {}}, {"name": "b", "iscsi": {}}, {"name": "c", "emptyDir": {}}]
    assert found("restricted", spec(GOOD_CONTAINER, securityContext=GOOD_POD, volumes=volumes)) == [
        'restricted volume types (volumes "a", "b" use restricted volume types "iscsi", "nfs")'
    ]


def test_labels_that_cannot_be_are_told_and_count_as_the_strictest() -> None:
    labels = {"pod-security.kubernetes.io/enforce": "strict", "pod-security.kubernetes.io/warn-version": "v2"}
    assert [error.field for error in label_errors(labels)] == [
        "metadata.labels[pod-security.kubernetes.io/enforce]",
        "metadata.labels[pod-security.kubernetes.io/warn-version]",
    ]
    assert policy_of(labels, "enforce") == Policy("restricted")
    assert policy_of({}, "enforce") == Policy("privileged")

"""What a container may do and how much it may take: security contexts, and limits in the terms of cgroups."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.pods import pod
from kube_core.abc.runtime import Resources
from kube_core.abc.security import SeccompProfile, SecurityContext
from kube_core.node.environment import ConfigurationError
from kube_core.node.pods.limits import cgroup_parent, container_resources, pod_resources
from kube_core.node.pods.security import container_security, sandbox_security

GIB = 1024**3


def security(of_pod: dict[str, Any], own: dict[str, Any], **more: Any) -> SecurityContext:
    container = {"name": "c", "image": "x", "securityContext": own}
    return container_security(pod("p", container, securityContext=of_pod), container, **more)


@pytest.mark.parametrize(
    ("of_pod", "own", "expected"),
    [
        ({}, {}, SecurityContext()),
        ({"runAsUser": 1, "runAsGroup": 2}, {"runAsUser": 3}, SecurityContext(user=3, group=2)),
        (
            {"fsGroup": 5, "supplementalGroups": [6, 7], "supplementalGroupsPolicy": "Strict"},
            {},
            SecurityContext(supplemental_groups=(5, 6, 7), supplemental_groups_policy="Strict"),
        ),
        ({}, {"privileged": True}, SecurityContext(privileged=True)),
        ({}, {"readOnlyRootFilesystem": True}, SecurityContext(read_only_root=True)),
        ({}, {"allowPrivilegeEscalation": False}, SecurityContext(no_new_privileges=True)),
        ({}, {"allowPrivilegeEscalation": True}, SecurityContext()),
        (
            {},
            {"capabilities": {"add": ["NET_ADMIN", "CAP_SYS_TIME"], "drop": ["ALL"]}},
            SecurityContext(add_capabilities=("NET_ADMIN", "SYS_TIME"), drop_capabilities=("ALL",)),
        ),
        ({}, {"procMount": "Unmasked"}, SecurityContext(proc_mount="Unmasked")),
        (
            {"seccompProfile": {"type": "RuntimeDefault"}},
            {},
            SecurityContext(seccomp=SeccompProfile("RuntimeDefault")),
        ),
        (
            {"seccompProfile": {"type": "RuntimeDefault"}},
            {"seccompProfile": {"type": "Localhost", "localhostProfile": "a/b.json"}},
            SecurityContext(seccomp=SeccompProfile("Localhost", "/profiles/a/b.json")),
        ),
        (
            {"appArmorProfile": {"type": "RuntimeDefault"}},
            {"appArmorProfile": {"type": "Localhost", "localhostProfile": "mine"}},
            SecurityContext(apparmor="mine"),
        ),
        ({"appArmorProfile": {"type": "Unconfined"}}, {}, SecurityContext(apparmor="unconfined")),
    ],
)
def test_a_containers_context_stands_before_its_pods(
    of_pod: dict[str, Any], own: dict[str, Any], expected: SecurityContext
) -> None:
    assert security(of_pod, own, seccomp_root="/profiles") == expected


@pytest.mark.parametrize(
    ("of_pod", "image_user", "problem"),
    [
        ({"runAsNonRoot": True, "runAsUser": 0}, "5", "container's runAsUser breaks non-root policy"),
        ({"runAsNonRoot": True}, "0", "container has runAsNonRoot and image will run as root"),
        ({"runAsNonRoot": True}, "", "container has runAsNonRoot and image will run as root"),
        ({"runAsNonRoot": True}, "www:www", r"image has non-numeric user \(www\), cannot verify user is non-root"),
    ],
)
def test_a_container_that_must_not_be_root_is_not(of_pod: dict[str, Any], image_user: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem + r".* \(pod: \"p_default\(uid-p\)\", container: c\)"):
        security(of_pod, {}, image_user=image_user)


@pytest.mark.parametrize("image_user", ["1000", "1000:0", None])
def test_a_container_that_must_not_be_root_runs_as_another_user(image_user: str | None) -> None:
    assert security({"runAsNonRoot": True}, {}, image_user=image_user).user is None
    assert security({"runAsNonRoot": True, "runAsUser": 7}, {}, image_user="0").user == 7


def test_a_local_profile_needs_a_name() -> None:
    with pytest.raises(ConfigurationError, match="localhostProfile must be set"):
        security({"seccompProfile": {"type": "Localhost"}}, {})


def test_a_sandbox_is_privileged_where_one_of_its_containers_is() -> None:
    privileged = {"name": "b", "image": "x", "securityContext": {"privileged": True}}
    document = pod("p", {"name": "a", "image": "x"}, privileged, securityContext={"runAsUser": 9, "fsGroup": 3})
    assert sandbox_security(document) == SecurityContext(
        user=9, supplemental_groups=(3,), privileged=True, seccomp=SeccompProfile("RuntimeDefault")
    )


def container(name: str = "c", requests: Any = None, limits: Any = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "x", "resources": {"requests": requests or {}, "limits": limits or {}}, **more}


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        (container(), Resources(cpu_shares=2, oom_score_adj=1000)),
        (
            container(requests={"cpu": "500m", "memory": "1Gi"}),
            Resources(cpu_shares=512, oom_score_adj=875),
        ),
        (
            container(requests={"cpu": "250m"}, limits={"cpu": "1", "memory": "64Mi"}),
            Resources(cpu_shares=256, cpu_quota=100_000, memory_bytes=64 * 1024**2, oom_score_adj=999),
        ),
        (container(limits={"cpu": "1m"}), Resources(cpu_shares=2, cpu_quota=1_000, oom_score_adj=999)),
        (
            container(requests={"cpu": "2", "memory": "8Gi"}, limits={"hugepages-2Mi": "4Mi"}),
            Resources(cpu_shares=2048, oom_score_adj=3, hugepages={"2Mi": 4 * 1024**2}),
        ),
    ],
)
def test_a_containers_limits(each: dict[str, Any], expected: Resources) -> None:
    assert container_resources(pod("p", each), each, memory_capacity=8 * GIB) == expected


def test_a_container_without_a_limit_has_its_pods() -> None:
    each = container(requests={"cpu": "100m"})
    document = pod("p", each, resources={"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1"}})
    made = container_resources(document, each, memory_capacity=8 * GIB)
    assert (made.cpu_quota, made.memory_bytes, made.cpu_shares) == (200_000, GIB, 102)


@pytest.mark.parametrize(
    ("of_class", "priority", "score"),
    [("Guaranteed", 0, -997), ("BestEffort", 0, 1000), ("Burstable", 2_000_000_000, -997), ("Burstable", 0, 750)],
)
def test_how_soon_the_kernel_ends_a_container_is_by_the_pods_class(of_class: str, priority: int, score: int) -> None:
    each = container(requests={"memory": "2Gi"})
    document = pod("p", each, priority=priority) | {"status": {"qosClass": of_class}}
    assert container_resources(document, each, memory_capacity=8 * GIB).oom_score_adj == score


def test_a_sidecar_lives_at_least_as_long_as_the_apps() -> None:
    side = container("side", requests={"memory": "1Gi"}, restartPolicy="Always")
    document = pod("p", container("a", requests={"memory": "4Gi"}), container("b", requests={"memory": "2Gi"}))
    document["spec"]["initContainers"] = [side]
    assert container_resources(document, side, memory_capacity=8 * GIB).oom_score_adj == 750


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (pod("p"), Resources(cpu_shares=2)),
        (
            pod("p", container("a", limits={"cpu": "1", "memory": "1Gi"}, requests={"cpu": "1"}), container("b")),
            Resources(cpu_shares=1024),
        ),
        (
            pod("p", container("a", limits={"cpu": "1", "memory": "1Gi"}, requests={"cpu": "1"}),
                overhead={"cpu": "500m", "memory": "1Mi"}),
            Resources(cpu_shares=1536, cpu_quota=150_000, memory_bytes=GIB + 1024**2),
        ),
        (
            pod("p", container("a"), resources={"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "1Gi"}}),
            Resources(cpu_shares=1024, cpu_quota=200_000, memory_bytes=GIB),
        ),
    ],
)  # fmt: skip
def test_a_pods_limits_as_a_whole(document: dict[str, Any], expected: Resources) -> None:
    assert pod_resources(document) == expected


@pytest.mark.parametrize(
    ("of_class", "parent"),
    [
        ("Guaranteed", "/kubepods/poduid-p"),
        ("Burstable", "/kubepods/burstable/poduid-p"),
        ("BestEffort", "/kubepods/besteffort/poduid-p"),
    ],
)
def test_a_pods_cgroup_is_by_its_class(of_class: str, parent: str) -> None:
    assert cgroup_parent(pod("p") | {"status": {"qosClass": of_class}}) == parent

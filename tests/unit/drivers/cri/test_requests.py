"""Our configurations in CRI's fields."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

pytest.importorskip("google.protobuf")

from kube_core.abc.runtime import ContainerConfig, Device, DnsConfig, Mount, PortMapping, Resources, SandboxConfig
from kube_core.abc.security import HIDDEN_PATHS, IdMapping, SeccompProfile, SecurityContext
from kube_drivers.runtime.cri.messages import message
from kube_drivers.runtime.cri.requests import RECORD, container_fields, sandbox_fields
from kube_drivers.runtime.cri.statuses import container_status, sandbox_status

SANDBOX = SandboxConfig("default", "web", "uid-1", labels={"app": "web"}, annotations={"note": "x"})


def told(config: ContainerConfig, sandbox: SandboxConfig = SANDBOX) -> Any:
    """As the endpoint reads it."""
    return message("ContainerConfig")(**container_fields(config, sandbox, owner="me", attempt=3))


def told_of_pod(config: SandboxConfig) -> Any:
    return message("PodSandboxConfig")(**sandbox_fields(config, owner="me", attempt=2))


def test_a_sandbox_has_a_kubelets_labels_beside_its_pods() -> None:
    labels = dict(told_of_pod(SANDBOX).labels)
    assert (
        labels.items()
        >= {
            "app": "web",
            "io.kubernetes.pod.name": "web",
            "io.kubernetes.pod.namespace": "default",
            "io.kubernetes.pod.uid": "uid-1",
        }.items()
    )


def test_a_sandbox_is_read_back_as_it_was() -> None:
    config = SandboxConfig(
        "default", "web", "uid-1", attempt=1, labels={"app": "web"}, annotations={"note": "x"},
        dns=DnsConfig(("192.0.2.53",)), ports=(PortMapping(80, 8080),), user_namespace=IdMapping(65536),
        cgroup_parent="/kubepods/poduid-1", resources=Resources(memory_bytes=1 << 20), sysctls={"kernel.x": "1"},
    )  # fmt: skip
    made = told_of_pod(config)
    status = message("PodSandboxStatus")(
        id="s", metadata=made.metadata, labels=made.labels, annotations=made.annotations, created_at=2 * 10**9
    )
    found = sandbox_status(status)
    assert (found.config, found.ready, found.created_at) == (config, True, 2.0)


def test_a_container_is_read_back_without_its_environment() -> None:
    config = ContainerConfig(
        "c", "busybox:1", attempt=2, command=("a",), env={"SECRET": "x"}, mounts=(Mount("v", "/v", "/host/v"),),
        annotations={"ours": "1"}, resources=Resources(cpu_shares=512), tty=True,
    )  # fmt: skip
    made = told(config)
    assert "SECRET" not in made.annotations[RECORD]
    status = message("ContainerStatus")(
        id="c", state=2, exit_code=3, labels=made.labels, annotations=made.annotations, image_ref="r", finished_at=10**9
    )
    found = container_status(status, "s", None)
    record = orjson.loads(made.annotations[RECORD])
    assert (found.config.attempt, found.config.mounts, found.config.tty) == (2, config.mounts, True)
    assert (found.config.annotations, found.config.env, "env" in record) == ({"ours": "1"}, {}, False)
    assert (found.pod_uid, found.state, found.exit_code, found.reason) == ("uid-1", "exited", 3, "Error")


def test_namespaces_are_those_of_the_pod_or_of_the_host() -> None:
    modes = told(ContainerConfig("c", "i")).linux.security_context.namespace_options
    assert (modes.network, modes.pid, modes.ipc) == (0, 1, 0)
    host = SandboxConfig("d", "n", "u", host_network=True, host_pid=True, host_ipc=True)
    modes = told(ContainerConfig("c", "i"), host).linux.security_context.namespace_options
    assert (modes.network, modes.pid, modes.ipc) == (2, 2, 2)
    modes = told(ContainerConfig("c", "i", target_id="other")).linux.security_context.namespace_options
    assert (modes.pid, modes.target_id) == (3, "other")


def test_a_pods_own_users_are_those_of_its_mounts_too() -> None:
    sandbox = SandboxConfig("d", "n", "u", user_namespace=IdMapping(131072, 65536))
    made = told(ContainerConfig("c", "i", mounts=(Mount("v", "/v", "/h"),)), sandbox)
    users = made.linux.security_context.namespace_options.userns_options
    assert [(each.host_id, each.container_id, each.length) for each in users.uids] == [(131072, 0, 65536)]
    assert made.mounts[0].uidMappings == made.mounts[0].gidMappings == users.gids


def test_security_is_told_in_full() -> None:
    security = SecurityContext(
        user=0, group=5, supplemental_groups=(7,), supplemental_groups_policy="Strict", read_only_root=True,
        add_capabilities=("NET_ADMIN",), drop_capabilities=("ALL",), no_new_privileges=True,
        seccomp=SeccompProfile("Localhost", "/p.json"), apparmor="mine",
    )  # fmt: skip
    made = told(ContainerConfig("c", "i", security=security)).linux.security_context
    assert made.HasField("run_as_user")
    assert (made.run_as_user.value, made.run_as_group.value, list(made.supplemental_groups)) == (0, 5, [7])
    assert (made.readonly_rootfs, made.no_new_privs, made.supplemental_groups_policy) == (True, True, 1)
    assert (made.capabilities.add_capabilities, made.capabilities.drop_capabilities) == (["NET_ADMIN"], ["ALL"])
    assert (made.seccomp.profile_type, made.seccomp.localhost_ref) == (2, "/p.json")
    assert (made.apparmor.profile_type, made.apparmor.localhost_ref) == (2, "mine")
    assert made.masked_paths == list(HIDDEN_PATHS)


@pytest.mark.parametrize("security", [SecurityContext(proc_mount="Unmasked"), SecurityContext(privileged=True)])
def test_who_may_see_everything_has_nothing_masked(security: SecurityContext) -> None:
    made = told(ContainerConfig("c", "i", security=security)).linux.security_context
    assert not made.masked_paths
    assert not made.readonly_paths


def test_mounts_devices_signals_and_limits() -> None:
    made = told(
        ContainerConfig(
            "c", "i", stop_signal="SIGUSR1", devices=(Device("/dev/sdb", "/dev/xvda", "rw"),),
            mounts=(
                Mount("a", "/a", "/h/a", read_only=True, propagation="Bidirectional", recursive_read_only=True),
                Mount("b", "/b", "", image="data:1", image_path="sub"),
            ),
            resources=Resources(cpu_shares=2, memory_bytes=9, hugepages={"2Mi": 4}, oom_score_adj=-5),
        )
    )  # fmt: skip
    first, second = made.mounts
    assert (first.readonly, first.propagation, first.recursive_read_only) == (True, 2, True)
    assert (second.image.image, second.image_sub_path, second.readonly) == ("data:1", "sub", True)
    assert (made.devices[0].container_path, made.devices[0].permissions) == ("/dev/xvda", "rw")
    assert made.stop_signal == made.DESCRIPTOR.fields_by_name["stop_signal"].enum_type.values_by_name[
        "SIGNAL_SIGUSR1"
    ].number  # fmt: skip
    limits = made.linux.resources
    assert (limits.cpu_shares, limits.memory_limit_in_bytes, limits.oom_score_adj) == (2, 9, -5)
    assert [(each.page_size, each.limit) for each in limits.hugepage_limits] == [("2MB", 4)]

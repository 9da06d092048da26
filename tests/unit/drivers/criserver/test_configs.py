"""CRI's configurations in the words of the runtime's contract, and back."""

from __future__ import annotations

from typing import Any

import pytest

from kube_core.abc.runtime import (
    ContainerConfig,
    ContainerStatus,
    ContainerUser,
    Device,
    DnsConfig,
    ImageStatus,
    Mount,
    PortMapping,
    Resources,
    SandboxConfig,
    SandboxStatus,
)
from kube_core.abc.security import IdMapping, SeccompProfile, SecurityContext

pytest.importorskip("google.protobuf")

from kube_drivers.runtime.cri.messages import message
from kube_drivers.runtime.criserver import statuses
from kube_drivers.runtime.criserver.container_configs import container_config
from kube_drivers.runtime.criserver.interfaces import parse_counters
from kube_drivers.runtime.criserver.refusals import Refusal
from kube_drivers.runtime.criserver.resources import resources_of, said, together
from kube_drivers.runtime.criserver.sandbox_configs import ADDRESS_NOTE, sandbox_config
from kube_drivers.runtime.criserver.signals import signal_name, signal_value

SHARING = SandboxConfig("default", "web", "u", shared_processes=True)
METADATA = {"name": "web", "namespace": "default", "uid": "u", "attempt": 2}


def sandbox(**fields: Any) -> SandboxConfig:
    return sandbox_config(message("PodSandboxConfig")(metadata=METADATA, **fields), "", "key")


def namespaces(**options: Any) -> dict[str, Any]:
    return {"security_context": {"namespace_options": options}}


def container(pod: SandboxConfig = SHARING, **fields: Any) -> ContainerConfig:
    given = {"metadata": {"name": "main"}, "image": {"image": "busybox"}, **fields}
    return container_config(message("ContainerConfig")(**given), pod)


def secured(pod: SandboxConfig = SHARING, **context: Any) -> SecurityContext:
    return container(pod, linux={"security_context": context}).security


def test_a_pod_of_which_little_is_said_has_its_own_network_and_one_pid_namespace_for_all() -> None:
    config = sandbox()
    assert (config.namespace, config.name, config.uid, config.attempt) == ("default", "web", "u", 2)
    assert (config.host_network, config.host_ipc, config.host_pid, config.shared_processes) == (
        False,
        False,
        False,
        True,
    )
    assert (config.hostname, config.dns, config.cgroup_parent) == ("web", None, "")


def test_a_name_that_is_longer_than_the_kernels_is_cut_for_the_hostname() -> None:
    config = sandbox_config(message("PodSandboxConfig")(metadata={**METADATA, "name": "a" * 62 + "-tail"}), "", "key")
    assert config.hostname == "a" * 62


def test_a_pod_is_told_with_all_that_was_said_of_it() -> None:
    config = sandbox(
        hostname="host",
        log_directory="/logs",
        dns_config={"servers": ["10.0.0.10"], "searches": ["a"], "options": ["ndots:5"]},
        port_mappings=[{"container_port": 80, "host_port": 8080, "protocol": "UDP", "host_ip": "127.0.0.1"}],
        labels={"a": "b"},
        annotations={"c": "d"},
        linux={
            "cgroup_parent": "/kubepods/pod1",
            "sysctls": {"net.ipv4.ip_forward": "1"},
            "overhead": {"memory_limit_in_bytes": 5},
            "resources": {"memory_limit_in_bytes": 10, "cpu_shares": 2},
            **namespaces(network="NODE", pid="CONTAINER", ipc="NODE"),
        },
    )
    assert config == SandboxConfig(
        namespace="default",
        name="web",
        uid="u",
        attempt=2,
        hostname="host",
        annotations={"c": "d", ADDRESS_NOTE: "key"},
        labels={"a": "b"},
        host_network=True,
        host_ipc=True,
        log_directory="/logs",
        dns=DnsConfig(("10.0.0.10",), ("a",), ("ndots:5",)),
        ports=(PortMapping(80, 8080, "UDP", "127.0.0.1"),),
        sysctls={"net.ipv4.ip_forward": "1"},
        # Its own, below the one that is its client's to limit.
        cgroup_parent="/kubepods/pod1/key",
        resources=Resources(memory_bytes=15, cpu_shares=2),
    )


def test_a_pods_own_users_are_mapped_in_one_piece() -> None:
    mapping = {"host_id": 65536, "container_id": 0, "length": 65536}
    config = sandbox(linux=namespaces(userns_options={"mode": "POD", "uids": [mapping], "gids": [mapping]}))
    assert config.user_namespace == IdMapping(65536)
    assert sandbox(linux=namespaces(userns_options={"mode": "NODE"})).user_namespace is None


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"network": "CONTAINER"}, "the network namespace of a pod is its own or the node's"),
        ({"pid": "TARGET"}, "no container whose pid namespace"),
        ({"userns_options": {"mode": "CONTAINER"}}, "unsupported user namespace mode"),
        ({"userns_options": {"mode": "POD"}}, "mapped in one piece"),
        ({"userns_options": {"mode": "NODE", "uids": [{"host_id": 1, "length": 1}]}}, "users of its own"),
    ],
)
def test_what_a_pod_cannot_have_is_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(Refusal, match=why) as refused:
        sandbox(linux=namespaces(**options))
    assert refused.value.code == "INVALID_ARGUMENT"


def test_a_pod_without_a_name_is_refused() -> None:
    with pytest.raises(Refusal, match="must include metadata"):
        sandbox_config(message("PodSandboxConfig")(), "", "key")


def test_a_container_is_told_with_all_that_was_said_of_it() -> None:
    config = container(
        metadata={"name": "main", "attempt": 3},
        command=["sh"],
        args=["-c", "true"],
        working_dir="/w",
        envs=[{"key": "A", "value": b"b"}],
        mounts=[
            {
                "container_path": "/v",
                "host_path": "/h",
                "readonly": True,
                "propagation": "PROPAGATION_HOST_TO_CONTAINER",
            },
            {"container_path": "/i", "readonly": True, "image": {"image": "data"}, "image_sub_path": "sub"},
        ],
        devices=[{"container_path": "/dev/b", "host_path": "/dev/a", "permissions": "r"}],
        labels={"a": "b"},
        annotations={"c": "d"},
        log_path="main/3.log",
        stdin=True,
        stdin_once=True,
        tty=True,
        stop_signal="SIGNAL_SIGUSR1",
        linux={"resources": {"cpu_quota": 50_000, "cpu_period": 100_000, "oom_score_adj": -5}},
    )
    assert config == ContainerConfig(
        name="main",
        image="busybox",
        attempt=3,
        command=("sh",),
        args=("-c", "true"),
        working_dir="/w",
        env={"A": "b"},
        mounts=(
            Mount("mount-0", "/v", "/h", read_only=True, propagation="HostToContainer"),
            Mount("mount-1", "/i", "", read_only=True, image="data", image_path="sub"),
        ),
        annotations={"c": "d"},
        stdin=True,
        stdin_once=True,
        tty=True,
        security=SecurityContext(masked_paths=(), read_only_paths=()),
        resources=Resources(cpu_quota=50_000, oom_score_adj=-5),
        stop_signal="SIGUSR1",
        devices=(Device("/dev/a", "/dev/b", "r"),),
        labels={"a": "b"},
        log_path="main/3.log",
    )


def test_a_containers_rights_are_those_that_were_said() -> None:
    assert secured(
        run_as_user={"value": 1000},
        run_as_group={"value": 0},
        supplemental_groups=[5],
        supplemental_groups_policy="Strict",
        readonly_rootfs=True,
        no_new_privs=True,
        capabilities={"add_capabilities": ["NET_ADMIN"], "drop_capabilities": ["ALL"]},
        masked_paths=["/proc/kcore"],
        readonly_paths=["/proc/sys"],
        seccomp={"profile_type": "Localhost", "localhost_ref": "/p.json"},
        apparmor={"profile_type": "Localhost", "localhost_ref": "mine"},
    ) == SecurityContext(
        user=1000,
        group=0,
        supplemental_groups=(5,),
        supplemental_groups_policy="Strict",
        read_only_root=True,
        no_new_privileges=True,
        add_capabilities=("NET_ADMIN",),
        drop_capabilities=("ALL",),
        masked_paths=("/proc/kcore",),
        read_only_paths=("/proc/sys",),
        seccomp=SeccompProfile("Localhost", "/p.json"),
        apparmor="mine",
    )


def test_older_fields_of_profiles_are_read_where_the_newer_ones_are_not_set() -> None:
    older: dict[str, Any] = {"seccomp_profile_path": "localhost//p.json", "apparmor_profile": "localhost/mine"}
    assert secured(**older).seccomp == SeccompProfile("Localhost", "/p.json")
    assert secured(**older).apparmor == "mine"
    newer = secured(**older, seccomp={"profile_type": "RuntimeDefault"}, apparmor={"profile_type": "Unconfined"})
    assert (newer.seccomp, newer.apparmor) == (SeccompProfile("RuntimeDefault"), "unconfined")
    assert secured(seccomp_profile_path="docker/default").seccomp == SeccompProfile("RuntimeDefault")


def test_a_user_may_be_named() -> None:
    assert secured(run_as_username="web", run_as_group={"value": 5}).user_name == "web"
    # A number says more.
    assert secured(run_as_user={"value": 7}, run_as_username="web").user_name == ""


def test_a_container_may_be_privileged_where_its_pod_is() -> None:
    pod = sandbox(linux={"security_context": {"privileged": True}})
    assert secured(pod, privileged=True).privileged
    with pytest.raises(Refusal, match="no privileged container allowed in sandbox"):
        secured(privileged=True)


def test_a_container_may_share_the_processes_of_another() -> None:
    config = container(linux=namespaces(pid="TARGET", target_id="other"))
    assert config.target_id == "other"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"metadata": {}}, "metadata with a name"),
        ({"image": {}}, "must include an image"),
        ({"CDI_devices": [{"name": "vendor.example/gpu=0"}]}, "CDI devices are not supported"),
        ({"log_path": "../escape"}, "not below the sandbox's log directory"),
        ({"envs": [{"key": "A", "value": b"\xff"}]}, "A is not UTF-8"),
        ({"mounts": [{"container_path": "/v"}]}, "neither a host_path nor an image"),
        ({"mounts": [{"container_path": "/v", "image": {"image": "data"}}]}, "mounted read-only"),
        ({"mounts": [{"container_path": "/v", "host_path": "/h", "recursive_read_only": True}]}, "read-only mounts"),
        ({"linux": {"security_context": {"run_as_group": {"value": 5}}}}, "user group 5 is specified without user"),
        ({"linux": {"security_context": {"capabilities": {"add_ambient_capabilities": ["KILL"]}}}}, "ambient"),
        ({"linux": {"security_context": {"seccomp": {"profile_type": "Localhost"}}}}, "not named by its whole path"),
        ({"linux": {"resources": {"cpuset_cpus": "0"}}}, "cpuset_cpus"),
        ({"linux": {"resources": {"memory_limit_in_bytes": 5, "memory_swap_limit_in_bytes": 9}}}, "memory_swap_limit"),
        ({"linux": namespaces(network="NODE")}, "asks for the node's network"),
        ({"linux": namespaces(pid="NODE")}, "asks for the node's pid namespace"),
        ({"linux": namespaces(pid="CONTAINER")}, "a pid namespace of its own"),
        ({"linux": namespaces(pid="TARGET")}, "has to be named"),
    ],
)
def test_what_a_container_cannot_have_is_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(Refusal, match=why) as refused:
        container(**fields)
    assert refused.value.code == "INVALID_ARGUMENT"


def test_limits_are_the_same_after_they_were_told() -> None:
    limits = Resources(
        cpu_shares=100, cpu_quota=5, memory_bytes=7, oom_score_adj=9, hugepages={"2Mi": 4}, unified={"memory.min": "1"}
    )
    assert resources_of(message("LinuxContainerResources")(**said(limits))) == limits


def test_what_went_over_a_network_is_read_as_the_kernel_writes_it() -> None:
    lines = (
        "Inter-|   Receive  |  Transmit",
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs …",
        "    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
        "  eth0:20 1 0 0 0 0 0 0 30 1 2 0 0 0 0 0",
    )
    counters = parse_counters("\n".join(lines))
    assert list(counters) == ["lo", "eth0"]
    assert {name: each["value"] for name, each in counters["eth0"].items()} == {
        "rx_bytes": 20,
        "rx_errors": 0,
        "tx_bytes": 30,
        "tx_errors": 2,
    }


def test_what_is_not_limited_in_a_pod_is_not_limited_by_its_overhead() -> None:
    assert together(Resources(cpu_shares=2), Resources(cpu_shares=3, memory_bytes=5)) == Resources(cpu_shares=5)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("SIGNAL_RUNTIME_DEFAULT", ""),
        ("SIGNAL_SIGTERM", "SIGTERM"),
        ("SIGNAL_SIGRTMIN", "SIGRTMIN"),
        ("SIGNAL_SIGRTMINPLUS3", "SIGRTMIN+3"),
        ("SIGNAL_SIGRTMAXMINUS2", "SIGRTMIN+28"),
        ("SIGNAL_SIGRTMAX", "SIGRTMIN+30"),
    ],
)
def test_signals_have_their_names(value: str, name: str) -> None:
    number = message("ContainerConfig")(stop_signal=value).stop_signal
    assert signal_name(number) == name
    assert signal_value(name) == value


def test_signals_are_known_by_other_names_too() -> None:
    assert [signal_value(name) for name in ("term", "9", "nonsense")] == [
        "SIGNAL_SIGTERM",
        "SIGNAL_SIGKILL",
        "SIGNAL_RUNTIME_DEFAULT",
    ]


def test_an_image_is_told_by_its_names_and_its_user() -> None:
    known = ImageStatus("sha256:1", ("docker.io/library/a:1", "docker.io/library/a@sha256:2"), 10, user="1000:5")
    told = statuses.image(known)
    assert (list(told.repo_tags), list(told.repo_digests)) == (
        ["docker.io/library/a:1"],
        ["docker.io/library/a@sha256:2"],
    )
    assert (told.uid.value, told.username, told.size) == (1000, "", 10)
    named = statuses.image(ImageStatus("sha256:1", user="www:www"))
    assert (named.HasField("uid"), named.username) == (False, "www")


def test_a_container_is_told_by_the_image_that_it_was_made_of() -> None:
    config = ContainerConfig("main", "sha256:1", mounts=(Mount("m", "/i", "", True, image="data"),), labels={"a": "b"})
    status = ContainerStatus(
        "c", "s", "u", config, "exited", 1.5, 2.0, 3.0, 137, "OOMKilled", "", "sha256:1", "/logs/main.log",
        user=ContainerUser(1, 2, (3,)), stop_signal="SIGTERM",
    )  # fmt: skip
    images = statuses.KnownImages.of(
        [ImageStatus("sha256:1", ("a:1", "a@sha256:2")), ImageStatus("sha256:3", ("data", "data:latest"))]
    )
    told = statuses.container_status(status, images)
    assert (told.image.image, told.image_ref, told.image_id) == ("a:1", "a@sha256:2", "sha256:1")
    assert (told.created_at, told.exit_code, told.reason, told.log_path) == (
        1_500_000_000,
        137,
        "OOMKilled",
        "/logs/main.log",
    )
    assert told.mounts[0].image.image_ref == "sha256:3"
    assert (told.user.linux.uid, told.user.linux.gid, list(told.user.linux.supplemental_groups)) == (1, 2, [3])
    gone = statuses.container_status(status, statuses.KnownImages.of(()))
    assert (gone.image.image, gone.image_ref) == ("sha256:1", "sha256:1")


def test_a_sandbox_is_told_without_the_servers_own_notes() -> None:
    config = sandbox(annotations={"c": "d"}, linux=namespaces(pid="CONTAINER"))
    told = statuses.sandbox_status(SandboxStatus("s", config, True, 1.0, ("10.0.0.2", "fd00::2")))
    assert dict(told.annotations) == {"c": "d"}
    assert (told.network.ip, told.network.additional_ips[0].ip) == ("10.0.0.2", "fd00::2")
    assert told.linux.namespaces.options.pid == 1
    assert statuses.sandbox_status(SandboxStatus("s", config, False, 1.0, ("10.0.0.2",))).network.ip == ""

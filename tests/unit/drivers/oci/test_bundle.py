"""What an OCI runtime is told: pure, so it is checked without one."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from kube_core.abc.runtime import (
    ContainerConfig,
    ContainerUser,
    Device,
    Mount,
    Resources,
    RuntimeFailure,
    SandboxConfig,
)
from kube_core.abc.security import SeccompProfile, SecurityContext
from kube_drivers.runtime.oci.bundle import (
    DEFAULT_CAPABILITIES,
    Surroundings,
    arguments,
    capabilities_of,
    make_config,
)
from kube_drivers.runtime.oci.cgroups import Cgroups, weight_of_shares
from kube_drivers.runtime.oci.images.store import ImageConfig
from kube_drivers.runtime.oci.seccomp import default_profile
from kube_drivers.runtime.oci.users import ResolvedUser, inside, resolve_user

IMAGE = ImageConfig("linux/amd64", (), entrypoint=("/entry",), command=("default",), env=("PATH=/bin", "A=image"))
_STRICT = SecurityContext(supplemental_groups=(3,), supplemental_groups_policy="Strict")
ROOT_USER = ResolvedUser(ContainerUser(0, 0, (0,)), "/root")


def config(user: ResolvedUser = ROOT_USER, **fields: Any) -> dict[str, Any]:
    around = Surroundings(
        root=Path("/root-of-it"),
        cgroup="/kubepods/pod1/c",
        namespaces={"ipc": "/ns/ipc", "pid": ""},
        hostname="pod",
        shm="/shm",
        files={"/etc/hostname": "/host/hostname", "/etc/resolv.conf": "/host/resolv.conf"},
        own_cgroup_namespace=False,
    )
    sandbox = SandboxConfig("default", "pod", "uid")
    return make_config(sandbox, ContainerConfig("main", "image", **fields), IMAGE, user, around)


def mounts(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {mount["destination"]: mount for mount in document["mounts"]}


@pytest.mark.parametrize(
    ("command", "args", "words"),
    [
        ((), (), ["/entry", "default"]),
        ((), ("more",), ["/entry", "more"]),
        (("own",), (), ["own"]),
        (("own",), ("more",), ["own", "more"]),
    ],
)
def test_command_and_args_stand_for_those_of_the_image(
    command: tuple[str, ...], args: tuple[str, ...], words: list[str]
) -> None:
    assert arguments(ContainerConfig("c", "i", command=command, args=args), IMAGE) == words


def test_the_environment_is_the_images_and_the_containers() -> None:
    env = dict(entry.split("=", 1) for entry in config(env={"A": "own"}, tty=True)["process"]["env"])
    assert env == {"PATH": "/bin", "HOSTNAME": "pod", "TERM": "xterm", "A": "own", "HOME": "/root"}


def test_capabilities_are_the_default_ones_with_what_is_added_and_dropped() -> None:
    assert set(capabilities_of(SecurityContext())) == set(DEFAULT_CAPABILITIES)
    added = capabilities_of(SecurityContext(add_capabilities=("NET_ADMIN",), drop_capabilities=("KILL", "CAP_MKNOD")))
    assert set(added) == {*DEFAULT_CAPABILITIES, "CAP_NET_ADMIN"} - {"CAP_KILL", "CAP_MKNOD"}
    only = SecurityContext(add_capabilities=("NET_BIND_SERVICE",), drop_capabilities=("ALL",))
    assert capabilities_of(only) == ("CAP_NET_BIND_SERVICE",)
    assert "CAP_SYS_ADMIN" in capabilities_of(SecurityContext(privileged=True))
    assert "CAP_SYS_ADMIN" in capabilities_of(SecurityContext(add_capabilities=("ALL",)))
    with pytest.raises(RuntimeFailure, match='unknown capability "CAP_FLY"'):
        capabilities_of(SecurityContext(add_capabilities=("FLY",)))


def test_a_privileged_container_has_everything_and_hides_nothing() -> None:
    document = config(security=SecurityContext(privileged=True, seccomp=SeccompProfile("RuntimeDefault")))
    linux = document["linux"]
    assert (linux["maskedPaths"], linux["readonlyPaths"], "seccomp" in linux) == ([], [], False)
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert "rw" in mounts(document)["/sys"]["options"]
    plain = config()
    assert plain["linux"]["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    assert "/proc/kcore" in plain["linux"]["maskedPaths"]
    assert "ro" in mounts(plain)["/sys"]["options"]


def test_hidden_and_read_only_paths_are_those_that_were_named_or_else_the_usual_ones() -> None:
    usual = config()["linux"]
    assert "/proc/kcore" in usual["maskedPaths"]
    assert "/proc/sys" in usual["readonlyPaths"]
    named = config(security=SecurityContext(masked_paths=("/bin/ls",), read_only_paths=()))["linux"]
    assert (named["maskedPaths"], named["readonlyPaths"]) == (["/bin/ls"], [])
    unmasked = config(security=SecurityContext(proc_mount="Unmasked"))["linux"]
    assert (unmasked["maskedPaths"], unmasked["readonlyPaths"]) == ([], [])


def test_a_device_has_its_path_and_its_permissions_in_the_container() -> None:
    linux = config(devices=(Device("/dev/null", "/dev/zilch", "r"),))["linux"]
    assert [each["path"] for each in linux["devices"]] == ["/dev/zilch"]
    assert linux["resources"]["devices"][-1] == {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"}


def test_mounts_are_ordered_from_the_outside_in_and_stand_for_the_runtimes_own() -> None:
    document = config(
        mounts=(
            Mount("inner", "/data/inner", "/host/inner", read_only=True),
            Mount("outer", "/data", "/host/outer", propagation="HostToContainer"),
            Mount("hosts", "/etc/hostname", "/host/mine"),
            Mount("all", "/all", "/host/all", read_only=True, recursive_read_only=True, propagation="Bidirectional"),
        )
    )
    order = [mount["destination"] for mount in document["mounts"]]
    assert order.index("/data") < order.index("/data/inner")
    found = mounts(document)
    assert found["/data/inner"]["options"] == ["rbind", "rprivate", "ro"]
    assert found["/data"]["options"] == ["rbind", "rslave", "rw"]
    assert found["/all"]["options"] == ["rbind", "rshared", "rro"]
    assert found["/etc/hostname"]["source"] == "/host/mine"
    assert order.count("/etc/hostname") == 1
    assert document["linux"]["rootfsPropagation"] == "rshared"


def test_limits_are_those_of_the_container() -> None:
    resources = Resources(cpu_shares=512, cpu_quota=50_000, memory_bytes=1 << 20, pids=7, oom_score_adj=900)
    document = config(resources=resources)
    limited = document["linux"]["resources"]
    assert limited["cpu"] == {"shares": 512, "quota": 50_000, "period": 100_000}
    assert (limited["memory"], limited["pids"]) == ({"limit": 1 << 20}, {"limit": 7})
    assert document["process"]["oomScoreAdj"] == 900


def test_seccomp_is_what_was_asked_for(tmp_path: Path) -> None:
    assert "seccomp" not in config()["linux"]
    default = config(security=SecurityContext(seccomp=SeccompProfile("RuntimeDefault")))["linux"]["seccomp"]
    assert default["defaultAction"] == "SCMP_ACT_ERRNO"
    (tmp_path / "mine.json").write_text(json.dumps({"defaultAction": "SCMP_ACT_LOG"}))
    local = SecurityContext(seccomp=SeccompProfile("Localhost", str(tmp_path / "mine.json")))
    assert config(security=local)["linux"]["seccomp"] == {"defaultAction": "SCMP_ACT_LOG"}
    missing = SecurityContext(seccomp=SeccompProfile("Localhost", str(tmp_path / "none.json")))
    with pytest.raises(RuntimeFailure, match="cannot load seccomp profile"):
        config(security=missing)


def test_some_calls_come_with_capabilities() -> None:
    def allowed(*capabilities: str) -> set[str]:
        rules = default_profile(capabilities, machine="x86_64")["syscalls"]
        return {name for rule in rules for name in rule["names"] if rule["action"] == "SCMP_ACT_ALLOW"}

    assert {"read", "execve", "arch_prctl"} <= allowed()
    assert not {"mount", "reboot", "bpf", "keyctl", "kexec_load", "unshare"} & allowed()
    assert {"mount", "unshare", "clone3"} <= allowed("CAP_SYS_ADMIN")
    (clone3,) = (rule for rule in default_profile(())["syscalls"] if rule["names"] == ["clone3"])
    assert clone3["action"] == "SCMP_ACT_ERRNO"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nweb:x:1000:1001::/srv:/bin/sh\nbroken\n")
    (tmp_path / "etc/group").write_text("root:x:0:\nstaff:x:50:web,other\nweb:x:1001:\n")
    return tmp_path


@pytest.mark.parametrize(
    ("image_user", "security", "found"),
    [
        ("", SecurityContext(), (0, 0, (0,))),
        ("web", SecurityContext(), (1000, 1001, (50, 1001))),
        ("1000", SecurityContext(), (1000, 1001, (50, 1001))),
        ("web:staff", SecurityContext(), (1000, 50, (50,))),
        ("7:8", SecurityContext(), (7, 8, (8,))),
        ("web", SecurityContext(user=5), (5, 0, (0,))),
        ("web:staff", SecurityContext(user=1000), (1000, 1001, (50, 1001))),
        ("web", SecurityContext(group=9, supplemental_groups=(3,)), (1000, 9, (3, 9, 50))),
        (
            "web",
            _STRICT,
            (1000, 1001, (3, 1001)),
        ),
    ],
)
def test_users_are_found_by_the_images_files(
    root: Path, image_user: str, security: SecurityContext, found: tuple[int, int, tuple[int, ...]]
) -> None:
    assert resolve_user(root, image_user, security).id == ContainerUser(*found)


def test_a_user_may_be_named_as_the_image_knows_it(root: Path) -> None:
    assert resolve_user(root, "5", SecurityContext(user_name="web")) == resolve_user(root, "web", SecurityContext())


def test_a_user_that_the_image_does_not_know_is_refused(root: Path) -> None:
    with pytest.raises(RuntimeFailure, match="unable to find user nobody: no matching entries in passwd file"):
        resolve_user(root, "nobody", SecurityContext())


def test_links_in_an_image_lead_nowhere_else(root: Path) -> None:
    (root / "out").symlink_to("/etc")
    (root / "up").symlink_to("../../../etc/passwd")
    (root / "round").symlink_to("round")
    assert inside(root, "/out/passwd") == str(root / "etc/passwd")
    assert inside(root, "/up") == str(root / "etc/passwd")
    with pytest.raises(RuntimeFailure, match="in circles"):
        inside(root, "/round")


def test_cgroups_are_told_by_the_mounts(tmp_path: Path) -> None:
    def of(*lines: str) -> Cgroups:
        (tmp_path / "mounts").write_text("".join(f"{line} 0 0\n" for line in lines))
        return Cgroups.of_machine(tmp_path / "mounts")

    hybrid = of(
        "tmpfs /sys/fs/cgroup tmpfs rw",
        "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct",
        "cgroup /sys/fs/cgroup/systemd cgroup rw,xattr,name=systemd",
        "cgroup2 /sys/fs/cgroup/unified cgroup2 rw",
    )
    assert set(hybrid.trees) == {"cpu", "cpuacct", "systemd"}
    assert (hybrid.pure, hybrid.hidden) == (False, ["/sys/fs/cgroup/unified"])
    unified = of("cgroup2 /sys/fs/cgroup cgroup2 rw")
    assert (unified.pure, unified.hidden) == (True, [])


def test_a_pods_cgroup_is_limited_in_the_terms_of_v2(tmp_path: Path) -> None:
    place = tmp_path / "kubepods/pod1"
    place.mkdir(parents=True)
    for name in ("cpu.weight", "cpu.max", "memory.max", "pids.max", "memory.min"):
        (place / name).write_text("")
    cgroups = Cgroups({}, tmp_path)
    cgroups.limit(
        "/kubepods/pod1",
        Resources(cpu_shares=1024, cpu_quota=50_000, memory_bytes=4096, pids=9, unified={"memory.min": "1"}),
    )
    written = {path.name: path.read_text() for path in place.iterdir()}
    assert written == {
        "cpu.weight": "39", "cpu.max": "50000 100000", "memory.max": "4096", "pids.max": "9", "memory.min": "1",
    }  # fmt: skip
    (place / "memory.events").write_text("low 0\noom_kill 2\n")
    assert cgroups.kills("/kubepods/pod1") == str(place / "memory.events")


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (1024, 39), (262144, 10000)])
def test_shares_become_weights(shares: int, weight: int) -> None:
    assert weight_of_shares(shares) == weight


def test_cgroups_are_made_while_others_remove_the_same_parents(tmp_path: Path) -> None:
    cgroups = Cgroups({"freezer": tmp_path}, None)  # which has no limits
    wrong: list[Exception] = []

    def make_and_remove(name: str) -> None:
        try:
            for _ in range(200):
                cgroups.create(f"/pods/besteffort/{name}", Resources())
                cgroups.remove(f"/pods/besteffort/{name}")
        except RuntimeFailure as error:
            wrong.append(error)

    threads = [threading.Thread(target=make_and_remove, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []

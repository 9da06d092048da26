"""What an OCI runtime is told of a container: `config.json`, from the pod's sandbox and the container's configuration.

A pure function of what is known beforehand, by the OCI runtime specification; defaults (mounts, capabilities, what is
masked) are those of the container runtimes of the field. Who calls it has mounted the root, pinned the namespaces and
found out who the user is.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from kube_core.abc.runtime import ContainerConfig, Device, ExecRequest, Mount, Resources, RuntimeFailure, SandboxConfig
from kube_core.abc.security import HIDDEN_PATHS, READ_ONLY_PATHS, SecurityContext
from kube_drivers.runtime.oci.images.store import ImageConfig
from kube_drivers.runtime.oci.seccomp import default_profile
from kube_drivers.runtime.oci.users import ResolvedUser

__all__ = ["DEFAULT_CAPABILITIES", "Surroundings", "arguments", "capabilities_of", "exec_process", "make_config"]

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: What a container has that asks for nothing, as Docker documents it.
DEFAULT_CAPABILITIES = (
    "CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
)  # fmt: skip

#: In the kernel's order.
_CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip

_PROPAGATION = {"None": "rprivate", "HostToContainer": "rslave", "Bidirectional": "rshared"}


@attrs.frozen
class Surroundings:
    """Where a container is put. `namespaces`: paths by kind, as `config.json` names them; "": one of its own."""

    root: Path
    cgroup: str
    namespaces: Mapping[str, str]
    hostname: str
    shm: str
    files: Mapping[str, str]
    """Files of the pod by their path in the container (`/etc/hostname`, …), unless something is mounted there."""
    own_cgroup_namespace: bool


def make_config(
    sandbox: SandboxConfig,
    config: ContainerConfig,
    image: ImageConfig,
    user: ResolvedUser,
    around: Surroundings,
) -> dict[str, Any]:
    """The document. Raises `RuntimeFailure` for what cannot be had here."""
    security = config.security
    capabilities = capabilities_of(security)
    words = arguments(config, image)
    if not words:
        raise RuntimeFailure("no command specified", reason="CreateContainerError")
    groups = [each for each in user.id.supplemental_groups if each != user.id.group]
    devices = [_device(each) for each in (*config.devices, *(_all_devices() if security.privileged else ()))]
    masked, read_only = _hidden(security)
    linux: dict[str, Any] = {
        "cgroupsPath": around.cgroup,
        "namespaces": list(_namespaces(around)),
        "resources": _resources(config.resources, privileged=security.privileged, devices=config.devices),
        "maskedPaths": list(masked),
        "readonlyPaths": list(read_only),
        "devices": devices,
    }
    if (ids := sandbox.user_namespace) is not None:
        # runc wants to be told what the namespace has already.
        mapping = [{"containerID": 0, "hostID": ids.host_id, "size": ids.length}]
        linux |= {"uidMappings": mapping, "gidMappings": mapping}
    if (propagation := _root_propagation(config.mounts)) is not None:
        linux["rootfsPropagation"] = propagation
    if (profile := _seccomp(security, capabilities)) is not None:
        linux["seccomp"] = profile
    process: dict[str, Any] = {
        "terminal": config.tty,
        "user": {"uid": user.id.user, "gid": user.id.group, **({"additionalGids": groups} if groups else {})},
        "args": words,
        "env": [f"{name}={value}" for name, value in _environment(config, image, user, around.hostname).items()],
        "cwd": config.working_dir or image.working_dir or "/",
        "capabilities": {kind: list(capabilities) for kind in ("bounding", "effective", "permitted")},
        "noNewPrivileges": security.no_new_privileges,
        "oomScoreAdj": config.resources.oom_score_adj,
    }
    if (profile_name := _apparmor(security)) is not None:
        process["apparmorProfile"] = profile_name
    return {
        "ociVersion": "1.0.2",
        "process": process,
        "root": {"path": str(around.root), "readonly": security.read_only_root},
        "mounts": list(_mounts(sandbox, config, around)),
        "linux": linux,
    }


def exec_process(process: Mapping[str, Any], request: ExecRequest) -> dict[str, Any]:
    """A further command in a container: its process but for the words, and the terminal."""
    env = [each for each in process["env"] if not (request.tty and each.startswith("TERM="))]
    terminal = ["TERM=xterm"] if request.tty else []
    return {**process, "args": list(request.command), "terminal": request.tty, "env": [*env, *terminal]}


def arguments(config: ContainerConfig, image: ImageConfig) -> list[str]:
    """`command` stands for the image's entrypoint and drops its cmd, `args` for its cmd."""
    if config.command:
        return [*config.command, *config.args]
    return [*image.entrypoint, *(config.args or image.command)]


def capabilities_of(security: SecurityContext) -> tuple[str, ...]:
    """As `CAP_…`, of those that this program has to give. Raises `RuntimeFailure` for one that nobody knows."""
    held = _held()
    known = [f"CAP_{name}" for number, name in enumerate(_CAPABILITIES) if held >> number & 1]
    if security.privileged:
        return tuple(known)
    dropped, added = (
        {_named(each) for each in some} for some in (security.drop_capabilities, security.add_capabilities)
    )
    for each in (dropped | added) - {"ALL"}:
        if each.removeprefix("CAP_") not in _CAPABILITIES:
            raise RuntimeFailure(f'unknown capability "{each}"')
    kept = set() if "ALL" in dropped else set(DEFAULT_CAPABILITIES) - dropped
    if "ALL" in added:
        kept = set(known) - dropped
    return tuple(each for each in known if each in kept | added)


def _named(capability: str) -> str:
    upper = capability.upper()
    return upper if upper == "ALL" or upper.startswith("CAP_") else f"CAP_{upper}"


def _held() -> int:
    """This program's own, as bits: nobody can be given more."""
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1], 16) for line in file if line.startswith("CapPrm:"))
    except (OSError, StopIteration):
        return (1 << len(_CAPABILITIES)) - 1


def _environment(config: ContainerConfig, image: ImageConfig, user: ResolvedUser, hostname: str) -> dict[str, str]:
    env = {"PATH": _PATH, "HOSTNAME": hostname, **({"TERM": "xterm"} if config.tty else {})}
    for entry in image.env:
        name, _, value = entry.partition("=")
        env[name] = value
    env.update(config.env)
    env.setdefault("HOME", user.home)
    return env


def _namespaces(around: Surroundings) -> Iterator[dict[str, str]]:
    yield {"type": "mount"}
    if around.own_cgroup_namespace:
        yield {"type": "cgroup"}
    for kind, path in around.namespaces.items():
        yield {"type": kind, **({"path": path} if path else {})}


def _mounts(sandbox: SandboxConfig, config: ContainerConfig, around: Surroundings) -> Iterator[dict[str, Any]]:
    access = "rw" if config.security.privileged else "ro"
    taken = {mount.container_path.rstrip("/") or "/" for mount in config.mounts}
    hardened = ["nosuid", "noexec", "nodev"]
    fixed: list[tuple[str, str, str, list[str]]] = [
        ("/proc", "proc", "proc", hardened),
        ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        ("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        ("/dev/mqueue", "mqueue", "mqueue", hardened),
        ("/dev/shm", "bind", around.shm, ["rbind", "rprivate", "nosuid", "noexec", "nodev", "rw"]),
        *_sys(around, [*hardened, access]),
        ("/sys/fs/cgroup", "cgroup", "cgroup", [*hardened, "relatime", access]),
        *((path, "bind", place, ["rbind", "rprivate", "rw"]) for path, place in around.files.items()),
    ]
    for path, kind, source, options in fixed:
        if path not in taken:
            yield {"destination": path, "type": kind, "source": source, "options": options}
    # Outer ones first: an inner one would be hidden by them.
    for mount in sorted(config.mounts, key=lambda mount: len(Path(mount.container_path).parts)):
        yield {
            "destination": mount.container_path,
            "type": "bind",
            "source": mount.host_path,
            "options": ["rbind", _PROPAGATION[mount.propagation], _access(mount)],
        }


def _sys(around: Surroundings, options: list[str]) -> Iterator[tuple[str, str, str, list[str]]]:
    if "user" in around.namespaces and "network" not in around.namespaces:
        # The kernel shows it only to who owns the network.
        yield "/sys", "bind", "/sys", ["rbind", "rprivate", *options]
    else:
        yield "/sys", "sysfs", "sysfs", options


def _access(mount: Mount) -> str:
    if mount.recursive_read_only:
        return "rro"
    return "ro" if mount.read_only else "rw"


def _root_propagation(mounts: Sequence[Mount]) -> str | None:
    kinds = {mount.propagation for mount in mounts}
    if "Bidirectional" in kinds:
        return "rshared"
    return "rslave" if "HostToContainer" in kinds else None


def _hidden(security: SecurityContext) -> tuple[Sequence[str], Sequence[str]]:
    """What is masked, and what is read-only."""
    if security.privileged:
        return (), ()
    unmasked = security.proc_mount == "Unmasked"
    masked: Sequence[str] = () if unmasked else HIDDEN_PATHS
    read_only: Sequence[str] = () if unmasked else READ_ONLY_PATHS
    return (
        masked if security.masked_paths is None else security.masked_paths,
        read_only if security.read_only_paths is None else security.read_only_paths,
    )


def _resources(resources: Resources, *, privileged: bool, devices: Sequence[Device]) -> dict[str, Any]:
    allowed: list[dict[str, Any]] = [{"allow": privileged, "access": "rwm"}]
    for each in devices:
        device = {name: value for name, value in _device(each).items() if name in ("type", "major", "minor")}
        allowed.append({"allow": True, **device, "access": each.permissions})
    cpu: dict[str, Any] = {}
    if resources.cpu_shares:
        cpu["shares"] = resources.cpu_shares
    if resources.cpu_quota:
        cpu |= {"quota": resources.cpu_quota, "period": resources.cpu_period}
    return {
        "devices": allowed,
        **({"cpu": cpu} if cpu else {}),
        **({"memory": {"limit": resources.memory_bytes}} if resources.memory_bytes else {}),
        **({"pids": {"limit": resources.pids}} if resources.pids else {}),
        **({"unified": dict(resources.unified)} if resources.unified else {}),
    }


def _device(device: Device) -> dict[str, Any]:
    path = device.host_path
    try:
        there = os.stat(path)
    except OSError as error:
        raise RuntimeFailure(f"the device {path} cannot be had: {error.strerror}") from None
    if not (stat.S_ISBLK(there.st_mode) or stat.S_ISCHR(there.st_mode)):
        raise RuntimeFailure(f"{path} is no device")
    return {
        "path": device.container_path or path,
        "type": "b" if stat.S_ISBLK(there.st_mode) else "c",
        "major": os.major(there.st_rdev),
        "minor": os.minor(there.st_rdev),
        "fileMode": stat.S_IMODE(there.st_mode),
        "uid": there.st_uid,
        "gid": there.st_gid,
    }


def _all_devices() -> Iterator[Device]:
    """Every device of the host, for privileged containers; those that each container has of its own are left out."""
    own = ("pts", "shm", "fd", "mqueue", "console", ".lxc")
    for directory, below, names in os.walk("/dev"):
        below[:] = [name for name in below if name not in own]
        for name in names:
            path = f"{directory}/{name}"
            if name in own or os.path.islink(path):
                continue
            kind = os.stat(path).st_mode
            if stat.S_ISBLK(kind) or stat.S_ISCHR(kind):
                yield Device(path)


def _seccomp(security: SecurityContext, capabilities: Sequence[str]) -> Mapping[str, Any] | None:
    profile = security.seccomp
    if security.privileged or profile.type == "Unconfined":
        return None
    if profile.type == "RuntimeDefault":
        return default_profile(capabilities)
    try:
        with open(profile.path, "rb") as file:
            document: Mapping[str, Any] = json.load(file)
    except OSError as error:
        raise RuntimeFailure(f"cannot load seccomp profile {profile.path!r}: {error.strerror}") from None
    except ValueError as error:
        raise RuntimeFailure(f"cannot load seccomp profile {profile.path!r}: {error}") from None
    return document


def _apparmor(security: SecurityContext) -> str | None:
    if security.privileged or security.apparmor in ("", "unconfined", "runtime/default"):
        return None
    try:
        with open("/sys/module/apparmor/parameters/enabled") as file:
            enabled = file.read().strip() == "Y"
    except OSError:
        enabled = False
    if not enabled:
        raise RuntimeFailure("apparmor is not supported on the host")
    return security.apparmor

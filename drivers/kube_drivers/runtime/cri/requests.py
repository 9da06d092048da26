"""What an endpoint is told of a pod and its containers: our configurations in CRI's fields. Pure.

Labels and annotations are those of upstream's kubelet, so that `crictl` and whoever reads a runtime's metrics finds
what is expected. What CRI does not give back (a probe of ours needs the mounts, a restart the whole configuration) is
a record in one more annotation; a container's environment is left out of it. `OWNER` is a label of each sandbox and
container: by it a node knows its own among those of everybody who uses the endpoint.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Final

import attrs
import orjson

from kube_core.abc.runtime import (
    NO_LIMITS,
    ContainerConfig,
    Mount,
    PortMapping,
    RegistryCredentials,
    Resources,
    SandboxConfig,
)
from kube_core.abc.security import (
    HIDDEN_PATHS,
    READ_ONLY_PATHS,
    IdMapping,
    SeccompProfile,
    SecurityContext,
)
from kube_drivers.runtime.records import record_of

__all__ = [
    "OWNER",
    "POD_UID",
    "RECORD",
    "Fields",
    "auth_fields",
    "container_fields",
    "foreign",
    "image_fields",
    "resource_fields",
    "sandbox_fields",
]

OWNER: Final = "cri.kube-core.dev/owner"
RECORD: Final = "cri.kube-core.dev/record"
POD_NAME: Final = "io.kubernetes.pod.name"
POD_NAMESPACE: Final = "io.kubernetes.pod.namespace"
POD_UID: Final = "io.kubernetes.pod.uid"
CONTAINER_NAME: Final = "io.kubernetes.container.name"
_HASH: Final = "io.kubernetes.container.hash"
_RESTARTS: Final = "io.kubernetes.container.restartCount"
_OWN: Final = frozenset({OWNER, RECORD, POD_NAME, POD_NAMESPACE, POD_UID, CONTAINER_NAME, _HASH, _RESTARTS})

_PROPAGATION: Mapping[str, str] = {
    "None": "PROPAGATION_PRIVATE",
    "HostToContainer": "PROPAGATION_HOST_TO_CONTAINER",
    "Bidirectional": "PROPAGATION_BIDIRECTIONAL",
}

Fields = dict[str, Any]


def sandbox_fields(config: SandboxConfig, *, owner: str, attempt: int) -> Fields:
    """A `PodSandboxConfig`. `attempt`: one that no other sandbox of the pod has."""
    record = record_of(attrs.evolve(config, annotations={}, labels={}))
    return {
        "metadata": {"name": config.name, "uid": config.uid, "namespace": config.namespace, "attempt": attempt},
        "hostname": config.hostname,
        "log_directory": config.log_directory,
        "dns_config": attrs.asdict(config.dns) if config.dns is not None else None,
        "port_mappings": [_port(each) for each in config.ports],
        "labels": {**config.labels, **_pod_labels(config, owner)},
        "annotations": {**config.annotations, RECORD: orjson.dumps(record).decode()},
        "linux": {
            "cgroup_parent": config.cgroup_parent,
            "security_context": _sandbox_security(config),
            "sysctls": dict(config.sysctls),
            "resources": resource_fields(config.resources) if config.resources != NO_LIMITS else None,
        },
    }


def container_fields(config: ContainerConfig, sandbox: SandboxConfig, *, owner: str, attempt: int) -> Fields:
    """A `ContainerConfig`. `attempt`: one that no other container of that name in the pod has.

    Its `log_path` is that of `config`, which the caller has set.
    """
    record = orjson.dumps(record_of(attrs.evolve(config, env={}, annotations={}, labels={})))
    return {
        "metadata": {"name": config.name, "attempt": attempt},
        "image": {**image_fields(config.image, sandbox), "user_specified_image": config.image},
        "command": list(config.command),
        "args": list(config.args),
        "working_dir": config.working_dir,
        "envs": [{"key": name, "value": value.encode()} for name, value in config.env.items()],
        "mounts": [_mount(each, sandbox.user_namespace) for each in config.mounts],
        "devices": [
            {
                "host_path": each.host_path,
                "container_path": each.container_path or each.host_path,
                "permissions": each.permissions,
            }
            for each in config.devices
        ],
        "labels": {**config.labels, **_pod_labels(sandbox, owner), CONTAINER_NAME: config.name},
        "annotations": {
            **config.annotations,
            _HASH: f"{zlib.crc32(record):08x}",
            _RESTARTS: str(config.attempt),
            RECORD: record.decode(),
        },
        "log_path": config.log_path,
        "stdin": config.stdin,
        "stdin_once": config.stdin_once,
        "tty": config.tty,
        "stop_signal": f"SIGNAL_{config.stop_signal}" if config.stop_signal else None,
        "linux": {
            "resources": resource_fields(config.resources),
            "security_context": _container_security(config, sandbox),
        },
    }


def resource_fields(resources: Resources) -> Fields:
    """`LinuxContainerResources`."""
    return {
        "cpu_period": resources.cpu_period,
        "cpu_quota": resources.cpu_quota,
        "cpu_shares": resources.cpu_shares,
        "memory_limit_in_bytes": resources.memory_bytes,
        "oom_score_adj": resources.oom_score_adj,
        # `2Mi` is the kernel's 2MB.
        "hugepage_limits": [
            {"page_size": size.replace("i", "B"), "limit": limit} for size, limit in resources.hugepages.items()
        ],
        "unified": dict(resources.unified),
    }


def image_fields(image: str, sandbox: SandboxConfig | None = None) -> Fields:
    """An `ImageSpec`."""
    return {"image": image, "runtime_handler": sandbox.handler if sandbox is not None else ""}


def auth_fields(credentials: RegistryCredentials | None) -> Fields | None:
    """An `AuthConfig`."""
    return attrs.asdict(credentials) if credentials is not None else None


def foreign(notes: Mapping[str, str]) -> dict[str, str]:
    """Those labels or annotations that are not ours, but whoever's the pod is."""
    return {name: value for name, value in notes.items() if name not in _OWN}


def _pod_labels(config: SandboxConfig, owner: str) -> dict[str, str]:
    return {POD_NAME: config.name, POD_NAMESPACE: config.namespace, POD_UID: config.uid, OWNER: owner}


def _port(port: PortMapping) -> Fields:
    return attrs.asdict(port)


def _sandbox_security(config: SandboxConfig) -> Fields:
    security = config.security
    return {
        "namespace_options": _namespaces(config, "POD" if config.shared_processes else "CONTAINER"),
        "privileged": security.privileged,
        "readonly_rootfs": security.read_only_root,
        "seccomp": _seccomp(security.seccomp),
        **_user(security),
    }


def _container_security(config: ContainerConfig, sandbox: SandboxConfig) -> Fields:
    security = config.security
    processes = "TARGET" if config.target_id else "POD" if sandbox.shared_processes else "CONTAINER"
    masked, read_only = _hidden(security)
    return {
        "capabilities": {
            "add_capabilities": list(security.add_capabilities),
            "drop_capabilities": list(security.drop_capabilities),
        },
        "privileged": security.privileged,
        "namespace_options": {**_namespaces(sandbox, processes), "target_id": config.target_id},
        "readonly_rootfs": security.read_only_root,
        "no_new_privs": security.no_new_privileges,
        "masked_paths": list(masked),
        "readonly_paths": list(read_only),
        "seccomp": _seccomp(security.seccomp),
        "apparmor": _apparmor(security.apparmor),
        "run_as_username": security.user_name if security.user is None else "",
        **_user(security),
    }


def _namespaces(config: SandboxConfig, processes: str) -> Fields:
    users = config.user_namespace
    return {
        "network": "NODE" if config.host_network else "POD",
        "pid": "NODE" if config.host_pid and processes != "TARGET" else processes,
        "ipc": "NODE" if config.host_ipc else "POD",
        "userns_options": {"mode": "POD", "uids": _mapping(users), "gids": _mapping(users)} if users else None,
    }


def _user(security: SecurityContext) -> Fields:
    return {
        "run_as_user": {"value": security.user} if security.user is not None else None,
        "run_as_group": {"value": security.group} if security.group is not None else None,
        "supplemental_groups": list(security.supplemental_groups),
        "supplemental_groups_policy": security.supplemental_groups_policy,
    }


def _hidden(security: SecurityContext) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is masked, and what is read-only: CRI wants it said, for those who are to see everything, too."""
    if security.privileged:
        return (), ()
    masked, read_only = ((), ()) if security.proc_mount == "Unmasked" else (HIDDEN_PATHS, READ_ONLY_PATHS)
    return (
        masked if security.masked_paths is None else security.masked_paths,
        read_only if security.read_only_paths is None else security.read_only_paths,
    )


def _seccomp(profile: SeccompProfile) -> Fields:
    return {"profile_type": profile.type, "localhost_ref": profile.path}


def _apparmor(name: str) -> Fields | None:
    if not name:
        return None
    known = {"unconfined": "Unconfined", "runtime/default": "RuntimeDefault"}
    return {"profile_type": known.get(name, "Localhost"), "localhost_ref": "" if name in known else name}


def _mount(mount: Mount, users: IdMapping | None) -> Fields:
    fields: Fields = {
        "container_path": mount.container_path,
        "host_path": mount.host_path,
        "readonly": mount.read_only,
        "propagation": _PROPAGATION[mount.propagation],
        "recursive_read_only": mount.recursive_read_only,
        "uidMappings": _mapping(users),
        "gidMappings": _mapping(users),
    }
    if mount.image:
        fields |= {"image": {"image": mount.image}, "image_sub_path": mount.image_path, "readonly": True}
    return fields


def _mapping(users: IdMapping | None) -> list[Fields]:
    return [{"host_id": users.host_id, "container_id": 0, "length": users.length}] if users is not None else []

"""CRI's `ContainerConfig` as the runtime's. Pure, but for asking whether this host has SELinux.

Refused is what the contract cannot say (ambient capabilities, devices by CDI, ids of mounts that are mapped, options of
mounts), what contradicts itself, and what contradicts the pod: a container may be privileged where its sandbox is, and
its namespaces are those of its sandbox.
"""

from __future__ import annotations

import os
from typing import Any, Final

from kube_core.abc.runtime import NO_LIMITS, ContainerConfig, Device, Mount, Propagation, SandboxConfig
from kube_core.abc.security import DEFAULT_SECURITY, UNCONFINED, SeccompProfile, SecurityContext
from kube_drivers.runtime.criserver.refusals import invalid
from kube_drivers.runtime.criserver.resources import resources_of
from kube_drivers.runtime.criserver.sandbox_configs import CONTAINER, NODE, POD, TARGET
from kube_drivers.runtime.criserver.signals import signal_name

__all__ = ["container_config"]

_PROPAGATIONS: Final[tuple[Propagation, ...]] = ("None", "HostToContainer", "Bidirectional")
_SELINUX: Final = "/sys/fs/selinux/enforce"
_RUNTIME_DEFAULT, _UNCONFINED, _LOCALHOST = range(3)


def container_config(config: Any, sandbox: SandboxConfig) -> ContainerConfig:
    """Raises `Refusal`."""
    if not (config.HasField("metadata") and config.metadata.name):
        raise invalid("container config must include metadata with a name")
    if not config.image.image:
        raise invalid("container config must include an image")
    if config.CDI_devices:
        raise invalid("CDI devices are not supported")
    security, linux = config.linux.security_context, config.linux
    options = security.namespace_options
    _check_namespaces(options, sandbox)
    return ContainerConfig(
        name=config.metadata.name,
        image=config.image.image,
        attempt=config.metadata.attempt,
        command=tuple(config.command),
        args=tuple(config.args),
        working_dir=config.working_dir,
        env={each.key: _text(each) for each in config.envs},
        mounts=tuple(_mount(number, each) for number, each in enumerate(config.mounts)),
        annotations=dict(config.annotations),
        stdin=config.stdin,
        stdin_once=config.stdin_once,
        tty=config.tty,
        security=_security(security, sandbox) if linux.HasField("security_context") else _UNHIDDEN,
        resources=resources_of(linux.resources) if linux.HasField("resources") else NO_LIMITS,
        stop_signal=signal_name(config.stop_signal),
        target_id=options.target_id if options.pid == TARGET else "",
        devices=tuple(_device(each) for each in config.devices),
        labels=dict(config.labels),
        log_path=_log_path(config.log_path),
    )


#: Where nothing is said of what to hide, nothing is hidden: clients name the paths.
_UNHIDDEN: Final = SecurityContext(masked_paths=(), read_only_paths=())


def _check_namespaces(options: Any, sandbox: SandboxConfig) -> None:
    if options.network == NODE and not sandbox.host_network:
        raise invalid("the container asks for the node's network, and its pod has one of its own")
    if options.ipc == NODE and not sandbox.host_ipc:
        raise invalid("the container asks for the node's ipc namespace, and its pod has one of its own")
    if options.pid == NODE and not sandbox.host_pid:
        raise invalid("the container asks for the node's pid namespace, and its pod does not")
    if options.pid == CONTAINER and (sandbox.shared_processes or sandbox.host_pid):
        raise invalid("the container asks for a pid namespace of its own, and its pod shares one")
    if options.pid == TARGET and not options.target_id:
        raise invalid("a container to share the pid namespace of has to be named")
    if options.pid not in (POD, CONTAINER, NODE, TARGET):
        raise invalid(f"unknown namespace mode {options.pid}")


def _security(context: Any, sandbox: SandboxConfig) -> SecurityContext:
    if context.privileged and not sandbox.security.privileged:
        raise invalid("no privileged container allowed in sandbox")
    if context.capabilities.add_ambient_capabilities:
        raise invalid("ambient capabilities are not supported")
    if context.HasField("selinux_options") and os.path.exists(_SELINUX):
        raise invalid("SELinux options are not supported")
    user = context.run_as_user.value if context.HasField("run_as_user") else None
    group = context.run_as_group.value if context.HasField("run_as_group") else None
    if group is not None and user is None and not context.run_as_username:
        raise invalid(f"user group {group} is specified without user")
    return SecurityContext(
        user=user,
        user_name=context.run_as_username if user is None else "",
        group=group,
        supplemental_groups=tuple(context.supplemental_groups),
        supplemental_groups_policy="Strict" if context.supplemental_groups_policy == 1 else "Merge",
        privileged=context.privileged,
        read_only_root=context.readonly_rootfs,
        add_capabilities=tuple(context.capabilities.add_capabilities),
        drop_capabilities=tuple(context.capabilities.drop_capabilities),
        no_new_privileges=context.no_new_privs,
        seccomp=_seccomp(context),
        apparmor=_apparmor(context),
        masked_paths=tuple(context.masked_paths),
        read_only_paths=tuple(context.readonly_paths),
    )


def _seccomp(context: Any) -> SeccompProfile:
    """What is said in the older field counts where the newer one is not set."""
    if context.HasField("seccomp"):
        kind, path = context.seccomp.profile_type, context.seccomp.localhost_ref
    else:
        kind, path = _older(context.seccomp_profile_path)
    if kind == _UNCONFINED:
        return UNCONFINED
    if kind == _RUNTIME_DEFAULT:
        return SeccompProfile("RuntimeDefault")
    if not path.startswith("/"):
        raise invalid(f"the seccomp profile {path!r} is not named by its whole path")
    return SeccompProfile("Localhost", path)


def _apparmor(context: Any) -> str:
    if context.HasField("apparmor"):
        kind, name = context.apparmor.profile_type, context.apparmor.localhost_ref
    elif context.apparmor_profile:
        kind, name = _older(context.apparmor_profile)
    else:
        return DEFAULT_SECURITY.apparmor
    return str(name) if kind == _LOCALHOST else "unconfined" if kind == _UNCONFINED else "runtime/default"


def _older(profile: str) -> tuple[int, str]:
    """As a kind and a name: `runtime/default`, `localhost/NAME`."""
    if profile in ("", "unconfined"):
        return _UNCONFINED, ""
    if profile in ("runtime/default", "docker/default"):
        return _RUNTIME_DEFAULT, ""
    if not profile.startswith("localhost/"):
        raise invalid(f"unsupported profile {profile!r}")
    return _LOCALHOST, profile.removeprefix("localhost/")


def _mount(number: int, mount: Any) -> Mount:
    """Raises `Refusal`."""
    path = mount.container_path
    if not path:
        raise invalid("a mount has no container_path")
    if mount.uidMappings or mount.gidMappings:
        raise invalid(f"mount {path}: mapped ids are not supported")
    if mount.mount_options:
        raise invalid(f"mount {path}: options are not supported")
    if mount.recursive_read_only and not mount.readonly:
        raise invalid(f"mount {path}: recursive read-only is for read-only mounts")
    if mount.recursive_read_only and mount.propagation != 0:
        raise invalid(f"mount {path}: recursive read-only mounts are private")
    image = mount.image.image if mount.HasField("image") else ""
    if image and not mount.readonly:
        raise invalid(f"mount {path}: an image is mounted read-only")
    if not image and not mount.host_path:
        raise invalid(f"mount {path} has neither a host_path nor an image")
    return Mount(
        name=f"mount-{number}",
        container_path=path,
        host_path=mount.host_path,
        read_only=mount.readonly,
        propagation=_PROPAGATIONS[mount.propagation],
        recursive_read_only=mount.recursive_read_only,
        image=image,
        image_path=mount.image_sub_path,
    )


def _device(device: Any) -> Device:
    return Device(device.host_path, device.container_path, device.permissions or "rwm")


def _log_path(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise invalid(f"the log path {path!r} is not below the sandbox's log directory")
    return path


def _text(entry: Any) -> str:
    try:
        return str(entry.value.decode() if isinstance(entry.value, bytes) else entry.value)
    except UnicodeDecodeError:
        raise invalid(f"the environment variable {entry.key} is not UTF-8") from None

"""What a container may do: the security context that the node agent has worked out, as a runtime is told it.

The words are those of the Kubernetes API and of CRI's `LinuxContainerSecurityContext`. The agent has decided: the pod's
and the container's contexts are one, names of profiles are paths, and whether a user that an image names may be root is
checked. A runtime carries it out or, where `RuntimeCapabilities.confinement` is not claimed, takes only `user` and
`group` and leaves the rest. It never carries out a part of it in silence: what it claims and cannot do here (AppArmor
on a kernel without it) is a `RuntimeFailure` when the container is created.
"""

from __future__ import annotations

from typing import Literal

import attrs

__all__ = [
    "DEFAULT_SECURITY",
    "HIDDEN_PATHS",
    "READ_ONLY_PATHS",
    "UNCONFINED",
    "IdMapping",
    "SeccompProfile",
    "SecurityContext",
]

#: What a container does not see, and what it cannot change, of the kernel's files: those of `proc_mount` `Default`.
HIDDEN_PATHS = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
    "/sys/firmware",
)  # fmt: skip
READ_ONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


@attrs.frozen
class SeccompProfile:
    """`path`: of the profile of a `Localhost` one, on this host, in the JSON that OCI runtimes read."""

    type: Literal["Unconfined", "RuntimeDefault", "Localhost"] = "Unconfined"
    path: str = ""


#: No filter at all, which is what a pod that asks for none gets.
UNCONFINED = SeccompProfile()


@attrs.frozen
class SecurityContext:
    """Of one container. Capabilities are named as in the API (`NET_ADMIN`, `ALL`), without `CAP_`."""

    user: int | None = None
    """None: the one that the image names, or root."""
    user_name: str = ""
    """Who it is by the image's `/etc/passwd`, where `user` is None."""
    group: int | None = None
    """None: the primary group of the user by the image's `/etc/passwd`, or root's."""
    supplemental_groups: tuple[int, ...] = ()
    """Further groups of the first process (with `fsGroup` among them)."""
    supplemental_groups_policy: Literal["Merge", "Strict"] = "Merge"
    """`Merge`: the groups that the image's `/etc/group` gives the user are added; `Strict`: they are not."""
    privileged: bool = False
    """All capabilities and devices, nothing masked or read-only, no seccomp, no AppArmor."""
    read_only_root: bool = False
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    """Of the runtime's default set `ALL` drops every one; what is added is added after."""
    no_new_privileges: bool = False
    """`allowPrivilegeEscalation: false`."""
    seccomp: SeccompProfile = UNCONFINED
    apparmor: str = ""
    """A profile's name that is loaded on this host, `unconfined`, or `runtime/default`; "": not asked for."""
    proc_mount: Literal["Default", "Unmasked"] = "Default"
    """`Unmasked`: nothing of `/proc` is hidden or read-only."""
    masked_paths: tuple[str, ...] | None = None
    read_only_paths: tuple[str, ...] | None = None
    """What is hidden, and what is read-only, of the whole root; None: as `proc_mount` says."""


#: What a container gets that asks for nothing.
DEFAULT_SECURITY = SecurityContext()


@attrs.frozen
class IdMapping:
    """Users (and groups) of a user namespace: `length` ids from 0 in it are those from `host_id` on the host."""

    host_id: int
    length: int = 65536

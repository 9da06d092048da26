"""Security contexts, of containers and of pods. Documented under "Configure a Security Context"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.fields import Path
from kube_core.registry.kinds.checks import Errors, one_of
from kube_core.registry.kinds.pods.paths import local_descending

__all__ = ["container_security", "pod_security"]

_LIMIT = 2**31 - 1
_PROFILE_LIMIT = 4095
_SYSCTL = re.compile(r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?", re.ASCII)
_SYSCTL_FORM = f"must have at most 253 characters and match regex ^{_SYSCTL.pattern}$"
_HOST_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")


def container_security(path: Path, context: Mapping[str, Any] | None, *, host_users: bool) -> Errors:
    if not context:
        return
    for name in ("runAsUser", "runAsGroup"):
        yield from _identifier(path.child(name), context.get(name))
    mount = context.get("procMount")
    if mount is not None:
        yield from one_of(path.child("procMount"), mount, ("Default", "Unmasked"))
        if mount == "Unmasked" and host_users:
            detail = "`hostUsers` must be false to use `Unmasked`"
            yield fields.invalid(path.child("procMount"), mount, detail)
    yield from _seccomp(path.child("seccompProfile"), context.get("seccompProfile"))
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            yield fields.invalid(path, dict(context), detail)
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            yield fields.invalid(path, dict(context), detail)
    yield from _app_armor(path.child("appArmorProfile"), context.get("appArmorProfile"))


def pod_security(path: Path, context: Mapping[str, Any], spec: Mapping[str, Any]) -> Errors:
    for name in ("fsGroup", "runAsUser", "runAsGroup") if context else ():
        yield from _identifier(path.child(name), context.get(name))
    for position, group in enumerate(context.get("supplementalGroups") or ()):
        yield from _identifier(path.child("supplementalGroups").index(position), group)
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        yield fields.invalid(path.child("shareProcessNamespace"), True, detail)
    if not context:
        return
    if context.get("sysctls"):
        yield from _sysctls(path.child("sysctls"), context["sysctls"], spec)
    policies = (
        ("fsGroupChangePolicy", ("Always", "OnRootMismatch")),
        ("supplementalGroupsPolicy", ("Merge", "Strict")),
        ("seLinuxChangePolicy", ("MountOption", "Recursive")),
    )
    for name, supported in policies:
        if context.get(name) is not None:
            yield from one_of(path.child(name), context[name], supported)
    yield from _seccomp(path.child("seccompProfile"), context.get("seccompProfile"))
    yield from _app_armor(path.child("appArmorProfile"), context.get("appArmorProfile"))


def _identifier(path: Path, number: int | None) -> Errors:
    if number is not None:
        for message in names.in_range(number, 0, _LIMIT):
            yield fields.invalid(path, number, message)


def _seccomp(path: Path, profile: Mapping[str, Any] | None) -> Errors:
    if profile is None:
        return
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    if kind == "Localhost":
        if local is None:
            yield fields.required(path.child("localhostProfile"), "must be set when seccomp type is Localhost")
        else:
            yield from local_descending(path.child("localhostProfile"), local)
    elif local is not None:
        detail = "can only be set when seccomp type is Localhost"
        yield fields.invalid(path.child("localhostProfile"), dict(profile), detail)
    if not kind:
        yield fields.required(path.child("type"), "type is required when seccompProfile is set")
    else:
        yield from one_of(path.child("type"), kind, ("Localhost", "RuntimeDefault", "Unconfined"))


def _app_armor(path: Path, profile: Mapping[str, Any] | None) -> Errors:
    if profile is None:
        return
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    here = path.child("localhostProfile")
    if not kind:
        yield fields.required(path.child("type"), "type is required when appArmorProfile is set")
    else:
        yield from one_of(path.child("type"), kind, ("Localhost", "RuntimeDefault", "Unconfined"))
    if kind == "Localhost":
        if not local:
            yield fields.required(here, "must be set when AppArmor type is Localhost")
        elif local.strip() != local:
            yield fields.invalid(here, local, "must not be padded with whitespace")
        if local and len(local) > _PROFILE_LIMIT:
            yield fields.too_long(here, _PROFILE_LIMIT)
    elif local is not None:
        yield fields.invalid(here, local, "can only be set when AppArmor type is Localhost")


def _sysctls(path: Path, sysctls: list[Mapping[str, Any]], spec: Mapping[str, Any]) -> Errors:
    seen: set[str] = set()
    for position, sysctl in enumerate(sysctls):
        here, name = path.index(position).child("name"), sysctl.get("name") or ""
        if not name:
            yield fields.required(here)
        elif len(name) > 253 or not _SYSCTL.fullmatch(name):
            yield fields.invalid(here, name, _SYSCTL_FORM)
        elif name in seen:
            yield fields.duplicate(here, name)
        if spec.get("hostNetwork") and name.startswith("net."):
            yield fields.invalid(here, name, "may not be specified when 'hostNetwork' is true")
        elif spec.get("hostIPC") and name.startswith(_HOST_IPC_SYSCTLS):
            yield fields.invalid(here, name, "may not be specified when 'hostIPC' is true")
        seen.add(name)

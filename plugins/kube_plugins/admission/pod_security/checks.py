"""The Pod Security Standards: what the levels `baseline` and `restricted` forbid, check by check.

Documented under "Pod Security Standards". A check looks at a pod's spec and annotations and tells what is wrong: the
reason, which is all that a warning about many pods has room for, and the detail. The restricted level includes the
baseline; some of its checks are stricter forms of one there and take its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

__all__ = ["Violation", "violations"]

Spec = Mapping[str, Any]
Check = Callable[[Spec, Mapping[str, str]], "Violation | None"]

_CAPABILITIES = frozenset(
    (
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    )
)
_SYSCTLS = frozenset(
    (
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
    )
)
_SELINUX_TYPES = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
_VOLUMES = frozenset(
    (
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    )
)
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"


@attrs.frozen
class Violation:
    """What one check found."""

    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


def violations(level: str, spec: Spec, annotations: Mapping[str, str]) -> list[Violation]:
    """Everything in a pod that a level forbids."""
    found = (check(spec, annotations) for check in _CHECKS[level])
    return [violation for violation in found if violation is not None]


# -- baseline --


def _apparmor(spec: Spec, annotations: Mapping[str, str]) -> Violation | None:
    found = [
        f'{name}="{value}"'
        for name, value in sorted(annotations.items())
        if name.startswith(_APPARMOR) and not (value in ("", "runtime/default") or value.startswith("localhost/"))
    ]
    if _type(_context(spec), "appArmorProfile") == "Unconfined":
        found.append('pod must not set AppArmor profile type to "Unconfined"')
    names = [each["name"] for each in _containers(spec) if _type(_context(each), "appArmorProfile") == "Unconfined"]
    if names:
        found.append(f'{_named(names)} must not set AppArmor profile type to "Unconfined"')
    if not found:
        return None
    return Violation("forbidden AppArmor profile" + ("s" if len(found) > 1 else ""), ", ".join(found))


def _baseline_capabilities(spec: Spec, annotations: Mapping[str, str]) -> Violation | None:
    detail = _added(spec, _CAPABILITIES)
    return Violation("non-default capabilities", detail) if detail else None


def _host_namespaces(spec: Spec, annotations: Mapping[str, str]) -> Violation | None:
    found = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    return Violation("host namespaces", ", ".join(found)) if found else None


def _host_path(spec: Spec, annotations: Mapping[str, str]) -> Violation | None:
    found = [volume["name"] for volume in spec.get("volumes") or () if volume.get("hostPath") is not None]
    return Violation("hostPath volumes", _named(found, "volume")) if found else None


def _host_ports(spec: Spec, annotations: Mapping[str, str]) -> Violation | None:
    names, ports = [], list[str]()
    for container in _containers(spec):
        used = [str(port["hostPort"]) for port in container.get("ports") or () if port.get("hostPort")]
        if used:
            names.append(container["name"])
            ports += [port for port in used if port not in ports]
    if not names:
        return None
    verb = "uses" if len(names) == 1 else "use"
    what = "hostPort" if len(ports) == 1 else "hostPorts"
    return Violation("hostPort", f"{_named(names)} {verb} {what} {', '.join(ports)}")


def _privileged(spec: Spec, annotations: Mapping[str, str]) -> Violation | None:
    names = [each["name"] for each in _containers(spec) if _context(each).get("privileged")]
    return Violation("privileged", f"{_named(names)} must not set securityContext.privileged=true") if names else None


def _proc_mount(spec: Spec, annotations: Mapping[str, str]) -> Violation | None:
    names = [each["name"] for each in _containers(spec) if _context(each).get("procMount") not in (None, "Default")]
    if not names or spec.get("hostUsers") is False:
        return None
    values = sorted({str(_context(each)["procMount"]) for each in _containers(spec) if each["name"] in names})
    quoted = ", ".join(f'"{value}"' for value in values)
    return Violation("procMount", f"{_named(names)} must not set securityContext.procMount to {quoted}")


def _selinux(spec: Spec, annotations: Mapping[str, str]) -> Violation | None:
    wrong: list[str] = []
    pod = _selinux_faults(_context(spec), wrong)
    names = [each["name"] for each in _containers(spec) if _selinux_faults(_context(each), wrong)]
    who = " and ".join(filter(None, ("pod" if pod else "", _named(names) if names else "")))
    if not who:
        return None
    verb = "set" if (pod and names) or len(names) > 1 else "sets"
    faults = "; ".join(dict.fromkeys(wrong))
    return Violation("seLinuxOptions", f"{who} {verb} forbidden securityContext.seLinuxOptions: {faults}")


def _selinux_faults(context: Spec, wrong: list[str]) -> bool:
    options = context.get("seLinuxOptions") or {}
    found = []
    if options.get("type", "") not in _SELINUX_TYPES:
        found.append(f'type "{options["type"]}"')
    found += [f"{name} may not be set" for name in ("user", "role") if options.get(name)]
    wrong += found
    return bool(found)


def _baseline_seccomp(spec: Spec, annotations: Mapping[str, str]) -> Violation | None:
    detail = _unconfined(spec)
    return Violation("seccompProfile", detail) if detail else None


def _sysctls(spec: Spec, annotations: Mapping[str, str]) -> Violation | None:
    found = [each["name"] for each in _context(spec).get("sysctls") or () if each["name"] not in _SYSCTLS]
    return Violation("forbidden sysctls", ", ".join(found)) if found else None


def _host_process(spec: Spec, annotations: Mapping[str, str]) -> Violation | None:
    who = []
    if (_context(spec).get("windowsOptions") or {}).get("hostProcess"):
        who.append("pod")
    names = [
        each["name"] for each in _containers(spec) if (_context(each).get("windowsOptions") or {}).get("hostProcess")
    ]
    who += [_named(names)] if names else []
    if not who:
        return None
    return Violation("hostProcess", f"{' and '.join(who)} must not set securityContext.windowsOptions.hostProcess=true")


# -- restricted --


def _escalation(spec: Spec, annotations: Mapping[str, str]) -> Violation | None:
    names = [each["name"] for each in _containers(spec) if _context(each).get("allowPrivilegeEscalation") is not False]
    if not names or _is_windows(spec):
        return None
    detail = f"{_named(names)} must set securityContext.allowPrivilegeEscalation=false"
    return Violation("allowPrivilegeEscalation != false", detail)


def _restricted_capabilities(spec: Spec, annotations: Mapping[str, str]) -> Violation | None:
    if _is_windows(spec):
        return None
    found = []
    names = [
        each["name"]
        for each in _containers(spec)
        if "ALL" not in ((_context(each).get("capabilities") or {}).get("drop") or ())
    ]
    if names:
        found.append(f'{_named(names)} must set securityContext.capabilities.drop=["ALL"]')
    added = _added(spec, {"NET_BIND_SERVICE"})
    found += [added] if added else []
    return Violation("unrestricted capabilities", "; ".join(found)) if found else None


def _restricted_volumes(spec: Spec, annotations: Mapping[str, str]) -> Violation | None:
    names, kinds = [], list[str]()
    for volume in spec.get("volumes") or ():
        kind = next((field for field in volume if field != "name"), "unknown")
        if kind not in _VOLUMES:
            names.append(volume["name"])
            kinds += [kind] if kind not in kinds else []
    if not names:
        return None
    verb = "uses" if len(names) == 1 else "use"
    what = "type" if len(kinds) == 1 else "types"
    quoted = ", ".join(f'"{kind}"' for kind in sorted(kinds))
    return Violation("restricted volume types", f"{_named(names, 'volume')} {verb} restricted volume {what} {quoted}")


def _run_as_non_root(spec: Spec, annotations: Mapping[str, str]) -> Violation | None:
    pod = _context(spec).get("runAsNonRoot")
    wanted = "securityContext.runAsNonRoot"
    refused = [each["name"] for each in _containers(spec) if _context(each).get("runAsNonRoot") is False]
    silent = [each["name"] for each in _containers(spec) if _context(each).get("runAsNonRoot") is None]
    details = []
    if pod is False and silent:
        details.append(f"pod must not set {wanted}=false")
    if refused:
        details.append(f"{_named(refused)} must not set {wanted}=false")
    if not details and pod is None and silent:
        details.append(f"pod or {_named(silent)} must set {wanted}=true")
    return Violation("runAsNonRoot != true", "; ".join(details)) if details else None


def _run_as_user(spec: Spec, annotations: Mapping[str, str]) -> Violation | None:
    if spec.get("hostUsers") is False:
        return None
    who = ["pod"] if _context(spec).get("runAsUser") == 0 else []
    names = [each["name"] for each in _containers(spec) if _context(each).get("runAsUser") == 0]
    who += [_named(names)] if names else []
    return Violation("runAsUser=0", f"{' and '.join(who)} must not set runAsUser=0") if who else None


def _restricted_seccomp(spec: Spec, annotations: Mapping[str, str]) -> Violation | None:
    if _is_windows(spec):
        return None
    details = [_unconfined(spec)] if _unconfined(spec) else []
    silent = [each["name"] for each in _containers(spec) if not _type(_context(each), "seccompProfile")]
    if silent and not _type(_context(spec), "seccompProfile"):
        allowed = '"RuntimeDefault" or "Localhost"'
        details.append(f"pod or {_named(silent)} must set securityContext.seccompProfile.type to {allowed}")
    return Violation("seccompProfile", "; ".join(details)) if details else None


# -- what checks share --


def _containers(spec: Spec) -> Iterator[Mapping[str, Any]]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(field) or ()


def _context(holder: Spec) -> Mapping[str, Any]:
    return holder.get("securityContext") or {}


def _type(context: Mapping[str, Any], profile: str) -> str:
    return str((context.get(profile) or {}).get("type") or "")


def _is_windows(spec: Spec) -> bool:
    return (spec.get("os") or {}).get("name") == "windows"


def _named(names: Sequence[str], what: str = "container") -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"{what}{'s' if len(names) > 1 else ''} {quoted}"


def _added(spec: Spec, allowed: Iterable[str]) -> str:
    names, capabilities = [], set[str]()
    for container in _containers(spec):
        extra = set((_context(container).get("capabilities") or {}).get("add") or ()) - set(allowed)
        if extra:
            names.append(container["name"])
            capabilities |= extra
    if not names:
        return ""
    quoted = ", ".join(f'"{name}"' for name in sorted(capabilities))
    return f"{_named(names)} must not include {quoted} in securityContext.capabilities.add"


def _unconfined(spec: Spec) -> str:
    who = ["pod"] if _type(_context(spec), "seccompProfile") == "Unconfined" else []
    names = [each["name"] for each in _containers(spec) if _type(_context(each), "seccompProfile") == "Unconfined"]
    who += [_named(names)] if names else []
    if not who:
        return ""
    return f'{" and ".join(who)} must not set securityContext.seccompProfile.type to "Unconfined"'


_BASELINE: tuple[Check, ...] = (
    _apparmor,
    _baseline_capabilities,
    _host_namespaces,
    _host_path,
    _host_ports,
    _privileged,
    _proc_mount,
    _selinux,
    _baseline_seccomp,
    _sysctls,
    _host_process,
)
_RESTRICTED: tuple[Check, ...] = (
    *(check for check in _BASELINE if check not in (_baseline_capabilities, _host_path, _baseline_seccomp)),
    _escalation,
    _restricted_capabilities,
    _restricted_volumes,
    _run_as_non_root,
    _run_as_user,
    _restricted_seccomp,
)
_CHECKS: Mapping[str, tuple[Check, ...]] = {"privileged": (), "baseline": _BASELINE, "restricted": _RESTRICTED}

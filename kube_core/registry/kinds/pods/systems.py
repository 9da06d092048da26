"""What a pod may say that names its operating system: fields of the other one are forbidden.

Documented under "Windows containers" (fields of the API and their compatibility).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kube_core.meta import fields
from kube_core.meta.fields import Path
from kube_core.registry.kinds.checks import Errors

__all__ = ["host_processes", "system"]

Part = Mapping[str, Any]

_NOT_WINDOWS = "cannot be set for a windows pod"
_NOT_LINUX = "windows options cannot be set for a linux pod"
_POD_FIELDS = ("hostUsers", "hostPID", "hostIPC", "shareProcessNamespace")
_POD_CONTEXT = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
)
_CONTAINER_CONTEXT = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
)


def system(path: Path, spec: Part) -> Errors:
    """`os` of a spec, and what must not be beside it."""
    name = (spec.get("os") or {}).get("name") or ""
    here = path.child("os")
    if not name:
        yield fields.required(here.child("name"))
    elif name == "linux":
        for where, context in ((path, spec.get("securityContext") or {}), *_contexts(path, spec)):
            spot = where.child("securityContext") if where is path else where
            if context.get("windowsOptions") is not None:
                yield fields.forbidden(spot.child("windowsOptions"), _NOT_LINUX)
    elif name == "windows":
        yield from _windows(path, spec)
    else:
        yield fields.not_supported(here, name, ["linux", "windows"])


def host_processes(path: Path, spec: Part) -> Errors:
    """Containers that are processes of a Windows host: all of a pod or none, and on the host's network."""
    pod = _host_process(spec.get("securityContext") or {})
    count = total = 0
    for where, context in _contexts(path, spec, all_containers=True):
        total += 1
        own = _host_process(context)
        if pod is not None and own is not None and pod != own:
            detail = f"pod hostProcess value must be identical if both are specified, was {str(pod).lower()}"
            yield fields.invalid(where.child("windowsOptions").child("hostProcess"), own, detail)
        count += bool(pod if own is None else own)
    if not count:
        return
    if count != total:
        detail = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        yield fields.invalid(path, "", detail)
    if not spec.get("hostNetwork"):
        detail = "hostNetwork must be true if pod contains any hostProcess containers"
        yield fields.invalid(path.child("hostNetwork"), False, detail)


def _windows(path: Path, spec: Part) -> Errors:
    for name in _POD_FIELDS:
        # The two flags count when they are true, the two choices when they are made.
        if spec.get(name) or (spec.get(name) is not None and name in ("hostUsers", "shareProcessNamespace")):
            yield fields.forbidden(path.child(name), _NOT_WINDOWS)
    context = spec.get("securityContext") or {}
    for name in _POD_CONTEXT:
        if context.get(name) is not None:
            yield fields.forbidden(path.child("securityContext").child(name), _NOT_WINDOWS)
    for where, own in _contexts(path, spec):
        for name in _CONTAINER_CONTEXT:
            if own.get(name) is not None:
                yield fields.forbidden(where.child(name), _NOT_WINDOWS)


def _contexts(path: Path, spec: Part, *, all_containers: bool = False) -> Iterator[tuple[Path, Part]]:
    """The security contexts of containers, with their places; `all_containers`: empty ones too."""
    for name in ("initContainers", "containers", "ephemeralContainers"):
        for position, container in enumerate(spec.get(name) or ()):
            context = container.get("securityContext")
            if context or all_containers:
                yield path.child(name).index(position).child("securityContext"), context or {}


def _host_process(context: Part) -> bool | None:
    found: bool | None = (context.get("windowsOptions") or {}).get("hostProcess")
    return found

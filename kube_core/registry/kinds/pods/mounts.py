"""Where volumes appear in a container: as directories (mounts) and as block devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kube_core.meta import fields
from kube_core.meta.fields import Path
from kube_core.registry.kinds.checks import Errors, one_of
from kube_core.registry.kinds.pods.paths import local_descending

__all__ = ["devices", "mounts"]

Volumes = Mapping[str, Mapping[str, Any]]


def mounts(path: Path, container: Mapping[str, Any], volumes: Volumes) -> Errors:
    """`volumes` are the pod's, by name."""
    block: Sequence[Mapping[str, Any]] = container.get("volumeDevices") or ()
    device_names = {device.get("name") for device in block}
    device_paths = {device.get("devicePath") for device in block}
    seen: set[str] = set()
    for position, mount in enumerate(container.get("volumeMounts") or ()):
        here = path.index(position)
        name, where = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            yield fields.required(here.child("name"))
        if name not in volumes:
            yield fields.not_found(here.child("name"), name)
        if not where:
            yield fields.required(here.child("mountPath"))
        if where in seen:
            yield fields.invalid(here.child("mountPath"), where, "must be unique")
        seen.add(where)
        if name in device_names:
            yield fields.invalid(here.child("name"), name, "must not already exist in volumeDevices")
        if where in device_paths:
            yield fields.invalid(here.child("mountPath"), where, "must not already exist as a path in volumeDevices")
        yield from _sub_paths(path, here, mount)
        yield from _propagation(path, mount, container)


def devices(path: Path, container: Mapping[str, Any], volumes: Volumes) -> Errors:
    mounted: Sequence[Mapping[str, Any]] = container.get("volumeMounts") or ()
    mount_names = {mount.get("name") for mount in mounted}
    mount_paths = {mount.get("mountPath") for mount in mounted}
    names: set[str] = set()
    paths: set[str] = set()
    for position, device in enumerate(container.get("volumeDevices") or ()):
        here = path.index(position)
        name, where = device.get("name") or "", device.get("devicePath") or ""
        if not name:
            yield fields.required(here.child("name"))
        if name in names:
            yield fields.invalid(here.child("name"), name, "must be unique")
        if name not in volumes:
            yield fields.not_found(here.child("name"), name)
        elif not volumes[name].keys() & {"persistentVolumeClaim", "ephemeral"}:
            detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            yield fields.invalid(here.child("name"), name, detail)
        if not where:
            yield fields.required(here.child("devicePath"))
        if where in paths:
            yield fields.invalid(here.child("devicePath"), where, "must be unique")
        if ".." in where.split("/"):
            yield fields.invalid(here.child("devicePath"), where, "can not contain backsteps ('..')")
        names.add(name)
        paths.add(where)
        if name in mount_names:
            yield fields.invalid(here.child("name"), name, "must not already exist in volumeMounts")
        if where in mount_paths:
            yield fields.invalid(here.child("devicePath"), where, "must not already exist as a path in volumeMounts")


def _sub_paths(path: Path, here: Path, mount: Mapping[str, Any]) -> Errors:
    # Upstream names the list here, not the mount.
    if mount.get("subPath"):
        yield from local_descending(path.child("subPath"), mount["subPath"])
    if mount.get("subPathExpr"):
        if mount.get("subPath"):
            detail = "subPathExpr and subPath are mutually exclusive"
            yield fields.invalid(here.child("subPathExpr"), mount["subPathExpr"], detail)
        yield from local_descending(path.child("subPathExpr"), mount["subPathExpr"])


def _propagation(path: Path, mount: Mapping[str, Any], container: Mapping[str, Any]) -> Errors:
    propagation = mount.get("mountPropagation")
    if propagation is not None:
        where = path.child("mountPropagation")
        yield from one_of(where, propagation, ("Bidirectional", "HostToContainer", "None"))
        if propagation == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
            detail = "Bidirectional mount propagation is available only to privileged containers"
            yield fields.forbidden(where, detail)
    recursive = mount.get("recursiveReadOnly")
    if recursive is None or recursive == "Disabled":
        return
    where = path.child("recursiveReadOnly")
    if recursive in ("Enabled", "IfPossible"):
        if not mount.get("readOnly"):
            yield fields.forbidden(where, "may only be specified when readOnly is true")
        if propagation not in (None, "None"):
            detail = "may only be specified when mountPropagation is None or not specified"
            yield fields.forbidden(where, detail)
    else:
        yield fields.not_supported(where, recursive, ["Disabled", "Enabled", "IfPossible"])

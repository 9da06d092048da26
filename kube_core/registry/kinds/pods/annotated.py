"""Annotations that once were fields of pods, and the few that still say something: their form, and that some stay.

Seccomp and AppArmor profiles were annotations before they were fields; where both are given, they must agree.
Documented under "Well-Known Labels, Annotations and Taints".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kube_core.meta import fields
from kube_core.meta.fields import Path
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.kinds.pods.paths import local_descending

__all__ = [
    "APP_ARMOR",
    "MIRROR",
    "SECCOMP_CONTAINER",
    "SECCOMP_POD",
    "changed_annotations",
    "pod_annotations",
    "profiles",
]

Part = Mapping[str, Any]

#: A pod that a node shows of one that it runs by itself.
MIRROR = "kubernetes.io/config.mirror"
APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_COST = re.compile("0|-?[1-9][0-9]*|-0+[0-9]*", re.ASCII)
_DEFAULTS = ("runtime/default", "docker/default")
_LOCAL = "localhost/"
_LISTS = ("initContainers", "containers", "ephemeralContainers")
#: By type of a profile: the values of an annotation that mean the same.
_SAME: Mapping[str, tuple[str, ...]] = {"Unconfined": ("unconfined",), "RuntimeDefault": _DEFAULTS}


def pod_annotations(path: Path, annotations: Mapping[str, str], spec: Part) -> Errors:
    """The annotations at `path` of a pod or template with this spec."""
    mirrored = annotations.get(MIRROR)
    if mirrored is not None and not spec.get("nodeName"):
        yield fields.invalid(path.key(MIRROR), mirrored, "must set spec.nodeName if mirror pod annotation is set")
    cost = annotations.get(_DELETION_COST)
    if cost is not None and not (_COST.fullmatch(cost) and -(2**31) <= int(cost) < 2**31):
        yield fields.invalid(path.key(_DELETION_COST), cost, "must be a 32bit integer")
    known = {container.get("name") for container in _containers(spec)}
    for key, value in annotations.items():
        if key == SECCOMP_POD or key.startswith(SECCOMP_CONTAINER):
            yield from _seccomp(path.child(key), value)
        elif key.startswith(APP_ARMOR):
            name = key.removeprefix(APP_ARMOR)
            if name not in known:
                yield fields.invalid(path.key(key), name, "container not found")
            if value not in ("", "runtime/default", "unconfined") and not value.startswith(_LOCAL):
                yield fields.invalid(path.key(key), value, f'invalid AppArmor profile name: "{value}"')


def changed_annotations(path: Path, new: Mapping[str, str], old: Mapping[str, str]) -> Errors:
    """What a change of a pod may not do to its annotations."""
    for kind, what in ((APP_ARMOR, "AppArmor annotations"), (MIRROR, "mirror pod annotation")):
        for key in sorted(new.keys() | old.keys()):
            if not key.startswith(kind) or new.get(key) == old.get(key):
                continue
            verb = "remove or update" if key in old else "add"
            yield fields.forbidden(path.key(key), f"may not {verb} {what}")


def profiles(path: Path, annotations: Mapping[str, str], spec: Part) -> Errors:
    """Profiles in annotations agree with those in the fields of the spec at `path`."""
    if not any(key.startswith((SECCOMP_POD, SECCOMP_CONTAINER, APP_ARMOR)) for key in annotations):
        return
    pod: Part = spec.get("securityContext") or {}
    here = path.child("securityContext").child("seccompProfile")
    yield from _agrees(here, pod.get("seccompProfile"), annotations.get(SECCOMP_POD), "seccomp")
    for name in _LISTS:
        for position, container in enumerate(spec.get(name) or ()):
            own: Part = container.get("securityContext") or {}
            here = path.child(name).index(position).child("securityContext")
            given = annotations.get(f"{SECCOMP_CONTAINER}{container.get('name')}")
            yield from _agrees(here.child("seccompProfile"), own.get("seccompProfile"), given, "seccomp")
            profile = own.get("appArmorProfile") or pod.get("appArmorProfile")
            given = annotations.get(f"{APP_ARMOR}{container.get('name')}")
            yield from _agrees(here.child("appArmorProfile"), profile, given, "apparmor")


def _agrees(path: Path, profile: Part | None, annotation: str | None, what: str) -> Errors:
    if profile is None or annotation is None:
        return
    kind = profile.get("type") or ""
    if kind == "Localhost":
        if not annotation.startswith(_LOCAL):
            yield fields.forbidden(path.child("type"), f"{what} type in annotation and field must match")
        elif annotation.removeprefix(_LOCAL) != profile.get("localhostProfile"):
            yield fields.forbidden(path.child("localhostProfile"), f"{what} profile in annotation and field must match")
    elif kind in _SAME and annotation not in _SAME[kind]:
        yield fields.forbidden(path.child("type"), f"{what} type in annotation and field must match")


def _seccomp(path: Path, value: str) -> Errors:
    if value.startswith(_LOCAL):
        yield from local_descending(path, value.removeprefix(_LOCAL))
    elif value not in (*_DEFAULTS, "unconfined"):
        yield fields.invalid(path, value, "must be a valid seccomp profile")


def _containers(spec: Part) -> Iterator[Part]:
    for name in _LISTS:
        yield from spec.get(name) or ()

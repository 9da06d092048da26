"""Warnings about pods and templates: what is accepted but surely not meant, or on its way out.

The texts are upstream's (`pkg/api/pod/warnings.go`; documented nowhere else), and so is their order. Pods are warned
of when they are created; people hardly change them. Templates are warned of where they changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kube_core.meta.documents import Document
from kube_core.meta.fields import Path
from kube_core.registry.kinds.pods.annotated import APP_ARMOR, SECCOMP_CONTAINER, SECCOMP_POD
from kube_core.registry.kinds.pods.overlaps import overlapping_paths
from kube_core.registry.kinds.warnings import (
    NODE_LABELS,
    fractional_bytes,
    node_selector_term,
    pod_names,
    unusual_address,
)

__all__ = ["pod_warnings", "template_warnings"]

Part = Mapping[str, Any]
#: A container, with the list that it is in and its place.
_Placed = tuple[str, Path, Part]

_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": 'non-functional in v1.16+; use the "priorityClassName" field instead',
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}
_SECCOMP = 'non-functional in v1.27+; use the "seccompProfile" field instead'
_APP_ARMOR = 'deprecated since v1.30; use the "appArmorProfile" field instead'
_VOLUMES = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
    "portworxVolume": "deprecated in v1.31, non-functional in v1.36+",
}
#: How messages call a volume's source, where not as the field.
_SOURCE_NAMES = {"storageos": "storageOS"}
_BYTES = ("memory", "ephemeral-storage")
_NOTHING_MATCHES = "a null labelSelector results in matching no pod"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


def pod_warnings(document: Document, old: Document | None) -> Sequence[str]:
    """Of a new Pod; nothing of a changed one."""
    if old is not None:
        return ()
    spec, annotations = document.get("spec") or {}, document["metadata"].get("annotations") or {}
    return [*pod_names(document, old, "the Pod's hostname"), *_all(Path(), spec, annotations)]


def template_warnings(path: str, template: Part, old: Part | None) -> Sequence[str]:
    """Of a template at `path`."""
    if old is not None and old == template:
        return ()
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    return list(_all(Path(path), template.get("spec") or {}, annotations))


def _all(path: Path, spec: Part, annotations: Mapping[str, str]) -> Iterator[str]:
    here, notes = path.child("spec"), path.child("metadata", "annotations")
    yield from _node_choice(here, spec)
    for key, message in _ANNOTATIONS.items() if annotations else ():
        if key in annotations:
            yield f"{notes.key(key)}: {message}"
    yield from _volumes(here.child("volumes"), spec.get("volumes") or ())
    yield from overlapping_paths(spec.get("volumes") or ())
    yield from _repeated(here.child("hostAliases"), spec.get("hostAliases") or (), "ip")
    yield from _repeated(here.child("imagePullSecrets"), spec.get("imagePullSecrets") or (), "name")
    for position, secret in enumerate(spec.get("imagePullSecrets") or ()):
        if not secret.get("name"):
            yield f'{here.child("imagePullSecrets").index(position).child("name")}: invalid empty name ""'
    if spec.get("overhead"):
        yield from fractional_bytes(here.child("overhead"), spec["overhead"], _BYTES)
    context = spec.get("securityContext") or {}
    if not context.get("seccompProfile") and SECCOMP_POD in annotations:
        yield f"{notes.key(SECCOMP_POD)}: {_SECCOMP}"
    listed = list(_containers(here, spec))
    for _, where, container in listed:
        if annotations:
            yield from _profiles(notes, container, annotations, context, is_template=bool(path.text))
        yield from _container(where, container)
    yield from _ports(listed)
    yield from _port_names(listed)
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        where = here.child("terminationGracePeriodSeconds")
        yield f"{where}: must be >= 0; negative values are invalid and will be treated as 1"
    if spec.get("affinity"):
        yield from _pod_affinity(here.child("affinity"), spec["affinity"])
    for position, server in enumerate((spec.get("dnsConfig") or {}).get("nameservers") or ()):
        yield from unusual_address(here.child("dnsConfig", "nameservers").index(position), server)
    for position, alias in enumerate(spec.get("hostAliases") or ()):
        yield from unusual_address(here.child("hostAliases").index(position).child("ip"), alias.get("ip") or "")


def _node_choice(path: Path, spec: Part) -> Iterator[str]:
    for key in spec.get("nodeSelector") or {}:
        if key in NODE_LABELS:
            yield f"{path.child('nodeSelector').key(key)}: {NODE_LABELS[key]}"
    nodes = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    here = path.child("affinity", "nodeAffinity")
    for position, term in enumerate((nodes.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ()):
        yield from node_selector_term(here.child(_REQUIRED, "nodeSelectorTerms").index(position), term)
    for position, weighted in enumerate(nodes.get(_PREFERRED) or ()):
        where = here.child(_PREFERRED).index(position).child("preference")
        yield from node_selector_term(where, weighted.get("preference") or {}, values_checked=True)
    for position, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        where, key = path.child("topologySpreadConstraints").index(position), constraint.get("topologyKey") or ""
        if key in NODE_LABELS:
            yield f"{where.child('topologyKey')}: {key} is {NODE_LABELS[key]}"
        if constraint.get("labelSelector") is None:
            yield f"{where.child('labelSelector')}: {_NOTHING_MATCHES}"


def _volumes(path: Path, volumes: Sequence[Part]) -> Iterator[str]:
    for position, volume in enumerate(volumes):
        if not volume.keys().isdisjoint(_VOLUMES):
            for name, message in _VOLUMES.items():
                if volume.get(name) is not None:
                    yield f"{path.index(position).child(_SOURCE_NAMES.get(name, name))}: {message}"
        claim = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
        if claim is not None:
            where = path.index(position).child("ephemeral", "volumeClaimTemplate", "spec", "resources")
            resources = (claim.get("spec") or {}).get("resources") or {}
            for kind in ("requests", "limits"):
                yield from fractional_bytes(where.child(kind), resources.get(kind), ("storage",))


def _repeated(path: Path, items: Sequence[Part], name: str) -> Iterator[str]:
    seen: set[str] = set()
    for position, item in enumerate(items):
        value = item.get(name) or ""
        if value in seen:
            yield f'{path.index(position).child(name)}: duplicate {name} "{value}"'
        seen.add(value)


def _containers(path: Path, spec: Part) -> Iterator[_Placed]:
    for name in _CONTAINERS:
        for position, container in enumerate(spec.get(name) or ()):
            yield name, path.child(name).index(position), container


def _profiles(
    notes: Path, container: Part, annotations: Mapping[str, str], pod: Part, *, is_template: bool
) -> Iterator[str]:
    own = container.get("securityContext") or {}
    key = f"{SECCOMP_CONTAINER}{container.get('name')}"
    if not own.get("seccompProfile") and key in annotations:
        yield f"{notes.key(key)}: {_SECCOMP}"
    key = f"{APP_ARMOR}{container.get('name')}"
    if key in annotations and not (own.get("appArmorProfile") or (is_template and pod.get("appArmorProfile"))):
        yield f"{notes.key(key)}: {_APP_ARMOR}"


def _container(path: Path, container: Part) -> Iterator[str]:
    resources = container.get("resources") or {}
    for name in _BYTES if resources else ():
        for kind in ("limits", "requests"):
            yield from fractional_bytes(path.child("resources", kind), resources.get(kind), (name,))
    seen: set[str] = set()
    for position, variable in enumerate(container.get("env") or ()):
        name, value = variable.get("name") or "", variable.get("value") or ""
        reference = f"$({name})"
        hides = variable.get("valueFrom") is not None or value == reference or reference not in value
        if name in seen and hides:
            where = path.child("env").index(position)
            yield f'{where}: hides previous definition of "{name}", which may be dropped when using apply'
        seen.add(name)


def _ports(containers: Sequence[_Placed]) -> Iterator[str]:
    """One port of a pod by two names: harmless, odd, or, where only one names the host's address, dangerous."""
    known: dict[tuple[Any, Any], list[tuple[Path, str, int]]] = {}
    for _, container_path, container in containers:
        for position, port in enumerate(container.get("ports") or ()):
            here = container_path.child("ports").index(position)
            address, number = port.get("hostIP") or "", port.get("hostPort") or 0
            if address and not number:
                yield f"{here}: hostIP set without hostPort: {_shown(port)}"
            alike = known.setdefault((port.get("containerPort"), port.get("protocol")), [])
            for other, other_address, other_number in alike:
                if (address, number) == (other_address, other_number):
                    yield f"{here}: duplicate port definition with {other}"
                elif not number or not other_number:
                    yield f"{here}: overlapping port definition with {other}"
                elif number == other_number and bool(address) != bool(other_address):
                    yield f"{here}: dangerously ambiguous port definition with {other}"
            alike.append((here, address, number))


def _port_names(containers: Sequence[_Placed]) -> Iterator[str]:
    """Names of ports that two containers have which run side by side."""
    known: dict[str, Path] = {}
    for kind, container_path, container in containers:
        if kind == "initContainers" and container.get("restartPolicy") != "Always":
            continue
        for position, port in enumerate(container.get("ports") or ()):
            here, name = container_path.child("ports").index(position), port.get("name") or ""
            if not name:
                continue
            other = known.setdefault(name, here)
            if other is not here:
                yield (
                    f'{here}: duplicate port name "{name}" with {other}, services and probes that select ports by '
                    f"name will use {other}"
                )


def _shown(port: Part) -> str:
    """As Go's `%+v` shows it."""
    fields = ("name", "hostPort", "containerPort", "protocol", "hostIP")
    zero = {"hostPort": 0, "containerPort": 0}
    return (
        "{" + " ".join(f"{name[0].upper()}{name[1:]}:{port.get(name) or zero.get(name, '')}" for name in fields) + "}"
    )


def _pod_affinity(path: Path, affinity: Part) -> Iterator[str]:
    for kind in ("podAffinity", "podAntiAffinity"):
        pods = affinity.get(kind) or {}
        for position, term in enumerate(pods.get(_REQUIRED) or ()):
            if term.get("labelSelector") is None:
                yield f"{path.child(kind, _REQUIRED).index(position).child('labelSelector')}: {_NOTHING_MATCHES}"
        for position, weighted in enumerate(pods.get(_PREFERRED) or ()):
            if (weighted.get("podAffinityTerm") or {}).get("labelSelector") is None:
                where = path.child(kind, _PREFERRED).index(position).child("podAffinityTerm", "labelSelector")
                yield f"{where}: {_NOTHING_MATCHES}"

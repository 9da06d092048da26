"""Warnings about pods and templates: what is accepted but surely not meant, or on its way out.

The texts are upstream's (`pkg/api/pod/warnings.go` documents none of them elsewhere). Repeated for an update only where
the spec changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kube_core.meta import quantities
from kube_core.meta.documents import Document

__all__ = ["pod_warnings", "template_warnings"]

Part = Mapping[str, Any]

_NODE_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
}
_VOLUMES = {
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "portworxVolume": "deprecated in v1.31, non-functional in v1.36+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
}


def pod_warnings(document: Document, old: Document | None) -> Sequence[str]:
    """Of a Pod: every warning on creation, and where its spec changed."""
    if old is not None and old.get("spec") == document.get("spec"):
        return ()
    return list(_spec("spec", document.get("spec") or {}))


def template_warnings(path: str, template: Part, old: Part | None) -> Sequence[str]:
    """Of a template at `path`."""
    if old is not None and old == template:
        return ()
    return list(_spec(f"{path}.spec", template.get("spec") or {}))


def _spec(path: str, spec: Part) -> Iterator[str]:
    for key in spec.get("nodeSelector") or {}:
        if key in _NODE_LABELS:
            yield f"{path}.nodeSelector[{key}]: {_NODE_LABELS[key]}"
    seen: set[str] = set()
    for position, alias in enumerate(spec.get("hostAliases") or ()):
        if alias.get("ip") in seen:
            yield f"{path}.hostAliases[{position}].ip: duplicate ip; {alias['ip']} may be dropped when using apply"
        seen.add(alias.get("ip") or "")
    for position, secret in enumerate(spec.get("imagePullSecrets") or ()):
        if not secret.get("name"):
            yield f"{path}.imagePullSecrets[{position}].name: invalid empty name {_quoted('')}"
    for position, volume in enumerate(spec.get("volumes") or ()):
        for name in volume:
            if name in _VOLUMES:
                yield f"{path}.volumes[{position}].{name}: {_VOLUMES[name]}"
    for name in ("initContainers", "containers"):
        for position, container in enumerate(spec.get(name) or ()):
            yield from _container(f"{path}.{name}[{position}]", container)
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        yield (
            f"{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        )


def _container(path: str, container: Part) -> Iterator[str]:
    for kind in ("limits", "requests"):
        for name, text in sorted(((container.get("resources") or {}).get(kind) or {}).items()):
            if name in ("memory", "ephemeral-storage") and not quantities.parse(text).is_whole:
                yield f'{path}.resources.{kind}[{name}]: fractional byte value "{text}" is invalid, must be an integer'
    variables: dict[str, str] = {}
    for position, variable in enumerate(container.get("env") or ()):
        name, value = variable.get("name") or "", variable.get("value") or ""
        if name in variables and f"$({name})" not in value:
            yield (
                f'{path}.env[{position}]: hides previous definition of "{name}", which may be dropped when using apply'
            )
        variables[name] = value
    ports: dict[tuple[Any, ...], int] = {}
    for position, port in enumerate(container.get("ports") or ()):
        key = tuple(port.get(name) for name in ("containerPort", "protocol", "hostPort", "hostIP"))
        if key in ports:
            yield f"{path}.ports[{position}]: duplicate port definition with {path}.ports[{ports[key]}]"
        ports.setdefault(key, position)


def _quoted(text: str) -> str:
    return f'"{text}"'

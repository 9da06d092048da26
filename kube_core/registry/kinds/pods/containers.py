"""Containers of a pod: regular, init and ephemeral ones, and what the three may have.

Documented under "Containers", "Init Containers", "Sidecar Containers" and "Ephemeral Containers".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import attrs

from kube_core.meta import fields, names
from kube_core.meta.fields import Path
from kube_core.registry.kinds.checks import Errors, given, named, one_of, port_number
from kube_core.registry.kinds.pods import environment, mounts, probes, resources, security

__all__ = ["Surroundings", "containers"]

Part = Mapping[str, Any]

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
PROTOCOLS = ("SCTP", "TCP", "UDP")
RESTART_POLICIES = ("Always", "Never", "OnFailure")
_ONLY_SIDECARS = "may not be set for init containers without restartPolicy=Always"
_NOT_EPHEMERAL = "cannot be set for an Ephemeral Container"
_EPHEMERAL_LACKS = ("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resizePolicy")


@attrs.frozen
class Surroundings:
    """What a container's rules depend on: its pod's volumes and claims by name, grace period, user namespace and
    restart policy."""

    volumes: Mapping[str, Part]
    claims: Collection[str]
    grace: int | None
    host_users: bool
    restarts: str


def containers(path: Path, spec: Part, surroundings: Surroundings) -> Errors:
    """All containers of a pod's spec, at `path`."""
    regular: Sequence[Part] = spec.get("containers") or ()
    initial: Sequence[Part] = spec.get("initContainers") or ()
    ephemeral: Sequence[Part] = spec.get("ephemeralContainers") or ()
    yield from _regular(path.child("containers"), regular, surroundings)
    yield from _initial(path.child("initContainers"), initial, regular, surroundings)
    yield from _ephemeral(path.child("ephemeralContainers"), ephemeral, [*regular, *initial], surroundings)


def _regular(path: Path, listed: Sequence[Part], surroundings: Surroundings) -> Errors:
    if not listed:
        yield fields.required(path)
        return
    seen: set[str] = set()
    for position, container in enumerate(listed):
        here = path.index(position)
        yield from _common(here, container, surroundings)
        yield from _unique(here.child("name"), container, seen)
        if container.get("lifecycle"):
            yield from probes.lifecycle(here.child("lifecycle"), container["lifecycle"], surroundings.grace)
        yield from probes.probes(here, container, surroundings.grace)
        yield from _restart(here, container)
    yield from _host_ports(path, listed)


def _initial(path: Path, listed: Sequence[Part], regular: Sequence[Part], surroundings: Surroundings) -> Errors:
    seen = {container.get("name") or "" for container in regular}
    for position, container in enumerate(listed):
        here = path.index(position)
        yield from _common(here, container, surroundings)
        if container.get("name"):
            yield from _unique(here.child("name"), container, seen)
        yield from _initial_restart(here, container)
        if container.get("restartPolicy") == "Always":
            yield from probes.lifecycle(here.child("lifecycle"), container.get("lifecycle"), surroundings.grace)
            yield from probes.probes(here, container, surroundings.grace)
        else:
            for name in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
                if container.get(name) is not None:
                    yield fields.forbidden(here.child(name), _ONLY_SIDECARS)
        yield from _host_ports(path, [container], position)


def _ephemeral(path: Path, listed: Sequence[Part], others: Sequence[Part], surroundings: Surroundings) -> Errors:
    seen = {container.get("name") or "" for container in others}
    targets = frozenset(seen)
    for position, container in enumerate(listed):
        here = path.index(position)
        yield from _common(here, container, surroundings)
        yield from _unique(here.child("name"), container, seen)
        target = container.get("targetContainerName") or ""
        if target and target not in targets:
            yield fields.not_found(here.child("targetContainerName"), target)
        for name in _EPHEMERAL_LACKS:
            if container.get(name) is not None:
                yield fields.forbidden(here.child(name), _NOT_EPHEMERAL)
        if any((container.get("resources") or {}).get(name) for name in ("limits", "requests", "claims")):
            yield fields.forbidden(here.child("resources"), _NOT_EPHEMERAL)
        for index, mount in enumerate(container.get("volumeMounts") or ()):
            for name in ("subPath", "subPathExpr"):
                if mount.get(name):
                    yield fields.forbidden(here.child("volumeMounts").index(index).child(name), _NOT_EPHEMERAL)


def _common(path: Path, container: Part, surroundings: Surroundings) -> Errors:
    name = container.get("name") or ""
    if not name:
        yield fields.required(path.child("name"))
    else:
        yield from named(path.child("name"), name, names.dns1123_label)
    if not container.get("image"):
        yield fields.required(path.child("image"))
    policy = container.get("terminationMessagePolicy") or ""
    supported = ("File", "FallbackToLogsOnError")
    yield from one_of(path.child("terminationMessagePolicy"), policy, supported, ordered=True)
    yield from given(_ports, path, container, "ports")
    yield from given(environment.environment, path, container, "env")
    yield from given(environment.environment_from, path, container, "envFrom")
    yield from mounts.mounts(path.child("volumeMounts"), container, surroundings.volumes)
    if container.get("volumeDevices"):
        yield from mounts.devices(path.child("volumeDevices"), container, surroundings.volumes)
    yield from one_of(path.child("imagePullPolicy"), container.get("imagePullPolicy") or "", PULL_POLICIES)
    if container.get("resources"):
        yield from resources.requirements(path.child("resources"), container["resources"], surroundings.claims)
    if container.get("resizePolicy"):
        policies = container["resizePolicy"]
        yield from resources.resize_policy(path.child("resizePolicy"), policies, surroundings.restarts)
    if container.get("securityContext"):
        yield from security.container_security(
            path.child("securityContext"), container["securityContext"], host_users=surroundings.host_users
        )


def _unique(path: Path, container: Part, seen: set[str]) -> Errors:
    name = container.get("name") or ""
    if name in seen:
        yield fields.duplicate(path, name)
    seen.add(name)


def _initial_restart(path: Path, container: Part) -> Errors:
    """The rules of an initial container that has no policy are not looked at."""
    if container.get("restartPolicy") is not None:
        yield from _restart(path, container)
    elif container.get("restartPolicyRules"):
        detail = "must specify restartPolicy when restart rules are used"
        yield fields.required(path.child("restartPolicy"), detail)


def _restart(path: Path, container: Part) -> Errors:
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or ()
    if policy is not None:
        yield from one_of(path.child("restartPolicy"), policy, RESTART_POLICIES)
    elif rules:
        detail = "must specify restartPolicy when restart rules are used"
        yield fields.required(path.child("restartPolicy"), detail)
    if len(rules) > 20:
        yield fields.too_long(path.child("restartPolicyRules"), 20)
    for position, rule in enumerate(rules):
        here = path.child("restartPolicyRules").index(position)
        yield from one_of(here.child("action"), rule.get("action") or "", ("Restart", "RestartAllContainers"))
        codes = rule.get("exitCodes")
        if codes is None:
            yield fields.required(here.child("exitCodes"), "must be specified")
            continue
        yield from one_of(here.child("exitCodes").child("operator"), codes.get("operator") or "", ("In", "NotIn"))
        if len(codes.get("values") or ()) > 255:
            yield fields.too_long(here.child("exitCodes").child("values"), 255)


def _ports(path: Path, listed: Sequence[Part]) -> Errors:
    seen: set[str] = set()
    for position, port in enumerate(listed):
        here, name = path.index(position), port.get("name") or ""
        if name:
            if messages := names.port_name(name):
                for message in messages:
                    yield fields.invalid(here.child("name"), name, message)
            elif name in seen:
                yield fields.duplicate(here.child("name"), name)
            seen.add(name)
        if not port.get("containerPort"):
            yield fields.required(here.child("containerPort"))
        else:
            yield from port_number(here.child("containerPort"), port["containerPort"])
        if port.get("hostPort"):
            yield from port_number(here.child("hostPort"), port["hostPort"])
        yield from one_of(here.child("protocol"), port.get("protocol") or "", PROTOCOLS)


def _host_ports(path: Path, listed: Iterable[Part], first: int = 0) -> Errors:
    taken: set[str] = set()
    for position, container in enumerate(listed, first):
        for index, port in enumerate(container.get("ports") or ()):
            number = port.get("hostPort") or 0
            if not number:
                continue
            claim = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{number}"
            if claim in taken:
                yield fields.duplicate(path.index(position).child("ports").index(index).child("hostPort"), claim)
            taken.add(claim)

"""A pod's spec as a whole, and a new Pod. The parts are in the modules beside this one.

`validate_spec` is for pods and templates alike, in upstream's order (`ValidatePodSpec`); `validate_pod` adds what only
a Pod must obey.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, annotations_of, name_of
from kube_core.meta.fields import Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.checks import Errors, given, named, one_of
from kube_core.registry.kinds.pods import annotated, environment, network, resources, scheduling, security, systems
from kube_core.registry.kinds.pods.containers import Surroundings, containers
from kube_core.registry.kinds.pods.volumes import volumes
from kube_core.registry.kinds.rules import ValidationContext

__all__ = ["validate_images", "validate_pod", "validate_spec"]

Part = Mapping[str, Any]

METADATA = Path("metadata")
SPEC = Path("spec")
RESTART_POLICIES = ("Always", "OnFailure", "Never")
_INT32 = 2**31 - 1
_CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")
_NAME_RULES = (
    ("serviceAccountName", names.dns1123_subdomain),
    ("nodeName", names.dns1123_subdomain),
    ("hostname", names.dns1123_label),
    ("subdomain", names.dns1123_label),
    ("priorityClassName", names.dns1123_subdomain),
)


def validate_pod(document: Document, context: ValidationContext) -> Errors:
    """What is wrong with a new Pod, beyond its metadata."""
    spec: Part = document["spec"]
    yield from annotated.pod_annotations(METADATA.child("annotations"), annotations_of(document), spec)
    yield from validate_spec(SPEC, spec, context, pod_name=name_of(document), is_pod=True)
    yield from validate_images(spec)
    if spec.get("ephemeralContainers"):
        yield fields.forbidden(SPEC.child("ephemeralContainers"), "cannot be set on create")
    if spec.get("schedulingGates") and spec.get("nodeName"):
        detail = "cannot be set until all schedulingGates have been cleared"
        yield fields.forbidden(SPEC.child("nodeName"), detail)
    yield from annotated.profiles(SPEC, annotations_of(document), spec)
    if not spec.get("serviceAccountName"):
        for position, volume in enumerate(spec.get("volumes") or ()):
            for index, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
                if source.get("serviceAccountToken") is not None:
                    here = SPEC.child("volumes").index(position).child("projected").child("sources").index(index)
                    detail = "must not be specified when serviceAccountName is not set"
                    yield fields.forbidden(here.child("serviceAccountToken"), detail)


def validate_images(spec: Part) -> Errors:
    """Image names of real pods have no blanks around them; templates may, for whoever replaces them."""
    for name in _CONTAINER_LISTS[:2]:
        for position, container in enumerate(spec.get(name) or ()):
            image = container.get("image") or ""
            if image != image.strip():
                here = SPEC.child(name).index(position).child("image")
                yield fields.invalid(here, image, "must not have leading or trailing whitespace")


def validate_spec(
    path: Path, spec: Part, context: ValidationContext, *, pod_name: str = "", is_pod: bool = False
) -> Errors:
    """What is wrong with the spec of a pod or a template. `pod_name`: "" where it is not known yet."""
    listed: Sequence[Part] = spec.get("volumes") or ()
    usable: dict[str, Part] = {}
    yield from volumes(path.child("volumes"), listed, pod_name, usable)
    claims = [claim["name"] for claim in spec.get("resourceClaims") or () if claim.get("name")]
    yield from _claims(path.child("resourceClaims"), spec.get("resourceClaims") or (), pod_name)
    surroundings = Surroundings(
        volumes=usable,
        claims=claims,
        grace=spec.get("terminationGracePeriodSeconds"),
        host_users=spec.get("hostUsers") is not False,
        restarts=spec.get("restartPolicy") or "",
    )
    yield from containers(path, spec, surroundings)
    yield from resources.pod_resources(path.child("resources"), spec, claims)
    yield from one_of(path.child("restartPolicy"), spec.get("restartPolicy") or "", RESTART_POLICIES, ordered=True)
    policy = spec.get("dnsPolicy") or ""
    yield from network.dns_policy(path.child("dnsPolicy"), policy)
    yield from given(checks.labels, path, spec, "nodeSelector")
    yield from security.pod_security(path.child("securityContext"), spec.get("securityContext") or {}, spec)
    yield from _host_network(path, spec, is_pod=is_pod)
    yield from given(scheduling.affinity, path, spec, "affinity")
    yield from network.dns_config(path.child("dnsConfig"), spec.get("dnsConfig"), policy)
    yield from given(scheduling.readiness_gates, path, spec, "readinessGates")
    yield from given(scheduling.gates, path, spec, "schedulingGates")
    yield from given(scheduling.topology_spread, path, spec, "topologySpreadConstraints")
    yield from systems.host_processes(path, spec)
    yield from _host_users(path, spec)
    yield from _names(path, spec)
    seconds = spec.get("activeDeadlineSeconds")
    if seconds is not None:
        for message in names.in_range(seconds, 1, _INT32):
            yield fields.invalid(path.child("activeDeadlineSeconds"), seconds, message)
    yield from given(scheduling.tolerations, path, spec, "tolerations")
    yield from given(network.host_aliases, path, spec, "hostAliases")
    preemption = spec.get("preemptionPolicy")
    if preemption == "":
        yield fields.required(path.child("preemptionPolicy"))
    elif preemption is not None:
        yield from one_of(path.child("preemptionPolicy"), preemption, ("PreemptLowerPriority", "Never"), ordered=True)
    if spec.get("overhead"):
        yield from resources.overhead(path.child("overhead"), spec["overhead"])
    if spec.get("os") is not None:
        yield from systems.system(path, spec)
    named_volumes = {volume.get("name") or "": volume for volume in listed}
    for name in ("initContainers", "containers", "ephemeralContainers"):
        for position, container in enumerate(spec.get(name) or ()):
            variables = container.get("env") or ()
            yield from environment.file_volumes(path.child(name).index(position).child("env"), variables, named_volumes)


def _names(path: Path, spec: Part) -> Errors:
    for name, rule in _NAME_RULES:
        if spec.get(name):
            yield from named(path.child(name), spec[name], rule)
    override = spec.get("hostnameOverride")
    if override is not None:
        yield from network.hostname_override(path, override, spec)
    if spec.get("runtimeClassName") is not None:
        yield from named(path.child("runtimeClassName"), spec["runtimeClassName"], names.dns1123_subdomain)


def _host_network(path: Path, spec: Part, *, is_pod: bool) -> Errors:
    """On the host's network, a container's port is the host's port; a template may leave that to its pods' defaults."""
    if not spec.get("hostNetwork"):
        return
    for position, container in enumerate(spec.get("containers") or ()):
        for index, port in enumerate(container.get("ports") or ()):
            number = port.get("hostPort") or 0
            if (is_pod or number) and number != (port.get("containerPort") or 0):
                here = path.child("containers").index(position).child("ports").index(index).child("hostPort")
                detail = "must match `containerPort` when `hostNetwork` is true"
                yield fields.invalid(here, number, detail)


def _host_users(path: Path, spec: Part) -> Errors:
    if spec.get("hostUsers") is not False:
        return
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield fields.forbidden(path.child(name), "when `hostUsers` is false")
    for name in _CONTAINER_LISTS[:2]:
        for position, container in enumerate(spec.get(name) or ()):
            if container.get("volumeDevices"):
                here = path.child(name).index(position).child("volumeDevices")
                yield fields.forbidden(here, "when `hostUsers` is false")


def _claims(path: Path, listed: Sequence[Part], pod_name: str) -> Errors:
    seen: set[str] = set()
    for position, claim in enumerate(listed):
        here, name = path.index(position), claim.get("name") or ""
        if not name:
            yield fields.required(here.child("name"))
        elif name in seen:
            yield fields.duplicate(here.child("name"), name)
        else:
            yield from named(here.child("name"), name, names.dns1123_label)
        seen.add(name)
        given = [each for each in ("resourceClaimName", "resourceClaimTemplateName") if claim.get(each) is not None]
        both = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
        if len(given) > 1:
            yield fields.invalid(here, dict(claim), both)
        elif not given:
            yield fields.invalid(
                here, dict(claim), "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            )
        for each in given:
            yield from named(here.child(each), claim[each], names.dns1123_subdomain)

"""What is wrong with a Service, in upstream's order (`ValidateService`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.documents import Document
from kube_core.meta.fields import Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.checks import Errors, named, one_of
from kube_core.registry.kinds.rules import ValidationContext
from kube_core.registry.kinds.services.families import related_fields
from kube_core.registry.kinds.services.shape import (
    HEADLESS,
    Spec,
    cluster_ips,
    is_externally_accessible,
    is_headless,
    needs_cluster_ip,
    needs_health_check_port,
    ports,
)

__all__ = ["load_balancer_status", "validate_service", "validate_status", "validate_update"]

ANNOTATIONS = Path("metadata").child("annotations")
SPEC = Path("spec")
TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
PROTOCOLS = ("SCTP", "TCP", "UDP")
_KUBELET_PORT = 10250
_AFFINITY_LIMIT = 86400
_ONLY_LOAD_BALANCER = "may only be used when `type` is 'LoadBalancer'"
_ONCE = "may not change once set"
_SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
_TOPOLOGY_MODE = "service.kubernetes.io/topology-mode"
_TOPOLOGY_HINTS = "service.kubernetes.io/topology-aware-hints"


def validate_service(document: Document, context: ValidationContext) -> Errors:
    spec: Spec = document["spec"]
    kind = spec.get("type") or ""
    annotations: Mapping[str, str] = document["metadata"].get("annotations") or {}
    mode, hints = annotations.get(_TOPOLOGY_MODE), annotations.get(_TOPOLOGY_HINTS)
    if mode is not None and hints is not None and mode != hints:
        detail = f"must match annotations[{_TOPOLOGY_HINTS}] when both are specified"
        yield fields.invalid(ANNOTATIONS.key(_TOPOLOGY_MODE), mode, detail)
    if not ports(spec) and not is_headless(spec) and kind != "ExternalName":
        yield fields.required(SPEC.child("ports"))
    yield from _type(spec)
    yield from _ports(spec)
    yield from checks.labels(SPEC.child("selector"), spec.get("selector"))
    yield from _affinity(spec)
    if kind != "ExternalName":
        yield from related_fields(spec)
    for position, address in enumerate(spec.get("externalIPs") or ()):
        here = SPEC.child("externalIPs").index(position)
        messages = names.ip_address(address)
        for message in messages:
            yield fields.invalid(here, address, message)
        if not messages:
            yield from checks.non_special_ip(here, address, context)
    if not kind:
        yield fields.required(SPEC.child("type"))
    else:
        yield from one_of(SPEC.child("type"), kind, TYPES)
    yield from _node_ports(spec)
    yield from _load_balancer(spec, annotations)
    yield from _traffic(spec)


def validate_update(document: Document, old: Document, context: ValidationContext) -> Errors:
    spec, before = document["spec"], old["spec"]
    if needs_cluster_ip(spec) and needs_cluster_ip(before):
        yield from _cluster_ip_changes(spec, before)
        yield from _family_changes(spec, before)
    if spec.get("type") == before.get("type") == "LoadBalancer":
        new = spec.get("loadBalancerClass")
        if new != before.get("loadBalancerClass"):
            yield fields.invalid(SPEC.child("loadBalancerClass"), new, _ONCE)
    fixed = "healthCheckNodePort"
    if needs_health_check_port(spec) and needs_health_check_port(before) and spec.get(fixed) != before.get(fixed):
        yield fields.forbidden(SPEC.child(fixed), checks.IMMUTABLE)
    yield from validate_service(document, context)


def validate_status(document: Document) -> Errors:
    status = (document.get("status") or {}).get("loadBalancer") or {}
    yield from load_balancer_status(Path("status").child("loadBalancer"), status, document.get("spec") or {})


def load_balancer_status(path: Path, status: Mapping[str, Any], spec: Spec | None = None) -> Errors:
    """Where a load balancer or ingress answers. `spec`: of the Service whose it is."""
    ingress: Sequence[Mapping[str, Any]] = status.get("ingress") or ()
    if spec is not None and spec.get("type") != "LoadBalancer" and ingress:
        detail = "may only be used when `spec.type` is 'LoadBalancer'"
        yield fields.forbidden(path.child("ingress"), detail)
        return
    for position, entry in enumerate(ingress):
        here = path.child("ingress").index(position)
        if entry.get("ip"):
            yield from checks.ip(here.child("ip"), entry["ip"])
        mode = entry.get("ipMode")
        if spec is not None and mode is None and entry.get("ip"):
            yield fields.required(here.child("ipMode"), "must be specified when `ip` is set")
        elif mode is not None and not entry.get("ip"):
            yield fields.forbidden(here.child("ipMode"), "may not be specified when `ip` is not set")
        elif mode is not None:
            yield from one_of(here.child("ipMode"), mode, ("Proxy", "VIP"))
        if entry.get("hostname"):
            yield from named(here.child("hostname"), entry["hostname"], names.dns1123_subdomain)
            if not names.ip_address(entry["hostname"]):
                detail = "must be a DNS name, not an IP address"
                yield fields.invalid(here.child("hostname"), entry["hostname"], detail)


def _type(spec: Spec) -> Errors:
    kind = spec.get("type")
    if kind == "LoadBalancer":
        for position, port in enumerate(ports(spec)):
            if port.get("port") == _KUBELET_PORT:
                detail = "may not expose port 10250 externally since it is used by kubelet"
                yield fields.invalid(SPEC.child("ports").index(position), _KUBELET_PORT, detail)
    if kind in ("LoadBalancer", "NodePort") and is_headless(spec):
        detail = f"may not be set to 'None' for {kind} services"
        yield fields.invalid(SPEC.child("clusterIPs").index(0), HEADLESS, detail)
    if kind == "ExternalName":
        yield from related_fields(spec)
        name = (spec.get("externalName") or "").removesuffix(".")
        if name:
            yield from named(SPEC.child("externalName"), name, names.dns1123_subdomain)
        else:
            yield fields.required(SPEC.child("externalName"))


def _ports(spec: Spec) -> Errors:
    seen: set[str] = set()
    several = len(ports(spec)) > 1
    pairs: set[tuple[Any, Any]] = set()
    for position, port in enumerate(ports(spec)):
        here, name = SPEC.child("ports").index(position), port.get("name") or ""
        if several and not name:
            yield fields.required(here.child("name"))
        elif name:
            yield from named(here.child("name"), name, names.dns1123_label)
            if name in seen:
                yield fields.duplicate(here.child("name"), name)
            seen.add(name)
        yield from checks.port_number(here.child("port"), port.get("port") or 0)
        protocol = port.get("protocol") or ""
        if not protocol:
            yield fields.required(here.child("protocol"))
        else:
            yield from one_of(here.child("protocol"), protocol, PROTOCOLS)
        yield from checks.port(here.child("targetPort"), port.get("targetPort", 0))
        if port.get("appProtocol") is not None:
            yield from named(here.child("appProtocol"), port["appProtocol"], names.qualified_name)
        pair = protocol, port.get("port")
        if pair in pairs:
            yield fields.duplicate(here, {"protocol": protocol, "port": port.get("port") or 0})
        pairs.add(pair)


def _affinity(spec: Spec) -> Errors:
    affinity = spec.get("sessionAffinity") or ""
    if not affinity:
        yield fields.required(SPEC.child("sessionAffinity"))
        return
    yield from one_of(SPEC.child("sessionAffinity"), affinity, ("ClientIP", "None"))
    config, path = spec.get("sessionAffinityConfig"), SPEC.child("sessionAffinityConfig")
    if affinity == "None" and config is not None:
        detail = "must not be set when session affinity is None"
        yield fields.forbidden(path, detail)
    elif affinity == "ClientIP":
        client = (config or {}).get("clientIP")
        if client is None:
            yield fields.required(path, "when session affinity type is ClientIP")
            return
        seconds = client.get("timeoutSeconds") or 0
        if not 0 < seconds <= _AFFINITY_LIMIT:
            detail = f"must be greater than 0 and less than {_AFFINITY_LIMIT}"
            yield fields.invalid(path.child("clientIP").child("timeoutSeconds"), seconds, detail)


def _node_ports(spec: Spec) -> Errors:
    taken: set[tuple[Any, Any]] = set()
    for position, port in enumerate(ports(spec)):
        number = port.get("nodePort")
        if not number:
            continue
        here = SPEC.child("ports").index(position).child("nodePort")
        if spec.get("type") == "ClusterIP":
            yield fields.forbidden(here, "may not be used when `type` is 'ClusterIP'")
        if (port.get("protocol"), number) in taken:
            yield fields.duplicate(here, number)
        taken.add((port.get("protocol"), number))


def _load_balancer(spec: Spec, annotations: Mapping[str, str]) -> Errors:
    is_one = spec.get("type") == "LoadBalancer"
    ranges, path = spec.get("loadBalancerSourceRanges") or (), SPEC.child("LoadBalancerSourceRanges")
    if ranges and not is_one:
        yield fields.forbidden(path, _ONLY_LOAD_BALANCER)
    for position, each in enumerate(ranges):
        yield from named(path.index(position), each.strip(), names.cidr)
    if not ranges and _SOURCE_RANGES in annotations:
        yield from _annotated_ranges(annotations[_SOURCE_RANGES], is_one=is_one)
    allocates = spec.get("allocateLoadBalancerNodePorts")
    if allocates is not None and not is_one:
        yield fields.forbidden(SPEC.child("allocateLoadBalancerNodePorts"), _ONLY_LOAD_BALANCER)
    if allocates is None and is_one:
        yield fields.required(SPEC.child("allocateLoadBalancerNodePorts"))
    name = spec.get("loadBalancerClass")
    if name is not None:
        if not is_one:
            yield fields.forbidden(SPEC.child("loadBalancerClass"), _ONLY_LOAD_BALANCER)
        else:
            yield from named(SPEC.child("loadBalancerClass"), name, names.qualified_name)


def _annotated_ranges(text: str, *, is_one: bool) -> Errors:
    """The older form of `loadBalancerSourceRanges`."""
    path = ANNOTATIONS.key(_SOURCE_RANGES)
    if not is_one:
        yield fields.forbidden(path, _ONLY_LOAD_BALANCER)
    for each in text.split(",") if text.strip() else ():
        yield from named(path, each.strip(), names.cidr)


def _traffic(spec: Spec) -> Errors:
    external, path = spec.get("externalTrafficPolicy") or "", SPEC.child("externalTrafficPolicy")
    accessible = is_externally_accessible(spec)
    if accessible and not external:
        yield fields.required(path)
    elif not accessible and external:
        yield fields.invalid(path, external, "may only be set for externally-accessible services")
    elif external:
        yield from one_of(path, external, ("Cluster", "Local"))
    number, where = spec.get("healthCheckNodePort") or 0, SPEC.child("healthCheckNodePort")
    if not needs_health_check_port(spec):
        if number:
            detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
            yield fields.invalid(where, number, detail)
    elif number == 0:
        yield fields.required(where)
    else:
        yield from checks.port_number(where, number)
    internal = spec.get("internalTrafficPolicy")
    if internal is None:
        if needs_cluster_ip(spec):
            yield fields.required(SPEC.child("internalTrafficPolicy"))
    else:
        yield from one_of(SPEC.child("internalTrafficPolicy"), internal, ("Cluster", "Local"))
    distribution = spec.get("trafficDistribution")
    if distribution is not None:
        supported = ("PreferClose", "PreferSameZone", "PreferSameNode")
        yield from one_of(SPEC.child("trafficDistribution"), distribution, supported, ordered=True)


def _cluster_ip_changes(spec: Spec, before: Spec) -> Errors:
    new, old, path = list(cluster_ips(spec)), list(cluster_ips(before)), SPEC.child("clusterIPs")
    if old and not new:
        yield fields.invalid(path.index(0), new, "primary clusterIP can not be unset")
        return
    if old and new[0] != old[0]:
        yield fields.invalid(path.index(0), new, _ONCE)
    if len(old) == 2 and len(new) == 2 and new[1] != old[1]:
        yield fields.invalid(path.index(1), new, _ONCE)
    if len(old) > len(new) and spec.get("ipFamilyPolicy") != "SingleStack":
        detail = "must be set to 'SingleStack' when releasing the secondary clusterIP"
        yield fields.invalid(SPEC.child("ipFamilyPolicy"), spec.get("ipFamilyPolicy"), detail)


def _family_changes(spec: Spec, before: Spec) -> Errors:
    new, old, path = list(spec.get("ipFamilies") or ()), list(before.get("ipFamilies") or ()), SPEC.child("ipFamilies")
    # A headless service has no addresses that its families would have to fit.
    if is_headless(spec) or is_headless(before):
        return
    if old and not new:
        yield fields.invalid(path.index(0), new, "primary ipFamily can not be unset")
        return
    if old and new[0] != old[0]:
        yield fields.invalid(path.index(0), new, _ONCE)
    if len(old) == 2 and len(new) == 2 and new[1] != old[1]:
        yield fields.invalid(path.index(0), new, _ONCE)
    if len(old) > len(new) and spec.get("ipFamilyPolicy") != "SingleStack":
        detail = "must be set to 'SingleStack' when releasing the secondary ipFamily"
        yield fields.invalid(SPEC.child("ipFamilyPolicy"), spec.get("ipFamilyPolicy"), detail)

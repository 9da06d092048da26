"""The strategy of Services: defaults, what carries over between updates, warnings.

Addresses and ports are not made here but by `allocation.ServiceAllocator`, which the write path asks between
`prepare_for_…` and validation. Documented under "Service".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kube_core.meta import names
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.services import carrying, validation
from kube_core.registry.kinds.services.shape import is_externally_accessible, is_headless
from kube_core.registry.kinds.warnings import unusual_address

__all__ = ["ServiceStrategy"]

_AFFINITY_SECONDS = 3 * 60 * 60


class ServiceStrategy(BuiltinStrategy):
    returns_deleted = True

    def name_rule(self, name: str) -> names.Messages:
        return names.dns1123_label(name)

    def default(self, document: MutableDocument) -> None:
        spec: dict[str, Any] = document.setdefault("spec", {})
        if spec.setdefault("sessionAffinity", "None") == "None":
            spec.pop("sessionAffinityConfig", None)
        elif spec["sessionAffinity"] == "ClientIP":
            client = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
            client.setdefault("timeoutSeconds", _AFFINITY_SECONDS)
        kind = spec.setdefault("type", "ClusterIP")
        for port in spec.get("ports", ()):
            if port.get("targetPort") in (None, 0, ""):
                port["targetPort"] = port.get("port", 0)
        if is_externally_accessible(spec):
            spec.setdefault("externalTrafficPolicy", "Cluster")
        if kind in ("ClusterIP", "NodePort", "LoadBalancer"):
            spec.setdefault("internalTrafficPolicy", "Cluster")
        if kind == "LoadBalancer":
            spec.setdefault("allocateLoadBalancerNodePorts", True)
            for ingress in ((document.get("status") or {}).get("loadBalancer") or {}).get("ingress", ()):
                if ingress.get("ip"):
                    ingress.setdefault("ipMode", "VIP")

    def prepare_for_create(self, document: MutableDocument) -> None:
        super().prepare_for_create(document)
        carrying.sync_cluster_ips(document["spec"], None)

    def prepare_for_update(self, document: MutableDocument, old: Document) -> None:
        super().prepare_for_update(document, old)
        spec, before = document["spec"], old["spec"]
        carrying.keep_allocated(spec, before)
        carrying.sync_cluster_ips(spec, before)
        carrying.drop_unneeded(spec, before)

    def validate(self, document: Document) -> Iterable[FieldError]:
        return validation.validate_service(document, self.context)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        return validation.validate_update(document, old, self.context)

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        return validation.validate_status(document)

    def warnings(self, document: Document, old: Document | None = None) -> Sequence[str]:
        return list(_warnings(document["spec"]))

    def field_labels(self) -> Sequence[str]:
        return ("spec.clusterIP", "spec.type")

    def fields(self, document: Document) -> Mapping[str, str]:
        spec = document.get("spec") or {}
        return {"spec.clusterIP": spec.get("clusterIP") or "", "spec.type": spec.get("type") or ""}


def _warnings(spec: Mapping[str, Any]) -> Iterable[str]:
    kind = spec.get("type")
    if spec.get("externalIPs"):
        yield "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
    for name in ("clusterIPs", "externalIPs"):
        for position, address in enumerate(spec.get(name) or ()):
            yield from unusual_address(Path("spec").child(name).index(position), address)
    if spec.get("loadBalancerIP"):
        yield from unusual_address(Path("spec").child("loadBalancerIP"), spec["loadBalancerIP"])
    if kind != "ExternalName" and spec.get("externalName"):
        yield 'spec.externalName is ignored when spec.type is not "ExternalName"'
    if is_headless(spec):
        if spec.get("loadBalancerIP"):
            yield "spec.loadBalancerIP is ignored for headless services"
        if spec.get("externalIPs"):
            yield "spec.externalIPs is ignored for headless services"
        if spec.get("sessionAffinity") not in (None, "None"):
            yield "spec.SessionAffinity is ignored for headless services"
    if spec.get("trafficDistribution") == "PreferClose":
        yield 'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'

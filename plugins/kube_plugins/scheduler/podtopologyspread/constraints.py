"""Topology spread constraints that must hold (`whenUnsatisfiable: DoNotSchedule`).

For each constraint the pods that its selector means are counted in each domain (each value of the topology key among
the nodes that the pod may go to); a node is refused when its domain, with the pod, would have more than `maxSkew` pods
above the emptiest (upstream: "Pod Topology Spread Constraints").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from kube_core.api.nodeselectors import matches_selector
from kube_core.api.taints import tolerates
from kube_core.meta import selectors
from kube_core.meta.documents import is_deleting, labels_of
from kube_core.scheduler.nodes import NodeInfo
from kube_core.scheduler.pods import PodInfo

__all__ = ["Domains", "count_domains", "hard_constraints"]


@attrs.frozen
class Domains:
    """How many matching pods each domain has. `own`: 1 where the pod itself matches."""

    key: str
    max_skew: int
    counts: Mapping[str, int]
    least: int
    own: int

    def skew_with(self, domain: str) -> int:
        """The skew, were the pod to go to this domain."""
        return self.counts.get(domain, 0) + self.own - self.least


def hard_constraints(pod: PodInfo) -> list[Mapping[str, Any]]:
    return [
        each
        for each in pod.spec.get("topologySpreadConstraints") or ()
        if (each.get("whenUnsatisfiable") or "DoNotSchedule") == "DoNotSchedule"
    ]


def count_domains(constraint: Mapping[str, Any], pod: PodInfo, nodes: Iterable[NodeInfo]) -> Domains:
    key = str(constraint["topologyKey"])
    labels = labels_of(pod.document)
    selector = selectors.from_document(constraint.get("labelSelector"))
    alike = {each: labels[each] for each in constraint.get("matchLabelKeys") or () if each in labels}

    def counts_as(other: Mapping[str, str]) -> bool:
        return selector.matches(other) and alike.items() <= other.items()

    counts: dict[str, int] = {}
    for node in nodes:
        domain = node.labels.get(key)
        if domain is None or not _is_counted(constraint, pod, node):
            continue
        counts[domain] = counts.get(domain, 0) + sum(
            1
            for other in node.pods.values()
            if other.key.namespace == pod.key.namespace
            and not is_deleting(other.document)
            and counts_as(labels_of(other.document))
        )
    enough = len(counts) >= int(constraint.get("minDomains") or 1)
    return Domains(
        key=key,
        max_skew=int(constraint.get("maxSkew") or 1),
        counts=counts,
        least=min(counts.values(), default=0) if enough else 0,
        own=int(counts_as(labels)),
    )


def _is_counted(constraint: Mapping[str, Any], pod: PodInfo, node: NodeInfo) -> bool:
    """Whether a node belongs to the domains: by default those that the pod's affinity means, tainted or not."""
    if (constraint.get("nodeAffinityPolicy") or "Honor") == "Honor":
        selector: Mapping[str, str] = pod.spec.get("nodeSelector") or {}
        if not selector.items() <= node.labels.items():
            return False
        affinity = (pod.spec.get("affinity") or {}).get("nodeAffinity") or {}
        required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
        if required is not None and not matches_selector(required, node.labels, node.name):
            return False
    if constraint.get("nodeTaintsPolicy") == "Honor":
        tolerations = pod.spec.get("tolerations") or ()
        return all(tolerates(tolerations, taint) for taint in node.hard_taints)
    return True

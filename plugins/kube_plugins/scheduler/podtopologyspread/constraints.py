"""Topology spread constraints that a pod states itself.

For each constraint the pods that its selector means are counted in each domain (each value of the topology key among
the nodes that the pod may go to). One that must hold (`whenUnsatisfiable: DoNotSchedule`) refuses a node whose domain,
with the pod, would have more than `maxSkew` pods above the emptiest; one that is only preferred (`ScheduleAnyway`)
makes a node the better the fewer pods its domain has (upstream: "Pod Topology Spread Constraints").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from kube_core.api.nodeselectors import matches_selector
from kube_core.api.taints import tolerates
from kube_core.meta import selectors
from kube_core.meta.documents import is_deleting, labels_of
from kube_core.scheduler.nodes import NodeInfo
from kube_core.scheduler.pods import PodInfo

__all__ = ["Domains", "constraints_of", "count_domains", "preference"]


@attrs.define(eq=False)
class Domains:
    """How many matching pods each domain has. `own`: 1 where the pod itself matches."""

    key: str
    max_skew: int
    counts: dict[str, int]
    least_domains: int
    own: int
    counts_as: Callable[[PodInfo], bool]
    """Whether another pod is one that the constraint means."""

    @property
    def least(self) -> int:
        return min(self.counts.values(), default=0) if len(self.counts) >= self.least_domains else 0

    def skew_with(self, domain: str) -> int:
        """The skew, were the pod to go to this domain."""
        return self.counts.get(domain, 0) + self.own - self.least

    def moved(self, other: PodInfo, node: NodeInfo, sign: int) -> None:
        """Another pod would be on a node, or would not."""
        domain = node.labels.get(self.key)
        if domain in self.counts and self.counts_as(other):
            self.counts[domain] += sign


def constraints_of(pod: PodInfo, when_unsatisfiable: str) -> list[Mapping[str, Any]]:
    return [
        each
        for each in pod.spec.get("topologySpreadConstraints") or ()
        if (each.get("whenUnsatisfiable") or "DoNotSchedule") == when_unsatisfiable
    ]


def preference(counted: Sequence[Domains], nodes: Sequence[NodeInfo]) -> list[int | None]:
    """For each node how much there is in its domains: less is better; None for one that is in none.

    A constraint over many domains matters more than one over few, which never differ as much.
    """
    inside = [node for node in nodes if all(domains.key in node.labels for domains in counted)]
    weights = [math.log(len({node.labels[domains.key] for node in inside}) + 2) for domains in counted]
    sums: list[int | None] = []
    for node in nodes:
        if any(domains.key not in node.labels for domains in counted):
            sums.append(None)
            continue
        total = sum(
            domains.counts.get(node.labels[domains.key], 0) * weight + domains.max_skew - 1
            for domains, weight in zip(counted, weights, strict=True)
        )
        sums.append(round(total))
    return sums


def count_domains(constraint: Mapping[str, Any], pod: PodInfo, nodes: Iterable[NodeInfo]) -> Domains:
    key = str(constraint["topologyKey"])
    labels = labels_of(pod.document)
    selector = selectors.from_document(constraint.get("labelSelector"))
    alike = {each: labels[each] for each in constraint.get("matchLabelKeys") or () if each in labels}

    def means(other: Mapping[str, str]) -> bool:
        return selector.matches(other) and alike.items() <= other.items()

    def counts_as(other: PodInfo) -> bool:
        return (
            other.key.namespace == pod.key.namespace
            and not is_deleting(other.document)
            and means(labels_of(other.document))
        )

    counts: dict[str, int] = {}
    for node in nodes:
        domain = node.labels.get(key)
        if domain is None or not _is_counted(constraint, pod, node):
            continue
        counts[domain] = counts.get(domain, 0) + sum(1 for other in node.pods.values() if counts_as(other))
    return Domains(
        key=key,
        max_skew=int(constraint.get("maxSkew") or 1),
        counts=counts,
        least_domains=int(constraint.get("minDomains") or 1),
        own=int(means(labels)),
        counts_as=counts_as,
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

"""What a pod says of the pods that it wants to be near to, or far from: the terms, read once for each pod.

A term is about the pods that its selector means, in its own namespace, in those that it names, or in those whose labels
its `namespaceSelector` means; "near" is to be on nodes with the same value of the term's topology key.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from kube_core.meta import selectors
from kube_core.meta.documents import labels_of
from kube_core.meta.selectors import LabelSelector
from kube_core.scheduler.pods import PodInfo

__all__ = ["NamespaceLabels", "Term", "Terms", "terms_of"]

#: The labels of a namespace, by its name.
NamespaceLabels = Callable[[str], Mapping[str, str]]


@attrs.frozen(slots=True, eq=False)
class Term:
    """`weight` is 0 for one that must hold."""

    topology_key: str
    selector: LabelSelector
    namespaces: frozenset[str]
    namespace_selector: LabelSelector | None
    weight: int = 0

    def means(self, pod: PodInfo, namespace_labels: NamespaceLabels) -> bool:
        """Whether the pod is one that the term is about."""
        namespace = pod.key.namespace
        if namespace not in self.namespaces:
            selector = self.namespace_selector
            if selector is None or not selector.matches(namespace_labels(namespace)):
                return False
        return self.selector.matches(labels_of(pod.document))


@attrs.frozen(slots=True, eq=False)
class Terms:
    """All terms of a pod: what it wants near and what far, as it must be and as it would rather."""

    near: tuple[Term, ...] = ()
    far: tuple[Term, ...] = ()
    rather_near: tuple[Term, ...] = ()
    rather_far: tuple[Term, ...] = ()


_NONE = Terms()


def terms_of(pod: PodInfo) -> Terms:
    return _read(pod) if pod.demanding else _NONE


@functools.lru_cache(maxsize=4096)
def _read(pod: PodInfo) -> Terms:
    affinity = pod.spec.get("affinity") or {}
    near, far = affinity.get("podAffinity"), affinity.get("podAntiAffinity")
    namespace = pod.key.namespace
    return Terms(
        near=_required(near, namespace),
        far=_required(far, namespace),
        rather_near=_preferred(near, namespace),
        rather_far=_preferred(far, namespace),
    )


def _required(affinity: Mapping[str, Any] | None, namespace: str) -> tuple[Term, ...]:
    terms: Iterable[Mapping[str, Any]] = (affinity or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    return tuple(_term(each, namespace) for each in terms)


def _preferred(affinity: Mapping[str, Any] | None, namespace: str) -> tuple[Term, ...]:
    terms: Iterable[Mapping[str, Any]] = (affinity or {}).get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return tuple(_term(each["podAffinityTerm"], namespace, int(each.get("weight") or 0)) for each in terms)


def _term(document: Mapping[str, Any], namespace: str, weight: int = 0) -> Term:
    names, by_labels = document.get("namespaces") or (), document.get("namespaceSelector")
    return Term(
        topology_key=str(document.get("topologyKey") or ""),
        selector=selectors.from_document(document.get("labelSelector")),
        namespaces=frozenset(names if names or by_labels is not None else (namespace,)),
        namespace_selector=selectors.from_document(by_labels) if by_labels is not None else None,
        weight=weight,
    )

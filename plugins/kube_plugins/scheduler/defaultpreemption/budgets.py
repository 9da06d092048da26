"""Which victims of a preemption would be more than their disruption budgets allow.

Pure. Budgets do not forbid a preemption, they say whom to spare first (upstream: "Pod Priority and Preemption",
"PodDisruptionBudget is supported, but not guaranteed"). Victims are counted in their order, the most important first;
what an eviction has been allowed for already costs its budget nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kube_core.meta.documents import Document, labels_of, name_of, namespace_of
from kube_core.meta.selectors import SelectorError, from_document
from kube_core.scheduler.pods import PodInfo

__all__ = ["beyond_budgets"]


def beyond_budgets(victims: Sequence[PodInfo], budgets: Iterable[Document]) -> frozenset[str]:
    """The uids of the victims that no budget has room for."""
    left = [(budget, int((budget.get("status") or {}).get("disruptionsAllowed") or 0)) for budget in budgets]
    if not left:
        return frozenset()
    found: set[str] = set()
    for victim in victims:
        for position, (budget, allowed) in enumerate(left):
            if not _counts(budget, victim.document):
                continue
            left[position] = budget, allowed - 1
            if allowed <= 0:
                found.add(victim.uid)
    return frozenset(found)


def _counts(budget: Document, pod: Document) -> bool:
    if namespace_of(budget) != namespace_of(pod):
        return False
    try:
        selector = from_document((budget.get("spec") or {}).get("selector"))
    except SelectorError:
        return False
    if selector.is_everything or not selector.matches(labels_of(pod)):
        return False  # one that selects everything says nothing of anybody here
    return name_of(pod) not in ((budget.get("status") or {}).get("disruptedPods") or {})

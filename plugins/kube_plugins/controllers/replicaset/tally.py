"""How many pods of each sort every ReplicaSet has, kept from what the pods' watch tells.

A ReplicaSet of thousands of pods is reconciled at every few of their changes, nearly always only to count them. So they
are counted as they change: one entry of a table at each change, instead of all pods at each look. What the numbers
mean is in `status.py`; who looks at the pods themselves, and when, is the controller's outline.

What always holds: the tally of an owner is that of its pods in the informer's cache which have not ended, whatever the
order of events, repeats and leftovers. An owner of which there is none has an empty one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from kube_core.api import pods
from kube_core.api.types import ResourceType
from kube_core.meta.documents import Document, controller_of, is_deleting, labels_of, uid_of
from kube_plugins.controllers.adoption import owner_key

__all__ = ["Sort", "Tally", "sort_of", "sorted_out"]

_NOTHING: Mapping[Sort, int] = {}


@attrs.frozen
class Sort:
    """What counts about a pod that has not ended. One that is being deleted is not active."""

    labels: frozenset[tuple[str, str]]
    active: bool
    ready: bool


def sort_of(pod: Document) -> Sort | None:
    """None for a pod that has ended."""
    if pods.is_terminal(pod):
        return None
    return Sort(frozenset(labels_of(pod).items()), not is_deleting(pod), pods.is_ready(pod))


def sorted_out(found: Iterable[Document]) -> Mapping[Sort, int]:
    """How many of each sort there are among these pods."""
    sorts: dict[Sort, int] = {}
    for pod in found:
        sort = sort_of(pod)
        if sort is not None:
            sorts[sort] = sorts.get(sort, 0) + 1
    return sorts


class Tally:
    """Of all pods that `owners` control. `observe` is a handler of the pods' informer."""

    def __init__(self, owners: ResourceType) -> None:
        self._resource = owners
        #: By the pod's uid: whose it was counted as, and as what.
        self._counted: dict[str, tuple[str, Sort]] = {}
        self._owners: dict[str, dict[Sort, int]] = {}

    def of(self, owner: Document) -> Mapping[Sort, int]:
        """How many of its pods are of each sort. Read it before the next await."""
        return self._owners.get(uid_of(owner), _NOTHING)

    def observe(self, before: Document | None, after: Document | None) -> None:
        """A pod came, changed or went."""
        pod = after if after is not None else before
        if pod is None:
            return
        uid = uid_of(pod)
        counted, now = self._counted.get(uid), self._place_of(after)
        if counted == now:
            return
        if counted is not None:
            del self._counted[uid]
            owner, sort = counted
            sorts = self._owners[owner]
            sorts[sort] -= 1
            if not sorts[sort]:
                del sorts[sort]
            if not sorts:
                del self._owners[owner]
        if now is not None:
            self._counted[uid] = now
            owner, sort = now
            sorts = self._owners.setdefault(owner, {})
            sorts[sort] = sorts.get(sort, 0) + 1

    def _place_of(self, pod: Document | None) -> tuple[str, Sort] | None:
        if pod is None or owner_key(pod, self._resource) is None:
            return None
        sort, reference = sort_of(pod), controller_of(pod)
        return (str(reference.get("uid")), sort) if sort is not None and reference is not None else None

"""A quota counted from scratch: what its status should say, from all the objects of its namespace.

Pure; what one object uses is `kube_plugins.quota`'s, which admission charges by as well. A name that no served resource
answers to keeps the number that it had, if any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.meta import quantities
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.quantities import Quantity
from kube_plugins.quota.scopes import in_scope
from kube_plugins.quota.usage import counted_names, seconds_counted, usage_of

__all__ = ["Objects", "calculate_status", "differs", "hard_of", "until_recount"]

#: What there is in a quota's namespace, of each resource that the quota is about.
Objects = Mapping[ResourceType, Sequence[Document]]

_ZERO = quantities.parse(0)


def hard_of(quota: Document) -> Mapping[str, str]:
    """The limits, as they are written."""
    hard: Mapping[str, str] = quota["spec"].get("hard") or {}
    return hard


def calculate_status(quota: Document, objects: Objects, now: float, *, gives_back: bool = True) -> MutableDocument:
    """What the status should say. Unless it `gives_back`, no number becomes less than it is."""
    hard = hard_of(quota)
    used = {name: str(text) for name, text in ((quota.get("status") or {}).get("used") or {}).items() if name in hard}
    for resource, documents in objects.items():
        counted: dict[str, Quantity] = dict.fromkeys(counted_names(resource, hard), _ZERO)
        for document in documents:
            if not in_scope(quota, resource, document):
                continue
            usage = usage_of(resource, document, now)
            for name in counted:
                counted[name] += usage.get(name, _ZERO)
        if not gives_back:
            counted = {name: max(amount, quantities.parse(used.get(name, 0))) for name, amount in counted.items()}
        used |= {name: str(amount) for name, amount in counted.items()}
    return {"hard": {name: quantities.canonical(text) for name, text in hard.items()}, "used": used}


def differs(quota: Document, status: Document) -> bool:
    """Whether a status says other amounts than the quota's, however they are written."""
    before = quota.get("status") or {}
    return any(_amounts(before.get(part)) != _amounts(status[part]) for part in ("hard", "used"))


def until_recount(objects: Objects, now: float) -> float | None:
    """Seconds until a pod that is stuck in its end is no longer counted; None where there is none."""
    waits = (seconds_counted(pod, now) for pod in objects.get(resources.PODS, ()))
    return min((wait for wait in waits if wait is not None and wait >= 0), default=None)


def _amounts(listed: Mapping[str, str] | None) -> Mapping[str, Quantity] | None:
    return None if listed is None else {name: quantities.parse(text) for name, text in listed.items()}

"""How long a pod may stay on a tainted node. Pure planning.

Mirrors upstream's taint-based eviction ("Taints and Tolerations", "Taint based Evictions"): a pod that does not
tolerate one of its node's NoExecute taints goes at once; one that tolerates them for a while goes after the shortest
of the times that the tolerations in question give; without such times it stays.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from kube_core.api.taints import answers
from kube_core.meta.documents import Document

__all__ = ["no_execute_taints", "tolerated_for"]


def no_execute_taints(node: Document) -> Sequence[Document]:
    """The taints for which pods go."""
    taints: Iterable[Document] = (node.get("spec") or {}).get("taints") or ()
    return [taint for taint in taints if taint.get("effect") == "NoExecute"]


def tolerated_for(tolerations: Sequence[Document], taints: Sequence[Document]) -> float:
    """Seconds for which a pod may stay: 0.0 not at all, infinity without end.

    Of several tolerations that answer one taint, the first in the pod's list counts.
    """
    longest = math.inf
    for taint in taints:
        found = next((each for each in tolerations if answers(each, taint)), None)
        if found is None:
            return 0.0
        seconds = found.get("tolerationSeconds")
        if seconds is not None:
            longest = min(longest, max(float(seconds), 0.0))
    return longest

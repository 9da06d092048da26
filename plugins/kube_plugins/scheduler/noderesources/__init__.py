"""NodeResources: does the pod fit, and where does it fit best.

`Fit` refuses nodes that have not enough left of something that the pod requests, or no room for one more pod, and
prefers nodes of which least is requested (upstream's LeastAllocated). `BalancedAllocation` prefers nodes on which cpu
and memory would be used to a like degree. Scores count containers without requests as if they requested a little, so
that such pods spread too.
"""

from __future__ import annotations

from kube_plugins.scheduler.noderesources.balanced import BalancedAllocation
from kube_plugins.scheduler.noderesources.fit import Fit

__all__ = ["BalancedAllocation", "Fit"]

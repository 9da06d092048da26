"""When each node was last heard of: a renewal of its lease, or a write of its status.

Noted by the time at which we saw it, so that clocks need not agree: what is compared of a heartbeat is only whether it
is another than the last one. All moments are monotonic seconds. The controller is the one owner.
"""

from __future__ import annotations

import math

import attrs

from kube_core.control.conditions import condition_of
from kube_core.meta.documents import Document, name_of, uid_of
from kube_core.meta.times import parse_time
from kube_plugins.controllers.nodelifecycle import health

__all__ = ["Heartbeats"]


@attrs.define
class _Heard:
    uid: str
    moment: float
    renewed: str = ""
    posted: str = ""


class Heartbeats:
    """By node."""

    def __init__(self) -> None:
        self._heard: dict[str, _Heard] = {}

    def __contains__(self, node: str) -> bool:
        return node in self._heard

    def uid(self, node: str) -> str:
        """The uid under which a node was heard of; "" for one that was not."""
        found = self._heard.get(node)
        return found.uid if found is not None else ""

    def forget(self, node: str) -> None:
        self._heard.pop(node, None)

    def forgive(self, moment: float) -> None:
        """Every node counts as heard of now: it was not they who were silent."""
        for heard in self._heard.values():
            heard.moment = moment

    def hear_lease(self, name: str, lease: Document | None, moment: float) -> None:
        """Note what a node's lease says."""
        heard = self._heard.get(name)
        renewed = str(((lease or {}).get("spec") or {}).get("renewTime") or "")
        if heard is not None and renewed and renewed != heard.renewed:
            heard.renewed, heard.moment = renewed, moment

    def hear_node(self, node: Document, lease: Document | None, moment: float, now: float) -> None:
        """Note what the node says itself; one that is new counts from now, or from when it was made.

        `now`: the same as `moment`, in seconds since the epoch.
        """
        name, posted = name_of(node), _posted(node)
        heard = self._heard.get(name)
        if heard is None or heard.uid != uid_of(node):
            made = parse_time(str(node["metadata"]["creationTimestamp"])) if not posted else now
            self._heard[name] = heard = _Heard(uid_of(node), moment - max(now - made, 0.0), posted=posted)
        elif posted and posted != heard.posted:
            heard.posted, heard.moment = posted, moment
        self.hear_lease(name, lease, moment)

    def left(self, node: Document, moment: float) -> float:
        """Seconds until a node has been silent for too long; not positive where it has. It must have been heard of."""
        grace = health.GRACE_PERIOD if _posted(node) else health.STARTUP_GRACE_PERIOD
        found = self._heard.get(name_of(node))
        return grace - (moment - found.moment) if found is not None else math.inf


def _posted(node: Document) -> str:
    """When the node says that its condition Ready was looked at last; "" where it has none."""
    condition = condition_of(node, "Ready")
    return str(condition.get("lastHeartbeatTime") or condition.get("lastTransitionTime") or "") if condition else ""

"""Ids of the host for pods with users of their own (`hostUsers: false`): a block of 65,536 for each, no other pod's.

Blocks are never written down here: a sandbox's record says which it has, and outlives the node agent. What is kept is
only what was promised to a pod whose sandbox is still being made. A node begins to look at a block of its own, found by
where it keeps its state, because the nodes of one machine share its ids; the first block is the machine's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import attrs

from kube_core.abc.runtime import SandboxStatus
from kube_core.abc.security import IdMapping

__all__ = ["UserIds"]

_LENGTH = 65_536
#: Blocks that there are besides the machine's own; and how many a node has to itself, which are upstream's pods a node.
_BLOCKS = 65_534
_OF_NODE = 110


@attrs.define
class UserIds:
    """Of one node."""

    _promised: dict[str, int] = attrs.field(factory=dict)

    def take(self, uid: str, sandboxes: Iterable[SandboxStatus], place: str) -> IdMapping:
        """The block of a pod, the same as long as it has a sandbox. `place`: where the node keeps its state."""
        held = {each.config.uid: each.config.user_namespace.host_id for each in sandboxes if each.config.user_namespace}
        self._promised = {pod: first for pod, first in self._promised.items() if pod not in held}
        held |= self._promised
        if uid not in held:
            taken = set(held.values())
            start = int.from_bytes(hashlib.sha256(place.encode()).digest()[:4]) % (_BLOCKS // _OF_NODE) * _OF_NODE
            numbers = ((start + each) % _BLOCKS + 1 for each in range(_BLOCKS))
            held[uid] = self._promised[uid] = next(each * _LENGTH for each in numbers if each * _LENGTH not in taken)
        return IdMapping(held[uid], _LENGTH)

    def release(self, uid: str) -> None:
        """Nothing is to be made for the pod any more."""
        self._promised.pop(uid, None)

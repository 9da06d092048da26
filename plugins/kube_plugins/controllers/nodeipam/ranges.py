"""The cluster's range of pod addresses in equal parts, one for a node. Pure: who has which part, and which is next.

Parts are given out in order, and one that was given back is not given again before the others had their turn, so that
a new node's pods are not taken for those of a node that just went (as upstream's CIDR set does).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

__all__ = ["NODE_PREFIX", "NodeRanges", "RangeFull"]

#: Upstream's `--node-cidr-mask-size-ipv4` and `-ipv6`.
NODE_PREFIX = {4: 24, 6: 64}


class RangeFull(Exception):
    """Every node has to have a part of its own, and there is none left."""


class NodeRanges:
    """The parts of `cluster`, a CIDR. The controller is the one owner."""

    def __init__(self, cluster: str, prefix: int | None = None) -> None:
        self._cluster = ipaddress.ip_network(cluster)
        self._prefix = max(prefix or NODE_PREFIX[self._cluster.version], self._cluster.prefixlen)
        self._count = 1 << (self._prefix - self._cluster.prefixlen)
        self._used: set[int] = set()
        self._next = 0

    def occupy(self, cidr: str) -> None:
        """Somebody has these addresses. What is not of this cluster's range is nobody's business here."""
        self._used.update(self._parts(cidr))

    def release(self, cidr: str) -> None:
        """Nobody has them any more."""
        self._used.difference_update(self._parts(cidr))

    def allocate(self) -> str:
        """The next part that nobody has. Raises `RangeFull`."""
        for step in range(self._count):
            number = (self._next + step) % self._count
            if number not in self._used:
                self._used.add(number)
                self._next = (number + 1) % self._count
                return self._name(number)
        raise RangeFull

    def _name(self, number: int) -> str:
        size = 1 << (self._cluster.max_prefixlen - self._prefix)
        return f"{self._cluster.network_address + number * size}/{self._prefix}"

    def _parts(self, cidr: str) -> Iterator[int]:
        network = ipaddress.ip_network(cidr, strict=False)
        if network.version != self._cluster.version or not network.overlaps(self._cluster):
            return
        size = 1 << (self._cluster.max_prefixlen - self._prefix)
        begin = int(self._cluster.network_address)
        first = max(int(network.network_address) - begin, 0) // size
        last = (int(network.broadcast_address) - begin) // size
        yield from range(first, min(last, self._count - 1) + 1)

"""Handing out the addresses of one node's pod range, one for each sandbox.

What always holds: a sandbox has one address, asked twice it is the same; the first usable address is the node's own
and is never handed out; an address that was given back is the last to be used again, so that a connection meant for
a pod that is gone does not reach its successor.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from kube_core.abc.network import NetworkError

__all__ = ["AddressPool"]


class AddressPool:
    """The addresses of a range and who has them. Nothing here is stored: the owner keeps `assigned` where it likes."""

    def __init__(self, cidr: str, assigned: Mapping[str, str] | None = None, *, cursor: int = 0) -> None:
        """`assigned`: addresses by sandbox from an earlier life; those outside the range are left out."""
        try:
            self.network = ipaddress.ip_network(cidr)
        except ValueError as error:
            raise NetworkError(f"the pod range {cidr!r} is not a CIDR: {error}") from None
        if self.network.num_addresses < 4:
            raise NetworkError(f"the pod range {cidr} has no room for a pod")
        self.assigned: dict[str, str] = {
            sandbox: ip for sandbox, ip in (assigned or {}).items() if ipaddress.ip_address(ip) in self.network
        }
        self._used = set(self.assigned.values())
        self.cursor = cursor

    @property
    def node_address(self) -> str:
        """The first usable address."""
        return str(self.network.network_address + 1)

    def take(self, sandbox_id: str) -> str:
        """The sandbox's address, a new one if it has none. Raises `NetworkError` when the range is used up."""
        if (known := self.assigned.get(sandbox_id)) is not None:
            return known
        for ip in self._candidates():
            if ip not in self._used:
                self.assigned[sandbox_id] = ip
                self._used.add(ip)
                return ip
        raise NetworkError(f"no address is left in {self.network}: {len(self._used)} pods have one")

    def give_back(self, sandbox_id: str) -> bool:
        """Whether the sandbox had one."""
        ip = self.assigned.pop(sandbox_id, None)
        if ip is None:
            return False
        self._used.discard(ip)
        return True

    def _candidates(self) -> Iterable[str]:
        """Every pod address once, beginning after the one that was handed out last; moves the cursor along."""
        # Network address, the node's own, and the broadcast address are not for pods.
        count = self.network.num_addresses - 3
        for _ in range(count):
            offset = self.cursor % count
            self.cursor = offset + 1
            yield str(self.network.network_address + 2 + offset)

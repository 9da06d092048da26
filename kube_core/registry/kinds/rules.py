"""What validation needs to know of the cluster it runs in.

Built once, by whoever assembles the server, and handed to every strategy: no rule reads globals, or the time elsewhere.
"""

from __future__ import annotations

import ipaddress

import attrs

from kube_core._kit.clock import Clock, SystemClock

__all__ = ["UPSTREAM", "IPNetwork", "ValidationContext"]

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(ranges: tuple[str | IPNetwork, ...]) -> tuple[IPNetwork, ...]:
    return tuple(ipaddress.ip_network(each, strict=False) if isinstance(each, str) else each for each in ranges)


@attrs.frozen
class ValidationContext:
    """`exempt_ranges`: addresses that upstream refuses (loopback) and the network driver declares as its own."""

    exempt_ranges: tuple[IPNetwork, ...] = attrs.field(default=(), converter=_networks)
    clock: Clock = attrs.field(factory=SystemClock)

    def exempts(self, address: str) -> bool:
        """Whether a valid IP address lies in an exempt range."""
        if not self.exempt_ranges:
            return False
        found = ipaddress.ip_address(address)
        return any(found.version == network.version and found in network for network in self.exempt_ranges)


#: Upstream's rules without exception.
UPSTREAM = ValidationContext()

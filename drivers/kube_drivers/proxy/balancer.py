"""Which endpoint the next connection of a frontend goes to: round robin, or one for each client address.

What always holds: `candidates` gives each endpoint once, the preferred one first, so a caller that is refused goes on
to the next; a client that has an endpoint keeps it for `affinity_seconds` after its last connection, and gets another
one, for good, when its own has left the table or was passed over; a client that is not allowed has none. The memory
for clients is bounded: the client that was seen longest ago is forgotten first.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence

import attrs

from kube_core._kit.clock import Clock
from kube_core.abc.proxy import Endpoint

__all__ = ["Balancer", "BalancerState"]

_MOST_CLIENTS = 16_384


@attrs.frozen
class BalancerState:
    """Whose turn it is, and which clients have an endpoint, each with the seconds since its last connection."""

    turn: int
    clients: Mapping[str, tuple[Endpoint, float]]


class Balancer:
    """The choice for one frontend."""

    __slots__ = ("_affinity", "_allowed", "_clients", "_clock", "_networks", "_next", "endpoints")

    def __init__(self, clock: Clock, state: BalancerState | None = None) -> None:
        self._clock = clock
        self.endpoints: Sequence[Endpoint] = ()
        self._affinity = 0
        self._allowed: Sequence[str] = ()
        self._networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network] = ()
        self._next = 0
        self._clients: OrderedDict[str, tuple[Endpoint, float]] = OrderedDict()
        if state is not None:
            now = clock.monotonic()
            self._next = state.turn
            self._clients.update({client: (found, now - ago) for client, (found, ago) in state.clients.items()})

    def state(self) -> BalancerState:
        """What `__init__` takes to go on from here, on another clock too."""
        now = self._clock.monotonic()
        clients = {client: (found, now - seen) for client, (found, seen) in self._clients.items()}
        return BalancerState(self._next, clients)

    def update(self, endpoints: Sequence[Endpoint], affinity_seconds: int, allowed: Sequence[str] = ()) -> None:
        """What to choose from, from now on. `allowed`: networks of which clients have to be; () for any."""
        if allowed != self._allowed:
            self._allowed = allowed
            self._networks = [ipaddress.ip_network(each, strict=False) for each in allowed]
        self.endpoints = endpoints
        self._affinity = affinity_seconds
        if not affinity_seconds:
            self._clients.clear()

    def candidates(self, client: str) -> Iterator[Endpoint]:
        """Endpoints to try in turn for a new connection from an address. Call `chose` with the one that took it."""
        if self._networks and not self._admits(client):
            return
        endpoints = self.endpoints
        count = len(endpoints)
        if not count:
            return
        first = self._remembered(client) if self._affinity else None
        if first is not None:
            yield first
        start = self._next % count
        self._next = start + 1
        for offset in range(count):
            endpoint = endpoints[(start + offset) % count]
            if endpoint != first:
                yield endpoint

    def chose(self, client: str, endpoint: Endpoint) -> None:
        """The client's connection was taken by this endpoint."""
        if self._affinity:
            self._clients[client] = (endpoint, self._clock.monotonic())
            self._clients.move_to_end(client)
            if len(self._clients) > _MOST_CLIENTS:
                self._clients.popitem(last=False)

    def _admits(self, client: str) -> bool:
        try:
            address = ipaddress.ip_address(client)
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def _remembered(self, client: str) -> Endpoint | None:
        known = self._clients.get(client)
        if known is None:
            return None
        endpoint, seen = known
        if self._clock.monotonic() - seen >= self._affinity or endpoint not in self.endpoints:
            del self._clients[client]
            return None
        return endpoint

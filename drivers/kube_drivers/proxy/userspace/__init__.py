"""A service proxy of sockets: it listens on each service address and passes bytes on. Needs no root.

For networks whose service addresses can be bound on this host (the loopback network's). `proxy.py` reconciles,
`tcp.py` and `udp.py` carry the traffic.
"""

from __future__ import annotations

from kube_drivers.proxy.userspace.proxy import UserspaceProxy

__all__ = ["UserspaceProxy"]

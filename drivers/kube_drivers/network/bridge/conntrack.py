"""Forgetting connections that the kernel knows of: of UDP, where a port of the host leads somewhere else from now on.

Where a packet goes is decided once for each connection, and what UDP sends from one port to another is one for as long
as it goes on. So who was sending before a pod came, or goes on when another took its place, would never reach it.
Upstream's proxies do the same. Blocking; errors are `OSError`.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Collection

from kube_drivers.network.bridge.netlink import Netlink, nested, read_attributes

__all__ = ["forget_udp"]

_NETFILTER = 12
_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2  # of connection tracking
_DUMP = 0x301
#: A connection's tuple as it began, what of it is the protocol's, and of that.
_ORIGINAL, _PROTOCOL, _NUMBER, _DESTINATION = 1, 2, 1, 3


def forget_udp(ports: Collection[int]) -> None:
    """Forget all connections to these ports, whosever they are: the others are known again with their next packet."""
    if not ports:
        return
    head = struct.pack("BBH", socket.AF_INET, 0, 0)
    with Netlink(_NETFILTER) as kernel:
        known = [dict(read_attributes(body[4:])).get(_ORIGINAL, b"") for body in kernel.ask(_GET, _DUMP, head)]
        for connection in known:
            if _udp_port(connection) in ports:
                kernel.tell(_DELETE, 0, head + nested(_ORIGINAL, connection), (errno.ENOENT,))


def _udp_port(connection: bytes) -> int:
    """Where it goes; 0 for one of another protocol."""
    protocol = dict(read_attributes(dict(read_attributes(connection)).get(_PROTOCOL, b"")))
    if protocol.get(_NUMBER, b"\0")[0] != socket.IPPROTO_UDP:
        return 0
    port: int = struct.unpack("!H", protocol[_DESTINATION][:2])[0]
    return port

"""Owning a range of addresses on this machine, for as long as a program runs.

By an abstract unix socket: the kernel takes it back when the program ends, however it ends. So two clusters that came
upon one range get a clear error instead of each other's traffic.
"""

from __future__ import annotations

import errno
import socket
import sys

from kube_core.abc.network import NetworkError

__all__ = ["claim", "claim_range"]


def claim_range(driver: str, pod_cidr: str) -> socket.socket | None:
    """Own a node's pod range while the socket is open. Raises `NetworkError` when another program does."""
    try:
        return claim(driver, pod_cidr)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise NetworkError(f"the pod range {pod_cidr} cannot be claimed: {error.strerror}") from None
        raise NetworkError(
            f"the pod range {pod_cidr} is in use by another node on this machine; "
            "give this cluster another name, or another --pod-cidr and --service-cidr"
        ) from None


def claim(driver: str, name: str) -> socket.socket | None:
    """Own a name while the socket is open; None where there are no such sockets. Raises OSError (EADDRINUSE)."""
    if sys.platform != "linux":  # abstract sockets are Linux's own
        return None
    claimed = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claimed.bind(f"\0kube-core/{driver}/{name}")
    except OSError:
        claimed.close()
        raise
    return claimed

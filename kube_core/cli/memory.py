"""Finding a cluster that keeps nothing on disk: by an abstract unix socket that only lives as long as its process.

The socket's name holds the user and the cluster; the kernel tells who owns it, and takes it back however the process
ends. Abstract sockets are Linux's; elsewhere such a cluster is found by nobody but whoever started it.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kube_core.cli.state import StateError

__all__ = ["held", "names", "owner"]

_LINUX = sys.platform == "linux"


def _address(name: str) -> str:
    return f"\0kube-core-{os.getuid()}-{name}"


@contextmanager
def held(name: str) -> Iterator[None]:
    """Own the name while the block runs. Raises `StateError` when another process does."""
    if not _LINUX:
        yield
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as mark:
        try:
            mark.bind(_address(name))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise StateError(f"cluster {name!r} is running already (process {owner(name)})") from None
        mark.listen()
        yield


def owner(name: str) -> int:
    """The id of the process that runs the cluster in memory, 0 when none does."""
    if not _LINUX:
        return 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        try:
            asking.connect(_address(name))
        except OSError:
            return 0
        process, _, _ = struct.unpack("3i", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return int(process)


def names() -> Sequence[str]:
    """The clusters that run in memory now."""
    if not _LINUX:
        return ()
    prefix = f"@kube-core-{os.getuid()}-"
    lines = Path("/proc/net/unix").read_text().splitlines()
    paths = {line.rpartition(" ")[2] for line in lines}
    return sorted(path.removeprefix(prefix) for path in paths if path.startswith(prefix))

"""Who owns a database: an operating system's lock on a file beside it.

The lock goes with the process, however that ends, so nothing is ever left locked. The file says who holds it, for the
one who is refused. It holds within a process too: two stores on one database are two owners.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from pathlib import Path

from kube_core.abc.store import StoreBusy, StoreError

__all__ = ["Ownership"]


class Ownership:
    """The lock of one database, while it is held."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, database: Path) -> Ownership:
        """Raises `StoreBusy` when somebody else has it, `StoreError` when it cannot be had at all."""
        path = database.with_name(database.name + ".lock")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{database}: the store cannot be opened: {path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _text(descriptor) or "another process"
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise StoreBusy(f"{database} is in use by {holder}") from None
            raise StoreError(f"{database}: the store cannot be locked: {error.strerror}") from error
        # A full disk is no reason to refuse: the lock holds without the words.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} ({Path(sys.argv[0]).name or 'python'})\n".encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        """Let another have it. The file stays: to remove it would let two hold locks on two files of one name."""
        os.close(self._descriptor)


def _text(descriptor: int) -> str:
    return os.pread(descriptor, 200, 0).decode(errors="replace").strip()

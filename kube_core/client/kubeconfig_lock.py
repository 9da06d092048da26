"""The lock of a kubeconfig: the file `<path>.lock`, which whoever changes the kubeconfig makes and removes.

That is kubectl's rule, and its weakness is that the lock of a program that was killed stays for ever. Ours says whose
it is and is held with the system's own lock besides, which goes with the process however that ends; so one that we
left behind is known for certain and taken over. One of another program is waited for, a little, and never removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from kube_core._kit.clock import SystemClock

__all__ = ["locked"]

#: Seconds to wait for another program, which needs milliseconds; for one of us that is seen to be alive, and may have
#: many before it; and the step of looking.
_LIMIT = 2.0
_LIVING_LIMIT = 30.0
_STEP = 0.02
_OURS = b"kube-core"


class _Holder(Enum):
    NOBODY = "the file is gone now"
    LIVING = "one of us, who is at work"
    OTHER = "another program, of which nothing is known"


@contextlib.contextmanager
def locked(lock: Path, *, clock: SystemClock | None = None) -> Iterator[None]:
    """Hold the lock while the block runs; waits on this thread. Raises `FileExistsError`, or another `OSError`."""
    clock = clock or SystemClock()
    since = clock.monotonic()
    while (descriptor := _take(lock)) is None:
        holder = _look(lock)
        if clock.monotonic() - since > (_LIVING_LIMIT if holder is _Holder.LIVING else _LIMIT):
            raise FileExistsError(lock)
        if holder is not _Holder.NOBODY:
            clock.block(_STEP)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()
        os.close(descriptor)


def _take(lock: Path) -> int | None:
    """Make the file; None where there is one."""
    try:
        descriptor = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, b"%s (process %d)\n" % (_OURS, os.getpid()))
    except BlockingIOError:
        pass  # somebody is looking whether we are alive, and will see that we have not said who we are
    except BaseException:
        lock.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    return descriptor


def _look(lock: Path) -> _Holder:
    """Whose the file is; removes it where one of us left it who is no more."""
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return _Holder.NOBODY
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.read(descriptor, 64).startswith(_OURS):
            return _Holder.OTHER
        # Of two who look at the same leftover, the second finds another file in its place, or none.
        if os.path.samestat(os.fstat(descriptor), os.stat(lock)):
            lock.unlink()
    except BlockingIOError:
        return _Holder.LIVING
    except FileNotFoundError:
        pass
    finally:
        os.close(descriptor)
    return _Holder.NOBODY

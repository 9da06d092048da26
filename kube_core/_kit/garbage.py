"""Looking for garbage: how a process that is a server sets the interpreter's collector.

Objects that refer to each other in circles are found by looking through everything there is, now and then. What a
server makes at its start stays, and most of what it makes later is in its caches for long: with the interpreter's own
settings, which suit small programs, a fifth of the time that thousands of pods take goes into looking through them.

Called by the project's own programs (`kube-core up`, `kube-core node`) and by benchmarks of what they do. The library
never does: a cluster within a program leaves that program's collector as it is.
"""

from __future__ import annotations

import gc

__all__ = ["hold_off", "settle_in"]

#: How many more objects there must be than at the last look: of the young, some 5 ms of work; then, in looks, of those
#: that outlived one look, and of all. Two million new objects, some 200 MB, until all are looked through.
_THRESHOLDS = (20_000, 10, 10)
#: For a process that has little, so that a look costs little, and that is to stay small.
_SMALL_THRESHOLDS = (2_000, 10, 10)


def hold_off() -> None:
    """Look for none while the process starts: nearly everything that is made then stays."""
    gc.disable()


def settle_in(*, small: bool = False) -> None:
    """What is there now is never looked at again, and what comes is looked at more seldom.

    `small`: the process is to stay small, as a node is: what its start left behind goes first.
    """
    if small:
        gc.collect()
    gc.freeze()
    gc.set_threshold(*(_SMALL_THRESHOLDS if small else _THRESHOLDS))
    gc.enable()

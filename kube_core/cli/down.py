"""`kube-core down`: ask a cluster's process to stop, and wait until it has."""

from __future__ import annotations

import os
import signal

from kube_core._kit.clock import SystemClock
from kube_core.cli import memory
from kube_core.cli.state import ClusterState, StateError

__all__ = ["run"]

#: Seconds that pods and requests get to end by themselves, and the step of looking.
_LIMIT = 60.0
_STEP = 0.02


def run(name: str) -> str | None:
    """Returns what went wrong, in one line."""
    try:
        state = ClusterState.of(name)
    except StateError as error:
        return str(error)
    in_memory = memory.owner(name)
    pid = state.running() or in_memory
    if not pid:
        if not state.directory.exists():
            return f"there is no cluster {name!r}"
        print(f"cluster {name!r} is not running")
        return None
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    except PermissionError:
        return f"cluster {name!r} belongs to another user (process {pid})"
    clock = SystemClock()
    end = clock.monotonic() + _LIMIT
    while memory.owner(name) if in_memory else state.running():
        if clock.monotonic() > end:
            return f"cluster {name!r} (process {pid}) has not stopped after {_LIMIT:.0f} s"
        clock.block(_STEP)
    print(f"cluster {name!r} is down" + ("" if in_memory else f"; its state is in {state.directory}"))
    return None

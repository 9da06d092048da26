"""`--keep`: the demonstration runs as a process of its own, and outlives the command that started it."""

from __future__ import annotations

import os
import subprocess
import sys

__all__ = ["stand_apart"]


def stand_apart() -> int | None:
    """In the command: start the process, wait until it has told its story, return an exit code. In it: None."""
    if "DEMO_DONE_FD" in os.environ:
        return None
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, *sys.argv],
        stdin=subprocess.DEVNULL,
        env={**os.environ, "DEMO_DONE_FD": str(writing)},
        pass_fds=[writing],
        start_new_session=True,
    )
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            if pipe.read():
                return 0
    except KeyboardInterrupt:
        process.terminate()
    return process.wait()

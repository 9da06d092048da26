"""Reading CRI log files: `2026-01-01T00:00:00.000000000Z stdout F the line`, `P` for a line that goes on.

A follower looks at the file again five times a second; nobody else waits on a timer. The file of a running container
is only ever appended to.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import IO

from kube_core._kit.clock import Clock
from kube_core.abc.runtime import LogLine, LogOptions

__all__ = ["parse_line", "read_log"]

_BLOCK = 64 * 1024
_LOOK_AGAIN_SECONDS = 0.2


def parse_line(line: bytes) -> LogLine | None:
    """A line of the file without its newline; None for what is no such line."""
    parts = line.split(b" ", 3)
    if len(parts) < 4 or parts[1] not in (b"stdout", b"stderr"):
        return None
    return LogLine(
        parts[0].decode("ascii", "replace"),
        "stdout" if parts[1] == b"stdout" else "stderr",
        parts[3],
        partial=parts[2].startswith(b"P"),
    )


async def read_log(
    path: str, options: LogOptions, *, clock: Clock, ended: Callable[[], bool]
) -> AsyncIterator[LogLine]:
    """The lines of a file. With `follow`, until it is used up and `ended()`, going on in the next file where it was
    rotated. A file that is not there is empty.
    """
    try:
        file: IO[bytes] = open(path, "rb")  # noqa: ASYNC230, SIM115 (a local file of moderate size, closed below)
    except FileNotFoundError:
        return
    since = _text_of(options.since) if options.since > 0 else ""
    try:
        if options.tail_lines >= 0:
            file.seek(_tail_offset(file, options.tail_lines))
        rest, following = b"", None
        while True:
            over = ended()  # before reading: what was written before the end is then read
            block = file.read(_BLOCK)
            if block:
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    parsed = parse_line(line)
                    if parsed is not None and parsed.timestamp >= since:
                        yield parsed
            elif following is not None:
                # What was written before the next file began has been read now.
                file.close()
                file, following, rest = following, None, b""
            elif options.follow and (following := _next_file(path, file)) is not None:
                continue
            elif not options.follow or over:
                return
            else:
                await clock.sleep(_LOOK_AGAIN_SECONDS)
    finally:
        file.close()


def _next_file(path: str, file: IO[bytes]) -> IO[bytes] | None:
    """The file that stands where this one was before it was rotated; None while it is still this one."""
    try:
        if os.stat(path).st_ino == os.fstat(file.fileno()).st_ino:
            return None
        return open(path, "rb")
    except FileNotFoundError:
        return None


def _text_of(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def _tail_offset(file: IO[bytes], lines: int) -> int:
    """Where the last `lines` lines begin."""
    end = file.seek(0, os.SEEK_END)
    if lines == 0:
        return end
    position, seen = end, 0
    while position > 0:
        start = max(0, position - _BLOCK)
        file.seek(start)
        block = file.read(position - start)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            if start + at == end - 1:
                continue  # the newline of the last line
            seen += 1
            if seen == lines:
                return start + at + 1
        position = start
    return 0

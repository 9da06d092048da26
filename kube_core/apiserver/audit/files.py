"""The audit log as a file: a line of JSON for each event, and a new file when one is full.

Lines are written by a thread, in order; who makes events faster than the disk takes them waits, so none is lost. A
full file (`maximum_size`) is set aside under a name with its time, `audit-2026-01-01T00-00-00.000.log`; of those, only
the youngest `backups` are kept, and none older than `days`. `-` writes to standard output.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import attrs

from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core.apiserver.audit.auditor import Backend

__all__ = ["LogFile", "LogFileOptions"]

_log = get_logger("kube_core.apiserver.audit")
#: Events that wait for the disk, at most.
_WAITING: Final = 10_000
_BATCH: Final = 400
_DAY: Final = 86_400.0


@attrs.frozen
class LogFileOptions:
    """Sizes in bytes; 0 backups or days keep all."""

    path: str
    maximum_size: int = 100 * 1024 * 1024
    backups: int = 0
    days: int = 0


class LogFile(Backend):
    """Appends events to a file."""

    def __init__(self, options: LogFileOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(_WAITING)
        self._task: asyncio.Task[None] | None = None
        self._descriptor: int | None = None
        self._size = 0

    def open(self) -> None:
        """Raises OSError where the file cannot be written."""
        if self._options.path == "-":
            self._descriptor = os.dup(sys.stdout.fileno())
            return
        self._descriptor = os.open(self._options.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(self._descriptor).st_size

    def start(self) -> None:
        if self._descriptor is None:
            self.open()
        self._task = asyncio.create_task(self._write(), name="audit log")

    async def put(self, event: bytes) -> None:
        await self._queue.put(event)

    async def stop(self) -> None:
        if self._task is not None:
            await self._queue.put(None)
            await self._task
            self._task = None
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    async def _write(self) -> None:
        over = False
        while not over:
            lines = [await self._queue.get()]
            while len(lines) < _BATCH and not self._queue.empty():
                lines.append(self._queue.get_nowait())
            over = lines[-1] is None
            events = [line for line in lines if line is not None]
            with self._clock.hold("the audit log is being written"):
                try:
                    await asyncio.to_thread(self._append, events)
                except OSError as error:
                    _log.error("audit events are lost", path=self._options.path, events=len(events), error=str(error))

    def _append(self, events: Sequence[bytes]) -> None:
        waiting = bytearray()
        for event in events:
            if self._size and self._size + len(event) + 1 > self._options.maximum_size and self._options.path != "-":
                self._flush(waiting)
                self._rotate()
            waiting += event + b"\n"
            self._size += len(event) + 1
        self._flush(waiting)

    def _flush(self, waiting: bytearray) -> None:
        if self._descriptor is None:
            raise AssertionError("opened before it is written")
        view = memoryview(bytes(waiting))
        waiting.clear()
        while view:
            view = view[os.write(self._descriptor, view) :]

    def _rotate(self) -> None:
        path = Path(self._options.path)
        moment = datetime.fromtimestamp(self._clock.now(), UTC)
        stamp = moment.strftime("%Y-%m-%dT%H-%M-%S.") + f"{moment.microsecond // 1000:03d}"
        # Several in one millisecond are numbered, on from the last of them that is still there.
        same = sorted(each.stem for each in path.parent.glob(f"{path.stem}-{stamp}*{path.suffix}"))
        number = int(same[-1].removeprefix(f"{path.stem}-{stamp}").lstrip("-") or 0) + 1 if same else 0
        aside = path.with_name(f"{path.stem}-{stamp}" + (f"-{number:03d}" if number else "") + path.suffix)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        path.rename(aside)
        self.open()
        self._forget(path)

    def _forget(self, path: Path) -> None:
        """Remove what is too old, or one too many."""
        set_aside = sorted(path.parent.glob(f"{path.stem}-*{path.suffix}"), key=lambda each: each.stem, reverse=True)
        oldest = self._clock.now() - self._options.days * _DAY
        for position, each in enumerate(set_aside):
            too_many = self._options.backups and position >= self._options.backups
            too_old = self._options.days and each.stat().st_mtime < oldest
            if too_many or too_old:
                each.unlink(missing_ok=True)

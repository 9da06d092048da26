"""Keeping containers' logs from filling the disk: a log that is too long is put aside, and the oldest part removed.

    <attempt>.log                       what is written now
    <attempt>.log.20260101-000000       the part before
    <attempt>.log.20251231-235000.gz    earlier ones, compressed

As upstream's kubelet: at most `containerLogMaxFiles` files of each run, each of about `containerLogMaxSize` bytes. Who
follows a log goes on in the new file.
"""

from __future__ import annotations

import glob
import gzip
import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime

import anyio.to_thread

from kube_core._kit.clock import Clock
from kube_core.abc.runtime import ContainerStatus, Runtime, RuntimeFailure
from kube_core.api.kubelet import KubeletSettings

__all__ = ["LogRotation"]


class LogRotation:
    """Of one node."""

    def __init__(self, runtime: Runtime, clock: Clock, settings: KubeletSettings) -> None:
        self._runtime = runtime
        self._clock = clock
        self._settings = settings

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self._clock.sleep(self._settings.container_log_monitor_interval)
            await self.rotate()

    async def rotate(self) -> None:
        """Put aside every log that is too long."""
        most = self._settings.container_log_max_size
        running = [each for each in self._runtime.list_containers() if each.state == "running" and each.log_path]
        if not running:
            return
        with self._clock.hold("node: rotate logs"):
            for status in await anyio.to_thread.run_sync(_too_long, running, most):
                await self._rotate_one(status)

    async def _rotate_one(self, status: ContainerStatus) -> None:
        path = status.log_path
        stamp = datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y%m%d-%H%M%S")
        rotated = f"{path}.{stamp}"
        await anyio.to_thread.run_sync(_put_aside, path, rotated, self._settings.container_log_max_files)
        try:
            await self._runtime.reopen_log(status.id)
        except RuntimeFailure:
            # It has ended meanwhile, or does not answer: what was written stays where it is looked for.
            await anyio.to_thread.run_sync(_put_back, rotated, path)


def _too_long(containers: Sequence[ContainerStatus], most: int) -> list[ContainerStatus]:
    found = []
    for status in containers:
        try:
            if os.path.getsize(status.log_path) >= most:
                found.append(status)
        except OSError:
            continue
    return found


def _put_aside(path: str, rotated: str, most_files: int) -> None:
    """Rename the log; compress the ones before it, remove the oldest: two files are the new one and this."""
    earlier = sorted(each for each in glob.glob(glob.escape(path) + ".*") if not each.endswith(".tmp"))
    for each in earlier[: max(len(earlier) - max(most_files - 2, 0), 0)]:
        os.unlink(each)
    for each in earlier:
        if os.path.exists(each) and not each.endswith(".gz"):
            _compress(each)
    os.rename(path, rotated)


def _compress(path: str) -> None:
    with open(path, "rb") as source, gzip.open(f"{path}.gz.tmp", "wb") as target:
        shutil.copyfileobj(source, target)
    os.rename(f"{path}.gz.tmp", f"{path}.gz")
    os.unlink(path)


def _put_back(rotated: str, path: str) -> None:
    if not os.path.exists(path):
        os.rename(rotated, path)

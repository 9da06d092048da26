"""The agent's way to the supervisor: starting one, frames of JSON, requests and what comes unasked.

The protocol is described in `supervisor.py`. A link is one connection; it is lost when the supervisor ends, and making
a new one is the driver's business.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from kube_core.abc.runtime import ContainerNotFound, RuntimeFailure

__all__ = ["Frame", "Link", "launch", "open_connection", "receive", "send"]

Frame = dict[str, Any]

_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_LOCKED = 3


async def launch(directory: Path, *, portable: bool = False) -> None:
    """Start the supervisor of a directory; returns when it listens. One that runs already is left alone.

    `portable`: it is to do what it does where there is no Linux.
    """
    os.makedirs(directory, exist_ok=True, mode=0o700)
    # What it says goes through a file: the end of a pipe would be waited for until whoever inherited it has ended.
    with tempfile.TemporaryFile() as file:
        launcher = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(_SUPERVISOR), str(directory), *(["portable"] if portable else []),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=file,
            start_new_session=True,
        )  # fmt: skip
        await launcher.wait()
        file.seek(0)
        said = file.read()
    if launcher.returncode not in (0, _LOCKED):
        lines = said.decode("utf-8", "replace").strip().splitlines() or ["it ended at once"]
        raise RuntimeFailure(f"the container supervisor did not start: {lines[-1]}")


async def open_connection(directory: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises `FileNotFoundError` or `ConnectionRefusedError` where no supervisor listens."""
    path = directory / "socket"
    if len(os.fsencode(path)) <= 100:
        return await asyncio.open_unix_connection(path)
    # A unix socket's path has 107 bytes at most, or 103; this one is reached by a short way to its directory.
    with tempfile.TemporaryDirectory(prefix="kube-core-", dir="/tmp") as short:
        os.symlink(os.path.abspath(directory), f"{short}/at")  # noqa: ASYNC240 (asks nobody)
        return await asyncio.open_unix_connection(f"{short}/at/socket")


async def receive(reader: asyncio.StreamReader) -> Frame | None:
    """The next frame; None at the end."""
    try:
        length = int.from_bytes(await reader.readexactly(4))
        frame: Frame = orjson.loads(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return frame


async def send(writer: asyncio.StreamWriter, frame: Frame) -> None:
    body = orjson.dumps(frame)
    writer.write(len(body).to_bytes(4) + body)
    await writer.drain()


class Link:
    """The control connection. `notified` gets what comes unasked, in order; `lost` is called once, at the end."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        notified: Callable[[Frame], None],
        lost: Callable[[], None],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._notified = notified
        self._lost = lost
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read(), name="supervisor link")
        self.closed = asyncio.Event()

    async def call(self, operation: str, **arguments: Any) -> Any:
        """One request. Raises `RuntimeFailure` with the supervisor's words."""
        if self.closed.is_set():
            raise RuntimeFailure("the container supervisor is gone")
        identity = next(self._ids)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[identity] = answer
        try:
            await send(self._writer, {"id": identity, "op": operation, **arguments})
            return await answer
        except ConnectionError:
            raise RuntimeFailure("the container supervisor is gone") from None
        finally:
            self._waiting.pop(identity, None)

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.wait([self._reading])

    async def _read(self) -> None:
        try:
            while (frame := await receive(self._reader)) is not None:
                if "id" not in frame:
                    self._notified(frame)
                    continue
                answer = self._waiting.get(frame["id"])
                if answer is None or answer.done():
                    continue
                if "error" in frame:
                    kind = ContainerNotFound if frame.get("reason") == "NotFound" else RuntimeFailure
                    answer.set_exception(kind(frame["error"], reason=frame.get("reason", "")))
                else:
                    answer.set_result(frame["ok"])
        finally:
            self.closed.set()
            self._writer.close()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(RuntimeFailure("the container supervisor is gone"))
            self._lost()

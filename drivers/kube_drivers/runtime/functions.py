"""A container that is an async function of this program, for the fake runtime.

    async def app(container: RunningContainer) -> int | None:
        container.log(f"hello from {container.pod}")
        await container.stopping()

It runs when the container is started. What it returns is the exit code (None: 0); an exception is exit code 1, with the
trace in the container's log. Asked to end (SIGTERM) it finds `stopping()` done, and when its grace is over it is
cancelled, which is exit code 137; its clean-up is waited for, so one that swallows its cancellation keeps the pod from
ending. Who is attached to it sees what it logs, and writes what it reads (`container.read`). Time is the cluster's own:
`container.sleep`, never `asyncio.sleep`.

Who runs these functions, and knows what state their containers are in, is `fake.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path

from kube_core._kit.clock import Clock
from kube_core.abc.runtime import (
    ContainerConfig,
    ExecResult,
    ExecSession,
    NetworkProbe,
    ProbeAnswer,
    SandboxConfig,
    Stream,
)

__all__ = [
    "ExecFunction",
    "Function",
    "FunctionExec",
    "Input",
    "ProbeFunction",
    "RunningContainer",
    "ask_probe",
    "run_function",
]


#: Bytes that wait in a container's stdin before who writes there has to.
_MOST_INPUT = 64 * 1024


class Input:
    """What is written to a container's stdin and not read yet. As a pipe it holds so much, and lets writers wait."""

    def __init__(self, *, open_: bool) -> None:
        self._pending = bytearray()
        self._ended = not open_
        self._changed = asyncio.Event()

    async def write(self, data: bytes) -> None:
        while len(self._pending) >= _MOST_INPUT and not self._ended:
            await self._changed.wait()
        if not self._ended:
            self._pending += data
            self._turn()

    async def read(self) -> bytes:
        while not self._pending and not self._ended:
            await self._changed.wait()
        data = bytes(self._pending)
        self._pending.clear()
        self._turn()
        return data

    def end(self) -> None:
        """Nothing more comes: who reads gets what there is, then nothing."""
        self._ended = True
        self._turn()

    def _turn(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class RunningContainer:
    """What a function knows of its container, and what it may do there."""

    def __init__(
        self, sandbox: SandboxConfig, config: ContainerConfig, *, clock: Clock, write: Callable[[Stream, str], None]
    ) -> None:
        self.namespace = sandbox.namespace
        self.pod = sandbox.name
        self.uid = sandbox.uid
        self.annotations = sandbox.annotations
        self.name = config.name
        self.image = config.image
        #: Counts the container's restarts.
        self.attempt = config.attempt
        self.env = config.env
        self.command = config.command
        self.args = config.args
        #: The pod's address; "" where it has none.
        self.ip = sandbox.ips[0] if sandbox.ips else ""
        #: Where each mounted volume is, by its path in the container. Of a node without processes nothing is there.
        self.volumes: Mapping[str, Path] = {each.container_path: Path(each.host_path) for each in config.mounts}
        #: What network probes find, where no function answers them.
        self.ready = True
        #: Where this machine has what listens at a port of the pod.
        self.endpoints: dict[int, tuple[str, int]] = {}
        self.clock = clock
        self.stdin = Input(open_=config.stdin)
        self._write = write
        self._stopping = asyncio.Event()

    def log(self, text: str, *, stream: Stream = "stdout") -> None:
        """Write lines."""
        self._write(stream, text)

    async def read(self) -> bytes:
        """What who is attached has written, once there is something; b"" when that has ended.

        It has where the container asks for no `stdin`.
        """
        return await self.stdin.read()

    async def sleep(self, seconds: float) -> None:
        """Let so much of the cluster's time pass."""
        await self.clock.sleep(seconds)

    async def stopping(self) -> None:
        """Return when the container is asked to end."""
        await self._stopping.wait()

    @property
    def stop_requested(self) -> bool:
        return self._stopping.is_set()

    def request_stop(self) -> None:
        """What SIGTERM is to a process."""
        self._stopping.set()

    @contextlib.contextmanager
    def listen(self, port: int) -> Iterator[socket.socket]:
        """A listening socket, for a server: at the pod's address, where this machine has that (the `loopback` network).

        Elsewhere it is on 127.0.0.1, at a port that is free; `endpoints[port]` says which, and port-forwards go there.
        Raises OSError.
        """
        with _bound(self.ip, port) as listening:
            listening.listen()
            listening.setblocking(False)
            host, actual = listening.getsockname()[:2]
            self.endpoints[port or actual] = (host, actual)
            try:
                yield listening
            finally:
                del self.endpoints[port or actual]


Function = Callable[[RunningContainer], Awaitable[int | None]]
#: Whether a network probe succeeds.
ProbeFunction = Callable[[RunningContainer, NetworkProbe], Awaitable[bool | ProbeAnswer]]
#: What a command gives; text is what it wrote before it ended with 0.
ExecFunction = Callable[[RunningContainer, tuple[str, ...]], Awaitable[ExecResult | str]]


async def run_function(function: Function, container: RunningContainer) -> int:
    """The exit code of a container that is this function."""
    try:
        code = await function(container)
    except SystemExit as error:  # as in a program
        if error.code is not None and not isinstance(error.code, int):
            container.log(str(error.code), stream="stderr")
            return 1
        code = error.code
    except (Exception, BaseExceptionGroup) as error:
        container.log(_trace(error), stream="stderr")
        return 1
    if code is not None and not isinstance(code, int):
        container.log(f"{code!r} is no exit code", stream="stderr")
        return 1
    return (code or 0) & 0xFF


async def ask_probe(function: ProbeFunction, container: RunningContainer, request: NetworkProbe) -> ProbeAnswer:
    try:
        answer = await function(container, request)
    except Exception as error:
        return ProbeAnswer(False, f"{type(error).__name__}: {error}")
    return answer if isinstance(answer, ProbeAnswer) else ProbeAnswer(answer, "" if answer else "connection refused")


class FunctionExec(ExecSession):
    """A command that a function answers, once its output is asked for; what is written to it is lost."""

    def __init__(self, function: ExecFunction, container: RunningContainer, command: tuple[str, ...]) -> None:
        self._function = function
        self._container = container
        self._command = command
        self._code = 0

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        try:
            result = await self._function(self._container, self._command)
        except Exception as error:
            result = ExecResult(1, b"", _trace(error).encode())
        if isinstance(result, str):
            result = ExecResult(0, result.encode())
        self._code = result.exit_code
        if result.stdout:
            yield "stdout", result.stdout
        if result.stderr:
            yield "stderr", result.stderr

    async def write(self, data: bytes) -> None:
        pass

    async def close_stdin(self) -> None:
        pass

    async def resize(self, width: int, height: int) -> None:
        pass

    async def exit_code(self) -> int:
        return self._code

    async def close(self) -> None:
        pass


def _bound(ip: str, port: int) -> socket.socket:
    for address, at in ((ip, port), ("127.0.0.1", 0)):
        if not address:
            continue
        bound = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((address, at))
        except OSError as error:
            bound.close()
            if error.errno != errno.EADDRNOTAVAIL:
                raise
        else:
            return bound
    raise OSError(errno.EADDRNOTAVAIL, "this machine has no address to listen at")


def _trace(error: BaseException) -> str:
    """A trace that begins in the function."""
    if error.__traceback__ is not None:
        error.__traceback__ = error.__traceback__.tb_next
    return "".join(traceback.format_exception(error))

"""What a pod's containers say and take: their logs, commands run in them, connections to their ports.

    text = await client.logs("web")                                # all of it
    async for line in client.logs("web", follow=True): ...         # line after line, as they come
    done = await client.exec("web", ["date"])                      # run to its end
    async with client.exec("web", ["sh"], tty=True) as session: ...
    async with client.port_forward("web", 80) as connection: ...
    async with client.port_forward("web", 80).listen() as address: ...

As with lists, what is asked for is an object: awaiting it does it whole, and going into it does it step by step. They
are made by `ApiClient`; the protocol of commands and ports is in `channels.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from types import TracebackType
from typing import Any

import attrs

from kube_core.abc.transport import ByteStream
from kube_core.client.channels import CommandSession, PortConnection
from kube_core.meta.status import StatusError

__all__ = ["Command", "CommandFailed", "Completed", "Logs", "PortForward", "exec_query"]

_PIECE = 64 * 1024


class CommandFailed(Exception):
    """A command ended with another exit code than 0."""


@attrs.frozen
class Completed:
    """How a command ended, and what it wrote."""

    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """What it wrote to its standard output."""
        return self.stdout.decode("utf-8", "replace")

    def check(self) -> Completed:
        """Itself where the exit code is 0. Raises `CommandFailed`, with what was written to stderr."""
        if self.exit_code:
            said = self.stderr.decode("utf-8", "replace").strip()
            raise CommandFailed(f"the command ended with exit code {self.exit_code}" + (f": {said}" if said else ""))
        return self


class Logs:
    """A container's log: awaited, its whole text; iterated over, its lines; `chunks()`, its bytes as they come."""

    def __init__(self, open_stream: Callable[[], AsyncIterator[bytes]]) -> None:
        self._open = open_stream

    def chunks(self) -> AsyncIterator[bytes]:
        return self._open()

    def __await__(self) -> Generator[Any, None, str]:
        return self._whole().__await__()

    async def __aiter__(self) -> AsyncIterator[str]:
        rest = b""
        chunks = self._open()
        try:
            async for chunk in chunks:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield line.decode("utf-8", "replace")
        finally:
            if (close := getattr(chunks, "aclose", None)) is not None:
                await close()
        if rest:
            yield rest.decode("utf-8", "replace")

    async def _whole(self) -> str:
        return b"".join([chunk async for chunk in self._open()]).decode("utf-8", "replace")


class Command:
    """A command to be run in a container: awaited, run to its end; entered, a session to talk to it."""

    def __init__(self, connect: Callable[[bool], Awaitable[ByteStream]], stdin: bytes | None) -> None:
        self._connect = connect
        self._stdin = stdin
        self._session: CommandSession | None = None

    def __await__(self) -> Generator[Any, None, Completed]:
        return self._run().__await__()

    async def __aenter__(self) -> CommandSession:
        self._session = CommandSession(await self._connect(True))
        if self._stdin:
            await self._session.send(self._stdin)
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _run(self) -> Completed:
        session = CommandSession(await self._connect(self._stdin is not None))
        try:
            async with asyncio.TaskGroup() as group:
                if self._stdin is not None:
                    group.create_task(_feed(session, self._stdin))
                output = group.create_task(session.stdout.read())
                errors = group.create_task(session.stderr.read())
            return Completed(await session.wait(), output.result(), errors.result())
        except BaseExceptionGroup as group_of_one:
            raise group_of_one.exceptions[0] from None
        finally:
            await session.close()


async def _feed(session: CommandSession, data: bytes) -> None:
    for start in range(0, len(data), _PIECE):
        await session.send(data[start : start + _PIECE])
    await session.end_input()


class PortForward:
    """A port of a pod: entered, one connection to it; `listen()`, a local port that leads there."""

    def __init__(self, connect: Callable[[], Awaitable[ByteStream]], port: int) -> None:
        self._connect = connect
        self._port = port
        self._connection: PortConnection | None = None

    async def __aenter__(self) -> PortConnection:
        self._connection = PortConnection(await self._connect(), self._port)
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    @contextlib.asynccontextmanager
    async def listen(self, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[tuple[str, int]]:
        """Listen on a local port (0: a free one), whose address is given, and pass each connection on."""
        passing: set[asyncio.Task[None]] = set()

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._pass(reader, writer))
            passing.add(task)
            task.add_done_callback(passing.discard)

        server = await asyncio.start_server(accepted, host, port)
        try:
            address = server.sockets[0].getsockname()
            yield str(address[0]), int(address[1])
        finally:
            server.close()
            for task in list(passing):
                task.cancel()
            await asyncio.gather(*passing, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            connection = PortConnection(await self._connect(), self._port)
        except StatusError:
            writer.close()  # as a port does behind which nobody is
            return
        there = asyncio.ensure_future(_to_pod(reader, connection))
        try:
            while data := await connection.receive():
                writer.write(data)
                await writer.drain()
        except (StatusError, ConnectionError):
            pass
        finally:
            there.cancel()
            await asyncio.gather(there, return_exceptions=True)
            await connection.close()
            writer.close()


async def _to_pod(reader: asyncio.StreamReader, connection: PortConnection) -> None:
    while data := await reader.read(_PIECE):
        await connection.send(data)


def exec_query(command: Sequence[str], container: str, *, stdin: bool, tty: bool) -> list[tuple[str, str]]:
    """The parameters of `exec` and `attach`."""
    query = [("command", word) for word in command]
    if container:
        query.append(("container", container))
    streams = {"stdin": stdin, "stdout": True, "stderr": not tty, "tty": tty}
    return query + [(name, "true") for name, wanted in streams.items() if wanted]

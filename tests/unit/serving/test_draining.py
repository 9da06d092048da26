"""A server that is told to stop: what runs finishes, watches end whole, and nobody new is let in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from fakes.connection import Connection
from kube_core.abc.transport import EventStream, Request, Response
from kube_core.serving.http import HttpServer

pytestmark = pytest.mark.anyio


class Lines(EventStream):
    """A watch of one line that goes on until it is told to end."""

    def __init__(self) -> None:
        self.told = asyncio.Event()
        self.begun = False
        self.closed = False

    async def __anext__(self) -> bytes:
        if not self.begun:
            self.begun = True
            return b'{"type":"ADDED"}\n'
        if self.told.is_set():
            raise StopAsyncIteration
        await self.told.wait()
        return b'{"type":"DELETED"}\n'

    def end(self) -> None:
        self.told.set()

    async def aclose(self) -> None:
        self.closed = True


class Handler:
    """Answers `/slow` when it is let, `/watch` with `lines`, and all else at once."""

    def __init__(self) -> None:
        self.lines = Lines()
        self.asked = asyncio.Event()
        self.let = asyncio.Event()

    async def __call__(self, request: Request) -> Response:
        if request.path == "/watch":
            return Response(stream=self.lines)
        if request.path == "/endless":
            return Response(stream=_endless())
        if request.path == "/slow":
            self.asked.set()
            await self.let.wait()
        return Response(body=b"{}")


async def _endless() -> AsyncIterator[bytes]:
    yield b"line\n"
    await asyncio.Event().wait()


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
async def server(handler: Handler) -> AsyncIterator[HttpServer]:
    made = HttpServer(handler, None)
    yield made
    await made.stop()


async def connect(server: HttpServer) -> Connection:
    port = await server.listen("127.0.0.1", 0)
    return Connection(*await asyncio.open_connection("127.0.0.1", port))


async def test_a_request_that_runs_is_answered(server: HttpServer, handler: Handler) -> None:
    connection = await connect(server)
    connection.send("POST", "/slow")
    await handler.asked.wait()
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0)
    handler.let.set()
    assert (await connection.answer()).status == 200
    await stopping
    assert await connection.reader.read() == b""
    await connection.close()


async def test_a_watch_ends_after_a_whole_event(server: HttpServer, handler: Handler) -> None:
    connection = await connect(server)
    connection.send("GET", "/watch")
    assert (await connection.head())[0] == 200
    assert orjson.loads(await connection.chunk())["type"] == "ADDED"
    stopping = asyncio.create_task(server.stop())
    assert orjson.loads(await connection.chunk())["type"] == "DELETED"
    # The last chunk of length 0, which only a stream that ended well has.
    assert await connection.chunk() == b""
    await stopping
    assert handler.lines.closed
    await connection.close()


async def test_a_stream_that_would_go_on_is_not_waited_for(server: HttpServer) -> None:
    connection = await connect(server)
    connection.send("GET", "/endless")
    assert (await connection.head())[0] == 200
    assert await connection.chunk() == b"line\n"
    await server.stop()
    assert await connection.reader.read() == b""
    await connection.close()


async def test_a_request_on_an_open_connection_is_told_to_go_elsewhere(server: HttpServer, handler: Handler) -> None:
    connection = await connect(server)
    busy = await connect(server)
    busy.send("POST", "/slow")
    await handler.asked.wait()
    assert (await connection.ask("GET", "/x")).status == 200
    watching = await connect(server)
    watching.send("GET", "/watch")
    await watching.head()
    handler.lines.end = lambda: None  # type: ignore[method-assign]  # the drain goes on until it is let
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0)
    answer = await connection.ask("GET", "/x")
    assert (answer.status, answer.document["message"]) == (503, "apiserver is shutting down")
    assert (answer.headers["connection"], answer.headers["retry-after"]) == ("close", "1")
    handler.lines.told.set()
    handler.let.set()
    await stopping
    for each in (connection, busy, watching):
        await each.close()


async def test_nobody_new_is_listened_to(server: HttpServer) -> None:
    port = await server.listen("127.0.0.1", 0)
    await server.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_body_is_not_read_from_who_may_not_ask(handler: Handler) -> None:
    seen = []

    async def refuse(request: Request) -> bool:
        seen.append(request.body)
        return False

    async def answer(request: Request) -> Response:
        return Response(401, body=b"{}" if not request.body else request.body)

    server = HttpServer(answer, None, doorkeeper=refuse)
    connection = await connect(server)
    connection.send("POST", "/x", b"begin", length=2_000_000)
    refused = await connection.answer()
    assert (refused.status, refused.body, refused.headers["connection"]) == (401, b"{}", "close")
    assert seen == [b""]
    await connection.close()
    await server.stop()


async def test_a_watcher_that_does_not_read_is_cut_off(
    server: HttpServer, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kube_core.serving.http._LAST_WORDS", 0.0)
    connection = await connect(server)
    connection.send("GET", "/watch")
    await connection.head()
    await connection.chunk()
    assert handler.lines.overrun is not None
    handler.lines.overrun()
    with contextlib.suppress(ConnectionError):
        assert await connection.reader.read() == b""
    async with asyncio.timeout(20):
        while not handler.lines.closed:  # noqa: ASYNC110 (the server closes it in its own time)
            await asyncio.sleep(0.005)
    await connection.close()


async def test_heads_and_first_lines_have_their_size(server: HttpServer, tmp_path: Path) -> None:
    long = await connect(server)
    assert (await long.ask("GET", f"/x?labelSelector={'a' * 100_000}")).status == 200
    assert (await long.ask("GET", "/x", head=f"X-A: {'a' * 20_000}\r\n")).status == 200
    await long.close()
    for path, head in (("/" + "a" * 300_000, ""), ("/", f"A: {'a' * 40_000}\r\n"), ("/", "A: b\r\n" * 300)):
        connection = await connect(server)
        connection.send("GET", path, head=head)
        assert (await connection.answer()).status in (400, 431)
        await connection.close()

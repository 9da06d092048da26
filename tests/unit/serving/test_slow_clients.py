"""Clients that are slow, that stop half-way, or that speak something else: on real sockets, with short patience."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from fakes.connection import Connection
from kube_core._kit.clock import SystemClock
from kube_core.abc.transport import Request, Response
from kube_core.auth.certificates import Authority
from kube_core.serving import http
from kube_core.serving.http import HttpServer
from kube_core.serving.tls import server_context

pytestmark = pytest.mark.anyio


async def echo(request: Request) -> Response:
    return Response(body=request.body)


@pytest.fixture(params=["plain", "tls"])
async def port(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A server with little patience; over TLS all that is sent to it is no handshake."""
    monkeypatch.setattr(http, "IDLE_TIME", 0.3)
    monkeypatch.setattr(http, "BODY_TIME", 0.3)
    monkeypatch.setattr(http, "HANDSHAKE_TIME", 0.3)
    context = None
    if request.param == "tls":
        now = SystemClock().now()
        authority = Authority.create("test", now=now)
        pair = authority.issue_server("x", ["localhost", "127.0.0.1"], now=now)
        context = server_context(pair.certificate, pair.key, authority.certificate)
    server = HttpServer(echo, context)
    yield await server.listen("127.0.0.1", 0)
    await server.stop()


async def connect(port: int) -> Connection:
    return Connection(*await asyncio.open_connection("127.0.0.1", port))


async def ended(connection: Connection) -> bytes:
    """What is still read until the server ends the connection."""
    data = b""
    async with asyncio.timeout(30):
        with contextlib.suppress(ConnectionError):
            while piece := await connection.reader.read(65536):
                data += piece
    await connection.close()
    return data


async def test_who_sends_nothing_is_not_kept(port: int) -> None:
    assert await ended(await connect(port)) == b""


async def test_who_never_ends_its_head_is_not_kept(port: int) -> None:
    connection = await connect(port)
    connection.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ")
    assert await ended(connection) == b""


@pytest.mark.parametrize("port", ["plain"], indirect=True)
async def test_who_sends_its_head_a_byte_at_a_time_is_not_kept_for_ever(port: int) -> None:
    connection = await connect(port)

    async def drip() -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                connection.writer.write(b"a")
                await connection.writer.drain()
                await asyncio.sleep(0.01)

    connection.writer.write(b"GET / HTTP/1.1\r\nX-A: ")
    dripping = asyncio.create_task(drip())
    await ended(connection)
    dripping.cancel()
    await asyncio.gather(dripping, return_exceptions=True)


@pytest.mark.parametrize("port", ["plain"], indirect=True)
async def test_who_never_ends_its_body_is_told_and_let_go(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "IDLE_TIME", 60.0)  # its head must be heard, however slow this machine is
    connection = await connect(port)
    connection.send("POST", "/", b"begin", length=500)
    answer = await connection.answer()
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    await connection.close()


@pytest.mark.parametrize("port", ["plain"], indirect=True)
@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhello"])
async def test_who_ends_its_half_of_the_connection_is_let_go(port: int, sent: bytes) -> None:
    connection = await connect(port)
    connection.writer.write(sent)
    connection.writer.write_eof()
    assert b" 500 " not in await ended(connection)


@pytest.mark.parametrize("port", ["plain"], indirect=True)
@pytest.mark.parametrize(
    "sent",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
        b"GET / HTTP/9.9\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused(port: int, sent: bytes) -> None:
    connection = await connect(port)
    connection.writer.write(sent)
    answer = await ended(connection)
    assert b" 200 " not in answer
    assert b" 500 " not in answer


@pytest.mark.parametrize("port", ["tls"], indirect=True)
@pytest.mark.parametrize(
    "sent",
    [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\xff" * 5000],
)
async def test_what_is_no_handshake_or_half_of_one_is_not_kept(port: int, sent: bytes) -> None:
    connection = await connect(port)
    connection.writer.write(sent)
    assert b"HTTP/1.1 200" not in await ended(connection)


@pytest.mark.parametrize("port", ["plain"], indirect=True)
async def test_a_connection_that_is_reset_at_once_harms_nobody(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "IDLE_TIME", 60.0)
    monkeypatch.setattr(http, "BODY_TIME", 60.0)
    for _ in range(50):
        raw = socket.create_connection(("127.0.0.1", port))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        raw.close()
    connection = await connect(port)
    assert (await connection.ask("POST", "/", b"hello")).body == b"hello"
    await connection.close()

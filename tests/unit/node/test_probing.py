"""Asking containers how they are: HTTP with redirects and headers, TCP, the gRPC health protocol, commands."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded

from kube_core._kit.clock import SystemClock
from kube_core.abc.runtime import ProbeAnswer, RuntimeFailure
from kube_core.meta.documents import Document
from kube_core.node.grpc_health import check
from kube_core.node.probing import Prober
from kube_drivers.runtime.fake import FakeRuntime

pytestmark = pytest.mark.anyio

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Reachable(FakeRuntime):
    def reachable(self, container_id: str) -> bool:
        return True


@contextlib.asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[int]:
    """A server at a free port of loopback."""
    tasks: list[asyncio.Task[None]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())  # type: ignore[arg-type]
        try:
            await handler(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def ask(probe: Document, **container: Any) -> ProbeAnswer:
    clock = SystemClock()
    prober = Prober(Reachable(clock=clock, node_name="n", state_directory=""), clock)
    try:
        return await prober.ask("id", {"name": "c", **container}, "127.0.0.1", {"timeoutSeconds": 20, **probe})
    finally:
        await prober.close()


class Web:
    """Answers by path, and keeps the heads of requests."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers
        self.heads: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        path = head.split(" ")[1].strip("/") or "root"
        status, _, rest = self.answers.get(path, "400|").partition("|")
        extra = f"Location: {rest}\r\n" if status.startswith("3") and rest else ""
        body = "" if extra else rest
        text = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{extra}Connection: close\r\n\r\n{body}"
        writer.write(text.encode())
        writer.write_eof()
        await reader.read()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", ProbeAnswer(True, "fine")),
        ("/bad", ProbeAnswer(False, "HTTP probe failed with statuscode: 503")),
        ("/here", ProbeAnswer(True, "fine")),
        ("/away", ProbeAnswer(True, "Probe terminated redirects, Response body: ", warning=True)),
        ("/nowhere", ProbeAnswer(True, "Probe terminated redirects, Response body: ", warning=True)),
    ],
)
async def test_an_http_probe_takes_everything_below_400_and_follows_its_own_host(
    path: str, expected: ProbeAnswer
) -> None:
    web = Web(root="200|fine", bad="503|", here="302|/", away="301|http://elsewhere.example/", nowhere="304|")
    async with listening(web) as port:
        assert await ask({"httpGet": {"port": port, "path": path}}) == expected


async def test_an_http_probe_that_is_sent_round_and_round_fails() -> None:
    async with listening(Web(loop="302|/loop")) as port:
        answer = await ask({"httpGet": {"port": port, "path": "/loop"}})
        assert answer == ProbeAnswer(False, f'Get "http://127.0.0.1:{port}/loop": stopped after 10 redirects')


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], ["User-Agent: kube-probe/1.37", "Accept: */*"]),
        ([{"name": "host", "value": "my.example"}, {"name": "X-a", "value": "1"}], ["Host: my.example", "X-A: 1"]),
        ([{"name": "user-agent", "value": "mine"}], ["User-Agent: mine"]),
    ],
)
async def test_an_http_probe_has_the_headers_that_it_is_told(headers: list[Document], expected: list[str]) -> None:
    web = Web(root="200|")
    async with listening(web) as port:
        ports = [{"name": "http", "containerPort": port}]
        assert (await ask({"httpGet": {"port": "http", "httpHeaders": headers}}, ports=ports)).success
    for line in expected:
        assert line in web.heads[0].split("\r\n")


async def test_an_empty_accept_header_is_none() -> None:
    web = Web(root="200|")
    async with listening(web) as port:
        assert (await ask({"httpGet": {"port": port, "httpHeaders": [{"name": "Accept", "value": ""}]}})).success
    assert "Accept" not in web.heads[0]


async def test_a_closed_port_refuses_http_and_tcp() -> None:
    async with listening(Web()) as port:
        pass
    refused = f"dial tcp 127.0.0.1:{port}: connect: connection refused"
    assert await ask({"httpGet": {"port": port}}) == ProbeAnswer(False, f'Get "http://127.0.0.1:{port}/": {refused}')
    assert await ask({"tcpSocket": {"port": port}}) == ProbeAnswer(False, refused)


async def test_an_open_port_is_enough_for_tcp() -> None:
    async with listening(Web()) as port:
        assert (await ask({"tcpSocket": {"port": port}})).success


async def test_a_port_that_no_container_names_cannot_be_asked() -> None:
    with pytest.raises(RuntimeFailure, match="couldn't find port: http"):
        await ask({"httpGet": {"port": "http"}})


def health(statuses: dict[str, bytes | tuple[int, str]]) -> Handler:
    """A server of the health protocol: by service its answer, or a gRPC status and message."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = H2Connection(H2Configuration(client_side=False))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        asked = bytearray()
        while data := await reader.read(4096):
            for event in connection.receive_data(data):
                if isinstance(event, DataReceived):
                    asked += event.data or b""
                elif isinstance(event, StreamEnded):
                    stream = event.stream_id or 1
                    found = statuses[bytes(asked[7:]).decode()]
                    heads = [(":status", "200"), ("content-type", "application/grpc")]
                    if isinstance(found, tuple):
                        trailers = [("grpc-status", str(found[0])), ("grpc-message", found[1])]
                        connection.send_headers(stream, [*heads, *trailers], end_stream=True)
                    else:
                        connection.send_headers(stream, heads)
                        connection.send_data(stream, b"\0" + len(found).to_bytes(4) + found)
                        connection.send_headers(stream, [("grpc-status", "0")], end_stream=True)
            writer.write(connection.data_to_send())

    return serve


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("", ProbeAnswer(True, "service healthy")),
        ("down", ProbeAnswer(False, 'service unhealthy (responded with "NOT_SERVING")')),
        ("unknown", ProbeAnswer(False, 'service unhealthy (responded with "UNKNOWN")')),
        (
            "gone",
            ProbeAnswer(False, "error: health rpc probe failed: rpc error: code = NotFound desc = no such service"),
        ),
        (
            "old",
            ProbeAnswer(
                False,
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown",
            ),
        ),
    ],
)
async def test_a_grpc_probe_asks_the_health_protocol(service: str, expected: ProbeAnswer) -> None:
    statuses: dict[str, bytes | tuple[int, str]] = {
        "": b"\x08\x01",
        "down": b"\x08\x02",
        "unknown": b"",
        "gone": (5, "no%20such%20service"),
        "old": (12, "unknown"),
    }
    async with listening(health(statuses)) as port:
        assert await ask({"grpc": {"port": port, "service": service}}) == expected


async def test_a_grpc_probe_of_something_else_fails() -> None:
    async with listening(Web(root="200|fine")) as port:
        assert not (await ask({"grpc": {"port": port}})).success
    answer = await check("127.0.0.1", port, "", 5)
    assert answer.output.startswith(f'timeout: failed to connect service "127.0.0.1:{port}" within 5s')


async def test_a_grpc_probe_that_is_not_answered_in_time_fails() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        await asyncio.get_running_loop().create_future()

    async with listening(silent) as port:
        answer = await check("127.0.0.1", port, "", 0.05)
        assert answer == ProbeAnswer(False, "timeout: health rpc did not complete within 0.05s")

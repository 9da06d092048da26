from __future__ import annotations

import pytest

from kube_core._kit.spdy import SpdySession, SpdyStream

pytestmark = pytest.mark.anyio


async def test_streams_that_the_caller_opened_carry_data_both_ways_until_both_ended_them() -> None:
    opened: list[SpdyStream] = []

    async def to_server(data: bytes) -> None:
        await server.feed(data)

    async def to_client(data: bytes) -> None:
        await client.feed(data)

    client = SpdySession(to_server, lambda stream: stream.discard())
    server = SpdySession(to_client, opened.append)
    first = await client.open({"streamtype": "stdin"})
    second = await client.open({"streamtype": "stdout"})
    assert [stream.headers for stream in opened] == [{"streamtype": "stdin"}, {"streamtype": "stdout"}]
    await first.send(b"in")
    await first.close()
    assert [await opened[0].receive(), await opened[0].receive()] == [b"in", b""]
    await opened[1].send(b"out")
    await opened[1].close()
    assert [await second.receive(), await second.receive()] == [b"out", b""]

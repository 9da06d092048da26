"""A command's streams over WebSocket channels, in each protocol that clients ask for."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import orjson
import pytest

from kube_core.abc.sessions import ExecRequest, ExecSession, Stream
from kube_core.abc.transport import MessageStream
from kube_core.meta.status import BadRequest
from kube_core.serving.sessions import serving

pytestmark = pytest.mark.anyio

WANTED = ExecRequest(("echo",))
OLD = ("", "channel.k8s.io", "v2.channel.k8s.io", "v3.channel.k8s.io")


class Client(MessageStream):
    """What a client is sent. It has nothing to say."""

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol
        self.sent: list[bytes] = []

    async def receive(self) -> bytes | None:
        return None

    async def send(self, data: bytes) -> None:
        self.sent.append(data)

    async def close(self) -> None:
        pass


class Session(ExecSession):
    def __init__(self, code: int) -> None:
        self.code = code

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        yield "stdout", b"out"
        yield "stderr", b"err"

    async def write(self, data: bytes) -> None:
        pass

    async def close_stdin(self) -> None:
        pass

    async def resize(self, width: int, height: int) -> None:
        pass

    async def exit_code(self) -> int:
        return self.code

    async def close(self) -> None:
        pass


async def told(protocol: str, code: int) -> list[bytes]:
    async def start() -> ExecSession:
        if code < 0:
            raise BadRequest("there is no such container")
        return Session(code)

    client = Client(protocol)
    upgrade = serving(start, WANTED, {})
    assert upgrade.messages is not None
    await upgrade.messages(client)
    return client.sent


@pytest.mark.parametrize("protocol", ["v4.channel.k8s.io", "v5.channel.k8s.io"])
async def test_the_end_is_a_status(protocol: str) -> None:
    *output, end = await told(protocol, 0)
    assert output == [b"\x01out", b"\x02err"]
    assert (end[0], orjson.loads(end[1:])["status"]) == (3, "Success")
    *_, end = await told(protocol, 3)
    status = orjson.loads(end[1:])
    assert (status["reason"], status["details"]["causes"][0]["message"]) == ("NonZeroExitCode", "3")


@pytest.mark.parametrize("protocol", OLD)
async def test_before_v4_only_failures_are_told_and_in_plain_words(protocol: str) -> None:
    assert await told(protocol, 0) == [b"\x01out", b"\x02err"]
    assert (await told(protocol, 3))[-1] == b"\x03command terminated with non-zero exit code: exit status 3"
    assert await told(protocol, -1) == [b"\x03there is no such container"]


@pytest.mark.parametrize(("protocol", "ends"), [("base64.channel.k8s.io", 0), ("v4.base64.channel.k8s.io", 1)])
async def test_in_base64_channels_are_digits(protocol: str, ends: int) -> None:
    output = await told(protocol, 0)
    assert output[:2] == [b"1" + base64.b64encode(b"out"), b"2" + base64.b64encode(b"err")]
    assert len(output) == 2 + ends

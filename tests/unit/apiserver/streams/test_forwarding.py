"""Port-forward by SPDY: halves of connections that end, readers that are slow, ports where nothing listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import pytest

from fakes.server import running
from fakes.spdy import FIN, RST_STREAM, Client, control, data
from kube_core._kit import spdy
from kube_core.abc.transport import ByteStream
from kube_core.meta.status import InternalError

pytestmark = pytest.mark.anyio

PODS = "/api/v1/namespaces/default/pods"
PORT = {"port": "8080", "requestid": "0"}


@attrs.define
class Port(ByteStream):
    """The pod's end of a connection: what reaches it, and what it says."""

    received: bytearray = attrs.field(factory=bytearray)
    finished: asyncio.Event = attrs.field(factory=asyncio.Event)
    closed: asyncio.Event = attrs.field(factory=asyncio.Event)
    reads: asyncio.Event = attrs.field(factory=asyncio.Event)
    says: asyncio.Queue[bytes | Exception] = attrs.field(factory=lambda: asyncio.Queue(10))

    async def receive(self) -> bytes:
        said = await self.says.get()
        if isinstance(said, Exception):
            raise said
        return said

    async def send(self, data: bytes) -> None:
        await self.reads.wait()
        self.received += data

    async def finish(self) -> None:
        self.finished.set()

    async def close(self) -> None:
        self.closed.set()


class Node:
    def __init__(self) -> None:
        self.ports: list[Port] = []

    async def port_forward(self, namespace: str, pod: str, port: int) -> ByteStream:
        if port == 1:
            raise InternalError("nothing listens")
        self.ports.append(Port())
        return self.ports[-1]


class Wire(ByteStream):
    """The client's connection: what it sends is put here, what it is sent goes to the client."""

    def __init__(self, client: Client) -> None:
        self.sent: asyncio.Queue[bytes] = asyncio.Queue(10)
        self._client = client

    async def receive(self) -> bytes:
        return await self.sent.get()

    async def send(self, data: bytes) -> None:
        self._client.sent += data

    async def close(self) -> None: ...


@attrs.frozen
class Place:
    node: Node
    client: Client
    wire: Wire

    async def send(self, *frames: bytes) -> None:
        for frame in frames:
            await self.wire.sent.put(frame)

    async def open(self, first: int, headers: dict[str, str]) -> None:
        error = self.client.open(first, {**headers, "streamtype": "error"}, flags=FIN)
        await self.send(error, self.client.open(first + 2, {**headers, "streamtype": "data"}))

    async def port(self, number: int = 0) -> Port:
        await until(lambda: len(self.node.ports) > number)
        return self.node.ports[number]

    async def answers(self, *wanted: tuple[str, int]) -> list[tuple[str, int, int, bytes]]:
        """What was sent to the client, once these are among it."""
        found: list[tuple[str, int, int, bytes]] = []

        def there() -> bool:
            found.extend(self.client.answers())
            return all(any(each[:2] == one for each in found) for one in wanted)

        await until(there)
        return found


async def until(there: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not there():  # noqa: ASYNC110 (there is no event to await)
            await asyncio.sleep(0)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    node: Any = Node()
    async with running() as api:
        api.server.nodes["n"] = node
        await api.post("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        spec = {"containers": [{"name": "main", "image": "i:1"}], "nodeName": "n"}
        await api.post(PODS, {"metadata": {"name": "p"}, "spec": spec})
        response = await api.ask("POST", f"{PODS}/p/portforward")
        assert response.upgrade is not None
        assert response.upgrade.spdy is not None
        client = Client()
        wire = Wire(client)
        serving = asyncio.ensure_future(response.upgrade.spdy(wire))
        yield Place(node, client, wire)
        await wire.sent.put(b"")
        async with asyncio.timeout(20):
            await serving


async def test_a_half_that_ends_leaves_the_other_open(place: Place) -> None:
    await place.open(1, PORT)
    port = await place.port()
    port.reads.set()
    await place.send(data(3, b"question"), data(3, b"", flags=FIN))
    await port.finished.wait()
    assert bytes(port.received) == b"question"
    assert not port.closed.is_set()
    await port.says.put(b"answer")
    found = await place.answers(("data", 3))
    assert ("data", 3, 0, b"answer") in found
    await port.says.put(b"")
    ends = await place.answers(("data", 3), ("data", 1))
    assert [each for each in ends if each[1] == 3] == [("data", 3, FIN, b"")]
    await port.closed.wait()


async def test_a_pod_that_ends_first_ends_it_for_both_and_holds_nobody_up(place: Place) -> None:
    await place.open(1, PORT)
    port = await place.port()
    await port.says.put(b"")
    await place.answers(("data", 3), ("data", 1))
    # What the client still sends has nowhere to go, and may be as long as it likes.
    for _ in range(4):
        await place.send(data(3, bytes(spdy.BUFFERED)))
    await place.open(5, {"port": "8080", "requestid": "1"})
    other = await place.port(1)
    other.reads.set()
    await place.send(data(7, b"next"))
    await until(lambda: bytes(other.received) == b"next")
    await other.says.put(b"")


async def test_a_pod_that_reads_slowly_stops_the_client(place: Place) -> None:
    await place.open(1, PORT)
    port = await place.port()
    piece = bytes(spdy.BUFFERED)
    sending = asyncio.create_task(place.send(*[data(3, piece)] * 20))
    await until(place.wire.sent.full)
    assert not sending.done()
    assert len(port.received) == 0
    port.reads.set()
    await sending
    await until(lambda: len(port.received) == 20 * len(piece))
    await port.says.put(b"")


async def test_what_fails_is_told_on_the_error_stream(place: Place) -> None:
    await place.open(1, {"port": "1", "requestid": "0"})
    found = await place.answers(("data", 1), ("reset", 3))
    assert b"nothing listens" in next(payload for what, number, _, payload in found if (what, number) == ("data", 1))
    await place.open(5, {"port": "8080", "requestid": "1"})
    port = await place.port()
    await port.says.put(InternalError("it broke"))
    found = await place.answers(("data", 5), ("reset", 7))
    assert b"it broke" in next(payload for what, number, _, payload in found if (what, number) == ("data", 5))
    await port.closed.wait()


async def test_a_client_that_gives_a_connection_up_closes_it(place: Place) -> None:
    await place.open(1, PORT)
    port = await place.port()
    await place.send(control(RST_STREAM, (3).to_bytes(4, "big") + (5).to_bytes(4, "big")))
    await port.finished.wait()

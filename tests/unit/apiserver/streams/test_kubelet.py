"""Streams of a node in another process: WebSocket clients on one side, a stand-in node server on the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import orjson
import pytest
from aiohttp import WSMsgType

from fakes.backend import MACHINE, Front, authority, backend, front, server_tls
from fakes.nodeserver import CLOSE, ERROR, RESIZE, STDERR, STDIN, STDOUT, NodeServer
from fakes.server import running
from fakes.waiting import eventually

pytestmark = pytest.mark.anyio

PODS = "/api/v1/namespaces/default/pods"
EXEC = f"{PODS}/p/exec?container=main&stdin=true&stdout=true&stderr=true"
V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"


@attrs.frozen
class Place:
    front: Front
    node: NodeServer
    port: int

    def socket(self, path: str, *protocols: str) -> Any:
        return self.front.session.ws_connect(self.front.url + path, protocols=protocols or (V5,))


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    node, trusted = NodeServer(), authority()
    pair = trusted.issue_server("node", ["127.0.0.1"], now=MACHINE.now())
    client = trusted.issue_client("kube-apiserver-kubelet-client", ["system:masters"], now=MACHINE.now())
    tls = server_tls(pair, tmp_path, clients=trusted.certificate)
    options: dict[str, Any] = {"kubelet_certificate": lambda: client, "kubelet_ca": trusted.certificate}
    async with running(**options) as api, backend(node.answer, tls) as port, front(api) as there:
        await api.post("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        await api.post("/api/v1/nodes", {"metadata": {"name": "n"}})
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }
        await api.patch("/api/v1/nodes/n/status", {"status": status})
        containers = [{"name": name, "image": "i:1"} for name in ("main", "none")]
        await api.post(PODS, {"metadata": {"name": "p"}, "spec": {"containers": containers, "nodeName": "n"}})
        yield Place(there, node, port)


async def messages(socket: aiohttp.ClientWebSocketResponse) -> list[tuple[int, bytes]]:
    """Everything that comes, empty messages apart, until the socket is closed."""
    found = []
    async with asyncio.timeout(20):
        async for message in socket:
            assert message.type is WSMsgType.BINARY
            if len(message.data) > 1:
                found.append((message.data[0], message.data[1:]))
    return found


@pytest.mark.parametrize("client", [V5, V4])
async def test_a_command_runs_on_the_node_and_its_end_is_told(place: Place, client: str) -> None:
    async with place.socket(f"{EXEC}&command=fail&command=3", client) as socket:
        assert socket.protocol == client
        found = await messages(socket)
    assert found[0] == (STDERR, b"no\n")
    channel, status = found[1]
    assert channel == ERROR
    assert orjson.loads(status)["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
    asked = place.node.seen[-1]
    assert asked == "/exec/default/p/main?command=fail&command=3&input=1&output=1&error=1"
    assert (("commonName", "kube-apiserver-kubelet-client"),) in place.node.certificates[-1]["subject"]


@pytest.mark.parametrize("what", ["exec", "attach"])
async def test_input_reaches_it_and_can_be_ended(place: Place, what: str) -> None:
    path = f"{PODS}/p/{what}?container=main&stdin=true&stdout=true&command=cat"
    async with place.socket(path) as socket:
        await socket.send_bytes(bytes((STDIN,)) + b"hello")
        assert await socket.receive_bytes() == bytes((STDOUT,)) + b"hello"
        await socket.send_bytes(bytes((CLOSE, STDIN)))
        found = await messages(socket)
    assert orjson.loads(found[-1][1])["status"] == "Success"


async def test_a_terminal_has_the_clients_size(place: Place) -> None:
    async with place.socket(f"{PODS}/p/exec?container=main&stdin=1&stdout=1&tty=1&command=size") as socket:
        await socket.send_bytes(bytes((RESIZE,)) + b'{"Width":80,"Height":24}')
        assert (STDOUT, b"80x24") in await messages(socket)


async def test_an_older_node_is_spoken_to_in_what_it_knows(place: Place) -> None:
    place.node.protocols = (V4,)
    async with place.socket(f"{EXEC}&command=cat") as socket:
        await socket.send_bytes(bytes((STDIN,)) + b"hello")
        assert await socket.receive_bytes() == bytes((STDOUT,)) + b"hello"


async def test_what_a_node_refuses_is_told_on_the_error_channel(place: Place) -> None:
    path = EXEC.replace("container=main", "container=none")
    async with place.socket(f"{path}&command=cat") as socket:
        found = await messages(socket)
    document = orjson.loads(found[0][1])
    assert (found[0][0], document["code"], document["message"]) == (ERROR, 404, "container not found")


async def test_a_client_that_goes_away_takes_its_command_along(place: Place) -> None:
    async with place.socket(f"{EXEC}&command=cat") as socket:
        await socket.send_bytes(bytes((STDIN,)) + b"x")
        await socket.receive_bytes()
        assert place.node.running == 1

    async def ended() -> bool:
        return place.node.running == 0

    await eventually(ended)


async def test_a_command_that_reads_nothing_stops_its_client_from_sending(place: Place) -> None:
    path = f"{EXEC}&command=stuck"
    async with place.socket(path) as socket:
        piece = bytes((STDIN,)) + bytes(64 * 1024)

        async def flood() -> None:
            while True:
                await socket.send_bytes(piece)

        sending = asyncio.create_task(flood())
        # Buffers on the way are bounded, so the sender must come to a stop, and the rest of the server go on.
        transport = socket._response.connection.transport
        async with asyncio.timeout(20):
            while transport.get_write_buffer_size() == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        answer = await place.front.caller.ask("GET", f"{PODS}/p")
        assert answer.status == 200
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        place.node.held.set()


async def test_logs_come_from_the_node_and_are_followed(place: Place) -> None:
    url = f"{place.front.url}{PODS}/p/log?container=main&follow=true&tailLines=5"
    async with place.front.session.get(url) as response:
        assert response.content_type == "text/plain"
        assert await response.content.readline() == b"first\n"
        place.node.held.set()
        assert await response.content.read() == b"second\n"
    assert place.node.seen[-1] == "/containerLogs/default/p/main?follow=true&tailLines=5"
    refused = await place.front.caller.ask("GET", f"{PODS}/p/log?container=none")
    assert (refused.status, "waiting to start" in refused.decoded()["message"]) == (400, True)


async def test_a_node_that_does_not_answer_is_an_error_of_the_server(place: Place) -> None:
    status = {"daemonEndpoints": {"kubeletEndpoint": {"Port": 1}}}
    await place.front.caller.patch("/api/v1/nodes/n/status", {"status": status})
    refused = await place.front.caller.ask("GET", f"{PODS}/p/log?container=main")
    message = "error dialing backend: dial tcp 127.0.0.1:1: connect: connection refused"
    assert (refused.status, refused.decoded()["message"]) == (500, message)


async def test_a_port_is_forwarded_and_what_fails_is_told(place: Place) -> None:
    node = place.front.caller.server.connect_node("n")
    assert node is not None
    stream = await node.port_forward("default", "p", 8080)
    await stream.send(b"hello")
    assert await stream.receive() == b"HELLO"
    assert await stream.receive() == b""
    await stream.close()
    stream = await node.port_forward("default", "p", 1)
    with pytest.raises(Exception, match="nothing listens"):
        await stream.receive()
    await stream.close()

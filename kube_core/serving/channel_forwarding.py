"""`portforward` over a WebSocket of `v4.channel.k8s.io`, or of no protocol: the form of clients in Python and browsers.

The ports are in the query (`ports=80,8080`, or repeated), and each is connected once, at the start. The port at index
i has the channels 2i, which is the connection, and 2i + 1, on which a failure is told; the first message of each
channel is the port's number, two bytes, the low one first. A message of the client on an error's channel, or on a
channel that there is not, is passed over. When every port has ended its side, the WebSocket is closed. In
`v4.base64.channel.k8s.io` the channel is a digit, and what follows it in base64.

Called by `forwarding`, which agrees on a protocol and says what a failure is called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from kube_core.abc.transport import ByteStream, MessageStream
from kube_core.meta.status import BadRequest, StatusError
from kube_core.serving.channels import Channels

__all__ = ["CHANNEL_PROTOCOLS", "forward_channels", "ports_of"]

CHANNEL_PROTOCOLS = ("v4.channel.k8s.io", "v4.base64.channel.k8s.io")

#: Messages of a client that wait for its port; then nothing more is read from the WebSocket.
_PENDING = 16

Open = Callable[[int], Awaitable[ByteStream]]
Problem = Callable[[str, Exception], bytes]


def ports_of(query: Sequence[tuple[str, str]], parameter: str) -> list[int]:
    """The ports that a parameter of the query names, in its order. Raises `BadRequest`."""
    ports = []
    for value in (value for name, value in query if name == parameter):
        for each in value.split(","):
            if not (each.isascii() and each.isdigit() and int(each) < 1 << 16):
                raise BadRequest(f'unable to parse "{each}" as a port')
            if int(each) == 0:
                raise BadRequest(f'port "{each}" must be > 0')
            ports.append(int(each))
    if not ports:
        raise BadRequest('query parameter "port" is required')
    if len(ports) > 127:
        raise BadRequest("there are more ports than channels")
    return ports


async def forward_channels(stream: MessageStream, ports: Sequence[int], open_port: Open, problem: Problem) -> None:
    """Serves the client until it goes, or every port has ended."""
    wire = Channels(stream)
    queues = [asyncio.Queue[bytes](_PENDING) for _ in ports]
    for index, port in enumerate(ports):
        for channel in (2 * index, 2 * index + 1):
            await wire.send(channel, port.to_bytes(2, "little"))

    async def receive() -> None:
        while (received := await wire.receive()) is not None:
            channel, data = received
            if data and channel % 2 == 0 and channel // 2 < len(queues):
                await queues[channel // 2].put(data)

    connections = [
        asyncio.create_task(_connection(wire, 2 * index, port, queues[index], open_port, problem))
        for index, port in enumerate(ports)
    ]
    receiving = asyncio.create_task(receive())
    ended = asyncio.gather(*connections)
    try:
        await asyncio.wait((receiving, ended), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (receiving, *connections):
            task.cancel()
        await asyncio.gather(receiving, *connections, ended, return_exceptions=True)


async def _connection(
    wire: Channels, channel: int, port: int, queue: asyncio.Queue[bytes], open_port: Open, problem: Problem
) -> None:
    try:
        connection = await open_port(port)
    except (StatusError, OSError) as error:
        await wire.send(channel + 1, problem(str(port), error))
        return
    sending = asyncio.create_task(_to_pod(queue, connection))
    try:
        while piece := await connection.receive():
            await wire.send(channel, piece)
    except StatusError as error:
        await wire.send(channel + 1, problem(str(port), error))
    except ConnectionError:
        pass  # the pod has broken it off; that is its end
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await connection.close()


async def _to_pod(queue: asyncio.Queue[bytes], connection: ByteStream) -> None:
    try:
        while True:
            await connection.send(await queue.get())
    except ConnectionError:
        # Nobody is there any more; what the client still says is taken, so that other ports do not wait.
        while True:
            await queue.get()

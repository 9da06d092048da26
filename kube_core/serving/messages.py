"""A stream in messages: what a client gets that reads logs, or watches, over a WebSocket.

An event of a watch is a message of its own, as text; other streams come in messages as they come, in
`base64.binary.k8s.io` as text in base64. Mirrors upstream's `wsstream` and its watch over WebSockets.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable

from kube_core.abc.transport import MessageStream

__all__ = ["STREAM_PROTOCOLS", "in_messages"]

_BASE64 = "base64.binary.k8s.io"
STREAM_PROTOCOLS = ("binary.k8s.io", _BASE64)


def in_messages(stream: AsyncIterator[bytes], *, events: bool) -> Callable[[MessageStream], Awaitable[None]]:
    """Sends all of it to a client, until the client goes. The stream is closed then. `events`: each line is one."""

    async def send(client: MessageStream) -> None:
        sending = asyncio.create_task(_send(stream, client, events=events))
        listening = asyncio.create_task(_until_gone(client))
        try:
            await asyncio.wait((sending, listening), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, listening):
                task.cancel()
            await asyncio.gather(sending, listening, return_exceptions=True)
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()
            await client.close()

    return send


async def _send(stream: AsyncIterator[bytes], client: MessageStream, *, events: bool) -> None:
    async for chunk in stream:
        if events:
            for event in chunk.splitlines():
                await client.send_text(event.decode())
        elif client.protocol == _BASE64:
            await client.send_text(base64.b64encode(chunk).decode())
        else:
            await client.send(chunk)


async def _until_gone(client: MessageStream) -> None:
    while await client.receive() is not None:
        pass

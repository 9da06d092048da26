"""The channels of `channel.k8s.io`: several streams over one WebSocket.

Every message begins with a byte that names its channel; in the protocols with `base64` in their name the channel is a
digit, and what follows it is in base64.
"""

from __future__ import annotations

import asyncio
import base64
import binascii

from kube_core.abc.transport import MessageStream

__all__ = ["CLOSE", "ERROR", "RESIZE", "STDERR", "STDIN", "STDOUT", "Channels"]

STDIN, STDOUT, STDERR, ERROR, RESIZE = 0, 1, 2, 3, 4
#: Of v5 on: a message that closes the channel it names.
CLOSE = 255


class Channels:
    """Messages with their channel; one is sent at a time."""

    def __init__(self, stream: MessageStream) -> None:
        self._stream = stream
        self._in_base64 = "base64." in stream.protocol
        self._sending = asyncio.Lock()

    async def send(self, channel: int, data: bytes) -> None:
        message = b"%d" % channel + base64.b64encode(data) if self._in_base64 else bytes((channel,)) + data
        async with self._sending:
            await self._stream.send(message)

    async def receive(self) -> tuple[int, bytes] | None:
        """The next message; None at the end, and where the client says what is no base64."""
        while (message := await self._stream.receive()) is not None:
            if not message:
                continue
            if not self._in_base64:
                return message[0], message[1:]
            try:
                return message[0] - ord("0"), base64.b64decode(message[1:], validate=True)
            except binascii.Error:
                return None
        return None

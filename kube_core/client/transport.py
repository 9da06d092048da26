"""How a client reaches a server: one method for requests, one for watches.

`LocalTransport` (in `local.py`) is given the server's handler and event source and needs no socket; `HttpTransport`
(in `http.py`) speaks HTTP over TLS. Everything above knows only this contract.
"""

from __future__ import annotations

import abc
import os
from collections.abc import AsyncIterator
from typing import ClassVar

from kube_core.abc.transport import ByteStream, Request, Response, WatchEvent, WatchRequest

__all__ = ["Transport", "why_unreachable"]


class Transport(abc.ABC):
    """A way to a server."""

    #: Whether answers are the server's own frozen documents, so that asking for less of them saves nothing.
    shares_documents: ClassVar[bool] = False

    @abc.abstractmethod
    async def request(self, request: Request) -> Response:
        """Send one request. Raises the `StatusError` of a failure, and `ServiceUnavailable` for a dead peer."""

    @abc.abstractmethod
    def watch(self, wanted: WatchRequest) -> AsyncIterator[WatchEvent]:
        """Events after `wanted.resource_version` until the server ends the watch. Raises `Expired` when it is too old.

        An ERROR event is raised as its `StatusError`, never yielded; BOOKMARK events are yielded.
        """

    @abc.abstractmethod
    async def connect(self, request: Request) -> ByteStream:
        """Open an upgraded connection (exec, attach, port-forward).

        The stream carries the messages of the WebSocket channel protocol (`v5.channel.k8s.io` or `v4`): each
        `receive` and each `send` is one message, the channel's number in its first byte.
        """

    async def stream(self, request: Request) -> AsyncIterator[bytes]:
        """The body of an answer in chunks as they come (`logs -f`). Raises as `request` does."""
        response = await self.request(request)
        if response.stream is not None:
            async for chunk in response.stream:
                yield chunk
        elif body := response.encoded():
            yield body

    @abc.abstractmethod
    async def close(self) -> None: ...


def why_unreachable(error: Exception) -> str:
    """A failed connection as the operating system puts it (`Connection refused`); the library's words around it name
    objects of this program."""
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    errno = getattr(cause, "errno", None) or 0
    # The event loop writes addresses where the text of an error belongs; resolvers number their errors below zero.
    system = os.strerror(errno) if errno > 0 and isinstance(cause, ConnectionError) else ""
    return system or getattr(cause, "strerror", None) or str(cause) or type(error).__name__

"""The transport without a socket: the client and the server share one event loop and the same frozen documents.

Requests go straight to the server's handler, with the caller's `User` instead of credentials; bodies pass as
documents, so nothing is encoded that nobody reads as bytes. Watches subscribe to the server's event source. What a
client sees is what it would see over HTTP, only sooner: `cluster.py` gives every component of an embedded cluster one
of these. Admission, authorization and validation all apply; it is not a way around them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import ClassVar

from kube_core.abc.transport import (
    ByteStream,
    ConnectionDropped,
    EventSource,
    Handler,
    Request,
    Response,
    User,
    WatchEvent,
    WatchRequest,
)
from kube_core.client.transport import Transport
from kube_core.meta.status import ServiceUnavailable, StatusError

__all__ = ["Connector", "LocalTransport"]

_HANDSHAKE = {"connection": "Upgrade", "upgrade": "websocket"}
#: The subprotocols of exec and attach, best first, where a request names none.
_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")

#: Opens an upgraded connection for a request that has its user, where the server offers it without a socket.
Connector = Callable[[Request], Awaitable[ByteStream]]


class LocalTransport(Transport):
    """Calls `handle` and subscribes to `source` as `user`. Closing it only refuses further calls."""

    shares_documents: ClassVar[bool] = True

    def __init__(self, handle: Handler, source: EventSource, user: User, *, connector: Connector | None = None) -> None:
        self.user = user
        self._handle = handle
        self._source = source
        self._connector = connector
        self._closed = False

    async def request(self, request: Request) -> Response:
        self._check_open()
        request.user = self.user
        try:
            response = await self._handle(request)
        except ConnectionDropped as error:
            raise ServiceUnavailable(str(error)) from None
        if response.status >= 400:
            raise await _failure(response)
        return response

    async def watch(self, wanted: WatchRequest) -> AsyncIterator[WatchEvent]:
        self._check_open()
        events = self._source.watch(wanted, self.user)
        try:
            async for event in events:
                if event.type == "ERROR":
                    raise StatusError.from_document(dict(event.object))
                yield event
        finally:
            if (close := getattr(events, "aclose", None)) is not None:
                await close()

    async def connect(self, request: Request) -> ByteStream:
        self._check_open()
        request.user = self.user
        if self._connector is not None:
            return await self._connector(request)
        from kube_core.client.local_streams import LocalStream

        offered = request.headers.get("sec-websocket-protocol") or ", ".join(_PROTOCOLS)
        request.headers = {**request.headers, **_HANDSHAKE, "sec-websocket-protocol": offered}
        response = await self.request(request)
        upgrade = response.upgrade
        if upgrade is None or upgrade.messages is None:
            raise ServiceUnavailable("this server takes exec, attach and port-forward over HTTP only")
        wanted = [each.strip() for each in offered.split(",")]
        protocol = next((each for each in wanted if each in upgrade.protocols), "")
        return LocalStream(protocol, upgrade.messages)

    async def close(self) -> None:
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise ServiceUnavailable("the client is closed")


async def _failure(response: Response) -> StatusError:
    """The error that a response stands for, whether it carries a Status or only text."""
    document = response.decoded() if response.content_type.startswith("application/json") else None
    if isinstance(document, dict) and document.get("kind") == "Status":
        error = StatusError.from_document(document)
    else:
        text = response.encoded().decode("utf-8", "replace").strip()
        error = StatusError.from_document({"code": response.status, "message": text})
    error.headers = dict(response.headers)
    return error

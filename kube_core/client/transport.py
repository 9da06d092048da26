"""How a client reaches a server: one method for requests, one for watches.

`LocalTransport` (in `local.py`) is given the server's handler and event source and needs no socket; `HttpTransport`
(in `http.py`) speaks HTTP over TLS. Everything above knows only this contract.
"""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator
from typing import ClassVar

from kube_core.abc.transport import ByteStream, Request, Response, WatchEvent
from kube_core.api.types import ResourceType

__all__ = ["Transport"]


class Transport(abc.ABC):
    """A way to a server."""

    #: Whether answers are the server's own frozen documents, so that asking for less of them saves nothing.
    shares_documents: ClassVar[bool] = False

    @abc.abstractmethod
    async def request(self, request: Request) -> Response:
        """Send one request. Raises the `StatusError` of a failure, and `ServiceUnavailable` for a dead peer."""

    @abc.abstractmethod
    def watch(
        self,
        resource: ResourceType,
        *,
        namespace: str = "",
        name: str = "",
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
    ) -> AsyncIterator[WatchEvent]:
        """Events after `resource_version` until the server ends the watch. Raises `Expired` when it is too old.

        An ERROR event is raised as its `StatusError`, never yielded; BOOKMARK events are yielded.
        """

    def watch_metadata(
        self,
        resource: ResourceType,
        *,
        namespace: str = "",
        name: str = "",
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
    ) -> AsyncIterator[WatchEvent]:
        """Like `watch`, for a caller that looks at metadata alone: objects may lack everything else."""
        return self.watch(
            resource,
            namespace=namespace,
            name=name,
            label_selector=label_selector,
            field_selector=field_selector,
            resource_version=resource_version,
        )

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

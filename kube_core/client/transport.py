"""How a client reaches a server: one method for requests, one for watches.

`LocalTransport` (in `local.py`) is given the server's handler and event source and needs no socket; `HttpTransport`
(in `http.py`) speaks HTTP over TLS. Everything above knows only this contract.
"""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator

from kube_core.abc.transport import ByteStream, Request, Response, WatchEvent
from kube_core.api.types import ResourceType

__all__ = ["Transport"]


class Transport(abc.ABC):
    """A way to a server."""

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
        """Events after `resource_version` until the server ends the watch. Raises `Expired` when it is too old."""

    @abc.abstractmethod
    async def connect(self, request: Request) -> ByteStream:
        """Open an upgraded connection (exec, attach, port-forward)."""

    @abc.abstractmethod
    async def close(self) -> None: ...

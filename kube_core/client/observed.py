"""A transport that tells of each request: counts it, and puts a span around it.

Only programs that count or trace have one between client and transport. Watches and streams are counted when they are
opened, and have no span, since they end with the program.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from kube_core.abc.transport import ByteStream, Request, Response, WatchEvent, WatchRequest
from kube_core.client.transport import Transport
from kube_core.meta.status import StatusError

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

__all__ = ["ObservedTransport"]

#: Told the status code and the method of each answer.
Count = Callable[[str, str], None]


class ObservedTransport(Transport):
    """`inner`, observed."""

    def __init__(self, inner: Transport, *, count: Count | None = None, tracer: Tracer | None = None) -> None:
        self._inner = inner
        self._count = count
        self._tracer = tracer
        self.shares_documents = inner.shares_documents  # type: ignore[misc]  # what the inner class says

    async def request(self, request: Request) -> Response:
        if self._tracer is None:
            return await self._counted(request)
        attributes = {"http.request.method": request.method, "url.path": request.path}
        with self._tracer.start_as_current_span(f"{request.method} {request.path}", attributes=attributes) as span:
            response = await self._counted(request)
            span.set_attribute("http.response.status_code", response.status)
            return response

    async def watch(self, wanted: WatchRequest) -> AsyncIterator[WatchEvent]:
        if self._count is not None:
            self._count("200", "WATCH")
        async for event in self._inner.watch(wanted):
            yield event

    async def connect(self, request: Request) -> ByteStream:
        return await self._inner.connect(request)

    async def stream(self, request: Request) -> AsyncIterator[bytes]:
        async for chunk in self._inner.stream(request):
            yield chunk

    async def close(self) -> None:
        await self._inner.close()

    async def _counted(self, request: Request) -> Response:
        code = "<error>"
        try:
            response = await self._inner.request(request)
            code = str(response.status)
        except StatusError as error:
            code = str(error.code)
            raise
        else:
            return response
        finally:
            if self._count is not None:
                self._count(code, request.method)

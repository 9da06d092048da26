"""Carrying one request to one of its backend's endpoints, and the response back; both are streamed.

What always holds:

* An endpoint that cannot be connected to is passed over for the next: nothing was sent yet, so that is safe for any
  request. A connection that breaks before a response is tried again only for a request without a body whose method
  is idempotent. Other methods never go over a connection that was used before, which the backend may just be closing.
* A response that breaks off in the middle breaks off for the client too: it is never made to look complete.
* No endpoint that can be reached: 502. No endpoint at all: 503. No answer in time: 504.
"""

from __future__ import annotations

from collections.abc import Iterator

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from kube_core._kit.logs import get_logger
from kube_core.abc.proxy import Endpoint
from kube_drivers.ingress.http.headers import backend_headers, end_to_end

__all__ = ["CONNECT_TIMEOUT", "READ_TIMEOUT", "Forwarder", "endpoint_url", "origin_form", "plain"]

#: Seconds for a connection to be accepted.
CONNECT_TIMEOUT = 5.0

#: Seconds without a byte from the backend.
READ_TIMEOUT = 60.0

_IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"))
_NO_CONTENT = frozenset((204, 304))

# What the client library would add by itself; a proxy adds nothing of the kind.
_AUTOMATIC = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

_log = get_logger("kube_core.ingress")


def plain(status: int, text: str) -> web.Response:
    """An answer of the ingress's own."""
    return web.Response(status=status, text=f"{text}\n")


def origin_form(request: web.BaseRequest) -> str:
    """The path and query as they came, byte for byte; clients of a proxy may send a whole URL."""
    raw = request.raw_path
    return raw if raw.startswith("/") else request.rel_url.raw_path_qs


def endpoint_url(request: web.BaseRequest, endpoint: Endpoint, *, scheme: str = "http") -> URL:
    """The same path and query, byte for byte, at an endpoint."""
    host = f"[{endpoint.ip}]" if ":" in endpoint.ip else endpoint.ip
    return URL(f"{scheme}://{host}:{endpoint.port}{origin_form(request)}", encoded=True)


class Forwarder:
    """The client side of the proxy. `open` in the event loop, `close` at the end."""

    def __init__(self, *, connect_timeout: float = CONNECT_TIMEOUT, read_timeout: float = READ_TIMEOUT) -> None:
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout, sock_read=read_timeout)
        self._reusing: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        self._reusing = self._session(force_close=False)
        self._fresh = self._session(force_close=True)

    async def close(self) -> None:
        for session in (self._reusing, self._fresh):
            if session is not None:
                await session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """For connections that are used once (upgrades)."""
        assert self._fresh is not None
        return self._fresh

    def _session(self, *, force_close: bool) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=force_close),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            auto_decompress=False,
            skip_auto_headers=_AUTOMATIC,
        )

    async def forward(
        self, request: web.BaseRequest, endpoints: Iterator[Endpoint], *, port: int
    ) -> web.StreamResponse:
        """Answer a request by the first endpoint that takes it. `port`: the one the client connected to."""
        headers = backend_headers(request.headers, client=request.remote or "", scheme=request.scheme, port=port)
        idempotent = request.method in _IDEMPOTENT
        session = self._reusing if idempotent else self._fresh
        assert session is not None
        repeatable = idempotent and not request.body_exists
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        why: Exception | None = None
        for endpoint in endpoints:
            try:
                upstream = await self._send(session, request, endpoint, headers)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                why = error
            except TimeoutError:
                return plain(504, "the backend did not answer in time")
            except aiohttp.ClientError as error:
                why = error
                if not repeatable:
                    break
            else:
                async with upstream:
                    return await _answer(request, upstream)
        if why is None:
            return plain(503, "no endpoint of the backend is ready")
        _log.info("backend unreachable", method=request.method, host=request.host, path=request.path, error=str(why))
        return plain(502, "no endpoint of the backend could be reached")

    async def _send(
        self, session: aiohttp.ClientSession, request: web.BaseRequest, endpoint: Endpoint, headers: CIMultiDict[str]
    ) -> aiohttp.ClientResponse:
        return await session.request(
            request.method,
            endpoint_url(request, endpoint),
            headers=headers,
            data=request.content if request.body_exists else None,
            allow_redirects=False,
        )


async def _answer(request: web.BaseRequest, upstream: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(status=upstream.status, reason=upstream.reason, headers=end_to_end(upstream.headers))
    bodiless = request.method == "HEAD" or upstream.status in _NO_CONTENT
    if not bodiless and "Content-Length" not in upstream.headers and request.version >= aiohttp.HttpVersion11:
        response.enable_chunked_encoding()
    await response.prepare(request)
    try:
        if not bodiless:
            async for chunk in upstream.content.iter_any():
                await response.write(chunk)
        await response.write_eof()
    except (aiohttp.ClientError, TimeoutError) as error:
        # The head is out: all that is left to tell the client is that this is not the end of the content.
        _log.info("backend broke off", path=request.path, error=str(error))
        response.force_close()
        if request.transport is not None:
            request.transport.abort()
    return response

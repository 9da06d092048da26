"""The HTTP transport: requests, watches and upgraded streams to a real server, over TLS.

One `HttpTransport` keeps one pool of connections and reuses them. What always holds: a peer that is dead, refuses, or
goes silent in the middle of an answer becomes `ServiceUnavailable`; a watch that the server ends, ends; a line that
was cut off half way is dropped, since the watch resumes after the last whole one. An answer that asks to be tried
again (429, or 5xx with a Retry-After header) is, up to ten times, as client-go does.

aiohttp costs a fifth of a second to import, so only programs that use a socket import this module.
"""

from __future__ import annotations

import socket
import ssl
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import attrs
import orjson
import yarl

from kube_core._kit.clock import Clock, SystemClock
from kube_core._kit.random import Random
from kube_core.abc.transport import ByteStream, Request, Response, WatchEvent, WatchRequest
from kube_core.client.connection import Connection, TlsMaterial, client_ssl_context
from kube_core.client.credentials import Credentials
from kube_core.client.proxies import proxy_for, socks_connector
from kube_core.client.transport import Transport, why_unreachable
from kube_core.meta.status import ServiceUnavailable, StatusError, Unauthorized

__all__ = ["CHANNEL_PROTOCOLS", "HttpTransport"]

#: The WebSocket subprotocols of exec, attach and port-forward, best first.
CHANNEL_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")

_USER_AGENT = "kube-core"
_RETRIES = 10
_CONNECT_TIMEOUT = 30.0
#: A watch is asked to end after a while between these, so that dead peers are noticed and load spreads (client-go).
_WATCH_SECONDS = (300.0, 600.0)
#: How long after the end that was asked for the server is given up.
_WATCH_GRACE = 30.0
_KEEPALIVE_SECONDS = 30
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"


class HttpTransport(Transport):
    """A way to the server that `connection` names. Opens its first connection with the first request."""

    def __init__(self, connection: Connection, *, clock: Clock | None = None, random: Random | None = None) -> None:
        self.connection = connection
        self._clock = clock or SystemClock()
        self._random = random or Random()
        self._credentials = Credentials(connection, self._clock)
        self._session: aiohttp.ClientSession | None = None
        #: Known with the first connection. A SOCKS proxy is the connector's own affair.
        self._proxy: str | None = None
        self._tried: TlsMaterial | None = None
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    async def request(self, request: Request) -> Response:
        attempt = 0
        renewed = False
        while True:
            with self._clock.hold(f"{request.method} {request.path}"):
                response = await self._exchange(request)
            if response.status < 400:
                return response
            if response.status == 401 and self._credentials.renewable and not renewed:
                self._credentials.forget()
                renewed = True
                continue
            delay = _retry_after(response)
            if delay is None or attempt >= _RETRIES:
                raise _failure(response)
            attempt += 1
            await self._clock.sleep(delay)

    async def watch(self, wanted: WatchRequest) -> AsyncIterator[WatchEvent]:
        query = _watch_query(wanted)
        accept = _METADATA if wanted.metadata_only else "application/json"
        async for event in self._watch(wanted.resource.path(wanted.namespace), query, accept):
            yield event

    async def stream(self, request: Request) -> AsyncIterator[bytes]:
        response = await self._open_renewing(request)
        try:
            if response.status >= 400:
                raise _failure(await _read(response))
            async for chunk in response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError) as error:
            raise self._unavailable(error) from error
        finally:
            response.close()

    async def connect(self, request: Request) -> ByteStream:
        try:
            return await self._upgrade(request)
        except Unauthorized:
            if not self._credentials.renewable:
                raise
        self._credentials.forget()
        return await self._upgrade(request)

    async def _upgrade(self, request: Request) -> ByteStream:
        session = await self._ready()
        offered = request.headers.get("sec-websocket-protocol", "")
        protocols = tuple(part.strip() for part in offered.split(",")) if offered else CHANNEL_PROTOCOLS
        try:
            async with self._clock.timeout(_CONNECT_TIMEOUT):
                socket = await session.ws_connect(
                    self._url(request),
                    protocols=protocols,
                    headers=self._headers({}),
                    max_msg_size=0,
                    ssl=self._tls or True,
                    server_hostname=self.connection.tls_server_name or None,
                    proxy=self._proxy,
                )
        except aiohttp.WSServerHandshakeError as error:
            document = {"code": error.status, "message": f"the server refused to upgrade: {error.message}"}
            raise StatusError.from_document(document) from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._unavailable(error) from error
        if socket.protocol is None:
            await socket.close()
            raise ServiceUnavailable(f"{self.connection.server} speaks none of {', '.join(protocols)}")
        return WebSocketStream(socket)

    async def close(self) -> None:
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _watch(self, path: str, query: list[tuple[str, str]], accept: str) -> AsyncIterator[WatchEvent]:
        seconds = int(self._random.uniform(*_WATCH_SECONDS))
        query.append(("timeoutSeconds", str(seconds)))
        response = await self._open_renewing(Request("GET", path, query, {"accept": accept}))
        lines = _Lines()
        try:
            if response.status >= 400:
                raise _failure(await _read(response))
            deadline = self._clock.monotonic() + seconds + _WATCH_GRACE
            while True:
                async with self._clock.timeout(deadline - self._clock.monotonic()):
                    chunk = await response.content.readany()
                if not chunk:
                    return
                for line in lines.feed(chunk):
                    yield _event(line)
        except (aiohttp.ClientError, OSError) as error:
            raise self._unavailable(error) from error
        finally:
            # Closing, not releasing: the rest of an endless answer is not worth reading to reuse the connection.
            response.close()

    async def _exchange(self, request: Request) -> Response:
        response = await self._open(request)
        try:
            return await _read(response)
        except (aiohttp.ClientError, OSError) as error:
            raise self._unavailable(error) from error
        finally:
            response.release()

    async def _open_renewing(self, request: Request) -> aiohttp.ClientResponse:
        """As `_open`, once more with other credentials where the server refuses those that there were."""
        response = await self._open(request)
        if response.status == 401 and self._credentials.renewable:
            response.close()
            self._credentials.forget()
            response = await self._open(request)
        return response

    async def _open(self, request: Request) -> aiohttp.ClientResponse:
        """Send a request and return once the answer's headers are there."""
        session = await self._ready()
        body = request.body
        if not body and request.document is not None:
            body = orjson.dumps(request.document)
        try:
            response = await session.request(
                request.method,
                self._url(request),
                headers=self._headers(request.headers),
                data=body or None,
                allow_redirects=False,
                ssl=self._tls or True,
                server_hostname=self.connection.tls_server_name or None,
                proxy=self._proxy,
            )
        except (aiohttp.ClientError, OSError) as error:
            raise self._unavailable(error) from error
        _keep_alive(response)
        return response

    async def _ready(self) -> aiohttp.ClientSession:
        if self._closed:
            raise ServiceUnavailable("the client is closed")
        await self._credentials.refresh()
        if self.connection.server.startswith("https"):
            self._renew_tls(self._credentials.tls)
        if self._session is None:
            self._session = self._make_session()
        return self._session

    def _renew_tls(self, material: TlsMaterial) -> None:
        """Have new connections use what there is now. aiohttp keeps connections by their context: old ones go on."""
        if self._tls is not None and material is self._tried:
            return
        self._tried = material
        try:
            self._tls = client_ssl_context(self.connection, material)
        except (ssl.SSLError, ValueError) as error:
            # A certificate whose key is yet to be replaced: the files will be read again.
            if self._tls is None:
                message = f"the certificates for {self.connection.server} do not load: {error}"
                raise ServiceUnavailable(message) from error

    def _make_session(self) -> aiohttp.ClientSession:
        proxy = proxy_for(self.connection)
        options: dict[str, Any] = {"limit": 0, "keepalive_timeout": 90.0}
        socks = proxy.startswith("socks")
        self._proxy = None if socks else proxy or None
        return aiohttp.ClientSession(
            connector=socks_connector(proxy, options) if socks else aiohttp.TCPConnector(**options),
            # Deadlines are counted on our clock; aiohttp would count them on the loop's.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT),
            headers={"User-Agent": _USER_AGENT},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def _url(self, request: Request) -> yarl.URL:
        url = self.connection.server + urllib.parse.quote(request.path, safe="/:@!$&'()*+,;=~")
        if request.query:
            url += "?" + urllib.parse.urlencode(request.query, quote_via=urllib.parse.quote)
        return yarl.URL(url, encoded=True)

    def _headers(self, headers: Mapping[str, str]) -> list[tuple[str, str]]:
        return [*headers.items(), *self._credentials.headers()]

    def _unavailable(self, error: Exception) -> ServiceUnavailable:
        return ServiceUnavailable(f"cannot reach {self.connection.server}: {why_unreachable(error)}")


class WebSocketStream(ByteStream):
    """Messages of the channel protocol over one WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.protocol = socket.protocol or ""

    async def receive(self) -> bytes:
        message = await self._socket.receive()
        if message.type is aiohttp.WSMsgType.BINARY:
            data: bytes = message.data
            return data
        if message.type is aiohttp.WSMsgType.TEXT:
            return str(message.data).encode()
        if message.type is aiohttp.WSMsgType.ERROR:
            raise ServiceUnavailable(f"the stream broke: {self._socket.exception()}")
        return b""

    async def send(self, data: bytes) -> None:
        try:
            await self._socket.send_bytes(data)
        except (aiohttp.ClientError, OSError) as error:
            raise ServiceUnavailable(f"the stream broke: {error}") from error

    async def close(self) -> None:
        await self._socket.close()


@attrs.define
class _Lines:
    """Cuts a stream of bytes into its whole lines, of whatever length."""

    _rest: bytearray = attrs.field(factory=bytearray)

    def feed(self, chunk: bytes) -> list[bytes]:
        end = chunk.rfind(b"\n")
        if end < 0:
            self._rest += chunk
            return []
        lines = (bytes(self._rest) + chunk[:end]).split(b"\n")
        self._rest = bytearray(chunk[end + 1 :])
        return [line for line in lines if line.strip()]


def _event(line: bytes) -> WatchEvent:
    try:
        document: dict[str, Any] = orjson.loads(line)
        event = WatchEvent(document["type"], document["object"])
    except (ValueError, KeyError, TypeError) as error:
        raise ServiceUnavailable(f"the server sent a watch event that cannot be read: {error}") from error
    if event.type == "ERROR":
        raise StatusError.from_document(document["object"])
    return event


def _watch_query(wanted: WatchRequest) -> list[tuple[str, str]]:
    query = [("watch", "true"), ("allowWatchBookmarks", "true")]
    asked = {
        "labelSelector": wanted.label_selector,
        "fieldSelector": wanted.fields,
        "resourceVersion": wanted.resource_version,
    }
    query += [(name, value) for name, value in asked.items() if value]
    return query


async def _read(response: aiohttp.ClientResponse) -> Response:
    return Response(
        status=response.status,
        headers={name.lower(): value for name, value in response.headers.items()},
        content_type=response.headers.get("Content-Type", ""),
        body=await response.read(),
    )


def _failure(response: Response) -> StatusError:
    """The error that an answer stands for, whether it carries a Status or (a proxy's) text."""
    document: Any = None
    if "json" in response.content_type:
        try:
            document = response.decoded()
        except ValueError:
            document = None
    if not (isinstance(document, dict) and document.get("kind") == "Status"):
        text = response.encoded().decode("utf-8", "replace").strip()
        document = {"code": response.status, "message": text or f"the server answered {response.status}"}
    error = StatusError.from_document(document)
    error.headers = dict(response.headers)
    return error


def _retry_after(response: Response) -> float | None:
    """How long to wait before trying again, where the server asks for that."""
    if response.status != 429 and response.status < 500:
        return None
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdigit() else None


def _keep_alive(response: aiohttp.ClientResponse) -> None:
    """Have the kernel probe a silent peer, so that one that vanished is noticed."""
    transport = response.connection.transport if response.connection is not None else None
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_SECONDS)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_SECONDS)

"""The HTTP adapter: the only module that knows aiohttp's server. HTTP/1.1 over TLS, on the running event loop.

It turns aiohttp's requests into ours and our responses into bytes; everything else is the pipeline's. Streams are
written as they come, and closed when the client goes away; a client that asks for a WebSocket gets them in messages.
Upgrades (exec, port-forward) get the native request.

Clients that are slow on purpose cost little: handshakes, heads and bodies have their time, and a head its size; the
body of who has no right to anything is not read; a watcher that does not read is cut off once too much has happened.

`stop` is a drain: nobody is listened to any more, requests on open connections are told to go elsewhere, those that
run finish, watches end after a whole event, and everything else that lasts is ended.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote
from weakref import WeakKeyDictionary

import orjson
from aiohttp import web
from aiohttp.http import WSMsgType
from multidict import CIMultiDict

from kube_core._kit.logs import get_logger
from kube_core.abc.transport import ConnectionDropped, EventStream, Handler, MessageStream, Request, Response, Upgrade
from kube_core.serving.messages import STREAM_PROTOCOLS, in_messages
from kube_core.serving.raw import RawStream
from kube_core.serving.tls import peer_chain

__all__ = ["HttpServer"]

_log = get_logger("kube_core.serving.http")
#: Upstream's limit on the body of a request, in bytes.
MAXIMUM_BODY = 3 * 1024 * 1024
#: The longest message of a WebSocket, in bytes; clients send pieces of some 32 KiB.
_MAXIMUM_MESSAGE = 1024 * 1024
#: The longest first line (selectors are long) and header of a request, in bytes, and how many headers there may be.
_LONGEST_LINE, _LONGEST_HEADER, _MOST_HEADERS = 256 * 1024, 32 * 1024, 128
#: Bytes of an answer beyond which it is compressed for clients that take it, as upstream does it: soon, not small.
_LONG_BODY = 128 * 1024
_FASTEST, _GZIP = 1, 31
#: Seconds for a handshake; without a request; for a body; and for what runs when the server is told to stop.
HANDSHAKE_TIME, IDLE_TIME, BODY_TIME, DRAIN_TIME = 32.0, 90.0, 60.0, 60.0
#: Seconds in which a watcher that was cut off may still read that it was.
_LAST_WORDS = 10.0

#: Whether who asks may, before the body of the request is read.
Doorkeeper = Callable[[Request], Awaitable[bool]]


class HttpServer:
    """Listens, and hands every request to a handler."""

    def __init__(
        self, handler: Handler, context: ssl.SSLContext | None, *, doorkeeper: Doorkeeper | None = None
    ) -> None:
        self._handler = handler
        self._context = context
        self._doorkeeper = doorkeeper
        # A watch must end when its client goes away; see `_call` for what that may not do to writes.
        self._server = web.Server(
            self._serve,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=IDLE_TIME,
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_HEADER,
            max_headers=_MOST_HEADERS,
        )
        self._runner = web.ServerRunner(self._server, shutdown_timeout=DRAIN_TIME)
        self._listeners: list[asyncio.Server] = []
        #: By connection: the certificates that its client showed, in DER, its own first.
        self._shown: WeakKeyDictionary[ssl.SSLObject, tuple[bytes, ...]] = WeakKeyDictionary()
        #: What lasts, and for watches what lets them end well.
        self._streams: dict[asyncio.Task[Any], EventStream | None] = {}
        self._draining = False

    async def listen(self, host: str, port: int, *, kept: socket.socket | None = None) -> int:
        """Listen on an address; 0 takes a free port. Returns the port. Raises OSError.

        `kept`: what `kept_socket` of a server before this one gave, to go on listening there.
        """
        if not self._listeners:
            await self._runner.setup()
        loop = asyncio.get_running_loop()
        place: dict[str, Any] = {"host": host, "port": port, "reuse_address": True} if kept is None else {"sock": kept}
        listener = await loop.create_server(
            self._server,
            **place,
            ssl=self._context,
            ssl_handshake_timeout=HANDSHAKE_TIME if self._context is not None else None,
            backlog=1024,
        )
        self._listeners.append(listener)
        bound: int = listener.sockets[0].getsockname()[1]
        return bound

    def kept_socket(self) -> socket.socket | None:
        """A handle of the first socket, on which nothing is lost while this server ends and another begins."""
        return self._listeners[0].sockets[0].dup() if self._listeners else None

    async def stop(self) -> None:
        """Stop listening, let requests finish and watches end, end all other streams."""
        self._draining = True
        for listener in self._listeners:
            listener.close()
        ending = set()
        for task, stream in list(self._streams.items()):
            if stream is None:
                task.cancel()
            else:
                stream.end()
                ending.add(task)
        if ending:
            # Who does not read the end of its watch is not waited for as long as a write is.
            _, unread = await asyncio.wait(ending, timeout=_LAST_WORDS)
            for task in unread:
                task.cancel()
        await self._runner.cleanup()
        self._listeners.clear()

    async def _serve(self, native: web.BaseRequest) -> web.StreamResponse:
        if self._draining:
            return _refusal(503, "ServiceUnavailable", "apiserver is shutting down", {"Retry-After": "1"})
        request = await self._read(native)
        if isinstance(request, web.StreamResponse):
            return request
        try:
            response = await self._call(request)
        except ConnectionDropped:
            if native.transport is not None:
                native.transport.abort()
            return _Over()
        if response.upgrade is not None:
            return await self._upgrade(native, response, response.upgrade)
        if response.stream is not None and not response.finite and _wanted(native) == "websocket":
            events = isinstance(response.stream, EventStream) and response.content_type.startswith("application/json")
            messages = in_messages(response.stream, events=events)
            return await self._upgrade(native, response, Upgrade(STREAM_PROTOCOLS, messages))
        if response.stream is not None:
            return await self._stream(native, response, compressed=response.finite and _takes_gzip(request))
        body, headers = response.encoded(), _response_headers(response)
        if len(body) > _LONG_BODY and response.passed_headers is None and _takes_gzip(request):
            headers["Content-Encoding"] = "gzip"
            headers.add("Vary", "Accept-Encoding")
            body = await asyncio.to_thread(zlib.compress, body, _FASTEST, _GZIP)
        return web.Response(status=response.status, body=body, headers=headers)

    async def _call(self, request: Request) -> Response:
        if request.method in ("GET", "HEAD"):
            return await self._handler(request)
        # What a write took from shared ranges must not be given back because the client hung up meanwhile.
        answering = asyncio.ensure_future(self._handler(request))
        try:
            return await asyncio.shield(answering)
        except asyncio.CancelledError:
            answering.add_done_callback(self._let_go)
            raise

    def _let_go(self, answering: asyncio.Future[Response]) -> None:
        """Nobody waits for this answer any more: close what it would have streamed."""
        if answering.cancelled() or answering.exception() is not None:
            return
        close = getattr(answering.result().stream, "aclose", None)
        if close is not None:
            task = asyncio.ensure_future(close())
            self._streams[task] = None
            task.add_done_callback(self._streams.pop)

    async def _read(self, native: web.BaseRequest) -> Request | web.StreamResponse:
        request = self._head(native)
        if not native.can_read_body:
            return request
        content = native.content
        if content.is_eof() and content.exception() is None:
            request.body = content.read_nowait(-1)
            return request if len(request.body) <= MAXIMUM_BODY else _too_large()
        if self._doorkeeper is not None and not await self._doorkeeper(request):
            refused = await self._handler(request)
            headers = _response_headers(refused)
            headers["Connection"] = "close"
            return web.Response(status=refused.status, body=refused.encoded(), headers=headers)
        if (native.content_length or 0) > MAXIMUM_BODY:
            return _too_large()
        chunks = []
        size = 0
        try:
            async with asyncio.timeout(BODY_TIME):
                async for chunk in content.iter_any():
                    size += len(chunk)
                    if size > MAXIMUM_BODY:
                        return _too_large()
                    chunks.append(chunk)
        except web.RequestPayloadError as error:
            return _refusal(
                400, "BadRequest", f"the body of the request cannot be read: {' '.join(str(error).split())}"
            )
        except TimeoutError:
            return _refusal(408, "Timeout", "the body of the request did not come within the allotted time")
        request.body = b"".join(chunks)
        return request

    def _head(self, native: web.BaseRequest) -> Request:
        path, _, query = native.raw_path.partition("?")
        transport = native.transport
        tls = transport.get_extra_info("ssl_object") if transport is not None else None
        shown: tuple[bytes, ...] = ()
        if tls is not None:
            known = self._shown.get(tls)
            shown = known if known is not None else self._shown.setdefault(tls, peer_chain(tls))
        return Request(
            native.method,
            unquote(path),
            tuple(parse_qsl(query, keep_blank_values=True)) if query else (),
            _headers(native.headers),
            peer_certificates=shown,
            peer_address=native.remote or "",
            raw_query=query,
        )

    async def _upgrade(self, native: web.BaseRequest, response: Response, upgrade: Upgrade) -> web.StreamResponse:
        """Hand the connection over, the way the client asked for it."""
        wanted = _wanted(native)
        task = asyncio.current_task()
        if task is not None:
            self._streams[task] = None
        try:
            if wanted == "websocket" and upgrade.messages is not None:
                socket = web.WebSocketResponse(
                    protocols=upgrade.protocols, max_msg_size=_MAXIMUM_MESSAGE, compress=False
                )
                await socket.prepare(native)
                await upgrade.messages(_WebSocket(socket))
                return socket
            if wanted == "spdy/3.1" and upgrade.spdy is not None and native.transport is not None:
                head = {"Upgrade": "SPDY/3.1", "Connection": "Upgrade", **upgrade.spdy_headers}
                await upgrade.spdy(_switched(native, head.items()))
                return _Over()
            if upgrade.passed is not None:
                await upgrade.passed(_switched(native, response.passed_headers or ()))
                return _Over()
        finally:
            if task is not None:
                self._streams.pop(task, None)
        return _upgrade_required()

    async def _stream(
        self, native: web.BaseRequest, response: Response, *, compressed: bool = False
    ) -> web.StreamResponse:
        stream = response.stream
        if stream is None:
            raise AssertionError("only called for streams")
        headers = _response_headers(response)
        packer = None
        if compressed:
            headers["Content-Encoding"] = "gzip"
            headers.add("Vary", "Accept-Encoding")
            packer = zlib.compressobj(_FASTEST, zlib.DEFLATED, _GZIP)
        answer = web.StreamResponse(status=response.status, headers=headers)
        # A long body is finished when the server stops, as a short one is.
        task = asyncio.current_task() if not response.finite else None
        watch = stream if isinstance(stream, EventStream) else None
        if task is not None:
            self._streams[task] = watch
        given_up: asyncio.TimerHandle | None = None

        def give_up_soon() -> None:
            nonlocal given_up
            if native.transport is not None:
                given_up = asyncio.get_running_loop().call_later(_LAST_WORDS, native.transport.abort)

        if watch is not None:
            watch.overrun = give_up_soon
        try:
            await answer.prepare(native)
            async for chunk in stream:
                await answer.write(await asyncio.to_thread(packer.compress, chunk) if packer is not None else chunk)
            await answer.write_eof(packer.flush() if packer is not None else b"")
        except (ConnectionResetError, ConnectionAbortedError):
            # Whoever still listens is not to take this for the end of the content.
            if native.transport is not None:
                native.transport.abort()
        finally:
            if task is not None:
                self._streams.pop(task, None)
            if given_up is not None:
                given_up.cancel()
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()
        return answer


class _Over(web.StreamResponse):
    """Of a connection on which nothing more may be written: aiohttp takes its client for gone, and says nothing."""

    async def prepare(self, request: web.BaseRequest) -> None:
        raise ConnectionResetError("the connection is over")


class _WebSocket(MessageStream):
    """A WebSocket of aiohttp's as ours."""

    def __init__(self, native: web.WebSocketResponse) -> None:
        self._native = native
        self.protocol = native.ws_protocol or ""

    async def receive(self) -> bytes | None:
        message = await self._native.receive()
        if message.type is WSMsgType.BINARY:
            data: bytes = message.data
            return data
        if message.type is WSMsgType.TEXT:
            return str(message.data).encode()
        return None

    async def send(self, data: bytes) -> None:
        await self._native.send_bytes(data)

    async def send_text(self, text: str) -> None:
        await self._native.send_str(text)

    async def close(self) -> None:
        await self._native.close()


def _wanted(native: web.BaseRequest) -> str:
    """The protocol that the connection is to become, if any: its name is no matter of case."""
    return native.headers.get("Upgrade", "").lower()


def _headers(native: Mapping[str, str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for title, value in native.items():
        name = title.lower()
        before = headers.get(name)
        comma = "\n" if name.startswith("impersonate-") else ", "
        headers[name] = value if before is None else f"{before}{comma}{value}"
    return headers


def _response_headers(response: Response) -> CIMultiDict[str]:
    if response.passed_headers is not None:
        return CIMultiDict(response.passed_headers)
    headers: CIMultiDict[str] = CIMultiDict(response.headers)
    headers["Content-Type"] = response.content_type
    headers.setdefault("Cache-Control", "no-cache, private")
    for warning in response.warnings:
        headers.add("Warning", warning)
    return headers


def _takes_gzip(request: Request) -> bool:
    accepted = request.headers.get("accept-encoding", "")
    return any(each.partition(";")[0].strip() == "gzip" for each in accepted.split(","))


def _switched(native: web.BaseRequest, headers: Iterable[tuple[str, str]]) -> RawStream:
    """The connection after the answer that its protocol is another from now on."""
    if native.transport is None:
        raise ConnectionResetError("the client is gone")
    stream = RawStream(native.protocol, native.transport)
    # aiohttp calls two methods of its parsers, and those are there.
    native.protocol.set_parser(stream)  # type: ignore[arg-type]
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    stream.write(f"HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n".encode("latin-1"))
    return stream


def _upgrade_required() -> web.Response:
    document = (
        b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",'
        b'"message":"Upgrade request required","reason":"BadRequest","code":400}'
    )
    return web.Response(status=400, body=document, content_type="application/json")


def _too_large() -> web.Response:
    return _refusal(413, "RequestEntityTooLarge", f"Request entity too large: limit is {MAXIMUM_BODY}")


def _refusal(code: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """A Status for a request that never came to the handler; the connection ends with it."""
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    document = orjson.dumps({**status, "message": message, "reason": reason, "code": code}) + b"\n"
    return web.Response(
        status=code, body=document, content_type="application/json", headers={**(headers or {}), "Connection": "close"}
    )


def describe_listen_error(error: OSError, addresses: Sequence[str]) -> str:
    """One line for a person: why the server cannot listen."""
    return f"cannot listen on {', '.join(addresses)}: {error.strerror or error}"

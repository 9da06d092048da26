"""SPDY/3.1 as exec, attach and port-forward use it: many two-way streams on one connection. The server's side.

Only what those clients need: they open streams with headers, send data and end them. There is no flow control, as
there is none in the client libraries that speak this; backpressure is the connection's own.

A session is fed the bytes that arrive and is given a function to send bytes with, so it runs over an upgraded
connection and inside WebSocket messages alike. Facts are from the SPDY protocol drafts 3 and 3.1.
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping

__all__ = ["SpdyError", "SpdySession", "SpdyStream"]

_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _HEADERS, _WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
_FIN = 0x01
_VERSION = 3
_MAXIMUM_FRAME = 1 << 20
_CANCEL = 5

#: The words that header compression starts from, each with its length in front, and a tail of common values.
_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200+OK version HTTP/1.1 url public set-cookie "
    "keep-alive origin"
)
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _dictionary() -> bytes:
    words = (word.replace("+", " ").encode() for word in _WORDS.split(" "))
    return b"".join(struct.pack(">I", len(word)) + word for word in words) + _TAIL.encode()


class SpdyError(Exception):
    """The peer does not keep to the protocol."""


class SpdyStream:
    """One stream that the peer opened. `headers` are lower-case names to values."""

    def __init__(self, session: SpdySession, stream_id: int, headers: Mapping[str, str]) -> None:
        self.id = stream_id
        self.headers = headers
        self._session = session
        self._received: asyncio.Queue[bytes] = asyncio.Queue()
        self._ended = False
        self._closed = False
        self._peer_closed = False

    async def receive(self) -> bytes:
        """The next data; b"" once the peer has ended its side, or the session is over."""
        if self._ended and self._received.empty():
            return b""
        data = await self._received.get()
        if not data:
            self._ended = True
        return data

    async def send(self, data: bytes) -> None:
        """Data to the peer; nothing once this side is closed."""
        if not self._closed and data:
            await self._session._send_data(self.id, data, fin=False)

    async def close(self) -> None:
        """End this side."""
        if not self._closed:
            self._closed = True
            self._session._drop_if_over(self)
            await self._session._send_data(self.id, b"", fin=True)

    async def reset(self) -> None:
        """Give the stream up, both ways."""
        if not self._closed:
            self._closed = True
            await self._session._send_control(_RST_STREAM, 0, struct.pack(">II", self.id, _CANCEL))
        self.end()
        self._session._drop_if_over(self)

    def put(self, data: bytes, *, fin: bool) -> None:
        """Called by the session for what arrived."""
        if data:
            self._received.put_nowait(data)
        if fin:
            self.end()

    @property
    def over(self) -> bool:
        """Whether both sides have ended it."""
        return self._closed and self._peer_closed

    def end(self) -> None:
        """Called when no more will arrive."""
        self._peer_closed = True
        self._received.put_nowait(b"")


class SpdySession:
    """All streams of one connection. `on_stream` is called for each new one, and must not block."""

    def __init__(self, send: Callable[[bytes], Awaitable[None]], on_stream: Callable[[SpdyStream], None]) -> None:
        self._send = send
        self._on_stream = on_stream
        self._buffer = bytearray()
        self._streams: dict[int, SpdyStream] = {}
        dictionary = _dictionary()
        self._inflate = zlib.decompressobj(zdict=dictionary)
        self._deflate = zlib.compressobj(level=1, zdict=dictionary)
        self._lock = asyncio.Lock()

    async def feed(self, data: bytes) -> None:
        """Take bytes from the peer. Raises `SpdyError`."""
        self._buffer += data
        for frame in self._frames():
            await self._handle(frame)

    def end(self) -> None:
        """The connection is gone: every stream ends."""
        for stream in list(self._streams.values()):
            stream.end()
        self._streams.clear()

    def _frames(self) -> Iterator[bytes]:
        while len(self._buffer) >= 8:
            length = int.from_bytes(self._buffer[5:8], "big")
            if length > _MAXIMUM_FRAME:
                raise SpdyError(f"a frame of {length} bytes is too long")
            if len(self._buffer) < 8 + length:
                return
            frame = bytes(self._buffer[: 8 + length])
            del self._buffer[: 8 + length]
            yield frame

    async def _handle(self, frame: bytes) -> None:
        first, second = struct.unpack(">II", frame[:8])
        flags, payload = second >> 24, frame[8:]
        if not first & 0x8000_0000:
            stream = self._streams.get(first)
            if stream is not None:
                stream.put(payload, fin=bool(flags & _FIN))
                self._drop_if_over(stream)
            return
        version, kind = (first >> 16) & 0x7FFF, first & 0xFFFF
        if version != _VERSION:
            raise SpdyError(f"SPDY version {version} is not spoken here")
        if kind == _SYN_STREAM:
            await self._open(payload, fin=bool(flags & _FIN))
        elif kind == _RST_STREAM:
            stream = self._streams.pop(_stream_id(payload), None)
            if stream is not None:
                stream._closed = True
                stream.end()
        elif kind == _PING:
            await self._send_control(_PING, 0, struct.pack(">I", _number(payload)))
        elif kind == _GOAWAY:
            self.end()
        elif kind == _HEADERS:
            # Header blocks share one compression state, so even those that say nothing to us must be read.
            self._headers(payload[4:])

    async def _open(self, payload: bytes, *, fin: bool) -> None:
        if len(payload) < 10:
            raise SpdyError("a SYN_STREAM frame is cut short")
        stream_id = _stream_id(payload)
        if stream_id in self._streams:
            raise SpdyError(f"stream {stream_id} is open already")
        stream = SpdyStream(self, stream_id, self._headers(payload[10:]))
        self._streams[stream_id] = stream
        if fin:
            stream.end()
        await self._reply(stream_id)
        self._on_stream(stream)

    def _drop_if_over(self, stream: SpdyStream) -> None:
        # A port-forward lives for long and opens two streams for each connection.
        if stream.over:
            self._streams.pop(stream.id, None)

    def _headers(self, block: bytes) -> Mapping[str, str]:
        try:
            data = self._inflate.decompress(block, _MAXIMUM_FRAME)
            if self._inflate.unconsumed_tail:
                raise SpdyError("a header block is too long")
            count = struct.unpack(">I", data[:4])[0]
            position, headers = 4, {}
            for _ in range(count):
                name, position = _text(data, position)
                value, position = _text(data, position)
                headers[name.lower()] = value.split("\0", 1)[0]
        except (zlib.error, struct.error, UnicodeDecodeError) as error:
            raise SpdyError(f"a header block cannot be read: {error}") from error
        return headers

    async def _reply(self, stream_id: int) -> None:
        async with self._lock:
            block = self._deflate.compress(struct.pack(">I", 0)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
            await self._send(_control(_SYN_REPLY, 0, struct.pack(">I", stream_id) + block))

    async def _send_control(self, kind: int, flags: int, payload: bytes) -> None:
        async with self._lock:
            await self._send(_control(kind, flags, payload))

    async def _send_data(self, stream_id: int, data: bytes, *, fin: bool) -> None:
        async with self._lock:
            head = struct.pack(">II", stream_id, ((_FIN if fin else 0) << 24) | len(data))
            await self._send(head + data)


def _control(kind: int, flags: int, payload: bytes) -> bytes:
    return struct.pack(">HHI", 0x8000 | _VERSION, kind, (flags << 24) | len(payload)) + payload


def _number(payload: bytes) -> int:
    """The number that a control frame begins with. Raises `SpdyError`."""
    if len(payload) < 4:
        raise SpdyError("a control frame is cut short")
    return int.from_bytes(payload[:4], "big")


def _stream_id(payload: bytes) -> int:
    return _number(payload) & 0x7FFF_FFFF


def _text(data: bytes, position: int) -> tuple[str, int]:
    length = struct.unpack(">I", data[position : position + 4])[0]
    end = position + 4 + length
    if end > len(data):
        raise SpdyError("a header block is cut short")
    return data[position + 4 : end].decode(), end

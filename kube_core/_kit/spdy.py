"""SPDY/3.1 as exec, attach and port-forward use it: many two-way streams on one connection.

Only what those need: who called opens streams with headers, and both send data and end them.

What arrives waits for its reader in a buffer of bounded size. The client libraries that speak this have no flow
control, so when a stream's buffer is full, `feed` waits, the connection is not read, and TCP slows the peer down; a
stream that nobody will read any more is told so (`discard`), lest it hold up the others. With a peer that shows that
it has flow control, by a SETTINGS or WINDOW_UPDATE frame, windows are kept both ways: its are respected, and ours are
given back as streams are read.

A session is fed the bytes that arrive and is given a function to send bytes with, so it runs over an upgraded
connection and inside WebSocket messages alike. Facts are from the SPDY protocol drafts 3 and 3.1.
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping

__all__ = ["SpdyError", "SpdySession", "SpdyStream"]

_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _HEADERS, _WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
_FIN = 0x01
_INITIAL_WINDOW_SIZE = 7
#: Bytes that a side may send before the other gives it more, on a stream and on all; where nothing else was said.
_WINDOW = 64 * 1024
#: Bytes of a stream that wait for their reader before the connection is no longer read.
BUFFERED = 256 * 1024
#: Streams at once; more are refused.
_MAXIMUM_STREAMS = 1000
_VERSION = 3
_MAXIMUM_FRAME = 1 << 20
_REFUSED_STREAM, _CANCEL = 3, 5

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
    """One stream. `headers`, by whoever opened it, are lower-case names to values."""

    def __init__(self, session: SpdySession, stream_id: int, headers: Mapping[str, str]) -> None:
        self.id = stream_id
        self.headers = headers
        #: What may still be sent, as far as the peer counts it.
        self.window = session.initial_window
        self._session = session
        self._received: deque[bytes] = deque()
        self._size = 0
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._discards = False
        self._closed = False
        self._peer_closed = False

    async def receive(self) -> bytes:
        """The next data; b"" once the peer has ended its side, or the session is over."""
        while not self._received:
            if self._peer_closed:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = self._received.popleft()
        self._size -= len(data)
        self._room.set()
        await self._session._give_back(self, len(data))
        return data

    async def send(self, data: bytes) -> None:
        """Data to the peer; nothing once this side is closed."""
        if not self._closed and data:
            await self._session._send_data(self, data, fin=False)

    async def close(self) -> None:
        """End this side."""
        if not self._closed:
            self._closed = True
            self._session._drop_if_over(self)
            await self._session._send_data(self, b"", fin=True)

    async def reset(self) -> None:
        """Give the stream up, both ways."""
        if not self._closed:
            self._closed = True
            await self._session._send_control(_RST_STREAM, 0, struct.pack(">II", self.id, _CANCEL))
        self.discard()
        self.end()
        self._session._drop_if_over(self)

    def discard(self) -> None:
        """Nobody reads this stream any more: what it brings is thrown away, and holds nothing up."""
        self._discards = True
        self._received.clear()
        self._size = 0
        self._room.set()

    async def put(self, data: bytes, *, fin: bool) -> None:
        """Called by the session for what arrived; returns when there is room for more."""
        if data and self._discards:
            await self._session._give_back(self, len(data))
        elif data:
            self._received.append(data)
            self._size += len(data)
        if fin:
            self.end()
        self._changed.set()
        while self._size > BUFFERED:
            self._room.clear()
            await self._room.wait()

    @property
    def over(self) -> bool:
        """Whether both sides have ended it."""
        return self._closed and self._peer_closed

    @property
    def closed(self) -> bool:
        """Whether nothing more can be sent."""
        return self._closed

    def end(self) -> None:
        """Called when no more will arrive."""
        self._peer_closed = True
        self._changed.set()

    def abandon(self) -> None:
        """Called when the peer gave the stream up, or is gone: nothing more can be sent, either."""
        self._closed = True
        self.end()


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
        #: The peer has flow control.
        self._windows = False
        self.initial_window = _WINDOW
        self._window = _WINDOW
        self._widened = asyncio.Event()
        self._over = False
        self._opened = 0

    async def open(self, headers: Mapping[str, str]) -> SpdyStream:
        """A stream of ours, where we are who called. The peer's answer to it says nothing and is not waited for."""
        async with self._lock:
            stream_id = 2 * self._opened + 1
            self._opened += 1
            stream = self._streams[stream_id] = SpdyStream(self, stream_id, headers)
            words = [word.encode() for pair in headers.items() for word in pair]
            plain = struct.pack(">I", len(headers)) + b"".join(struct.pack(">I", len(word)) + word for word in words)
            block = self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
            await self._send(_control(_SYN_STREAM, 0, struct.pack(">IIH", stream_id, 0, 0) + block))
        return stream

    async def feed(self, data: bytes) -> None:
        """Take bytes from the peer. Raises `SpdyError`."""
        self._buffer += data
        for frame in self._frames():
            await self._handle(frame)

    def end(self) -> None:
        """The connection is gone: every stream ends."""
        self._over = True
        for stream in list(self._streams.values()):
            stream.abandon()
        self._streams.clear()
        self._widened.set()

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
                await stream.put(payload, fin=bool(flags & _FIN))
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
                stream.abandon()
                self._widened.set()
        elif kind == _PING:
            await self._send_control(_PING, 0, struct.pack(">I", _number(payload)))
        elif kind == _GOAWAY:
            for stream in self._streams.values():
                stream.end()
        elif kind == _WINDOW_UPDATE:
            self._widen(payload)
        elif kind == _SETTINGS:
            self._settle(payload)
        elif kind == _HEADERS:
            # Header blocks share one compression state, so even those that say nothing to us must be read.
            self._headers(payload[4:])

    async def _open(self, payload: bytes, *, fin: bool) -> None:
        if len(payload) < 10:
            raise SpdyError("a SYN_STREAM frame is cut short")
        stream_id = _stream_id(payload)
        if stream_id in self._streams:
            raise SpdyError(f"stream {stream_id} is open already")
        headers = self._headers(payload[10:])
        if len(self._streams) >= _MAXIMUM_STREAMS:
            await self._send_control(_RST_STREAM, 0, struct.pack(">II", stream_id, _REFUSED_STREAM))
            return
        stream = SpdyStream(self, stream_id, headers)
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

    async def _send_data(self, stream: SpdyStream, data: bytes, *, fin: bool) -> None:
        while True:
            piece = data
            if self._windows and data:
                room = min(stream.window, self._window)
                if room <= 0:
                    self._widened.clear()
                    await self._widened.wait()
                    if self._over or stream.closed:
                        return
                    continue
                piece = data[:room]
            # Counted with every peer: one that has flow control may show it late.
            stream.window -= len(piece)
            self._window -= len(piece)
            data = data[len(piece) :]
            async with self._lock:
                head = struct.pack(">II", stream.id, ((_FIN if fin and not data else 0) << 24) | len(piece))
                await self._send(head + piece)
            if not data:
                return

    def _widen(self, payload: bytes) -> None:
        """The peer has read something, and takes more."""
        self._windows = True
        if len(payload) < 8:
            raise SpdyError("a WINDOW_UPDATE frame is cut short")
        stream_id, size = _stream_id(payload), int.from_bytes(payload[4:8], "big") & 0x7FFF_FFFF
        if stream_id == 0:
            self._window += size
        elif (stream := self._streams.get(stream_id)) is not None:
            stream.window += size
        self._widened.set()

    def _settle(self, payload: bytes) -> None:
        self._windows = True
        count = _number(payload)
        for start in range(4, 4 + 8 * min(count, len(payload) // 8), 8):
            identity = int.from_bytes(payload[start : start + 4], "big") & 0x00FF_FFFF
            value = int.from_bytes(payload[start + 4 : start + 8], "big")
            if identity == _INITIAL_WINDOW_SIZE:
                for stream in self._streams.values():
                    stream.window += value - self.initial_window
                self.initial_window = value
                self._widened.set()

    async def _give_back(self, stream: SpdyStream, size: int) -> None:
        """Let a peer that has flow control send as much again as was read."""
        if not self._windows or self._over:
            return
        for stream_id in (0, *(() if stream.over or stream._peer_closed else (stream.id,))):
            await self._send_control(_WINDOW_UPDATE, 0, struct.pack(">II", stream_id, size))


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

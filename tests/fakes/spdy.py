"""The client's side of SPDY/3.1, written from the protocol: makes frames, and reads what a session sends."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

from kube_core._kit import spdy
from kube_core._kit.spdy import SpdySession, SpdyStream

__all__ = [
    "FIN",
    "GOAWAY",
    "HEADERS",
    "PING",
    "RST_STREAM",
    "SETTINGS",
    "SYN_STREAM",
    "WINDOW_UPDATE",
    "Client",
    "control",
    "data",
]

SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
FIN = 1


class Client:
    """The other side of a session: makes frames, and reads what the session sends."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.opened: list[SpdyStream] = []
        self.session = SpdySession(self._take, self.opened.append)
        self._deflate = zlib.compressobj(zdict=spdy._dictionary())
        self._inflate = zlib.decompressobj(zdict=spdy._dictionary())

    async def _take(self, data: bytes) -> None:
        self.sent += data

    def header_block(self, headers: Mapping[str, str]) -> bytes:
        plain = struct.pack(">I", len(headers))
        for name, value in headers.items():
            for text in (name.encode(), value.encode()):
                plain += struct.pack(">I", len(text)) + text
        return self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def open(self, stream: int, headers: Mapping[str, str], *, flags: int = 0) -> bytes:
        return control(SYN_STREAM, struct.pack(">IIH", stream, 0, 0) + self.header_block(headers), flags=flags)

    def answers(self) -> list[tuple[str, int, int, bytes]]:
        """What the session sent since the last look: (what, stream, flags, payload)."""
        found, data = [], bytes(self.sent)
        self.sent.clear()
        while data:
            first, second = struct.unpack(">II", data[:8])
            flags, length = second >> 24, second & 0xFFFFFF
            payload, data = data[8 : 8 + length], data[8 + length :]
            if not first & 0x8000_0000:
                found.append(("data", first, flags, payload))
                continue
            assert first >> 16 == 0x8003
            kind = first & 0xFFFF
            number = int.from_bytes(payload[:4], "big")
            rest = payload[4:]
            if kind == SYN_REPLY:
                rest = self._inflate.decompress(rest)
            names = {SYN_REPLY: "reply", RST_STREAM: "reset", PING: "ping", WINDOW_UPDATE: "window"}
            found.append((names[kind], number, flags, rest))
        return found


def control(kind: int, payload: bytes, *, flags: int = 0, version: int = 3) -> bytes:
    return struct.pack(">HHI", 0x8000 | version, kind, (flags << 24) | len(payload)) + payload


def data(stream: int, content: bytes, *, flags: int = 0) -> bytes:
    return struct.pack(">II", stream, (flags << 24) | len(content)) + content

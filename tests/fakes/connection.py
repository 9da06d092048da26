"""HTTP/1.1 by hand, so that every byte is the test's."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any

import attrs
import orjson

__all__ = ["Answer", "Connection"]


@attrs.define
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return orjson.loads(self.body)


class Connection:
    """HTTP/1.1 by hand, so that every byte is the test's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, method: str, path: str, body: bytes = b"", *, head: str = "", length: int | None = None) -> None:
        size = len(body) if length is None else length
        lines = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{head}"
        if body or length is not None:
            lines += f"Content-Length: {size}\r\n"
        self.writer.write(lines.encode("utf-8", "surrogateescape") + b"\r\n" + body)

    async def head(self) -> tuple[int, dict[str, str]]:
        async with asyncio.timeout(20):
            text = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = text.splitlines()
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        return int(first.split()[1]), headers

    async def answer(self, *, bodiless: bool = False) -> Answer:
        status, headers = await self.head()
        size = 0 if bodiless else int(headers.get("content-length", "0"))
        return Answer(status, headers, await self.reader.readexactly(size))

    async def ask(self, method: str, path: str, body: bytes = b"", **options: Any) -> Answer:
        self.send(method, path, body, **options)
        return await self.answer(bodiless=method == "HEAD")

    async def chunk(self) -> bytes:
        """One chunk of a stream; b"" at its end."""
        async with asyncio.timeout(20):
            size = int(await self.reader.readline(), 16)
            data = await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        return data

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await self.writer.wait_closed()

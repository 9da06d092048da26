"""A connection to a port of a pod, as a byte stream: what port-forwards go through."""

from __future__ import annotations

import asyncio

from kube_core.abc.runtime import RuntimeFailure
from kube_core.abc.transport import ByteStream

__all__ = ["connect"]


async def connect(host: str, port: int) -> ByteStream:
    """Raises `RuntimeFailure`."""
    try:
        return _Connected(*await asyncio.open_connection(host, port))
    except OSError as error:
        why = error.strerror or str(error)
        raise RuntimeFailure(f"failed to connect to {host}:{port} inside the pod: {why}") from None


class _Connected(ByteStream):
    """A TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self) -> bytes:
        try:
            return await self._reader.read(65536)
        except ConnectionError:
            return b""

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def finish(self) -> None:
        if not self._writer.is_closing():
            self._writer.write_eof()

    async def close(self) -> None:
        self._writer.close()

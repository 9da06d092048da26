"""A connection to a port of a pod, as a byte stream: what port-forwards go through."""

from __future__ import annotations

import asyncio
import os
import socket

import anyio.to_thread

from kube_core.abc.runtime import RuntimeFailure
from kube_core.abc.transport import ByteStream

__all__ = ["connect", "connect_in"]


async def connect(host: str, port: int) -> ByteStream:
    """Raises `RuntimeFailure`."""
    try:
        return _Connected(*await asyncio.open_connection(host, port))
    except OSError as error:
        why = error.strerror or str(error)
        raise RuntimeFailure(f"failed to connect to {host}:{port} inside the pod: {why}") from None


async def connect_in(namespace_path: str, port: int) -> ByteStream:
    """The same to a port of the loopback of a network namespace, over whichever of IPv4 and IPv6 listens there."""
    from kube_drivers.kernel import socket_in  # lazily: only runtimes with namespaces need it

    why = ""
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            there = await anyio.to_thread.run_sync(socket_in, namespace_path, family)
            try:
                await asyncio.get_running_loop().sock_connect(there, (host, port))
                return _Connected(*await asyncio.open_connection(sock=there))
            except BaseException:
                there.close()
                raise
        except OSError as error:
            why = why or os.strerror(error.errno or 0) or str(error)
    raise RuntimeFailure(f"failed to connect to localhost:{port} inside the pod: {why}")


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

"""Servers for a server to speak to, on real sockets: one that answers as a test says, and ours itself, to be asked."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import attrs
from aiohttp import web

from fakes.server import Caller
from kube_core._kit.clock import SystemClock
from kube_core.auth.certificates import Authority, KeyPair
from kube_core.serving.http import HttpServer

__all__ = ["MACHINE", "Front", "authority", "backend", "front", "server_tls"]

#: Certificates are checked by the machine's own time.
MACHINE = SystemClock()
Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def authority(name: str = "backends") -> Authority:
    return Authority.create(name, now=MACHINE.now())


def server_tls(pair: KeyPair, directory: Path, *, clients: bytes = b"") -> ssl.SSLContext:
    """`clients`: the authority of the certificates that are asked for, and must be shown."""
    file = directory / "backend.pem"
    file.write_bytes(pair.certificate + pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    if clients:
        context.load_verify_locations(cadata=clients.decode())
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@contextlib.asynccontextmanager
async def backend(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on loopback; gives its port."""
    runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@attrs.frozen
class Front:
    """A server that can be asked over a socket, as the admin."""

    caller: Caller
    url: str
    session: aiohttp.ClientSession


@contextlib.asynccontextmanager
async def front(caller: Caller) -> AsyncIterator[Front]:
    """Let a server listen, in the clear."""
    server = HttpServer(caller.server.handle, None)
    port = await server.listen("127.0.0.1", 0)
    headers = {"Authorization": "Bearer admin-token"}
    try:
        async with aiohttp.ClientSession(headers=headers, auto_decompress=False) as session:
            yield Front(caller, f"http://127.0.0.1:{port}", session)
    finally:
        await server.stop()
        await asyncio.sleep(0)

"""Carrying a WebSocket: a handshake with the backend first, then with the client, then messages both ways.

The subprotocol is the one that the backend chose. Pings, pongs and close codes pass through as they come; there is
no limit on a message's size but the backend's own. A backend that refuses the upgrade is shown to the client with the
status it answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import aiohttp
from aiohttp import web

from kube_core.abc.proxy import Endpoint
from kube_drivers.ingress.http.forward import endpoint_url, plain
from kube_drivers.ingress.http.headers import backend_headers

__all__ = ["carry_websocket"]

# Made anew by each side's own handshake.
_HANDSHAKE = ("Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol")

_Socket = aiohttp.ClientWebSocketResponse | web.WebSocketResponse


async def carry_websocket(
    session: aiohttp.ClientSession, request: web.BaseRequest, endpoints: Iterator[Endpoint], *, port: int
) -> web.StreamResponse:
    """Answer an upgrade request by the first endpoint that takes it; returns when the connection has ended."""
    headers = backend_headers(request.headers, client=request.remote or "", scheme=request.scheme, port=port)
    offered = request.headers.get("Sec-WebSocket-Protocol", "")
    for name in _HANDSHAKE:
        headers.popall(name, None)
    tried = False
    for endpoint in endpoints:
        tried = True
        try:
            backend = await session.ws_connect(
                endpoint_url(request, endpoint),
                protocols=[name.strip() for name in offered.split(",") if name.strip()],
                headers=headers,
                autoping=False,
                autoclose=False,
                max_msg_size=0,
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            continue
        except aiohttp.WSServerHandshakeError as error:
            return plain(error.status if error.status >= 400 else 502, "the backend refused the upgrade")
        except (aiohttp.ClientError, TimeoutError):
            return plain(502, "the backend broke off the upgrade")
        return await _join(request, backend)
    return plain(502 if tried else 503, "no endpoint of the backend could be reached")


async def _join(request: web.BaseRequest, backend: aiohttp.ClientWebSocketResponse) -> web.StreamResponse:
    client = web.WebSocketResponse(
        protocols=[backend.protocol] if backend.protocol else (),
        autoping=False,
        autoclose=False,
        compress=False,
        max_msg_size=0,
    )
    try:
        await client.prepare(request)
        pumps = [asyncio.ensure_future(_pump(client, backend)), asyncio.ensure_future(_pump(backend, client))]
        try:
            await asyncio.gather(*pumps)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
    finally:
        await backend.close()
    return client


async def _pump(source: _Socket, sink: _Socket) -> None:
    """Pass messages on until the source closes; then close the sink the same way."""
    while True:
        message = await source.receive()
        match message.type:
            case aiohttp.WSMsgType.TEXT:
                await sink.send_str(message.data)
            case aiohttp.WSMsgType.BINARY:
                await sink.send_bytes(message.data)
            case aiohttp.WSMsgType.PING:
                await sink.ping(message.data)
            case aiohttp.WSMsgType.PONG:
                await sink.pong(message.data)
            case aiohttp.WSMsgType.CLOSE:
                await _close(sink, message.data, message.extra)
                await _close(source, message.data, message.extra)
                return
            case _:
                # Gone without a farewell, or closed by the other pump.
                await _close(sink, aiohttp.WSCloseCode.GOING_AWAY, "")
                return


async def _close(socket: _Socket, code: Any, reason: Any) -> None:
    # 1005 (no code given) must not be sent on the wire.
    known = int(code or aiohttp.WSCloseCode.OK)
    await socket.close(code=aiohttp.WSCloseCode.OK if known == 1005 else known, message=str(reason or "").encode())

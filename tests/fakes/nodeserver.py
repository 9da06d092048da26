"""A stand-in for the server of a node in another process: the kubelet's streaming paths, by HTTPS and WebSocket.

Its containers do what their commands say: `cat` gives back its input, `fail N` ends with N, `size` tells the terminal's
size once it is told, `stuck` reads nothing. It speaks from the protocol, not with our code.
"""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

import attrs
from aiohttp import WSMsgType, web

__all__ = ["NodeServer"]

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255


@attrs.define
class NodeServer:
    """`protocols`: what it speaks of `channel.k8s.io`, most wanted first."""

    protocols: tuple[str, ...] = ("v5.channel.k8s.io", "v4.channel.k8s.io")
    seen: list[str] = attrs.field(factory=list)
    certificates: list[Any] = attrs.field(factory=list)
    held: asyncio.Event = attrs.field(factory=asyncio.Event)
    #: Commands that run now.
    running: int = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(request.raw_path)
        self.certificates.append(request.get_extra_info("peercert"))
        match request.rel_url.path.split("/"):
            case ["", "containerLogs", _, _, "none"]:
                return web.Response(status=400, text='container "none" in pod "p" is waiting to start')
            case ["", "containerLogs", _, _, _]:
                return await self._logs(request)
            case ["", "exec", _, _, "none"]:
                return web.Response(status=404, text="container not found")
            case ["", "exec" | "attach", _, _, _]:
                return await self._run(request)
            case ["", "portForward", _, _]:
                return await self._forward(request)
        return web.Response(status=404)

    async def _logs(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first\n")
        if request.rel_url.query.get("follow") == "true":
            await self.held.wait()
            await response.write(b"second\n")
        return response

    async def _run(self, request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=self.protocols)
        await socket.prepare(request)
        command = request.rel_url.query.getall("command", ["cat"])
        self.running += 1
        try:
            code = await self._command(socket, command)
        finally:
            self.running -= 1
        status: dict[str, Any] = {"metadata": {}, "status": "Success"}
        if code:
            causes = [{"reason": "ExitCode", "message": str(code)}]
            status = {"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": causes}}
        await socket.send_bytes(bytes((ERROR,)) + json.dumps(status).encode())
        await socket.close()
        return socket

    async def _command(self, socket: web.WebSocketResponse, command: list[str]) -> int:
        if command[0] == "fail":
            await socket.send_bytes(bytes((STDERR,)) + b"no\n")
            return int(command[1])
        if command[0] == "stuck":
            await self.held.wait()
            return 0
        async for message in socket:
            if message.type is not WSMsgType.BINARY or not message.data:
                continue
            channel, data = message.data[0], message.data[1:]
            if channel == STDIN and command[0] == "cat":
                await socket.send_bytes(bytes((STDOUT,)) + data)
            elif channel == RESIZE and command[0] == "size":
                size = json.loads(data)
                await socket.send_bytes(bytes((STDOUT,)) + f"{size['Width']}x{size['Height']}".encode())
                return 0
            elif channel == CLOSE and data == bytes((STDIN,)):
                return 0
        return 0

    async def _forward(self, request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        port = int(request.rel_url.query["port"])
        for channel in (0, 1):
            await socket.send_bytes(bytes((channel,)) + struct.pack("<H", port))
        if port == 1:
            await socket.send_bytes(b"\1nothing listens")
        else:
            async for message in socket:
                if message.type is WSMsgType.BINARY and message.data[:1] == b"\0":
                    await socket.send_bytes(b"\0" + message.data[1:].upper())
                    break
        await socket.close()
        return socket

"""Exec, attach and port-forward: CRI answers with a URL, at which the streams are to be had once.

The URL is that of a server of plain HTTP on loopback, with a token nobody can guess, which is good for one connection
and for a minute, as upstream's streaming library has it. Clients speak SPDY or WebSocket (`kube_core.serving`).
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

from kube_core._kit.clock import Clock, Timer
from kube_core.abc.runtime import ExecRequest, ExecSession, Runtime, RuntimeFailure
from kube_core.abc.transport import ByteStream, Request, Response, Upgrade
from kube_core.meta.status import InternalError
from kube_core.serving.forwarding import forwarding
from kube_core.serving.http import HttpServer
from kube_core.serving.sessions import serving
from kube_drivers.runtime.cri.messages import message
from kube_drivers.runtime.criserver.lookups import container_of, sandbox_of
from kube_drivers.runtime.criserver.refusals import Refusal, invalid

__all__ = ["Streams"]

#: Seconds for which a URL is good, and how many may wait for their clients.
_GOOD_FOR: Final = 60.0
_MOST: Final = 1000

#: How a connection goes on that came with a token.
Answer = Callable[[Request], Upgrade]


class Streams:
    """A part of the server, and the server that streams; see the package."""

    def __init__(self, runtime: Runtime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._server = HttpServer(self._answer, None)
        self._base = ""
        self._waiting: dict[str, tuple[Answer, Timer]] = {}

    async def listen(self, host: str, port: int) -> None:
        """Raises OSError."""
        bound = await self._server.listen(host, port)
        self._base = f"http://{f'[{host}]' if ':' in host else host}:{bound}"

    async def stop(self) -> None:
        for _, timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()
        await self._server.stop()

    async def exec(self, request: Any) -> Any:
        status = container_of(self._runtime, request.container_id)
        if status.state != "running":
            raise Refusal("UNKNOWN", f"container is in {status.state} state")
        if not request.cmd:
            raise invalid("cmd is required")
        wanted = _wanted(request, tuple(request.cmd))
        answer = self._session("executing command in", lambda: self._runtime.exec(status.id, wanted), wanted)
        return message("ExecResponse")(url=self._url("exec", answer))

    async def attach(self, request: Any) -> Any:
        status = container_of(self._runtime, request.container_id)
        if status.state != "running":
            raise Refusal("UNKNOWN", f"container is in {status.state} state")
        if not self._runtime.attachable(status.id):
            raise Refusal("UNIMPLEMENTED", f"the runtime {self._runtime.name} cannot attach to containers")
        wanted = _wanted(request, (), stdin=request.stdin and status.config.stdin)
        answer = self._session("attaching to", lambda: self._runtime.attach(status.id, wanted), wanted)
        return message("AttachResponse")(url=self._url("attach", answer))

    async def port_forward(self, request: Any) -> Any:
        status = sandbox_of(self._runtime, request.pod_sandbox_id)
        if not status.ready:
            raise Refusal("UNKNOWN", f"sandbox {status.id} is not running")

        async def connect(port: int) -> ByteStream:
            try:
                return await self._runtime.port_forward(status.id, port)
            except RuntimeFailure as error:
                raise InternalError(str(error)) from None

        def answer(asked: Request) -> Upgrade:
            return forwarding(connect, status.config.name, asked.headers, asked.query, "port")

        return message("PortForwardResponse")(url=self._url("portforward", answer))

    def _session(self, doing: str, begin: Callable[[], Awaitable[ExecSession]], wanted: ExecRequest) -> Answer:
        async def start() -> ExecSession:
            try:
                return await begin()
            except RuntimeFailure as error:
                raise InternalError(f"error {doing} container: {error}") from None

        return lambda asked: serving(start, wanted, asked.headers)

    def _url(self, verb: str, answer: Answer) -> str:
        if len(self._waiting) >= _MOST:
            raise Refusal("RESOURCE_EXHAUSTED", "maximum number of in-flight requests exceeded")
        token = secrets.token_urlsafe(16)
        timer = self._clock.call_later(_GOOD_FOR, lambda: self._forget(token))
        self._waiting[token] = answer, timer
        return f"{self._base}/{verb}/{token}"

    def _forget(self, token: str) -> None:
        self._waiting.pop(token, None)

    async def _answer(self, request: Request) -> Response:
        found = self._waiting.pop(request.path.rpartition("/")[2], None)
        if found is None:
            return Response(404, content_type="text/plain; charset=utf-8", body=b"404 page not found\n")
        answer, timer = found
        timer.cancel()
        return Response(upgrade=answer(request))


def _wanted(request: Any, command: tuple[str, ...], *, stdin: bool | None = None) -> ExecRequest:
    """Raises `Refusal`, as upstream's library does."""
    if request.tty and request.stderr:
        raise invalid("tty and stderr cannot both be true")
    if not (request.stdin or request.stdout or request.stderr):
        raise invalid("one of stdin, stdout, or stderr must be set")
    wants_stdin = request.stdin if stdin is None else stdin
    return ExecRequest(command, wants_stdin, request.stdout, request.stderr, request.tty)

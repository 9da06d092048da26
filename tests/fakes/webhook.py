"""A webhook on a real socket, without TLS: keeps what it is sent, and answers what a test says."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

__all__ = ["Webhook", "listening"]


class Webhook:
    """`answer` makes the document of the answer, or gives a status code."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self.answer = answer
        self.received: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""

    def kubeconfig(self, path: Path) -> Path:
        file = path / "webhook.kubeconfig"
        file.write_text(
            f"""
kind: Config
apiVersion: v1
current-context: it
contexts: [{{name: it, context: {{cluster: it, user: it}}}}]
clusters: [{{name: it, cluster: {{server: "{self.url}"}}}}]
users: [{{name: it, user: {{token: our-token}}}}]
"""
        )
        return file

    async def _handle(self, request: web.Request) -> web.Response:
        self.received.append(await request.json())
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        answer = self.answer(self.received[-1])
        if isinstance(answer, int):
            return web.Response(status=answer)
        return web.json_response(answer)


@contextlib.asynccontextmanager
async def listening(answer: Callable[[Any], Any] = lambda _: {}) -> AsyncIterator[Webhook]:
    webhook = Webhook(answer)
    application = web.Application()
    application.router.add_post("/hook", webhook._handle)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        webhook.url = f"http://127.0.0.1:{port}/hook"
        yield webhook
    finally:
        await runner.cleanup()

"""Webhooks that a server calls, on real sockets with TLS: of admission, and of conversion."""

from __future__ import annotations

import base64
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import orjson
from aiohttp import web

from fakes.backend import authority, backend, server_tls

__all__ = ["Hooks", "allowed", "answering", "json_patch", "nobody"]

#: What a path answers to a review: a document, or an answer of any kind.
Answers = Callable[[Any], Awaitable[Any] | Any]


@attrs.define
class Hooks:
    """One server with a webhook a path. `reviews` are those that came, with their path."""

    port: int = 0
    ca: str = ""
    paths: dict[str, Answers] = attrs.field(factory=dict)
    reviews: list[tuple[str, Any]] = attrs.field(factory=list)
    queries: list[str] = attrs.field(factory=list)
    connections: set[object] = attrs.field(factory=set)

    def client(self, path: str) -> dict[str, Any]:
        return {"url": f"https://127.0.0.1:{self.port}{path}", "caBundle": self.ca}

    def asked(self, path: str) -> list[Any]:
        """The requests of the reviews that came to a path."""
        return [review["request"] for where, review in self.reviews if where == path]

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        review = await request.json()
        self.reviews.append((request.path, review))
        self.queries.append(request.query_string)
        self.connections.add(request.transport)
        answer = self.paths[request.path](review)
        if isinstance(answer, Awaitable):
            answer = await answer
        if isinstance(answer, web.StreamResponse):
            return answer
        return web.Response(body=orjson.dumps(answer), content_type="application/json")


@contextlib.asynccontextmanager
async def answering(directory: Path, *, hosts: tuple[str, ...] = ("127.0.0.1",)) -> AsyncIterator[Hooks]:
    """Webhooks with a certificate for these hosts, of now: who checks it goes by the machine's time."""
    issuer = authority("webhooks")
    hooks = Hooks(ca=base64.b64encode(issuer.certificate).decode())
    tls = server_tls(issuer.issue_server("webhook", hosts, now=time.time()), directory)
    async with backend(hooks.answer, tls) as port:
        hooks.port = port
        yield hooks


@contextlib.contextmanager
def nobody() -> Iterator[int]:
    """A port on which nobody listens, and nobody can while this lasts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


def allowed(review: Any, **more: Any) -> dict[str, Any]:
    """An answer that lets a write pass, with whatever else."""
    response = {"uid": review["request"]["uid"], "allowed": True, **more}
    return {"kind": review["kind"], "apiVersion": review["apiVersion"], "response": response}


def json_patch(review: Any, *operations: Any) -> dict[str, Any]:
    patch = base64.b64encode(orjson.dumps(operations)).decode()
    return allowed(review, patchType="JSONPatch", patch=patch)

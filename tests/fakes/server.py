"""An API server on a memory store, in virtual time, and a caller that speaks to it in bytes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import orjson

from kube_core._kit.clock import FakeClock
from kube_core._kit.random import Random
from kube_core.abc.store import Store
from kube_core.abc.transport import Request, Response, User
from kube_core.admission.chain import AdmissionSpec
from kube_core.api.types import ResourceType
from kube_core.apiserver.server import ApiServer, ServerConfig
from kube_core.plugins import PluginHost
from kube_core.registry.generic import Registry
from kube_drivers.store.memory import MemoryStore

__all__ = ["ADMIN", "ALICE", "Caller", "running"]

ADMIN = User("admin", ("system:masters", "system:authenticated"))
ALICE = User("alice", ("developers", "system:authenticated"), "7")
_TOKENS = {"admin-token": ADMIN, "alice-token": ALICE}


class Caller:
    """Asks a server as the admin, unless told otherwise."""

    def __init__(self, server: ApiServer, clock: FakeClock) -> None:
        self.server = server
        self.clock = clock

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Sequence[tuple[str, str]] = (),
        token: str = "admin-token",
        user: User | None = None,
        **headers: str,
    ) -> Response:
        """`path` may carry a query; header names are written with underscores. Bytes are sent as they are."""
        path, _, text = path.partition("?")
        given = [part.partition("=")[::2] for part in text.split("&") if part]
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent.setdefault("content-type", "application/json")
        if token:
            sent["authorization"] = f"Bearer {token}"
        data = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        return await self.server.handle(Request(method, path, [*given, *query], sent, data, user=user))

    async def get(self, path: str, **options: Any) -> Any:
        return await self._done("GET", path, None, options)

    async def post(self, path: str, body: Any, **options: Any) -> Any:
        return await self._done("POST", path, body, options)

    async def put(self, path: str, body: Any, **options: Any) -> Any:
        return await self._done("PUT", path, body, options)

    async def patch(self, path: str, body: Any, kind: str = "merge-patch", **options: Any) -> Any:
        return await self._done("PATCH", path, body, {"content_type": f"application/{kind}+json", **options})

    async def delete(self, path: str, body: Any = None, **options: Any) -> Any:
        return await self._done("DELETE", path, body, options)

    async def _done(self, method: str, path: str, body: Any, options: Mapping[str, Any]) -> Any:
        response = await self.ask(method, path, body, **options)
        document = response.decoded()
        assert response.status < 400, document
        return document

    def registry(self, resource: ResourceType) -> Registry:
        return self.server.catalogue.of(resource)


@contextlib.asynccontextmanager
async def running(
    *,
    admission: Sequence[AdmissionSpec] | None = None,
    store: Store | None = None,
    upkeep: bool = False,
    **config: Any,
) -> AsyncIterator[Caller]:
    """A started server with the built-in admission plugins, or with these.

    `upkeep`: it keeps default roles, flow control and APIServices as well, which takes as long as a test does.
    """
    clock = FakeClock()
    if store is None:
        store = MemoryStore(clock=clock)
        await store.open()
    server = ApiServer(
        store,
        ServerConfig(tokens=_TOKENS, **config),
        clock=clock,
        random=Random(1),
        admission=PluginHost.from_entry_points().admission() if admission is None else admission,
    )
    await server.start(upkeep=upkeep)
    try:
        yield Caller(server, clock)
    finally:
        await server.stop()
        await store.close()

"""A program's functions as webhooks: for a cluster that runs elsewhere, be it `kube-core up` or any other.

    async with kube.Webhooks(client, [website], name="website-operator"):
        ...                                         # kinds are installed, and reviews are answered

Entering makes certificates, listens, installs the kinds with their conversion, and applies the configurations of
webhooks; from then on certificates are renewed, and configurations follow. Leaving stops to listen. The configurations
stay, as a program that is started anew is to find its rules in force; with `withdraw` they go.

It is the same functions and the same reviews as in an embedded cluster (`kube_core.kinds.reviews`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import attrs
import orjson

from kube_core._kit.clock import Clock, SystemClock
from kube_core._kit.logs import get_logger
from kube_core.client.client import ApiClient
from kube_core.kinds.bundle import gather
from kube_core.kinds.certificates import AuthorityKeeper, MemoryKeeper, ServingCertificate
from kube_core.kinds.install import InstallError, configurations, configure, install
from kube_core.kinds.reviews import Reviewer
from kube_core.meta.documents import Document
from kube_core.meta.status import NotFound, StatusError

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["ServiceReference", "Webhooks"]

_log = get_logger("kube_core.kinds.webhooks")
#: The longest review, in bytes: two objects of the largest size that is stored, and what is around them.
_LONGEST: Final = 8 * 1024 * 1024
#: Seconds between looks at the certificates; configurations that somebody changed are set right then, too.
_PERIOD: Final = 3600.0


@attrs.frozen
class ServiceReference:
    """The Service by which a cluster reaches this program, where it runs as a pod."""

    namespace: str
    name: str
    port: int = 443

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names that its certificate is for."""
        return f"{self.name}.{self.namespace}.svc", f"{self.name}.{self.namespace}.svc.cluster.local"


class Webhooks:
    """Serves functions to the cluster of a client."""

    def __init__(  # noqa: PLR0913 (each is something that a deployment may want otherwise)
        self,
        client: ApiClient,
        kinds: Iterable[object],
        *,
        name: str,
        host: str = "127.0.0.1",
        port: int = 0,
        reached_by: str | ServiceReference = "",
        keeper: AuthorityKeeper | None = None,
        days: float = 30.0,
        withdraw: bool = False,
        clock: Clock | None = None,
    ) -> None:
        """`kinds`: kinds and functions, as a plugin offers them. `name`: of the configurations.

        `host` and `port`: where to listen; 0 takes a free port. `reached_by`: a URL (`https://name:8443`) or a Service
        by which the cluster comes here, where that is another address. `keeper`: where the authority is kept, in memory
        unless it is given. `days`: how long a serving certificate is valid. Raises `KindError`.
        """
        self._client = client
        self._bundle = gather(kinds)
        self._reviewer = Reviewer(self._bundle)
        self._name = name
        self._host = host
        self._reached_by = reached_by
        self._withdraw = withdraw
        self._clock = clock or SystemClock()
        self.certificate = ServingCertificate(
            self._hosts(), clock=self._clock, keeper=keeper or MemoryKeeper(), days=days
        )
        self._stack = contextlib.AsyncExitStack()
        self.port = port

    @property
    def url(self) -> str:
        """Where this listens."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"https://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            await self.certificate.renew()
            await self._listen(stack)
            if self._withdraw:
                stack.push_async_callback(self._remove)
            await self._publish()
            await stack.enter_async_context(_running(self._keep_current()))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def refresh(self) -> None:
        """Renew what is due, and set definitions and configurations right. Done once an hour by itself.

        Raises StatusErrors, `InstallError`, OSError, and `ValueError` for an authority that is damaged.
        """
        await self.certificate.renew(self._publish)
        await self._publish()

    async def _keep_current(self) -> None:
        while True:
            await self._clock.sleep(_PERIOD)
            try:
                await self.refresh()
            except (StatusError, InstallError, OSError, ValueError) as error:
                _log.warning("webhooks could not be brought up to date", name=self._name, error=str(error))

    async def _publish(self) -> None:
        """Say what the kinds are, and by whose certificate this is known."""
        await install(self._client, self._bundle, self._client_config, clock=self._clock)
        await configure(self._client, configurations(self._bundle, self._client_config, self._name))

    async def _remove(self) -> None:
        from kube_core.api import resources

        for resource in (resources.MUTATING_WEBHOOK_CONFIGURATIONS, resources.VALIDATING_WEBHOOK_CONFIGURATIONS):
            with contextlib.suppress(NotFound):
                await self._client.delete(resource, self._name)

    def _client_config(self, path: str) -> Document:
        bundle = base64.b64encode(self.certificate.trusted).decode()
        if isinstance(self._reached_by, ServiceReference):
            by = self._reached_by
            service = {"namespace": by.namespace, "name": by.name, "port": by.port, "path": path}
            return {"service": service, "caBundle": bundle}
        return {"url": (self._reached_by.rstrip("/") or self.url) + path, "caBundle": bundle}

    def _hosts(self) -> list[str]:
        hosts = ["localhost"]
        with contextlib.suppress(ValueError):
            if not ipaddress.ip_address(self._host).is_unspecified:
                hosts.append(self._host)
        if isinstance(self._reached_by, ServiceReference):
            hosts += self._reached_by.hosts
        elif self._reached_by:
            import urllib.parse

            hosts.append(urllib.parse.urlsplit(self._reached_by).hostname or "")
        return [host for host in hosts if host]

    async def _listen(self, stack: contextlib.AsyncExitStack) -> None:
        # aiohttp takes a while to import, and who only declares kinds does without it.
        from aiohttp import web

        application = web.Application(client_max_size=_LONGEST)
        application.router.add_get("/healthz", _healthy)
        application.router.add_post("/{path:.*}", self._answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, self._host, self.port, ssl_context=self.certificate.context)
        await site.start()
        self.port = runner.addresses[0][1]

    async def _answer(self, request: web.Request) -> web.Response:
        from aiohttp import web

        if request.path not in self._reviewer.paths:
            return web.Response(status=404, text=f"nothing answers {request.path}")
        try:
            review = orjson.loads(await request.read())
            review["apiVersion"], review["kind"], review["request"]["uid"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return web.Response(status=400, text="the body is not a review")
        try:
            answer: Any = await self._reviewer.answer(request.path, review)
        except Exception as error:
            _log.exception("a function failed that answers for a webhook", path=request.path)
            return web.Response(status=500, text=f"{type(error).__name__}: {error}")
        return web.Response(body=orjson.dumps(answer), content_type="application/json")


async def _healthy(_: web.Request) -> web.Response:
    from aiohttp import web

    return web.Response(text="ok")


@contextlib.asynccontextmanager
async def _running(work: Any) -> AsyncIterator[None]:
    """Have a task run beside the block, until that ends."""
    task = asyncio.create_task(work, name="webhooks")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

"""A node's HTTPS server: `NodeEndpoints` behind TLS and `Permission`, for an API server in another process.

Its certificate is its own (self-signed, as upstream's kubelet has it by default: the API server verifies it only where
it was told an authority), or one of the cluster's signer `kubernetes.io/kubelet-serving`, for which it asks where that
is wanted; somebody has to approve that, and until then the node serves with its own. The key is made at the start and
never leaves the process.

    server = NodeServer(answer, permission, clock=clock)
    port = await server.listen("192.0.2.7", 10250, node="a")
    …
    await server.stop()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kube_core._kit.certificates import Authority, KeyPair, make_request
from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core._kit.random import Random
from kube_core.abc.transport import Handler, Request, Response
from kube_core.client.certificates import KUBELET_SERVING, RequestRefused, obtain
from kube_core.meta.status import StatusError
from kube_core.node.credentials import renewal_moment
from kube_core.node.serving.permission import Permission
from kube_core.serving.http import HttpServer
from kube_core.serving.tls import server_context, show

if TYPE_CHECKING:
    import ssl

    from kube_core.client.client import ApiClient

__all__ = ["NodeServer"]

_log = get_logger("kube_core.node.serving")
_AGAIN = 60.0


class NodeServer:
    """Of one node. `answer` gets the requests of those who may."""

    def __init__(self, answer: Handler, permission: Permission, authorities: bytes, *, clock: Clock) -> None:
        """`authorities`: whose certificates pass, where not every one can be let pass (`serving.tls`)."""
        self._answer = answer
        self._permission = permission
        self._authorities = authorities
        self._clock = clock
        self._http: HttpServer | None = None
        self._context: ssl.SSLContext | None = None

    async def listen(self, address: str, port: int, *, node: str) -> int:
        """Serve there, with a certificate of its own; 0 takes a free port. Returns the port. Raises OSError."""
        now = self._clock.now()
        own = Authority.create(f"{node}-ca@{int(now)}", now=now).issue_server(
            f"{node}@{int(now)}", [node, address], now=now
        )
        self._context = server_context(own.certificate, own.key, self._authorities)
        self._http = HttpServer(self._handle, self._context, doorkeeper=self._permission.admits)
        return await self._http.listen(address, port)

    async def stop(self) -> None:
        if self._http is not None:
            await self._http.stop()

    async def keep_certified(self, client: ApiClient, node: str, address: str, random: Random) -> None:
        """Serve with a certificate of the cluster's as soon as somebody approves one, and with the next one in time."""
        while True:
            request, key = make_request(f"system:node:{node}", ["system:nodes"], [node, address])
            try:
                pair = await obtain(
                    client,
                    prefix="csr-",
                    signer=KUBELET_SERVING,
                    request=request,
                    key=key,
                    usages=["digital signature", "server auth"],
                )
            except (RequestRefused, StatusError) as error:
                _log.warning("the node has no new certificate for its server", error=str(error))
                await self._clock.sleep(_AGAIN)
            else:
                self._show(pair)
                await self._clock.sleep(max(renewal_moment(pair.certificate, random) - self._clock.now(), 0.0))

    def _show(self, pair: KeyPair) -> None:
        """Connections from now on get this certificate."""
        if self._context is not None:
            show(self._context, pair.certificate, pair.key)

    async def _handle(self, request: Request) -> Response:
        refused = await self._permission.refusal(request)
        return refused if refused is not None else await self._answer(request)

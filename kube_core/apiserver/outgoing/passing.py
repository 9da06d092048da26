"""Carrying a client's request to an address, and the answer back: upstream's upgrade-aware proxy.

What always holds:

* The client's credentials stay here: `Authorization`, impersonation, and the headers by which a front proxy says who
  asks. Headers that belong to one connection stay, too, but for those of an upgrade, which is passed on as it is.
* `X-Forwarded-For` and `-Uri` say where the request came from; the Host is the client's, unless the route says
  otherwise.
* The answer is streamed, a watch as well as a file; one that breaks off breaks off for the client. An answer to an
  upgrade that is no 101 is passed on like any other.
* Redirects and links of pages lead through the server again (`rewriting`), for those routes that ask for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import attrs

from kube_core._kit.hop_by_hop import hop_by_hop
from kube_core.abc.transport import ByteStream, Request, Response, Upgrade

if TYPE_CHECKING:
    from kube_core.apiserver.outgoing.client import Address, Answer, Outgoing

__all__ = ["Route", "asks_to_switch", "pass_on"]

#: Headers that are made anew, or are none of the backend's business.
_OURS = frozenset(("host", "content-length", "expect", "authorization", "x-forwarded-for", "x-forwarded-uri"))
_CREDENTIALS = ("impersonate-", "x-remote-")
#: What may stand in a path as it is.
_PATH_SAFE = "/:@!$&'()*+,;=~-._"
_REDIRECT_REFUSED = b"the backend attempted to redirect this request, which is not permitted"


@attrs.frozen
class Route:
    """Where one request goes. `path` is decoded, `prefix` is what leads to the same place through this server."""

    address: Address
    path: str
    prefix: str = ""
    #: The Host header is the address, not what the client asked for.
    own_host: bool = False
    #: Redirects are refused with 502 (a backend of the aggregation layer), not passed on.
    refuses_redirects: bool = False
    #: Headers that say who asks.
    headers: Sequence[tuple[str, str]] = ()

    def target(self, request: Request) -> str:
        """Path and query as they are sent."""
        query = request.raw_query or urlencode(list(request.query))
        return quote(self.path, safe=_PATH_SAFE) + (f"?{query}" if query else "")


def asks_to_switch(headers: Mapping[str, str]) -> bool:
    """Whether a request asks for its connection to become another protocol's."""
    return "upgrade" in {token.strip().lower() for token in headers.get("connection", "").split(",")}


async def pass_on(client: Outgoing, request: Request, route: Route) -> Response:
    """Raises `Unreachable`."""
    switching = asks_to_switch(request.headers)
    headers = _request_headers(request, route, switching=switching)
    answer = await client.send(route.address, request.method, route.target(request), headers, request.body)
    if answer.status == 101 and switching:
        return _switched(answer)
    if route.refuses_redirects and 300 <= answer.status <= 399 and answer.header("location"):
        await answer.body.aclose()
        return Response(502, content_type="text/plain; charset=utf-8", body=_REDIRECT_REFUSED)
    received = _end_to_end(answer.headers)
    if not route.refuses_redirects and (answer.header("location") or answer.header("content-type")):
        from kube_core.apiserver.outgoing import rewriting

        return await rewriting.rewritten(answer, received, request, route)
    return Response(answer.status, stream=answer.body, passed_headers=received)


def _switched(answer: Answer) -> Response:
    backend = answer.switched()

    async def carry(client: ByteStream) -> None:
        from kube_core.serving.raw import join

        await join(client, backend)

    return Response(101, upgrade=Upgrade(passed=carry), passed_headers=answer.headers)


def _request_headers(request: Request, route: Route, *, switching: bool) -> list[tuple[str, str]]:
    stays = hop_by_hop([request.headers.get("connection", "")])
    kept = [
        (name, value)
        for name, value in request.headers.items()
        if name not in stays and name not in _OURS and not name.startswith(_CREDENTIALS)
    ]
    host = request.headers.get("host", "")
    kept.append(("Host", route.address.authority if route.own_host or not host else host))
    if switching:
        kept += [("Connection", "Upgrade"), ("Upgrade", request.headers.get("upgrade", ""))]
    else:
        kept.append(("X-Forwarded-Uri", quote(route.prefix + route.path, safe=_PATH_SAFE)))
    came_by = [part for part in (request.headers.get("x-forwarded-for", ""), request.peer_address) if part]
    if came_by:
        kept.append(("X-Forwarded-For", ", ".join(came_by)))
    return [*kept, *route.headers]


def _end_to_end(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    stays = hop_by_hop(value for name, value in headers if name.lower() == "connection")
    return [(name, value) for name, value in headers if name.lower() not in stays]

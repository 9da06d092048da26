"""Who may ask a node's server for what: upstream's kubelet with webhook authentication and authorisation.

A caller is known by a client certificate of the cluster's authority, or by a bearer token that the API server vouches
for (TokenReview). Nobody is let in without (`--anonymous-auth=false`). Whether it may is the API server's to say, too
(SubjectAccessReview), about the resource `nodes` of the node's own name:

    /stats      nodes/stats          /logs         nodes/log              GET     get
    /metrics    nodes/metrics        /checkpoint   nodes/checkpoint       POST    create
    /healthz    nodes/healthz, or nodes/proxy                             PUT     update
    /pods       nodes/pods, or nodes/proxy                                PATCH   patch
    /configz    nodes/configz, or nodes/proxy                             DELETE  delete
    the rest    nodes/proxy

Answers are remembered for upstream's times, so a caller costs the API server one review in minutes, and who is refused
is not refused for longer than half a minute once its role has come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs

from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core._kit.remembered import Remembered
from kube_core.abc.transport import Request, Response, User
from kube_core.api import resources
from kube_core.meta.status import StatusError, Unauthorized
from kube_core.serving.client_certificates import ClientCertificates

if TYPE_CHECKING:
    from kube_core.client.client import ApiClient

__all__ = ["Permission", "subresources", "verb_of"]

_log = get_logger("kube_core.node.serving")
#: Seconds for which an answer holds: a token's user, a yes, a no.
TOKEN_SECONDS, ALLOWED_SECONDS, REFUSED_SECONDS = 120.0, 300.0, 30.0
#: The group of everybody who is known; of tokens the review says it.
_AUTHENTICATED: Final = "system:authenticated"
_TEXT: Final = "text/plain; charset=utf-8"
_VERBS: Final[Mapping[str, str]] = {
    "POST": "create",
    "GET": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
#: Paths with a subresource of their own, besides which `proxy` does as well, and those with one alone.
_FINE: Final = {"pods": "pods", "runningpods": "pods", "healthz": "healthz", "configz": "configz"}
_OWN: Final = {"stats": "stats", "metrics": "metrics", "logs": "log", "checkpoint": "checkpoint"}


def verb_of(method: str) -> str:
    """The verb of a method; "" for one that has none, which only those may who may do everything."""
    return _VERBS.get(method, "")


def subresources(path: str) -> Sequence[str]:
    """Those of `nodes` of which one is needed for a path, in the order in which they are asked about."""
    first = path.lstrip("/").partition("/")[0]
    if first in _OWN:
        return (_OWN[first],)
    return (_FINE[first], "proxy") if first in _FINE else ("proxy",)


class Permission:
    """Of one node. `client` asks as the node; `authorities`: whose client certificates there may be, PEM."""

    def __init__(self, node: str, client: ApiClient, authorities: bytes, clock: Clock) -> None:
        self._node = node
        self._client = client
        self._certificates = ClientCertificates(authorities, clock)
        self._users: Remembered[User] = Remembered(clock)
        self._decisions: Remembered[bool] = Remembered(clock)

    async def admits(self, request: Request) -> bool:
        """Whether the caller may: asked before a body is read."""
        return await self.refusal(request) is None

    async def refusal(self, request: Request) -> Response | None:
        """What a caller who may not is told; None for one who may."""
        try:
            user = await self._user(request)
        except StatusError as error:
            if error.code != 401:
                _log.warning("a caller of the node's server cannot be known", error=error.message)
            user = None
        if user is None:
            return Response(401, {"WWW-Authenticate": "Bearer"}, _TEXT, b"Unauthorized")
        verb, wanted = verb_of(request.method), subresources(request.path)
        try:
            for subresource in wanted:
                if await self._may(user, verb, subresource, request.path):
                    return None
        except StatusError as error:
            said = f"Authorization error (user={user.name}, verb={verb}, resource=nodes, subresource={wanted[0]})"
            _log.warning("the API server does not say whether a caller may", user=user.name, error=error.message)
            return Response(500, {}, _TEXT, said.encode())
        listed = " ".join(wanted)
        said = f"Forbidden (user={user.name}, verb={verb}, resource=nodes, subresource(s)=[{listed}])\n"
        return Response(403, {}, _TEXT, said.encode())

    async def _user(self, request: Request) -> User | None:
        """Raises `Unauthorized`, and what the review of a token raises."""
        if request.peer_certificates and (user := self._certificates.user_of(request.peer_certificates)) is not None:
            return attrs.evolve(user, groups=(*user.groups, _AUTHENTICATED))
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return None
        known = self._users.get(token)
        if known is None:
            known = await self._review(token)
            self._users.put(token, known, TOKEN_SECONDS)
        found: User = known
        return found

    async def _review(self, token: str) -> User:
        answer = await self._client.create(resources.TOKEN_REVIEWS, {"spec": {"token": token}})
        status = answer.get("status") or {}
        if not status.get("authenticated"):
            raise Unauthorized("Unauthorized")
        user = status.get("user") or {}
        extra = {name: list(values) for name, values in (user.get("extra") or {}).items()}
        return User(user.get("username", ""), tuple(user.get("groups") or ()), user.get("uid", ""), extra)

    async def _may(self, user: User, verb: str, subresource: str, path: str) -> bool:
        """Raises `StatusError` where the API server does not say."""
        extra = {name: list(values) for name, values in user.extra.items()}
        # What a caller may does not depend on the path, once that has said which subresource it is.
        key = (
            user.name,
            user.groups,
            user.uid,
            tuple(sorted((name, *extra[name]) for name in extra)),
            verb,
            subresource,
        )
        known = self._decisions.get(key)
        if known is None:
            asked: dict[str, Any] = {
                "user": user.name,
                "groups": list(user.groups),
                "uid": user.uid,
                "extra": extra,
                "resourceAttributes": {
                    "verb": verb,
                    "version": "v1",
                    "resource": "nodes",
                    "subresource": subresource,
                    "name": self._node,
                },
            }
            answer = await self._client.create(resources.SUBJECT_ACCESS_REVIEWS, {"spec": asked})
            known = bool((answer.get("status") or {}).get("allowed"))
            self._decisions.put(key, known, ALLOWED_SECONDS if known else REFUSED_SECONDS)
        return bool(known)

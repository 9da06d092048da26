"""Who asks. In order: a front proxy that says who, a client certificate, a bearer token, and otherwise nobody in
particular (`system:anonymous`, where that is allowed).

A credential that does not hold is an error (401), not anonymity. Every authenticated user is in
`system:authenticated`, everybody else in `system:unauthenticated`. Documented under "Authenticating".

What knows a kind of token is a `TokenAuthenticator`; they are asked in turn, the cheap ones first, so that who has no
right to anything costs little: whatever needs a signature checked or somebody else asked comes after what can be told
from the token's form. `review` asks the same ones for TokenReviews.
"""

from __future__ import annotations

import abc
import base64
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from kube_core.abc.transport import Request, User
from kube_core.auth.request_headers import RequestHeaders
from kube_core.meta.status import Unauthorized
from kube_core.serving.client_certificates import ClientCertificates

__all__ = [
    "ANONYMOUS",
    "AUTHENTICATED",
    "MASTERS",
    "Anonymity",
    "Authentication",
    "Authenticator",
    "StaticTokens",
    "TokenAuthenticator",
    "TokenAuthenticators",
    "authenticated",
]

MASTERS: Final = "system:masters"
AUTHENTICATED: Final = "system:authenticated"
ANONYMOUS: Final = User("system:anonymous", ("system:unauthenticated",))
#: How browsers, which cannot set headers on WebSockets, bring a token: as one of the subprotocols.
_SOCKET_TOKEN: Final = "base64url.bearer.authorization.k8s.io."


@attrs.frozen
class Authentication:
    """A user, and the audiences for which its token holds (of those that were asked for)."""

    user: User
    audiences: tuple[str, ...] = ()


class TokenAuthenticator(abc.ABC):
    """Knows one kind of bearer token."""

    @abc.abstractmethod
    async def authenticate(self, token: str, audiences: Sequence[str]) -> Authentication | None:
        """Whose token it is; None where it is not of this kind.

        `audiences`: for whom it must hold, one of them at least. Raises `Unauthorized` for one of this kind that does
        not hold; its message is for TokenReviews, never for who brought the token.
        """


class StaticTokens(TokenAuthenticator):
    """Tokens that hold for good, for every audience (upstream's static token file)."""

    def __init__(self, tokens: Mapping[str, User]) -> None:
        self._tokens = {token: authenticated(user) for token, user in tokens.items()}

    async def authenticate(self, token: str, audiences: Sequence[str]) -> Authentication | None:
        user = self._tokens.get(token)
        return Authentication(user, tuple(audiences)) if user is not None else None


class TokenAuthenticators(TokenAuthenticator):
    """Several, asked in turn, as one; which ones may change."""

    def __init__(self, members: Sequence[TokenAuthenticator] = ()) -> None:
        self.members = tuple(members)

    async def authenticate(self, token: str, audiences: Sequence[str]) -> Authentication | None:
        """Raises `Unauthorized` with all that was said against it."""
        problems = []
        for authenticator in self.members:
            try:
                found = await authenticator.authenticate(token, audiences)
            except Unauthorized as error:
                problems.append(error.message)
                continue
            if found is not None:
                return found
        if problems:
            raise Unauthorized(", ".join(dict.fromkeys(problems)))
        return None


@attrs.frozen
class Anonymity:
    """Whether requests without credentials are let through to the authorizers, and on which paths (empty: on all)."""

    enabled: bool = True
    paths: frozenset[str] = frozenset()

    def allows(self, path: str) -> bool:
        return self.enabled and (not self.paths or path in self.paths)


class Authenticator:
    """Finds the user of a request."""

    def __init__(
        self,
        tokens: Sequence[TokenAuthenticator] = (),
        *,
        audiences: Sequence[str] = (),
        certificates: ClientCertificates | None = None,
        front_proxy: RequestHeaders | None = None,
        anonymity: Anonymity | None = None,
    ) -> None:
        """`audiences`: the server's own, one of which a token must be meant for."""
        self.audiences = tuple(audiences)
        self._front_proxy = front_proxy
        self._tokens = TokenAuthenticators(tokens)
        self._certificates = certificates
        #: May be replaced, as a configuration that is followed does.
        self.anonymity = anonymity or Anonymity()

    async def authenticate(self, request: Request) -> User:
        """Raises `Unauthorized`, which does not say why."""
        if request.user is not None:
            return request.user
        shown = request.peer_certificates
        if shown and (user := self._user_of(shown, request.headers)) is not None:
            return authenticated(user)
        token = _bearer_token(request.headers)
        if token:
            found = None
            try:
                found = await self.find(token, self.audiences)
            except Unauthorized:
                pass
            if found is None:
                # Who has no right to know is not told why.
                raise Unauthorized("Unauthorized")
            return authenticated(found.user)
        if not self.anonymity.allows(request.path) or (shown and not self._names_nobody(shown)):
            raise Unauthorized("Unauthorized")
        return ANONYMOUS

    def _names_nobody(self, shown: tuple[bytes, ...]) -> bool:
        """Whether it is a certificate that holds, of a subject without a name: as good as none."""
        if self._certificates is None:
            return False
        try:
            found = self._certificates.read(shown)
        except Unauthorized:
            return False
        return found is not None and not found.name

    def _user_of(self, shown: tuple[bytes, ...], headers: Mapping[str, str]) -> User | None:
        """By certificate; None where it is nobody's, or not valid now, as the client may have another credential."""
        try:
            user = self._front_proxy.user_of(shown, headers) if self._front_proxy is not None else None
            if user is None and self._certificates is not None:
                user = self._certificates.user_of(shown)
        except Unauthorized:
            return None
        return user

    async def find(self, token: str, audiences: Sequence[str]) -> Authentication | None:
        """Whose token it is; None where nobody knows it. Raises `Unauthorized` with all that was said against it."""
        return await self._tokens.authenticate(token, audiences)


def _bearer_token(headers: Mapping[str, str]) -> str:
    """The token that a request brings; "" where it brings none."""
    header = headers.get("authorization")
    if header:
        scheme, _, token = header.partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""
    for protocol in headers.get("sec-websocket-protocol", "").split(","):
        encoded = protocol.strip()
        if encoded.startswith(_SOCKET_TOKEN):
            encoded = encoded[len(_SOCKET_TOKEN) :]
            try:
                return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
            except ValueError:
                raise Unauthorized("Unauthorized") from None
    return ""


def authenticated(user: User) -> User:
    """The user in the group of all that are known."""
    if AUTHENTICATED in user.groups:
        return user
    return attrs.evolve(user, groups=(*user.groups, AUTHENTICATED))

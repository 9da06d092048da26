"""Who asks. In order: a client certificate of the cluster's CA, a bearer token, and otherwise `system:anonymous`.

A token that nobody knows is an error (401), not anonymity. Every authenticated user is in `system:authenticated`,
everybody else in `system:unauthenticated`, as upstream documents it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import attrs

from kube_core.abc.transport import Request, User
from kube_core.auth.certificates import subject_of
from kube_core.meta.status import Unauthorized

__all__ = ["ANONYMOUS", "AUTHENTICATED", "MASTERS", "Authenticator"]

MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))

#: From a token to its user, or None where the token is not of this kind. Raises `Unauthorized` for a bad one.
TokenVerifier = Callable[[str], User | None]


class Authenticator:
    """Finds the user of a request."""

    def __init__(self, tokens: Mapping[str, User] | None = None, verifiers: Sequence[TokenVerifier] = ()) -> None:
        """`tokens`: fixed bearer tokens. `verifiers`: for the others (service accounts), asked in turn."""
        self._tokens = {token: _authenticated(user) for token, user in (tokens or {}).items()}
        self._verifiers = tuple(verifiers)

    def authenticate(self, request: Request) -> User:
        """Raises `Unauthorized`."""
        if request.user is not None:
            return request.user
        if request.peer_certificate is not None:
            return _certificate_user(request.peer_certificate)
        header = request.headers.get("authorization", "")
        if not header:
            return ANONYMOUS
        scheme, _, token = header.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return ANONYMOUS
        user = self._tokens.get(token)
        if user is not None:
            return user
        for verify in self._verifiers:
            user = verify(token)
            if user is not None:
                return _authenticated(user)
        raise Unauthorized("Unauthorized")


@lru_cache(maxsize=1024)
def _certificate_user(certificate: bytes) -> User:
    # The TLS layer has checked the chain; the same few certificates come again and again.
    name, groups = subject_of(certificate)
    return _authenticated(User(name, groups))


def _authenticated(user: User) -> User:
    if AUTHENTICATED in user.groups:
        return user
    return attrs.evolve(user, groups=(*user.groups, AUTHENTICATED))

"""Tokens that live in Secrets of the type `kubernetes.io/service-account-token`: the old kind, which never expires.

Documented under "Manually create a long-lived API token for a ServiceAccount". Such a token holds while its Secret
holds it, and its service account is there with the uid that the token names; deleting either ends it. Who fills the
Secrets is `kube_core.apiserver.legacy_tokens`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from kube_core.abc.transport import User
from kube_core.auth.authentication import Authentication, TokenAuthenticator
from kube_core.auth.tokens import SigningKey, TokenClaims, service_account_user, unverified_claims
from kube_core.meta.documents import Key
from kube_core.meta.gvk import GroupResource
from kube_core.meta.status import Unauthorized
from kube_core.storage.cache import WatchCache

__all__ = ["SECRET_TYPE", "LegacyTokens", "sign_legacy_token"]

SECRET_TYPE: Final = "kubernetes.io/service-account-token"
_ISSUER: Final = "kubernetes/serviceaccount"
_PREFIX: Final = "kubernetes.io/serviceaccount"


class LegacyTokens(TokenAuthenticator):
    """Knows them by their issuer, and looks their Secrets up in the watch cache."""

    def __init__(self, key: SigningKey, cache: WatchCache, *, used: Callable[[Key], None] = lambda _: None) -> None:
        """`used`: told of the Secret whose token somebody came in with, or tried to after it was marked as invalid."""
        self._key = key
        self._used = used
        self._secrets = cache.resource(GroupResource("", "secrets"))
        self._accounts = cache.resource(GroupResource("", "serviceaccounts"))

    async def authenticate(self, token: str, audiences: Sequence[str]) -> Authentication | None:
        claims = unverified_claims(token)
        if claims.get("iss") != _ISSUER:
            return None
        key = self._key.loaded
        if key is None or not _is_signed(token, key):
            return None
        namespace, account = str(claims.get(f"{_PREFIX}/namespace")), str(claims.get(f"{_PREFIX}/service-account.name"))
        uid = str(claims.get(f"{_PREFIX}/service-account.uid"))
        self._check(token, namespace, account, uid, str(claims.get(f"{_PREFIX}/secret.name")))
        user: User = service_account_user(TokenClaims(namespace, account, uid))
        return Authentication(user, tuple(audiences))

    def _check(self, token: str, namespace: str, account: str, uid: str, secret_name: str) -> None:
        """Raises `Unauthorized` for a token of something that is gone."""
        secret = self._secrets.get(Key(namespace, secret_name))
        if secret is None or secret.metadata.get("deletionTimestamp"):
            raise Unauthorized("Token has been invalidated")
        if secret.metadata.get("labels", {}).get("kubernetes.io/legacy-token-invalid-since"):
            self._used(secret.key)
            raise Unauthorized("the token has been invalidated")
        try:
            held = base64.b64decode((secret.document.get("data") or {}).get("token", ""))
        except binascii.Error:
            held = b""
        if not hmac.compare_digest(held, token.encode()):
            raise Unauthorized("Token does not match server's copy")
        found = self._accounts.get(Key(namespace, account))
        if found is None or found.metadata.get("uid") != uid:
            raise Unauthorized("service account is gone")
        self._used(secret.key)


async def sign_legacy_token(key: SigningKey, *, namespace: str, account: str, uid: str, secret: str) -> str:
    """A token for a Secret."""
    import jwt

    claims = {
        "iss": _ISSUER,
        f"{_PREFIX}/namespace": namespace,
        f"{_PREFIX}/secret.name": secret,
        f"{_PREFIX}/service-account.name": account,
        f"{_PREFIX}/service-account.uid": uid,
        "sub": f"system:serviceaccount:{namespace}:{account}",
    }
    return jwt.encode(claims, await key.private(), algorithm="RS256", headers={"kid": await key.key_id()})


@lru_cache(maxsize=1024)
def _is_signed(token: str, key: Any) -> bool:
    import jwt

    try:
        jwt.decode(
            token,
            key.public_key(),
            algorithms=["RS256"],
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
        )
    except (jwt.PyJWTError, ValueError):
        return False
    return True

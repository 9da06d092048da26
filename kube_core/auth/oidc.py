"""Tokens of other issuers: OpenID Connect ID tokens, and whatever JWTs an AuthenticationConfiguration accepts.

A token is looked at in the order of what that costs: its own words say which issuer it is of, and for whom, before
its signature is checked and anything is fetched. The issuer's keys are fetched when the first token needs them, and
again when one names a key that is not there, but not more often than once in `REFRESH` seconds: a stranger's tokens
must not make this server ask the issuer all day. Times are the project's clock's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import orjson

from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core.abc.transport import User
from kube_core.auth.authentication import Authentication, TokenAuthenticator
from kube_core.auth.jwt_issuers import ClaimMapping, Issuer, Rule
from kube_core.auth.tokens import unverified_claims, unverified_header
from kube_core.auth.webhook_client import HttpsClient, WebhookError
from kube_core.meta.status import Unauthorized

__all__ = ["REFRESH", "JwtTokens", "Keys"]

_log = get_logger("kube_core.auth.oidc")
#: Seconds between two looks at an issuer's keys, at least.
REFRESH: Final = 10.0


class Keys:
    """The keys of an issuer, as its discovery document names them."""

    def __init__(self, issuer: Issuer, client: HttpsClient, clock: Clock) -> None:
        self._issuer = issuer
        self._client = client
        self._clock = clock
        self._keys: Mapping[str, bytes] = {}
        self._next_look = 0.0
        self._lock = asyncio.Lock()

    async def find(self, key_id: str) -> list[bytes]:
        """Keys, as JWKs, that may have signed a token: the one that it names, or all. Raises `Unauthorized`."""
        found = self._named(key_id)
        if not found:
            async with self._lock:
                found = self._named(key_id)
                if not found and self._clock.monotonic() >= self._next_look:
                    self._next_look = self._clock.monotonic() + REFRESH
                    await self._fetch()
                    found = self._named(key_id)
        return found

    def _named(self, key_id: str) -> list[bytes]:
        if not key_id:
            return list(self._keys.values())
        return [self._keys[key_id]] if key_id in self._keys else []

    async def _fetch(self) -> None:
        url = self._issuer.discovery_url or f"{self._issuer.url.rstrip('/')}/.well-known/openid-configuration"
        try:
            discovery = await self._client.get(url)
            if not isinstance(discovery, Mapping) or discovery.get("issuer") != self._issuer.url:
                raise WebhookError(f"{url}: it is of another issuer")
            answer = await self._client.get(str(discovery.get("jwks_uri", "")))
        except WebhookError as error:
            _log.warning("the keys of an issuer cannot be read", issuer=self._issuer.url, error=str(error))
            raise Unauthorized(f"fetching keys: {error}") from None
        listed = answer.get("keys") if isinstance(answer, Mapping) else None
        usable = [key for key in listed or () if isinstance(key, Mapping) and key.get("use", "sig") == "sig"]
        # Without names, keys are told apart by what they are.
        self._keys = {str(key.get("kid") or number): orjson.dumps(key) for number, key in enumerate(usable)}


class JwtTokens(TokenAuthenticator):
    """The tokens of one issuer."""

    def __init__(self, issuer: Issuer, clock: Clock, client: HttpsClient) -> None:
        """`client`: of the issuer; whoever made it closes it."""
        self._issuer = issuer
        self._clock = clock
        self._keys = Keys(issuer, client, clock)

    async def authenticate(self, token: str, audiences: Sequence[str]) -> Authentication | None:
        said = unverified_claims(token)
        if said.get("iss") != self._issuer.url:
            return None
        self._check_audience(said)
        self._check_times(said)
        header = unverified_header(token)
        if header.get("alg") not in self._issuer.algorithms:
            raise Unauthorized(f"oidc: verify token: unexpected signature algorithm {header.get('alg')!r}")
        for key in await self._keys.find(str(header.get("kid") or "")):
            claims = _verified(token, key, self._issuer.algorithms)
            if claims is not None:
                return Authentication(self._user(claims), tuple(audiences))
        raise Unauthorized("oidc: verify token: failed to verify signature")

    def _check_audience(self, claims: Mapping[str, Any]) -> None:
        held = claims.get("aud")
        named = [held] if isinstance(held, str) else held if isinstance(held, list) else []
        if not set(self._issuer.audiences).intersection(map(str, named)):
            raise Unauthorized(f"oidc: verify token: expected audience in {list(self._issuer.audiences)} got {named}")

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now, expires, starts = self._clock.now(), claims.get("exp"), claims.get("nbf", 0)
        if not isinstance(expires, int | float) or now >= expires:
            raise Unauthorized("oidc: verify token: token is expired")
        if not isinstance(starts, int | float) or now < starts:
            raise Unauthorized("oidc: verify token: token is not valid yet")

    def _user(self, claims: Mapping[str, Any]) -> User:
        issuer = self._issuer
        for rule in issuer.claim_rules:
            _check(rule, {"claims": claims})
        name = self._username(claims)
        groups = tuple(_texts(issuer.groups, claims))
        uid = "".join(_texts(issuer.uid, claims)[:1])
        extra = {}
        for mapping in issuer.extra:
            values = _listed(_evaluate(mapping.expression, {"claims": claims}), mapping.expression)
            if values:
                extra[mapping.key] = values
        shown = {"username": name, "groups": list(groups), "uid": uid, "extra": extra}
        for rule in issuer.user_rules:
            _check(rule, {"user": shown})
        if token_id := claims.get("jti"):
            extra = {**extra, "authentication.kubernetes.io/credential-id": [f"JTI={token_id}"]}
        return User(name, groups, uid, extra)

    def _username(self, claims: Mapping[str, Any]) -> str:
        mapping = self._issuer.username
        found = _texts(mapping, claims)
        if len(found) != 1 or not found[0].removeprefix(mapping.prefix):
            raise Unauthorized(
                f"oidc: parse username claims {mapping.claim or mapping.expression!r}: claim not present"
            )
        # An address that nobody has proved to be theirs is nobody's.
        if mapping.claim == "email" and claims.get("email_verified", True) is not True:
            raise Unauthorized("oidc: email not verified")
        return found[0]


def _texts(mapping: ClaimMapping, claims: Mapping[str, Any]) -> list[str]:
    """The values of a part of the user; a claim may hold one, or a list of them."""
    if mapping.is_empty:
        return []
    if mapping.expression:
        return _listed(_evaluate(mapping.expression, {"claims": claims}), mapping.expression)
    return [f"{mapping.prefix}{value}" for value in _listed(claims.get(mapping.claim), mapping.claim)]


def _listed(value: Any, source: str) -> list[str]:
    if value is None or value == "":
        return []
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str) for each in values):
        raise Unauthorized(f"oidc: {source!r} is neither a string nor a list of strings")
    return [each for each in values if each]


def _check(rule: Rule, variables: Mapping[str, Any]) -> None:
    if rule.claim:
        if variables["claims"].get(rule.claim) != rule.value:
            raise Unauthorized(f"oidc: required claim {rule.claim} value does not match")
        return
    if _evaluate(rule.expression, variables) is not True:
        raise Unauthorized(f"oidc: validation expression '{rule.expression}' failed: {rule.message}")


def _evaluate(expression: str, variables: Mapping[str, Any]) -> Any:
    from kube_core.cel.engine import CelError, compile_expression  # native, and rarely needed

    try:
        return compile_expression(expression, tuple(variables)).evaluate(dict(variables))
    except CelError as error:
        raise Unauthorized(f"oidc: expression {expression!r}: {error}") from None


@lru_cache(maxsize=1024)
def _verified(token: str, key: bytes, algorithms: tuple[str, ...]) -> Mapping[str, Any] | None:
    # The signature is checked once for each token; its times, on every use.
    import jwt

    try:
        claims: Mapping[str, Any] = jwt.decode(
            token,
            jwt.PyJWK.from_json(key.decode()).key,
            algorithms=list(algorithms),
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
        )
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    return claims

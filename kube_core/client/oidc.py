"""Identity tokens of an OpenID Connect issuer: used while they are good, and then refreshed.

What kubectl does for the auth provider `oidc` of a kubeconfig: the id token is what is presented; when its time is
over, the issuer's token endpoint (named by its discovery document) gives another for the refresh token, and both are
written to the kubeconfig, so that the next program has them. Issuers that give a refresh token only once are why the
file is looked at first: another program may have been here before.

Who logs a person in, and so comes by the first tokens, is another program. One owner: `Credentials`.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import urllib.parse
from collections.abc import Mapping
from typing import Any

import aiohttp
import attrs
import orjson

from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core.client.connection import Connection, OidcProvider
from kube_core.client.kubeconfig import KubeconfigError, change_auth_provider, load
from kube_core.client.proxies import proxy_for
from kube_core.client.transport import why_unreachable
from kube_core.meta.status import ServiceUnavailable, Unauthorized

__all__ = ["IdentityTokens"]

#: A token is renewed this long before its time is over, so that it is still good when it arrives.
_EXPIRY_MARGIN = 10.0
_LIMIT = 30.0
_DISCOVERY = "/.well-known/openid-configuration"


class IdentityTokens:
    """The tokens of one user."""

    def __init__(self, provider: OidcProvider, clock: Clock) -> None:
        self._provider = provider
        self._clock = clock
        #: The tokens in the file when we last read or wrote it. Where they could not be written, ours are newer.
        self._kept = (provider.id_token, provider.refresh_token)

    async def current(self) -> tuple[str, float]:
        """A token, and until when it is good. Raises `Unauthorized`, `ServiceUnavailable` for a silent issuer."""
        if not self._is_good(self._provider.id_token):
            with self._clock.hold(f"identity token of {self._provider.user}"):
                await asyncio.to_thread(self._look_again)
                if not self._is_good(self._provider.id_token):
                    await self._refresh()
        return self._provider.id_token, _expiry(self._provider.id_token) - _EXPIRY_MARGIN

    def _is_good(self, token: str) -> bool:
        return bool(token) and self._clock.now() < _expiry(token) - _EXPIRY_MARGIN

    def _look_again(self) -> None:
        """Take what another program has put into the file."""
        if not self._provider.kubeconfig:
            return
        try:
            user = load(self._provider.kubeconfig).users.get(self._provider.user) or {}
        except KubeconfigError:
            return
        config = (user.get("auth-provider") or {}).get("config") or {}
        tokens = (str(config.get("id-token") or ""), str(config.get("refresh-token") or ""))
        if config.get("idp-issuer-url") == self._provider.issuer and tokens != self._kept:
            self._kept = tokens
            self._provider = attrs.evolve(self._provider, id_token=tokens[0], refresh_token=tokens[1])

    async def _refresh(self) -> None:
        provider = self._provider
        if not provider.refresh_token:
            raise Unauthorized("No valid id-token, and cannot refresh without refresh-token")
        answer = await self._ask()
        token = answer.get("id_token")
        if not isinstance(token, str) or not token:
            raise Unauthorized(f"the issuer {provider.issuer} refreshed the tokens, but gave no id_token")
        _expiry(token)
        changes = {"id-token": token, "refresh-token": str(answer.get("refresh_token") or provider.refresh_token)}
        self._provider = attrs.evolve(provider, id_token=token, refresh_token=changes["refresh-token"])
        if provider.kubeconfig:
            try:
                await asyncio.to_thread(change_auth_provider, provider.kubeconfig, provider.user, changes)
            except KubeconfigError as error:
                # The token is good all the same; a kubeconfig may be mounted read-only.
                get_logger("kube_core.client").warning("new tokens are not kept", reason=str(error))
            else:
                self._kept = (token, changes["refresh-token"])

    async def _ask(self) -> dict[str, Any]:
        provider = self._provider
        try:
            context = ssl.create_default_context(cadata=provider.certificate_authority.decode() or None)
            async with (
                self._clock.timeout(_LIMIT),
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
            ):
                url = provider.issuer.rstrip("/") + _DISCOVERY
                async with session.get(url, proxy=_proxy(url)) as response:
                    issuer = _document(await response.read(), response.status)
                endpoint = str(issuer["token_endpoint"])
                form, headers = _refreshing(provider, issuer)
                async with session.post(endpoint, data=form, headers=headers, proxy=_proxy(endpoint)) as response:
                    return _document(await response.read(), response.status)
        except TimeoutError as error:
            raise ServiceUnavailable(f"the issuer {provider.issuer} does not answer") from error
        except (aiohttp.ClientError, OSError, ssl.SSLError) as error:
            text = why_unreachable(error)
            raise ServiceUnavailable(f"cannot reach the issuer {provider.issuer}: {text}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise Unauthorized(f"the issuer {provider.issuer} does not refresh the tokens: {error}") from error


def _refreshing(provider: OidcProvider, issuer: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """The form that asks for new tokens, and the headers; who asks is in either, as the issuer wants it."""
    form = {"grant_type": "refresh_token", "refresh_token": provider.refresh_token}
    methods = issuer.get("token_endpoint_auth_methods_supported") or ("client_secret_basic",)
    if provider.client_secret and "client_secret_basic" in methods:
        pair = ":".join(urllib.parse.quote_plus(part) for part in (provider.client_id, provider.client_secret))
        return form, {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    form["client_id"] = provider.client_id
    if provider.client_secret:
        form["client_secret"] = provider.client_secret
    return form, {}


def _proxy(url: str) -> str | None:
    return proxy_for(Connection(server=url)) or None


def _document(body: bytes, status: int) -> dict[str, Any]:
    """An answer of the issuer. Raises `ValueError` for one that is no success."""
    try:
        document = orjson.loads(body)
    except ValueError:
        document = None
    if status != 200 or not isinstance(document, dict):
        said = document if isinstance(document, dict) else {}
        raise ValueError(said.get("error_description") or said.get("error") or f"it answers {status}")
    return document


def _expiry(token: str) -> float:
    """When a token's time is over. Raises `Unauthorized` for one that does not say."""
    try:
        _, payload, _ = token.split(".")
        claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (ValueError, KeyError, TypeError) as error:
        raise Unauthorized("the id-token cannot be read, or does not say when its time is over") from error

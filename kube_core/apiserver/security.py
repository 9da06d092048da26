"""From options to what a server has: its authenticator, its authorizer, its audit log.

This is where the order of things is: which tokens are looked at first, which authorizers are asked, where events go.
What each does is elsewhere. Mistakes in files are `ConfigFileError`s, raised before the server starts. The files of
`--authentication-config` and `--authorization-config` are looked at every minute: what has changed counts from then on,
and what is wrong is told to the log and not taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core._kit.random import Random
from kube_core.abc.transport import User
from kube_core.api.config_files import ConfigFileError, Followed
from kube_core.auth.attributes import AccessAuthorizer
from kube_core.auth.authentication import (
    Anonymity,
    Authenticator,
    StaticTokens,
    TokenAuthenticator,
    TokenAuthenticators,
)
from kube_core.auth.authorization import MODES, AlwaysAllow, AlwaysDeny, Authorizer
from kube_core.auth.bootstrap_tokens import BootstrapTokens
from kube_core.auth.legacy_tokens import LegacyTokens
from kube_core.auth.node import NodeAuthorizer
from kube_core.auth.options import SecurityOptions
from kube_core.auth.rbac import Rbac
from kube_core.auth.request_headers import RequestHeaders
from kube_core.auth.tokens import TokenIssuer
from kube_core.auth.webhook_client import HttpsClient
from kube_core.meta.documents import Key
from kube_core.serving.client_certificates import ClientCertificates
from kube_core.storage.cache import WatchCache

if TYPE_CHECKING:
    from kube_core.apiserver.audit import Auditor
    from kube_core.auth.authorization_config import AuthorizationConfig, WebhookConfig
    from kube_core.auth.jwt_issuers import AuthenticationConfig

__all__ = ["Security", "Trust"]

_log = get_logger("kube_core.apiserver.security")
#: Seconds between two looks at a file that may change.
_PERIOD: Final = 60.0
#: Types of authorizers that a server has from its start, or not at all.
_FROM_THE_START: Final = frozenset(("Node", "RBAC"))


@attrs.frozen
class Trust:
    """Whom a server trusts by itself, besides what its options say. Certificates in PEM."""

    client_ca: bytes
    issuer: TokenIssuer
    tokens: Mapping[str, User]
    token_used: Callable[[Key], None] = lambda _: None
    """Told of the Secret whose token somebody came in with."""


class Security:
    """What one server has. `start` and `stop` are of what runs; the rest is there from the beginning."""

    def __init__(
        self, options: SecurityOptions, trust: Trust, cache: WatchCache, *, clock: Clock, random: Random
    ) -> None:
        """Raises `ConfigFileError`."""
        self._clock = clock
        self._options = options
        self._own_issuer = trust.issuer.issuer
        #: Of the webhooks that are named by flags: there for good.
        self._clients: list[HttpsClient] = []
        #: Of those that a file names, and of those that it named before and somebody may still be asking.
        self._named: dict[Path, list[HttpsClient]] = {}
        self._retired: list[HttpsClient] = []
        self._issuers = TokenAuthenticators()
        self._node = NodeAuthorizer(cache)
        #: Of the authorizers that there were at the start, webhooks aside.
        self._types: frozenset[str] = frozenset()
        self._followed = [
            Followed(path) for path in (options.authentication_config, options.authorization_config) if path is not None
        ]
        self._following: asyncio.Task[None] | None = None
        self.authenticator = self._authenticator(options, trust, cache)
        self.authorizer = self._authorizer(options, cache)
        self.auditor = self._auditor(options, random)

    def start(self) -> None:
        if self.auditor is not None:
            self.auditor.start()
        if self._followed:
            self._following = asyncio.create_task(self._follow(), name="security configuration")

    async def stop(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        if self.auditor is not None:
            await self.auditor.stop()
        for client in (*self._clients, *self._retired, *(each for named in self._named.values() for each in named)):
            await client.close()

    # -- files that change ---------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            await self._clock.sleep(_PERIOD)
            with self._clock.hold("security configuration is looked at"):
                for client in self._retired:
                    await client.close()
                self._retired.clear()
                for file in self._followed:
                    if file.changed():
                        self._take(file.path)

    def _take(self, path: Path) -> None:
        before = self._named.pop(path, [])
        try:
            if path == self._options.authentication_config:
                self._use_issuers(path)
            else:
                self._use_authorizers(path)
        except ConfigFileError as error:
            self._retired += self._named.pop(path, [])
            self._named[path] = before
            _log.error("the configuration is not taken", error=str(error))
        else:
            self._retired += before
            _log.info("the configuration has changed", file=str(path))

    def _use_issuers(self, path: Path) -> None:
        """Raises `ConfigFileError`."""
        from kube_core.auth.jwt_issuers import read_config

        config = read_config(path, disallowed=(self._own_issuer,))
        self._issuers.members = tuple(self._made_of(config, self._named.setdefault(path, [])))
        self.authenticator.anonymity = self._anonymity(config)

    def _use_authorizers(self, path: Path) -> None:
        """Raises `ConfigFileError`."""
        from kube_core.auth.authorization_config import read_authorization_config

        config = read_authorization_config(path)
        if missing := self._types - config.types:
            raise ConfigFileError(f"{path}: authorizers: must have {', '.join(sorted(missing))}, as from the start")
        if more := (config.types - self._types) & _FROM_THE_START:
            raise ConfigFileError(
                f"{path}: authorizers: {', '.join(sorted(more))} is not allowed, as it was not there from the start"
            )
        self.authorizer.use(self._authorizers_of(config, path, self.authorizer.rbac))

    # -- who asks ------------------------------------------------------------------------------------------------------

    def _authenticator(self, options: SecurityOptions, trust: Trust, cache: WatchCache) -> Authenticator:
        static = dict(trust.tokens)
        if options.token_auth_file is not None:
            from kube_core.auth.static_tokens import read_token_file

            static |= read_token_file(options.token_auth_file)
        tokens: list[TokenAuthenticator] = [
            StaticTokens(static),
            trust.issuer,
            LegacyTokens(trust.issuer.key, cache, used=trust.token_used),
            BootstrapTokens(cache, self._clock),
        ]
        anonymity = Anonymity(options.anonymous_auth)
        if options.oidc_issuer_url or options.authentication_config is not None:
            anonymity = self._first_issuers(options)
            tokens.append(self._issuers)
        if options.authentication_token_webhook_config_file is not None:
            from kube_core.auth.webhooks import WebhookTokens

            client = self._client(options.authentication_token_webhook_config_file)
            tokens.append(WebhookTokens(client, self._clock, ttl=options.authentication_token_webhook_cache_ttl))
        return Authenticator(
            tokens,
            audiences=trust.issuer.audiences,
            certificates=ClientCertificates(trust.client_ca, self._clock),
            front_proxy=self._front_proxy(options),
            anonymity=anonymity,
        )

    def _first_issuers(self, options: SecurityOptions) -> Anonymity:
        from kube_core.auth.jwt_issuers import AuthenticationConfig, issuer_of_flags, read_config

        path = options.authentication_config
        if path is None:
            flags = issuer_of_flags(options)
            config = AuthenticationConfig((flags,) if flags is not None else ())
            self._issuers.members = tuple(self._made_of(config, self._clients))
            return self._anonymity(config)
        if options.oidc_issuer_url or options.oidc_client_id:
            raise ConfigFileError("authentication-config and oidc-issuer-url: only one of them may be given")
        config = read_config(path, disallowed=(self._own_issuer,))
        if config.anonymity is not None and not options.anonymous_auth:
            raise ConfigFileError("anonymous-auth: not together with an authentication-config that has anonymous")
        self._issuers.members = tuple(self._made_of(config, self._named.setdefault(path, [])))
        return self._anonymity(config)

    def _made_of(self, config: AuthenticationConfig, clients: list[HttpsClient]) -> Sequence[TokenAuthenticator]:
        """`clients`: gets those that are made."""
        from kube_core.auth.oidc import JwtTokens
        from kube_core.auth.webhook_client import WebhookServer

        made = []
        for issuer in config.issuers:
            client = HttpsClient(WebhookServer(issuer.url, issuer.authority), self._clock)
            clients.append(client)
            made.append(JwtTokens(issuer, self._clock, client))
        return made

    def _anonymity(self, config: AuthenticationConfig) -> Anonymity:
        return Anonymity(self._options.anonymous_auth) if config.anonymity is None else config.anonymity

    def _front_proxy(self, options: SecurityOptions) -> RequestHeaders | None:
        path = options.requestheader_client_ca_file
        if path is None:
            return None
        try:
            authorities = path.read_bytes()
        except OSError as error:
            raise ConfigFileError(f"{path}: {error.strerror or error}") from None
        return RequestHeaders(ClientCertificates(authorities, self._clock), options.requestheader_allowed_names)

    # -- and may they --------------------------------------------------------------------------------------------------

    def _authorizer(self, options: SecurityOptions, cache: WatchCache) -> Authorizer:
        rbac, path = Rbac.of_cache(cache), options.authorization_config
        if path is None:
            authorizers = [self._of_mode(mode, rbac, options) for mode in options.authorization_mode]
            if not authorizers:
                raise ConfigFileError("authorization-mode: required")
            if len(set(options.authorization_mode)) != len(authorizers):
                raise ConfigFileError("authorization-mode: has a mode more than once")
            return Authorizer(rbac, authorizers)
        from kube_core.auth.authorization_config import read_authorization_config

        if options.authorization_mode != SecurityOptions().authorization_mode:
            raise ConfigFileError("authorization-config and authorization-mode: only one of them may be given")
        if options.authorization_webhook_config_file is not None:
            raise ConfigFileError(
                "authorization-config and authorization-webhook-config-file: only one of them may be given"
            )
        config = read_authorization_config(path)
        self._types = config.types
        return Authorizer(rbac, self._authorizers_of(config, path, rbac))

    def _of_mode(self, mode: str, rbac: Rbac, options: SecurityOptions) -> AccessAuthorizer:
        match mode:
            case "RBAC":
                return rbac
            case "Node":
                return self._node
            case "AlwaysAllow":
                return AlwaysAllow()
            case "AlwaysDeny":
                return AlwaysDeny()
            case "Webhook":
                return self._webhook_authorizer(options)
        raise ConfigFileError(f'authorization-mode: "{mode}" is not supported; one of {", ".join(MODES)}')

    def _authorizers_of(self, config: AuthorizationConfig, path: Path, rbac: Rbac) -> Sequence[AccessAuthorizer]:
        """Raises `ConfigFileError`."""
        clients = self._named.setdefault(path, [])
        return [
            self._of_mode(each.type, rbac, self._options)
            if each.webhook is None
            else self._configured_webhook(each.webhook, clients)
            for each in config.authorizers
        ]

    def _configured_webhook(self, config: WebhookConfig, clients: list[HttpsClient]) -> AccessAuthorizer:
        from kube_core.auth.webhook_client import read_kubeconfig
        from kube_core.auth.webhooks import Asking, WebhookAuthorizer

        client = HttpsClient(read_kubeconfig(config.kubeconfig), self._clock, timeout=config.timeout)
        clients.append(client)
        asking = Asking(config.allowed_ttl, config.refused_ttl, config.version, config.fails_closed, config.conditions)
        return WebhookAuthorizer(client, self._clock, asking)

    def _webhook_authorizer(self, options: SecurityOptions) -> AccessAuthorizer:
        from kube_core.auth.webhooks import Asking, WebhookAuthorizer

        if options.authorization_webhook_config_file is None:
            raise ConfigFileError("authorization-webhook-config-file: required with authorization-mode Webhook")
        asking = Asking(
            options.authorization_webhook_cache_authorized_ttl, options.authorization_webhook_cache_unauthorized_ttl
        )
        return WebhookAuthorizer(self._client(options.authorization_webhook_config_file), self._clock, asking)

    def _auditor(self, options: SecurityOptions, random: Random) -> Auditor | None:
        wanted = options.audit_log_path or options.audit_webhook_config_file
        if options.audit_policy_file is None or not wanted:
            if options.audit_policy_file is not None:
                raise ConfigFileError("audit-policy-file: needs audit-log-path or audit-webhook-config-file")
            if wanted:
                raise ConfigFileError("audit-policy-file: required with audit-log-path or audit-webhook-config-file")
            return None
        from kube_core.apiserver.audit.auditor import Auditor, Backend
        from kube_core.apiserver.audit.files import LogFile, LogFileOptions
        from kube_core.apiserver.audit.policy import read_policy
        from kube_core.apiserver.audit.webhook import AuditWebhook

        policy = read_policy(options.audit_policy_file)
        backends: list[Backend] = []
        if options.audit_log_path:
            file = LogFileOptions(
                options.audit_log_path,
                options.audit_log_maxsize * 1024 * 1024,
                options.audit_log_maxbackup,
                options.audit_log_maxage,
            )
            log = LogFile(file, self._clock)
            try:
                log.open()
            except OSError as error:
                raise ConfigFileError(f"audit-log-path: {options.audit_log_path}: {error.strerror or error}") from None
            backends.append(log)
        if options.audit_webhook_config_file is not None:
            backends.append(AuditWebhook(self._client(options.audit_webhook_config_file), self._clock))
        return Auditor(policy, backends, clock=self._clock, random=random)

    def _client(self, path: Path) -> HttpsClient:
        from kube_core.auth.webhook_client import read_kubeconfig

        client = HttpsClient(read_kubeconfig(path), self._clock)
        self._clients.append(client)
        return client

"""From options to what a server has: its authenticator, its authorizer, its audit log.

This is where the order of things is: which tokens are looked at first, which authorizers are asked, where events go.
What each does is elsewhere. Mistakes in files are `ConfigFileError`s, raised before the server starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from kube_core._kit.clock import Clock
from kube_core._kit.random import Random
from kube_core.abc.transport import User
from kube_core.api.config_files import ConfigFileError
from kube_core.auth.attributes import AccessAuthorizer
from kube_core.auth.authentication import Anonymity, Authenticator, StaticTokens, TokenAuthenticator
from kube_core.auth.authorization import MODES, AlwaysAllow, AlwaysDeny, Authorizer
from kube_core.auth.bootstrap_tokens import BootstrapTokens
from kube_core.auth.client_certificates import ClientCertificates
from kube_core.auth.legacy_tokens import LegacyTokens
from kube_core.auth.node import NodeAuthorizer
from kube_core.auth.options import SecurityOptions
from kube_core.auth.rbac import Rbac
from kube_core.auth.request_headers import RequestHeaders
from kube_core.auth.tokens import TokenIssuer
from kube_core.auth.webhook_client import HttpsClient
from kube_core.storage.cache import WatchCache

if TYPE_CHECKING:
    from kube_core.apiserver.audit import Auditor

__all__ = ["Security", "Trust"]


@attrs.frozen
class Trust:
    """Whom a server trusts by itself, besides what its options say. Certificates in PEM."""

    client_ca: bytes
    issuer: TokenIssuer
    tokens: Mapping[str, User]


class Security:
    """What one server has. `start` and `stop` are of what runs; the rest is there from the beginning."""

    def __init__(
        self, options: SecurityOptions, trust: Trust, cache: WatchCache, *, clock: Clock, random: Random
    ) -> None:
        """Raises `ConfigFileError`."""
        self._clock = clock
        self._clients: list[HttpsClient] = []
        self.authenticator = self._authenticator(options, trust, cache)
        self.authorizer = self._authorizer(options, cache)
        self.auditor = self._auditor(options, random)

    def start(self) -> None:
        if self.auditor is not None:
            self.auditor.start()

    async def stop(self) -> None:
        if self.auditor is not None:
            await self.auditor.stop()
        for client in self._clients:
            await client.close()

    def _authenticator(self, options: SecurityOptions, trust: Trust, cache: WatchCache) -> Authenticator:
        static = dict(trust.tokens)
        if options.token_auth_file is not None:
            from kube_core.auth.static_tokens import read_token_file

            static |= read_token_file(options.token_auth_file)
        tokens: list[TokenAuthenticator] = [
            StaticTokens(static),
            trust.issuer,
            LegacyTokens(trust.issuer.key, cache),
            BootstrapTokens(cache, self._clock),
        ]
        anonymity = Anonymity(options.anonymous_auth)
        if options.oidc_issuer_url or options.authentication_config is not None:
            issuers, anonymity = self._issuers(options, anonymity)
            tokens += issuers
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

    def _issuers(
        self, options: SecurityOptions, anonymity: Anonymity
    ) -> tuple[Sequence[TokenAuthenticator], Anonymity]:
        from kube_core.auth.jwt_issuers import AuthenticationConfig, issuer_of_flags, read_config
        from kube_core.auth.oidc import JwtTokens
        from kube_core.auth.webhook_client import WebhookServer

        config = AuthenticationConfig()
        if options.authentication_config is not None:
            if options.oidc_issuer_url:
                raise ConfigFileError("authentication-config and oidc-issuer-url: only one of them may be given")
            config = read_config(options.authentication_config)
        flags = issuer_of_flags(options)
        made = []
        for issuer in (*config.issuers, *((flags,) if flags is not None else ())):
            client = HttpsClient(WebhookServer(issuer.url, issuer.authority), self._clock)
            self._clients.append(client)
            made.append(JwtTokens(issuer, self._clock, client))
        return made, anonymity if config.anonymity is None else config.anonymity

    def _front_proxy(self, options: SecurityOptions) -> RequestHeaders | None:
        path = options.requestheader_client_ca_file
        if path is None:
            return None
        try:
            authorities = path.read_bytes()
        except OSError as error:
            raise ConfigFileError(f"{path}: {error.strerror or error}") from None
        return RequestHeaders(ClientCertificates(authorities, self._clock), options.requestheader_allowed_names)

    def _authorizer(self, options: SecurityOptions, cache: WatchCache) -> Authorizer:
        rbac = Rbac.of_cache(cache)
        authorizers: list[AccessAuthorizer] = []
        for mode in options.authorization_mode:
            if mode == "RBAC":
                authorizers.append(rbac)
            elif mode == "Node":
                authorizers.append(NodeAuthorizer(cache))
            elif mode == "AlwaysAllow":
                authorizers.append(AlwaysAllow())
            elif mode == "AlwaysDeny":
                authorizers.append(AlwaysDeny())
            elif mode == "Webhook":
                authorizers.append(self._webhook_authorizer(options))
            else:
                raise ConfigFileError(f'authorization-mode: "{mode}" is not supported; one of {", ".join(MODES)}')
        if not authorizers:
            raise ConfigFileError("authorization-mode: required")
        if len(set(options.authorization_mode)) != len(authorizers):
            raise ConfigFileError("authorization-mode: has a mode more than once")
        return Authorizer(rbac, authorizers)

    def _webhook_authorizer(self, options: SecurityOptions) -> AccessAuthorizer:
        from kube_core.auth.webhooks import WebhookAuthorizer

        if options.authorization_webhook_config_file is None:
            raise ConfigFileError("authorization-webhook-config-file: required with authorization-mode Webhook")
        return WebhookAuthorizer(
            self._client(options.authorization_webhook_config_file),
            self._clock,
            allowed_ttl=options.authorization_webhook_cache_authorized_ttl,
            refused_ttl=options.authorization_webhook_cache_unauthorized_ttl,
        )

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

"""What a server is told about who may come in, what they may do, and what is kept of it: upstream's flags, as values.

Each field is the flag of the same name of `kube-apiserver`, and an option of `kube-core up`, whose help is made from
the texts here. Everything has upstream's default; files are read when the server is made, and a mistake in one is
told with its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

__all__ = ["SecurityOptions"]


def _path(value: str | Path | None) -> Path | None:
    return Path(value).absolute() if value else None


def _output(value: str | Path) -> str:
    """A file, or `-` for standard output."""
    return str(value) if str(value) in ("", "-") else str(Path(value).absolute())


def _texts(value: str | Sequence[str]) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(part.strip() for part in parts if part.strip())


def _claims(value: Mapping[str, str] | Sequence[str]) -> Mapping[str, str]:
    """`key=value` pairs."""
    if isinstance(value, Mapping):
        return dict(value)
    return {key: text for key, _, text in (pair.partition("=") for pair in value)}


def _says(help: str) -> dict[str, str]:
    """What the command line says of a field."""
    return {"help": help}


@attrs.frozen(kw_only=True)
class SecurityOptions:
    """Authentication, authorization, encryption and audit of one server. Times in seconds, sizes in megabytes."""

    token_auth_file: Path | None = attrs.field(
        default=None, converter=_path, metadata=_says('File of bearer tokens: token,user,uid,"group1,group2" a line.')
    )
    authentication_config: Path | None = attrs.field(
        default=None, converter=_path, metadata=_says("AuthenticationConfiguration: JWT issuers, anonymous requests.")
    )
    anonymous_auth: bool = attrs.field(
        default=True, metadata=_says("Let requests without credentials through to the authorizers.")
    )
    api_audiences: tuple[str, ...] = attrs.field(
        default=(), converter=_texts, metadata=_says("Audiences of service account tokens, by commas.")
    )
    oidc_issuer_url: str = attrs.field(default="", metadata=_says("OpenID Connect issuer."))
    oidc_client_id: str = attrs.field(default="", metadata=_says("Audience that its tokens must have."))
    oidc_username_claim: str = attrs.field(default="sub", metadata=_says("Claim that holds the user name."))
    oidc_username_prefix: str = attrs.field(default="", metadata=_says("Put before user names; - for nothing."))
    oidc_groups_claim: str = attrs.field(default="", metadata=_says("Claim that holds the groups."))
    oidc_groups_prefix: str = attrs.field(default="", metadata=_says("Put before groups."))
    oidc_required_claim: Mapping[str, str] = attrs.field(
        factory=dict, converter=_claims, metadata=_says("claim=value that tokens must have.")
    )
    oidc_ca_file: Path | None = attrs.field(
        default=None, converter=_path, metadata=_says("Authority of the issuer's certificate.")
    )
    oidc_signing_algs: tuple[str, ...] = attrs.field(
        default=("RS256",), converter=_texts, metadata=_says("Algorithms that are accepted, by commas.")
    )
    authentication_token_webhook_config_file: Path | None = attrs.field(
        default=None, converter=_path, metadata=_says("Kubeconfig of a webhook for TokenReviews.")
    )
    authentication_token_webhook_cache_ttl: float = attrs.field(
        default=120.0, metadata=_says("Seconds to remember its answers.")
    )
    requestheader_client_ca_file: Path | None = attrs.field(
        default=None, converter=_path, metadata=_says("Authority of front proxies, whose headers are believed.")
    )
    requestheader_allowed_names: tuple[str, ...] = attrs.field(
        default=(), converter=_texts, metadata=_says("Names of front proxies; none for all.")
    )
    authorization_config: Path | None = attrs.field(
        default=None,
        converter=_path,
        metadata=_says("AuthorizationConfiguration: authorizers in order, with their webhooks."),
    )
    authorization_mode: tuple[str, ...] = attrs.field(
        default=("Node", "RBAC"),
        converter=_texts,
        metadata=_says("Authorizers in order: Node, RBAC, Webhook, AlwaysAllow, AlwaysDeny."),
    )
    authorization_webhook_config_file: Path | None = attrs.field(
        default=None, converter=_path, metadata=_says("Kubeconfig of a webhook for SubjectAccessReviews.")
    )
    authorization_webhook_cache_authorized_ttl: float = attrs.field(
        default=300.0, metadata=_says("Seconds to remember what it allowed.")
    )
    authorization_webhook_cache_unauthorized_ttl: float = attrs.field(
        default=30.0, metadata=_says("Seconds to remember what it did not.")
    )
    encryption_provider_config: Path | None = attrs.field(
        default=None, converter=_path, metadata=_says("EncryptionConfiguration: what is encrypted in the store.")
    )
    encryption_provider_config_automatic_reload: bool = attrs.field(
        default=False, metadata=_says("Read it again within a minute of its change.")
    )
    audit_policy_file: Path | None = attrs.field(
        default=None, converter=_path, metadata=_says("Audit Policy; without one nothing is noted.")
    )
    audit_log_path: str = attrs.field(
        default="", converter=_output, metadata=_says("File of the audit log; - for standard output.")
    )
    audit_log_maxsize: int = attrs.field(default=100, metadata=_says("Megabytes after which a new file is begun."))
    audit_log_maxbackup: int = attrs.field(default=0, metadata=_says("Full files that are kept; 0 for all."))
    audit_log_maxage: int = attrs.field(default=0, metadata=_says("Days for which they are kept; 0 for ever."))
    audit_webhook_config_file: Path | None = attrs.field(
        default=None, converter=_path, metadata=_says("Kubeconfig of a webhook for audit events.")
    )

    def given(self) -> dict[str, Any]:
        """What differs from the defaults, as JSON: `SecurityOptions(**options.given())` is the same."""
        default = SecurityOptions()
        changed = {
            field.name: getattr(self, field.name)
            for field in attrs.fields(SecurityOptions)
            if getattr(self, field.name) != getattr(default, field.name)
        }
        return {name: str(value) if isinstance(value, Path) else _plain(value) for name, value in changed.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value

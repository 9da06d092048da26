"""What is configured of JWT issuers: upstream's AuthenticationConfiguration, or the `--oidc-…` flags, as values.

Documented under "OpenID Connect Tokens" and "Using Authentication Configuration". The flags mean one issuer, whose user
names get the issuer's URL in front unless they are e-mail addresses or a prefix says otherwise. Expressions are CEL
over `claims`, or over `user` once it is mapped; they are compiled when the file is read, so a mistake is told then.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from kube_core.api.config_files import ConfigFileError, Section, read
from kube_core.auth.authentication import Anonymity
from kube_core.auth.options import SecurityOptions

__all__ = ["AuthenticationConfig", "ClaimMapping", "ExtraMapping", "Issuer", "Rule", "issuer_of_flags", "read_config"]

_VERSIONS: Final = ("apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1")
_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")


@attrs.frozen
class ClaimMapping:
    """Where a part of the user comes from: a claim with a prefix, or an expression; neither where it has none."""

    claim: str = ""
    prefix: str = ""
    expression: str = ""

    @property
    def is_empty(self) -> bool:
        return not (self.claim or self.expression)


@attrs.frozen
class ExtraMapping:
    key: str
    expression: str


@attrs.frozen
class Rule:
    """What must hold: an expression that gives true, or a claim with one value."""

    expression: str = ""
    message: str = ""
    claim: str = ""
    value: str = ""


@attrs.frozen
class Issuer:
    """One issuer, and how its tokens become users."""

    url: str
    audiences: tuple[str, ...]
    username: ClaimMapping
    groups: ClaimMapping = attrs.field(factory=ClaimMapping)
    uid: ClaimMapping = attrs.field(factory=ClaimMapping)
    extra: tuple[ExtraMapping, ...] = ()
    claim_rules: tuple[Rule, ...] = ()
    user_rules: tuple[Rule, ...] = ()
    #: Where its discovery document is, where that is not below its own URL.
    discovery_url: str = ""
    #: In PEM; b"" trusts whom the machine trusts.
    authority: bytes = b""
    algorithms: tuple[str, ...] = _ALGORITHMS


@attrs.frozen
class AuthenticationConfig:
    issuers: tuple[Issuer, ...] = ()
    #: None where the file says nothing of anonymous requests.
    anonymity: Anonymity | None = None


def issuer_of_flags(options: SecurityOptions) -> Issuer | None:
    """The issuer of the `--oidc-…` flags; None without them. Raises `ConfigFileError`."""
    url = options.oidc_issuer_url
    if not url:
        return None
    if not url.startswith("https://"):
        raise ConfigFileError(f'oidc-issuer-url: "{url}": URL scheme must be https')
    if not options.oidc_client_id:
        raise ConfigFileError("oidc-client-id: required with oidc-issuer-url")
    unknown = set(options.oidc_signing_algs) - set(_ALGORITHMS)
    if unknown:
        raise ConfigFileError(f"oidc-signing-algs: {', '.join(sorted(unknown))} is not supported")
    prefix = options.oidc_username_prefix
    if not prefix and options.oidc_username_claim != "email":
        prefix = f"{url}#"
    username = ClaimMapping(options.oidc_username_claim, "" if prefix == "-" else prefix)
    return Issuer(
        url,
        (options.oidc_client_id,),
        username,
        ClaimMapping(options.oidc_groups_claim, options.oidc_groups_prefix),
        claim_rules=tuple(Rule(claim=claim, value=value) for claim, value in options.oidc_required_claim.items()),
        authority=_authority(options.oidc_ca_file),
        algorithms=options.oidc_signing_algs,
    )


def read_config(path: Path) -> AuthenticationConfig:
    """Raises `ConfigFileError`."""
    file = read(path, "AuthenticationConfiguration", _VERSIONS)
    file.known("kind", "apiVersion", "jwt", "anonymous")
    issuers = tuple(_issuer(section) for section in file.sections("jwt"))
    urls = [issuer.url for issuer in issuers]
    for position, url in enumerate(urls):
        if url in urls[:position]:
            raise file.error(f"jwt[{position}].issuer.url", f'"{url}" is there twice')
    anonymity = None
    if file.has("anonymous"):
        section = file.section("anonymous")
        section.known("enabled", "conditions")
        conditions = section.sections("conditions")
        for condition in conditions:
            condition.known("path")
        anonymity = Anonymity(section.flag("enabled"), frozenset(each.text("path") for each in conditions))
        if conditions and not anonymity.enabled:
            raise section.error("conditions", "not allowed while anonymous requests are disabled")
    return AuthenticationConfig(issuers, anonymity)


def _issuer(section: Section) -> Issuer:
    section.known("issuer", "claimValidationRules", "claimMappings", "userValidationRules")
    issuer, mappings = section.section("issuer"), section.section("claimMappings")
    issuer.known("url", "discoveryURL", "certificateAuthority", "audiences", "audienceMatchPolicy")
    mappings.known("username", "groups", "uid", "extra")
    url, audiences = issuer.text("url"), issuer.texts("audiences")
    for field in ("url", "discoveryURL"):
        if issuer.has(field) and not issuer.text(field).startswith("https://"):
            raise issuer.error(field, "URL scheme must be https")
    if not audiences:
        raise issuer.error("audiences", "at least one issuer.audiences is required")
    if len(audiences) > 1 and issuer.text("audienceMatchPolicy", "") != "MatchAny":
        raise issuer.error("audienceMatchPolicy", "must be MatchAny for multiple audiences")
    username = _mapping(mappings, "username")
    if username.is_empty:
        raise mappings.error("username", "claim or expression is required")
    return Issuer(
        url,
        audiences,
        username,
        _mapping(mappings, "groups"),
        _mapping(mappings, "uid", prefixed=False),
        tuple(_extra(each) for each in mappings.sections("extra")),
        tuple(_rule(each, ("claims",)) for each in section.sections("claimValidationRules")),
        tuple(_rule(each, ("user",)) for each in section.sections("userValidationRules")),
        issuer.text("discoveryURL", ""),
        issuer.text("certificateAuthority", "").encode(),
    )


def _mapping(mappings: Section, name: str, *, prefixed: bool = True) -> ClaimMapping:
    section = mappings.section(name)
    section.known("claim", "expression", *(("prefix",) if prefixed else ()))
    claim, expression = section.text("claim", ""), section.text("expression", "")
    if claim and expression:
        raise section.error("", "claim and expression can't both be set")
    if prefixed and claim and not section.has("prefix"):
        raise section.error(
            "prefix", "required when claim is set. It can be set to an empty string to disable prefixing"
        )
    if expression and section.has("prefix"):
        raise section.error("prefix", "prefix can't be set when expression is set")
    if expression:
        _compiled(section, "expression", expression, ("claims",))
    return ClaimMapping(claim, section.text("prefix", "") if prefixed else "", expression)


def _extra(section: Section) -> ExtraMapping:
    section.known("key", "valueExpression")
    key, expression = section.text("key"), section.text("valueExpression")
    if "/" not in key or key.lower() != key:
        raise section.error("key", f'"{key}" must be a domain-prefixed path in lower case, as example.org/foo')
    if key.partition("/")[0].endswith(("kubernetes.io", "k8s.io")):
        raise section.error("key", f'"{key}": k8s.io, kubernetes.io and their subdomains are reserved')
    _compiled(section, "valueExpression", expression, ("claims",))
    return ExtraMapping(key, expression)


def _rule(section: Section, variables: tuple[str, ...]) -> Rule:
    of_claims = variables == ("claims",)
    section.known("expression", "message", *(("claim", "requiredValue") if of_claims else ()))
    expression, claim = section.text("expression", ""), section.text("claim", "") if of_claims else ""
    if bool(expression) == bool(claim):
        raise section.error(
            "", "claim or expression is required, and not both" if of_claims else "expression: required"
        )
    if expression:
        _compiled(section, "expression", expression, variables)
    return Rule(expression, section.text("message", ""), claim, section.text("requiredValue", "") if claim else "")


def _compiled(section: Section, field: str, expression: str, variables: Sequence[str]) -> None:
    from kube_core.cel.engine import CelError, compile_expression  # native, and rarely needed

    try:
        compile_expression(expression, tuple(variables))
    except CelError as error:
        raise section.error(field, f"{expression!r} does not compile: {str(error).splitlines()[0]}") from None


def _authority(path: Path | None) -> bytes:
    if path is None:
        return b""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigFileError(f"{path}: {error.strerror or error}") from None

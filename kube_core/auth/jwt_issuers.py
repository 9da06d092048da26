"""What is configured of JWT issuers: upstream's AuthenticationConfiguration, or the `--oidc-…` flags, as values.

Documented under "OpenID Connect Tokens" and "Using Authentication Configuration". The flags mean one issuer, whose user
names get the issuer's URL in front unless they are e-mail addresses or a prefix says otherwise. Expressions are CEL
over `claims`, or over `user` once it is mapped; they are compiled when the file is read, so a mistake is told then.
"""

from __future__ import annotations

import functools
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from kube_core.api.config_files import ConfigFileError, Section, read
from kube_core.api.structural import Structural
from kube_core.auth.authentication import Anonymity
from kube_core.auth.options import SecurityOptions

__all__ = ["AuthenticationConfig", "ClaimMapping", "ExtraMapping", "Issuer", "Rule", "issuer_of_flags", "read_config"]

_VERSIONS: Final = ("apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1")
_MOST_ISSUERS: Final = 64
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


def read_config(path: Path, *, disallowed: Sequence[str] = ()) -> AuthenticationConfig:
    """`disallowed`: URLs of issuers that are not for others, as the server's own. Raises `ConfigFileError`."""
    file = read(path, "AuthenticationConfiguration", _VERSIONS)
    file.known("kind", "apiVersion", "jwt", "anonymous")
    sections = file.sections("jwt")
    if len(sections) > _MOST_ISSUERS:
        raise file.error("jwt", f"must have at most {_MOST_ISSUERS} items")
    issuers = tuple(_issuer(section) for section in sections)
    for field, urls in (
        ("url", [issuer.url for issuer in issuers]),
        ("discoveryURL", [issuer.discovery_url for issuer in issuers]),
    ):
        for position, url in enumerate(urls):
            if url and url in urls[:position]:
                raise file.error(f"jwt[{position}].issuer.{field}", f'"{url}" is there twice')
            if field == "url" and url in disallowed:
                raise file.error(f"jwt[{position}].issuer.url", f'"{url}" is this server\'s own issuer')
    anonymity = None
    if file.has("anonymous"):
        section = file.section("anonymous")
        section.known("enabled", "conditions")
        conditions = section.sections("conditions")
        for condition in conditions:
            condition.known("path")
        anonymity = Anonymity(section.flag("enabled"), frozenset(each.text("path") for each in conditions))
        if conditions and not anonymity.enabled:
            raise section.error("conditions", "enabled should be set to true when conditions are defined")
    return AuthenticationConfig(issuers, anonymity)


def _issuer(section: Section) -> Issuer:
    section.known("issuer", "claimValidationRules", "claimMappings", "userValidationRules")
    issuer, mappings = section.section("issuer"), section.section("claimMappings")
    issuer.known(
        "url", "discoveryURL", "certificateAuthority", "audiences", "audienceMatchPolicy", "egressSelectorType"
    )
    mappings.known("username", "groups", "uid", "extra")
    url, discovery = issuer.text("url"), issuer.text("discoveryURL", "")
    for field in ("url", "discoveryURL"):
        if issuer.text(field, ""):
            _check_url(issuer, field)
    if discovery and discovery.rstrip("/") == url.rstrip("/"):
        raise issuer.error("discoveryURL", "discoveryURL must be different from URL")
    if issuer.text("egressSelectorType", ""):
        raise issuer.error("egressSelectorType", "there are no egress selectors here")
    audiences, authority = _audiences(issuer), issuer.text("certificateAuthority", "").encode()
    if authority:
        _check_authority(issuer, authority)
    _check_rules(section)
    username = _mapping(mappings, "username")
    if username.is_empty:
        raise mappings.error("username", "claim or expression is required")
    extra = mappings.sections("extra")
    keys = [each.text("key") for each in extra]
    for position, key in enumerate(keys):
        if key in keys[:position]:
            raise mappings.error(f"extra[{position}].key", f'"{key}" is there twice')
    found = Issuer(
        url,
        audiences,
        username,
        _mapping(mappings, "groups"),
        _mapping(mappings, "uid", prefixed=False),
        tuple(_extra(each) for each in extra),
        tuple(_rule(each, ("claims",)) for each in section.sections("claimValidationRules")),
        tuple(_rule(each, ("user",)) for each in section.sections("userValidationRules")),
        discovery,
        authority,
    )
    if _uses_unverified_address(found):
        raise mappings.error(
            "username.expression",
            "claims.email_verified must be used in claimMappings.username.expression or "
            "claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in "
            "claimMappings.username.expression",
        )
    return found


def _check_url(section: Section, field: str) -> None:
    url = urllib.parse.urlsplit(section.text(field))
    if url.scheme != "https":
        raise section.error(field, "URL scheme must be https")
    if url.username is not None or url.password is not None:
        raise section.error(field, "URL must not contain a username or password")
    if url.query:
        raise section.error(field, "URL must not contain a query")
    if url.fragment:
        raise section.error(field, "URL must not contain a fragment")


def _audiences(issuer: Section) -> tuple[str, ...]:
    audiences, policy = issuer.texts("audiences"), issuer.text("audienceMatchPolicy", "")
    if not audiences:
        raise issuer.error("audiences", "at least one issuer.audiences is required")
    for position, audience in enumerate(audiences):
        if not audience:
            raise issuer.error(f"audiences[{position}]", "required")
        if audience in audiences[:position]:
            raise issuer.error(f"audiences[{position}]", f'"{audience}" is there twice')
    if len(audiences) > 1 and policy != "MatchAny":
        raise issuer.error("audienceMatchPolicy", "must be MatchAny for multiple audiences")
    if policy not in ("", "MatchAny"):
        raise issuer.error("audienceMatchPolicy", "must be empty or MatchAny for single audience")
    return audiences


def _check_authority(issuer: Section, authority: bytes) -> None:
    from cryptography import x509

    try:
        x509.load_pem_x509_certificates(authority)
    except ValueError:
        raise issuer.error("certificateAuthority", "does not contain any valid certificates in PEM") from None


def _check_rules(section: Section) -> None:
    """Whether a claim or an expression is there twice."""
    for name in ("claimValidationRules", "userValidationRules"):
        seen = set()
        for rule in section.sections(name):
            for field in ("claim", "expression"):
                if rule.has(field):
                    said = (field, rule.text(field))
                    if said in seen:
                        raise rule.error(field, "is there twice")
                    seen.add(said)


def _uses_unverified_address(issuer: Issuer) -> bool:
    """Whether users are named by an address, and nothing asks whether it is proved to be theirs."""
    if not _uses(issuer.username.expression, "email"):
        return False
    extra, rules = [each.expression for each in issuer.extra], [each.expression for each in issuer.claim_rules]
    return not any(_uses(each, "email_verified") for each in (issuer.username.expression, *extra, *rules))


def _uses(expression: str, claim: str) -> bool:
    if not expression:
        return False
    from kube_core.cel import syntax
    from kube_core.cel.engine import compile_expression

    for node in syntax.walk(compile_expression(expression, ("claims",)).tree().root):
        named = node.name if node.kind == "field" else node.below[1].text if node.name == "_?._" else ""
        if named == claim and node.below[0].kind == "name" and node.below[0].name == "claims":
            return True
    return False


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
        raise section.error("prefix", "may not be specified when expression is set")
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
        if section.has("requiredValue"):
            raise section.error("requiredValue", "may not be specified when expression is set")
        if _compiled(section, "expression", expression, variables) != "BOOL":
            raise section.error("expression", "must evaluate to bool")
    elif section.text("message", ""):
        raise section.error("message", "may not be specified when claim is set")
    return Rule(expression, section.text("message", ""), claim, section.text("requiredValue", "") if claim else "")


def _compiled(section: Section, field: str, expression: str, variables: Sequence[str]) -> str:
    """The engine's name of its type."""
    from kube_core.cel.engine import CelError, compile_expression  # native, and rarely needed
    from kube_core.cel.field_types import typed

    try:
        program = compile_expression(expression, tuple(variables))
        return typed(expression, {"user": _user()}, tuple(variables)) or program.returns
    except CelError as error:
        said = str(error).splitlines()[0]
        raise section.error(field, f"{expression!r} does not compile: compilation failed: {said}") from None


@functools.cache
def _user() -> Structural:
    """What rules see of a user."""
    text, texts = {"type": "string"}, {"type": "array", "items": {"type": "string"}}
    fields = {"username": text, "uid": text, "groups": texts}
    extra = {"type": "object", "additionalProperties": texts}
    return Structural({"type": "object", "properties": {**fields, "extra": extra}})


def _authority(path: Path | None) -> bytes:
    if path is None:
        return b""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigFileError(f"{path}: {error.strerror or error}") from None

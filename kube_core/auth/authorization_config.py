"""Which authorizers there are, and in which order: upstream's AuthorizationConfiguration.

Documented under "Configuring the API Server using an authorization config file". Each authorizer has a type and a name;
webhooks, of which there may be several, have their own timeouts, caches, failure policy and conditions (CEL over
`request`, the spec of a SubjectAccessReview). Expressions are compiled when the file is read: a mistake is told then,
with file and field (`ConfigFileError`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import attrs

from kube_core.api.config_files import Section, read
from kube_core.auth.authorization import MODES
from kube_core.meta import names

__all__ = ["AuthorizationConfig", "AuthorizerConfig", "WebhookConfig", "read_authorization_config"]

_VERSIONS: Final = ("apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1")
_REVIEWS: Final = ("v1", "v1beta1")
_LONGEST_TIMEOUT: Final = 30.0
_MOST_CONDITIONS: Final = 64


@attrs.frozen
class WebhookConfig:
    """A webhook. Times in seconds; a TTL of 0 remembers nothing."""

    kubeconfig: Path
    timeout: float
    allowed_ttl: float
    refused_ttl: float
    #: Of the SubjectAccessReviews that it is sent.
    version: str
    #: Whether a request is denied where it does not answer, or a condition has no value.
    fails_closed: bool
    conditions: tuple[str, ...] = ()


@attrs.frozen
class AuthorizerConfig:
    type: str
    name: str
    webhook: WebhookConfig | None = None


@attrs.frozen
class AuthorizationConfig:
    authorizers: tuple[AuthorizerConfig, ...]

    @property
    def types(self) -> frozenset[str]:
        """The types of those that are no webhooks."""
        return frozenset(each.type for each in self.authorizers if each.webhook is None)


def read_authorization_config(path: Path) -> AuthorizationConfig:
    """Raises `ConfigFileError`."""
    file = read(path, "AuthorizationConfiguration", _VERSIONS)
    file.known("kind", "apiVersion", "authorizers")
    found: list[AuthorizerConfig] = []
    for section in file.sections("authorizers"):
        each = _authorizer(section)
        if each.type != "Webhook" and any(each.type == other.type for other in found):
            raise section.error("type", f'"{each.type}" is there twice')
        if any(each.name == other.name for other in found):
            raise section.error("name", f'"{each.name}" is there twice')
        found.append(each)
    if not found:
        raise file.error("authorizers", "at least one authorization mode must be defined")
    return AuthorizationConfig(tuple(found))


def _authorizer(section: Section) -> AuthorizerConfig:
    section.known("type", "name", "webhook")
    kind, name = section.one_of("type", MODES), section.text("name")
    if problems := names.dns1123_subdomain(name):
        raise section.error("name", f"authorizer name is invalid: {problems[0]}")
    if kind != "Webhook":
        if section.has("webhook"):
            raise section.error("webhook", "may only be specified when type=Webhook")
        return AuthorizerConfig(kind, name)
    if not section.has("webhook"):
        raise section.error("webhook", "required when type=Webhook")
    return AuthorizerConfig(kind, name, _webhook(section.section("webhook")))


def _webhook(section: Section) -> WebhookConfig:
    section.known(
        "authorizedTTL", "unauthorizedTTL", "cacheAuthorizedRequests", "cacheUnauthorizedRequests", "timeout",
        "subjectAccessReviewVersion", "matchConditionSubjectAccessReviewVersion", "failurePolicy", "connectionInfo",
        "matchConditions",
    )  # fmt: skip
    section.text("timeout")
    timeout = section.seconds("timeout", 0.0)
    if not 0 < timeout <= _LONGEST_TIMEOUT:
        raise section.error("timeout", "must be > 0s and <= 30s")
    ttls = []
    for name, cached, default in (
        ("authorizedTTL", "cacheAuthorizedRequests", 300.0),
        ("unauthorizedTTL", "cacheUnauthorizedRequests", 30.0),
    ):
        ttl = section.seconds(name, default)
        if ttl <= 0:
            raise section.error(name, "must be > 0s")
        ttls.append(ttl if section.flag(cached, default=True) else 0.0)
    conditions = _conditions(section)
    if conditions or section.has("matchConditionSubjectAccessReviewVersion"):
        section.one_of("matchConditionSubjectAccessReviewVersion", ("v1",))
    return WebhookConfig(
        _kubeconfig(section.section("connectionInfo")),
        timeout,
        ttls[0],
        ttls[1],
        section.one_of("subjectAccessReviewVersion", _REVIEWS),
        section.one_of("failurePolicy", ("NoOpinion", "Deny")) == "Deny",
        conditions,
    )


def _kubeconfig(section: Section) -> Path:
    section.known("type", "kubeConfigFile")
    # "InClusterConfig" is for servers within a cluster, and this one is the cluster's own.
    section.one_of("type", ("KubeConfigFile",))
    path = Path(section.text("kubeConfigFile"))
    if not path.is_absolute():
        raise section.error("kubeConfigFile", "must be an absolute path")
    if not path.is_file():
        raise section.error("kubeConfigFile", f"{path} is no file")
    return path


def _conditions(section: Section) -> tuple[str, ...]:
    listed = section.sections("matchConditions")
    if len(listed) > _MOST_CONDITIONS:
        raise section.error("matchConditions", f"must have at most {_MOST_CONDITIONS} items")
    found: list[str] = []
    for condition in listed:
        condition.known("expression")
        text = condition.text("expression")
        if not text.strip():
            raise condition.error("expression", "required")
        if text in found:
            raise condition.error("expression", "is there twice")
        from kube_core.auth.webhook_conditions import condition_problem  # it brings CEL with it

        if problem := condition_problem(text):
            raise condition.error("expression", problem)
        found.append(text)
    return tuple(found)

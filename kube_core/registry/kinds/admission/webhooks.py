"""Validating- and MutatingWebhookConfigurations. Documented under "Dynamic Admission Control"."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.admission import rules
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors

__all__ = ["MutatingWebhookStrategy", "ValidatingWebhookStrategy", "client_service", "client_url"]

Part = Mapping[str, Any]

_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_REVIEWS = ("v1", "v1beta1")
_ONE_CLIENT = "exactly one of url or service is required"


class ValidatingWebhookStrategy(BuiltinStrategy):
    keeps_generation = True
    allows_unconditional_update = False
    qualifies_finalizers = False
    mutating: ClassVar[bool] = False

    def default(self, document: MutableDocument) -> None:
        for webhook in document.get("webhooks", ()):
            webhook.setdefault("failurePolicy", "Fail")
            webhook.setdefault("matchPolicy", "Equivalent")
            webhook.setdefault("namespaceSelector", {})
            webhook.setdefault("objectSelector", {})
            webhook.setdefault("timeoutSeconds", 10)
            if self.mutating:
                webhook.setdefault("reinvocationPolicy", "Never")
            rules.default_rules(webhook.get("rules", ()))
            service = webhook.get("clientConfig", {}).get("service")
            if service is not None:
                service.setdefault("port", 443)

    def validate(self, document: Document) -> Errors:
        return self._webhooks(document.get("webhooks") or (), None)

    def validate_update(self, document: Document, old: Document) -> Errors:
        return self._webhooks(document.get("webhooks") or (), old.get("webhooks") or ())

    def _webhooks(self, webhooks: Sequence[Part], old: Sequence[Part] | None) -> Errors:
        """Match conditions that are all as they were are let be."""
        known = old is not None and [each.get("matchConditions") for each in webhooks] == [
            each.get("matchConditions") for each in old
        ]
        seen: set[str] = set()
        for position, webhook in enumerate(webhooks):
            here, name = Path("webhooks").index(position), webhook.get("name") or ""
            yield from _webhook(here, webhook, mutating=self.mutating)
            if not known:
                yield from rules.match_conditions(here.child("matchConditions"), webhook.get("matchConditions") or ())
            if name and name in seen:
                yield fields.duplicate(here.child("name"), name)
            seen.add(name)


class MutatingWebhookStrategy(ValidatingWebhookStrategy):
    mutating = True


def client_service(path: Path, service: Part) -> Errors:
    """The Service that answers. Upstream calls the one missing where it misses the other."""
    for name, told in (("namespace", "name"), ("name", "namespace")):
        if not service.get(name):
            yield fields.required(path.child(told))
    port = service.get("port") or 0
    for message in names.port_number(port):
        yield fields.invalid(path.child("port"), port, f"port is not valid: {message}")
    where = service.get("path")
    if not where or where == "/":
        return
    if where == "//":
        yield fields.invalid(path.child("path"), where, "segment[0] may not be empty")
        return
    if not where.startswith("/"):
        yield fields.invalid(path.child("path"), where, "must start with a '/'")
    for index, part in enumerate(where[1:].removesuffix("/").split("/")):
        if not part:
            yield fields.invalid(path.child("path"), where, f"segment[{index}] may not be empty")
            continue
        for message in names.dns1123_subdomain(part):
            yield fields.invalid(path.child("path"), where, f"segment[{index}]: {message}")


def _webhook(path: Path, webhook: Part, *, mutating: bool) -> Errors:
    yield from _name(path.child("name"), webhook.get("name") or "")
    for name in ("namespaceSelector", "objectSelector"):
        yield from checks.label_selector(path.child(name), webhook.get(name))
    yield from rules.rules(path.child("rules"), webhook.get("rules") or ())
    choices: list[tuple[str, Sequence[str]]] = [
        ("failurePolicy", rules.FAILURE_POLICIES),
        ("matchPolicy", rules.MATCH_POLICIES),
    ]
    if mutating:
        choices.append(("reinvocationPolicy", ("IfNeeded", "Never")))
    for name, supported in choices:
        if webhook.get(name) is not None:
            yield from checks.one_of(path.child(name), webhook[name], supported)
    effects = webhook.get("sideEffects")
    if effects is None:
        detail = f"must specify one of {', '.join(_SIDE_EFFECTS)}"
        yield fields.required(path.child("sideEffects"), detail)
    else:
        yield from checks.one_of(path.child("sideEffects"), effects, _SIDE_EFFECTS)
    seconds = webhook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= 30:
        yield fields.invalid(
            path.child("timeoutSeconds"), seconds, "the timeout value must be between 1 and 30 seconds"
        )
    yield from _client(path.child("clientConfig"), webhook.get("clientConfig") or {})
    yield from _reviews(path.child("admissionReviewVersions"), webhook.get("admissionReviewVersions") or ())


def _name(path: Path, name: str) -> Errors:
    if not name:
        yield fields.required(path)
        return
    problems = names.dns1123_subdomain(name)
    for message in problems:
        yield fields.invalid(path, name, message)
    if not problems and name.count(".") < 2:
        yield fields.invalid(path, name, "should be a domain with at least three segments separated by dots")


def _client(path: Path, config: Part) -> Errors:
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        yield fields.required(path, _ONE_CLIENT)
    elif url is not None:
        yield from client_url(path.child("url"), url)
    else:
        yield from client_service(path.child("service"), service or {})


def client_url(path: Path, url: str) -> Errors:
    form = "; desired format: https://host[/path]"
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:
        yield fields.required(path, f"url must be a valid URL: {error}{form}")
        return
    if parts.scheme != "https":
        yield fields.invalid(path, parts.scheme, f"'https' is the only allowed URL scheme{form}")
    if not parts.hostname:
        yield fields.invalid(path, parts.netloc, f"host must be specified{form}")
    if "@" in parts.netloc:
        yield fields.invalid(path, parts.netloc.rpartition("@")[0], "user information is not permitted in the URL")
    if parts.fragment:
        yield fields.invalid(path, parts.fragment, "fragments are not permitted in the URL")
    if parts.query:
        yield fields.invalid(path, parts.query, "query parameters are not permitted in the URL")


def _reviews(path: Path, versions: Sequence[str]) -> Errors:
    if not versions:
        yield fields.required(path, f"must specify one of {', '.join(_REVIEWS)}")
        return
    for position, version in enumerate(versions):
        if version in versions[:position]:
            yield fields.invalid(path.index(position), version, "duplicate version")
        for message in names.dns1035_label(version):
            yield fields.invalid(path.index(position), version, message)
    if not any(version in _REVIEWS for version in versions):
        yield fields.invalid(path, list(versions), f"must include at least one of {', '.join(_REVIEWS)}")

"""Webhooks that say who asks, and whether they may (documented under "Webhook Token Authentication" and "Webhook
Mode"). Both are sent upstream's review objects, and what they say is remembered for a while."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core._kit.remembered import Remembered
from kube_core.abc.transport import User
from kube_core.auth.attributes import (
    NO_OPINION,
    AccessAttributes,
    AccessAuthorizer,
    Decision,
    Rules,
    Verdict,
    field_requirements,
    label_requirements,
)
from kube_core.auth.authentication import Authentication, TokenAuthenticator
from kube_core.auth.webhook_client import HttpsClient, WebhookError
from kube_core.meta.status import Unauthorized

__all__ = ["Asking", "WebhookAuthorizer", "WebhookTokens"]

_log = get_logger("kube_core.auth.webhooks")
#: Characters of a question whose answer is remembered: whoever asks must not fill the memory.
_LONGEST_REMEMBERED: Final = 10_000


class WebhookTokens(TokenAuthenticator):
    """Asks a webhook by TokenReview whose token it is."""

    def __init__(self, client: HttpsClient, clock: Clock, *, ttl: float) -> None:
        """`ttl`: seconds for which an answer is remembered, a refusal too."""
        self._client = client
        self._ttl = ttl
        self._answers: Remembered[Authentication | str | None] = Remembered(clock)

    async def authenticate(self, token: str, audiences: Sequence[str]) -> Authentication | None:
        # What is remembered is not the token: nobody shall find it in a memory dump.
        key = (hashlib.sha256(token.encode()).digest(), tuple(audiences))
        found = self._answers.get(key, _UNKNOWN)
        if found is _UNKNOWN:
            found = await self._ask(token, audiences)
            self._answers.put(key, found, self._ttl)
        if isinstance(found, str):
            raise Unauthorized(found)
        return found if isinstance(found, Authentication) else None

    async def _ask(self, token: str, audiences: Sequence[str]) -> Authentication | str | None:
        """Raises `Unauthorized`, which is not remembered, where there is no answer."""
        spec: dict[str, Any] = {"token": token}
        if audiences:
            spec["audiences"] = list(audiences)
        try:
            answer = await self._client.post(
                {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {}, "spec": spec}
            )
        except WebhookError as error:
            _log.warning("the authentication webhook does not answer", error=str(error))
            raise Unauthorized(str(error)) from None
        status = _status(answer)
        if not status.get("authenticated"):
            return str(status["error"]) if status.get("error") else None
        shared = tuple(audiences)
        if status.get("audiences"):
            shared = tuple(each for each in audiences if each in status["audiences"])
            if audiences and not shared:
                return None
        said = status.get("user") or {}
        extra = {str(name): list(values) for name, values in (said.get("extra") or {}).items()}
        user = User(str(said.get("username", "")), tuple(said.get("groups") or ()), str(said.get("uid", "")), extra)
        return Authentication(user, shared)


@attrs.frozen
class Asking:
    """How an authorization webhook is asked. Seconds for which answers are remembered."""

    allowed_ttl: float
    refused_ttl: float
    #: Of the review that it is sent.
    version: str = "v1"
    #: Whether it denies where it does not answer, or a condition has no value.
    fails_closed: bool = False
    #: Expressions that all have to hold, or it is not asked.
    conditions: Sequence[str] = ()


class WebhookAuthorizer(AccessAuthorizer):
    """Asks a webhook by SubjectAccessReview whether somebody may."""

    def __init__(self, client: HttpsClient, clock: Clock, asking: Asking) -> None:
        self._client = client
        self._asking = asking
        self._answers: Remembered[Decision] = Remembered(clock)

    async def authorize(self, attributes: AccessAttributes) -> Decision:
        spec = _spec(attributes)
        if self._asking.conditions:
            from kube_core.auth.webhook_conditions import ConditionFailed, conditions_hold  # it brings CEL with it

            try:
                if not conditions_hold(self._asking.conditions, spec):
                    return NO_OPINION
            except ConditionFailed as error:
                return self._failure(str(error))
        key = repr(spec)
        found = self._answers.get(key, None)
        if isinstance(found, Decision):
            return found
        try:
            answer = await self._client.post(_review(spec, self._asking.version))
        except WebhookError as error:
            _log.warning("the authorization webhook does not answer", error=str(error))
            return self._failure(str(error))
        status = _status(answer)
        allowed, denied = bool(status.get("allowed")), bool(status.get("denied"))
        verdict = Verdict.DENY if denied else Verdict.ALLOW if allowed else Verdict.NO_OPINION
        reason, problem = str(status.get("reason") or ""), str(status.get("evaluationError") or "")
        if allowed and denied:
            reason, problem = "", "webhook subject access review returned both allow and deny response"
        decision = Decision(verdict, reason, problem)
        if len(key) < _LONGEST_REMEMBERED:
            ttl = self._asking.allowed_ttl if decision.allowed else self._asking.refused_ttl
            self._answers.put(key, decision, ttl)
        return decision

    def _failure(self, problem: str) -> Decision:
        return Decision(Verdict.DENY if self._asking.fails_closed else Verdict.NO_OPINION, error=problem)

    def rules_of(self, user: User, namespace: str) -> Rules:
        return Rules((), "webhook authorizer does not support user rule resolution")


def _status(answer: Any) -> Mapping[str, Any]:
    status = answer.get("status") if isinstance(answer, Mapping) else None
    return status if isinstance(status, Mapping) else {}


def _review(spec: Mapping[str, Any], version: str) -> dict[str, Any]:
    if version == "v1beta1" and "groups" in spec:
        spec = {("group" if name == "groups" else name): value for name, value in spec.items()}
    return {
        "kind": "SubjectAccessReview",
        "apiVersion": f"authorization.k8s.io/{version}",
        "metadata": {},
        "spec": spec,
    }


def _spec(asked: AccessAttributes) -> dict[str, Any]:
    spec: dict[str, Any] = {"user": asked.user.name}
    if asked.user.groups:
        spec["groups"] = list(asked.user.groups)
    if asked.user.uid:
        spec["uid"] = asked.user.uid
    if asked.user.extra:
        spec["extra"] = {name: list(values) for name, values in asked.user.extra.items()}
    if not asked.resource:
        spec["nonResourceAttributes"] = {"path": asked.path, "verb": asked.verb}
        return spec
    fields = (
        ("namespace", asked.namespace),
        ("verb", asked.verb),
        ("group", asked.group),
        ("version", asked.version),
        ("resource", asked.resource),
        ("subresource", asked.subresource),
        ("name", asked.name),
    )
    attributes: dict[str, Any] = {name: value for name, value in fields if value}
    if requirements := field_requirements(asked.field_selector):
        attributes["fieldSelector"] = {"requirements": list(requirements)}
    if requirements := label_requirements(asked.label_selector):
        attributes["labelSelector"] = {"requirements": list(requirements)}
    spec["resourceAttributes"] = attributes
    return spec


class _Unknown:
    """Nothing is remembered."""


_UNKNOWN: Final = _Unknown()

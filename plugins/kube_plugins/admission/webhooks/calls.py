"""One webhook and one write: whether it is to be asked, the review, and what its answer says.

The texts are upstream's: `failed calling webhook …` where there is no usable answer (`CallFailed`, on which the failure
policy decides), and `admission webhook … denied the request` where it says no (`Denied`).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import attrs
import orjson

from kube_core._kit.random import Random
from kube_core.admission.chain import AdmissionContext
from kube_core.admission.metrics import Fault, WebhookPass
from kube_core.admission.reviews import admission_request, forms
from kube_core.admission.rules import matching_resource, namespace_matches, object_matches
from kube_core.api.types import ResourceType
from kube_core.meta.status import BadRequest, InternalError, StatusError, forbidden
from kube_core.registry.context import Attributes, Operation
from kube_core.registry.webhooks import WebhookCaller, WebhookFailure
from kube_plugins.admission.webhooks.configurations import Hook

__all__ = ["Answer", "CallFailed", "Denied", "Invocation", "ask", "internal", "invocation"]

_GROUP = "admission.k8s.io"
_REVIEWS = ("v1", "v1beta1")
_ALLOWED_EFFECTS = ("None", "NoneOnDryRun")


class CallFailed(Exception):
    """The webhook gave no usable answer; the message is upstream's."""

    def __init__(self, hook: Hook, why: str) -> None:
        super().__init__(f'failed calling webhook "{hook.name}": {why}')


class Denied(Exception):
    """The webhook says no; `status` is what the client gets."""

    def __init__(self, status: StatusError) -> None:
        super().__init__(status.message)
        self.status = status


@attrs.frozen
class Invocation:
    """A webhook that is to be asked, and the resource by which it matched, in whose form objects are sent."""

    hook: Hook
    resource: ResourceType


@attrs.frozen
class Answer:
    """What a webhook that allows a write says besides. `patch`: the operations of a JSON Patch."""

    warnings: tuple[str, ...] = ()
    annotations: Mapping[str, str] = attrs.field(factory=dict)
    patch: list[Any] = attrs.field(factory=list)


class Telling:
    """Counts how one webhook that is asked now answers, and when."""

    def __init__(self, hook: Hook, operation: Operation, step: WebhookPass, context: AdmissionContext) -> None:
        self._hook = hook
        self._operation = operation
        self._step = step
        self._metrics = context.metrics
        self._clock = context.clock
        self._began = context.clock.monotonic()

    def allowed(self) -> None:
        self._tell(None, "no_error")

    def denied(self, refusal: StatusError) -> StatusError:
        self._tell(refusal, "no_error")
        return refusal

    def failed(self, failure: CallFailed) -> StatusError:
        """The error that a failure is, for a webhook that does not fail open."""
        error = internal(failure)
        self._tell(error, "calling_webhook_error", passed_over=self._hook.fails_open)
        return error

    def broken(self, error: StatusError) -> StatusError:
        """What the server itself could not do with a webhook or its answer."""
        self._tell(error, "apiserver_internal_error")
        return error

    def _tell(self, refusal: StatusError | None, fault: Fault, *, passed_over: bool = False) -> None:
        took = self._clock.monotonic() - self._began
        self._metrics.webhook(
            self._hook.name, self._operation, self._step, took, refusal=refusal, fault=fault, passed_over=passed_over
        )


async def invocation(
    hook: Hook, attributes: Attributes, context: AdmissionContext, step: WebhookPass
) -> Invocation | None:
    """How a webhook is to be asked of a write; None where it is not. Raises StatusErrors."""
    resource = matching_resource(hook.document.get("rules") or (), attributes, equivalent=hook.equivalent)
    # Rules first: a webhook whose rules do not match is none of this request's business, whatever its namespace is.
    if resource is None or not object_matches(hook.objects, attributes):
        return None
    if not namespace_matches(hook.namespaces, attributes, context.reader):
        return None
    conditions = hook.document.get("matchConditions")
    if conditions:
        # What evaluates expressions takes a while to import, and few webhooks have any.
        from kube_core.admission.conditions import ConditionError, conditions_hold
        from kube_core.admission.expressions import Evaluation, subject_of

        began, held = context.clock.monotonic(), None
        try:
            held = await conditions_hold(conditions, Evaluation(await subject_of(attributes, resource, context)))
        except ConditionError as error:
            if hook.fails_open:
                return None
            raise forbidden(attributes.resource.group_resource, attributes.key.name, str(error)) from None
        finally:
            took = context.clock.monotonic() - began
            context.metrics.conditions("webhook", hook.name, attributes.operation, step, took, held=held)
        if not held:
            return None
    return Invocation(hook, resource)


async def ask(
    asked: Invocation, attributes: Attributes, caller: WebhookCaller, random: Random, *, mutating: bool
) -> Answer:
    """Raises `CallFailed`, `Denied`, and StatusErrors."""
    hook = asked.hook
    if attributes.dry_run and hook.document.get("sideEffects") not in _ALLOWED_EFFECTS:
        raise BadRequest(f'admission webhook "{hook.name}" does not support dry run')
    document, old = await forms(attributes, asked.resource)
    versions = hook.document.get("admissionReviewVersions") or ()
    version = next((each for each in versions if each in _REVIEWS), None)
    if version is None:
        raise CallFailed(hook, f"webhook does not accept known AdmissionReview versions ({', '.join(_REVIEWS)})")
    uid = random.uid()
    request = admission_request(attributes, asked.resource, uid=uid, document=document, old=old)
    review = {"kind": "AdmissionReview", "apiVersion": f"{_GROUP}/{version}", "request": request}
    try:
        answer = await caller.call(hook.document.get("clientConfig") or {}, review, timeout=hook.timeout)
    except WebhookFailure as failure:
        raise CallFailed(hook, f"failed to call webhook: {failure}") from None
    try:
        response = _response(answer, uid, version)
        patch = _patch(response, version) if mutating else _no_patch(response)
    except ValueError as problem:
        raise CallFailed(hook, f"received invalid webhook response: {problem}") from None
    warnings = tuple(str(each) for each in response.get("warnings") or ())
    annotations = {f"{hook.name}/{key}": str(value) for key, value in (response.get("auditAnnotations") or {}).items()}
    attributes.annotations.update(annotations)
    attributes.warnings += [each for each in warnings if each not in attributes.warnings]
    if response.get("allowed") is not True:
        raise Denied(_denial(hook, response.get("status")))
    return Answer(warnings, annotations, patch)


def internal(error: Exception | str) -> InternalError:
    """An error as upstream's server answers one of its own."""
    return InternalError(f"Internal error occurred: {error}", details={"causes": [{"message": str(error)}]})


def _response(answer: Any, uid: str, version: str) -> Mapping[str, Any]:
    """The part of the answer that counts. Raises `ValueError`."""
    if not isinstance(answer, Mapping):
        raise ValueError("webhook response was absent")
    response = answer.get("response")
    if not isinstance(response, Mapping):
        raise ValueError("webhook response was absent")
    if version != "v1":
        return response
    if response.get("uid") != uid:
        raise ValueError(f'expected response.uid="{uid}", got "{response.get("uid") or ""}"')
    wanted = f"{_GROUP}/v1"
    if answer.get("apiVersion") != wanted or answer.get("kind") != "AdmissionReview":
        got = str(answer.get("apiVersion") or "/")
        got = got if "/" in got else f"/{got}"
        raise ValueError(
            f"expected webhook response of {wanted}, Kind=AdmissionReview, got {got}, Kind={answer.get('kind') or ''}"
        )
    return response


def _patch(response: Mapping[str, Any], version: str) -> list[Any]:
    """The operations of the patch, none where there is no patch. Raises `ValueError`, and StatusErrors."""
    patch, kind = response.get("patch"), response.get("patchType")
    if version == "v1":
        if patch and kind is None:
            raise ValueError("webhook returned response.patch but not response.patchType")
        if not patch and kind is not None:
            raise ValueError("webhook returned response.patchType but not response.patch")
    if not patch:
        return []
    if kind == "":
        raise ValueError('webhook returned invalid response.patchType of ""')
    if kind not in ("JSONPatch", None):
        raise ValueError(f'unsupported patch type "{kind}"')
    try:
        operations = orjson.loads(base64.b64decode(patch, validate=True))
    except (binascii.Error, TypeError) as error:
        raise ValueError(f"illegal base64 data in response.patch: {error}") from None
    except orjson.JSONDecodeError as error:
        raise internal(str(error)) from None
    if operations is None:
        return []
    if not isinstance(operations, list) or not all(isinstance(each, dict) for each in operations):
        raise internal("json: cannot unmarshal the patch: it is no list of operations")
    return operations


def _no_patch(response: Mapping[str, Any]) -> list[Any]:
    if response.get("patch"):
        raise ValueError("validating webhook may not return response.patch")
    if response.get("patchType") is not None:
        raise ValueError("validating webhook may not return response.patchType")
    return []


def _denial(hook: Hook, status: Any) -> StatusError:
    """A refusal in the webhook's own words, code and reason, as far as they are those of a refusal."""
    said: Mapping[str, Any] = status if isinstance(status, Mapping) else {}
    denied = f'admission webhook "{hook.name}" denied the request'
    explanation = said.get("message") or said.get("reason")
    message = f"{denied}: {explanation}" if explanation else f"{denied} without explanation"
    code = said.get("code")
    code = code if isinstance(code, int) and code >= 400 else 400
    details = said.get("details")
    return StatusError(
        message,
        code=code,
        reason=str(said.get("reason") or ""),
        details=dict(details) if isinstance(details, Mapping) else None,
    )

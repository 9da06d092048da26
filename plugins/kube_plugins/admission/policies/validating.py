"""ValidatingAdmissionPolicy: holds writes to the validations of policies, and denies, warns or notes what fails.

Mirrors upstream's plugin of this name, in reasons, codes, messages and audit annotations. Of several denials the first
is told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar, Final

import attrs
import orjson

from kube_core.admission.chain import AdmissionContext, AdmissionPlugin
from kube_core.admission.expressions import Evaluation
from kube_core.api.resources import VALIDATING_ADMISSION_POLICIES, VALIDATING_ADMISSION_POLICY_BINDINGS
from kube_core.cel.budgets import Budget, OutOfBudget
from kube_core.cel.engine import CelError
from kube_core.meta.status import StatusError, forbidden
from kube_core.registry.context import Attributes, Operation
from kube_core.registry.kinds.admission.expressions import compiled
from kube_plugins.admission.policies.bindings import Bindings, BoundPolicy, is_reviewed
from kube_plugins.admission.policies.evaluating import Failed, Subjects, evaluations

__all__ = ["ValidatingAdmissionPolicy"]

_CODES: Final = {"Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413, "Invalid": 422}
_FAILURES: Final = "validation.policy.admission.k8s.io/validation_failure"
#: Characters of a message that are told, and of an annotation that are kept.
_MESSAGE_LIMIT: Final = 5 * 1024
_ANNOTATION_LIMIT: Final = 10 * 1024


@attrs.frozen
class Decision:
    """A validation that did not hold. `index`: its place in the policy."""

    message: str
    reason: str = "Invalid"
    index: int = 0
    #: The policy could not be followed, so its bindings' actions are not asked.
    failed: bool = False


class ValidatingAdmissionPolicy(AdmissionPlugin):
    name = "ValidatingAdmissionPolicy"
    operations: ClassVar[frozenset[Operation]] = frozenset(("CREATE", "UPDATE", "DELETE", "CONNECT"))

    def __init__(self, context: AdmissionContext) -> None:
        super().__init__(context)
        self._bindings = Bindings(context.reader, VALIDATING_ADMISSION_POLICIES, VALIDATING_ADMISSION_POLICY_BINDINGS)

    def handles(self, attributes: Attributes) -> bool:
        return super().handles(attributes) and is_reviewed(attributes)

    async def validate(self, attributes: Attributes) -> None:
        bound = self._bindings.of(attributes)
        if not bound:
            return
        subjects = Subjects(attributes, self.context, "validate")
        denials: list[StatusError] = []
        failures: list[Mapping[str, Any]] = []
        notes: dict[str, list[str]] = {}
        for each in bound:
            began, decisions = self.context.clock.monotonic(), []
            async for decision in _decisions(each, subjects, notes):
                decisions.append(decision)
                denials += _act(each, decision, attributes, failures)
            self._count(each, decisions, self.context.clock.monotonic() - began)
        if failures:
            attributes.annotations[_FAILURES] = orjson.dumps(failures).decode()
        for key, values in notes.items():
            attributes.annotations[key] = ", ".join(values)
        if denials:
            raise denials[0]

    def _count(self, bound: BoundPolicy, decisions: Sequence[Decision], seconds: float) -> None:
        policy, binding, metrics = bound.policy.name, bound.binding.name, self.context.metrics
        if not decisions:
            metrics.policy("validating", policy, binding, seconds)
        for decision in decisions:
            error = "other_error" if decision.failed else "no_error"
            actions = ("deny",) if decision.failed else bound.binding.spec.get("validationActions") or ()
            for action in actions:
                metrics.policy("validating", policy, binding, seconds, action=action.lower(), error=error)


async def _decisions(bound: BoundPolicy, subjects: Subjects, notes: dict[str, list[str]]) -> AsyncIterator[Decision]:
    """What does not hold. Adds the policy's own audit annotations to `notes`."""
    open_to_failure = bound.policy.fails_open
    async for evaluation in evaluations(bound, subjects):
        if isinstance(evaluation, Failed):
            if not open_to_failure:
                yield Decision(evaluation.why, failed=bool(bound.problem))
            continue
        try:
            for decision in [*await _validated(bound, evaluation), *await _noted(bound, evaluation, notes)]:
                yield decision
        except OutOfBudget as error:
            if not open_to_failure:
                yield Decision(str(error))


async def _validated(bound: BoundPolicy, evaluation: Evaluation) -> list[Decision]:
    """Raises `OutOfBudget`."""
    budget, decisions = Budget(), []
    for index, validation in enumerate(bound.policy.spec.get("validations") or ()):
        decision = await _judge(bound, evaluation, validation, index, budget)
        if decision is not None:
            decisions.append(decision)
    return decisions


async def _noted(bound: BoundPolicy, evaluation: Evaluation, notes: dict[str, list[str]]) -> list[Decision]:
    """Raises `OutOfBudget`."""
    budget, decisions = Budget(), []
    for annotation in bound.policy.spec.get("auditAnnotations") or ():
        decision = await _note(bound, evaluation, annotation, notes, budget)
        if decision is not None:
            decisions.append(decision)
    return decisions


async def _judge(
    bound: BoundPolicy, evaluation: Evaluation, validation: Mapping[str, Any], index: int, budget: Budget
) -> Decision | None:
    """Raises `OutOfBudget`."""
    text, scope = validation["expression"], bound.policy.scope
    try:
        holds = await evaluation.value(compiled(text, scope), budget)
    except OutOfBudget:
        raise
    except CelError as error:
        if bound.policy.fails_open:
            return None
        return Decision(f"expression '{text}' resulted in error: {error}", index=index)
    if holds is True:
        return None
    message = (validation.get("message") or "").strip() or f"failed expression: {text.strip()}"
    if validation.get("messageExpression"):
        try:
            message = await _message(validation["messageExpression"], bound, evaluation, budget) or message
        except OutOfBudget as error:
            return Decision(f"failed messageExpression: {error}", index=index) if not bound.policy.fails_open else None
    return Decision(message, validation.get("reason") or "Invalid", index)


async def _message(text: str, bound: BoundPolicy, evaluation: Evaluation, budget: Budget) -> str:
    """What a message expression says; "" where it does not say a line of text. Raises `OutOfBudget`."""
    try:
        found = await evaluation.value(compiled(text, bound.policy.scope), budget)
    except OutOfBudget:
        raise
    except CelError:
        return ""
    if not isinstance(found, str) or "\n" in found or len(found) > _MESSAGE_LIMIT:
        return ""
    return found.strip()


async def _note(
    bound: BoundPolicy,
    evaluation: Evaluation,
    annotation: Mapping[str, Any],
    notes: dict[str, list[str]],
    budget: Budget,
) -> Decision | None:
    """Raises `OutOfBudget`."""
    text = annotation["valueExpression"]
    try:
        found = await evaluation.value(compiled(text, bound.policy.scope), budget)
    except OutOfBudget:
        raise
    except CelError as error:
        if bound.policy.fails_open:
            return None
        return Decision(f"expression '{text}' resulted in error: {error}")
    if found is None:
        return None
    if not isinstance(found, str):
        return Decision(f"valueExpression '{text}' resulted in unsupported return type")
    values = notes.setdefault(f"{bound.policy.name}/{annotation['key']}", [])
    value = found.strip()[:_ANNOTATION_LIMIT]
    if value and value not in values:
        values.append(value)
    return None


def _act(
    bound: BoundPolicy, decision: Decision, attributes: Attributes, failures: list[Mapping[str, Any]]
) -> Sequence[StatusError]:
    """Do with a decision what the binding says; the denials there are."""
    policy, binding = bound.policy.name, bound.binding.name
    actions: Sequence[str] = bound.binding.spec.get("validationActions") or ()
    if decision.failed:
        return [_denial(policy, binding, decision, attributes)]
    denials = []
    for action in actions:
        match action:
            case "Deny":
                denials.append(_denial(policy, binding, decision, attributes))
            case "Warn":
                said = f"Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}'"
                warning = f"{said}: {decision.message}"
                if warning not in attributes.warnings:
                    attributes.warnings.append(warning)
            case "Audit":
                failures.append(
                    {
                        "message": decision.message,
                        "policy": policy,
                        "binding": binding,
                        "expressionIndex": decision.index,
                        "validationActions": list(actions),
                    }
                )
    return denials


def _denial(policy: str, binding: str, decision: Decision, attributes: Attributes) -> StatusError:
    said = f"ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {decision.message}"
    refused = forbidden(attributes.resource.group_resource, attributes.key.name, said)
    details = {**(refused.details or {}), "causes": [{"message": said}]}
    code = _CODES.get(decision.reason, 422)
    return StatusError(refused.message, code=code, reason=decision.reason, details=details)

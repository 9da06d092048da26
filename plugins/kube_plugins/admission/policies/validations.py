"""The validations and audit annotations of a policy, evaluated: what does not hold, and what is to be noted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import attrs

from kube_core.admission.expressions import Evaluation
from kube_core.cel.budgets import Budget, OutOfBudget
from kube_core.cel.engine import CelError
from kube_core.registry.kinds.admission.expressions import compiled
from kube_plugins.admission.policies.bindings import BoundPolicy
from kube_plugins.admission.policies.evaluating import Failed, Subjects, evaluations

__all__ = ["Decision", "decisions_of"]

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


async def decisions_of(bound: BoundPolicy, subjects: Subjects, notes: dict[str, list[str]]) -> AsyncIterator[Decision]:
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

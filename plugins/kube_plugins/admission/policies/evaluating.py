"""What both kinds of policies do first: take a write's subject, ask the match conditions, and evaluate.

A failure (a condition without a value, parameters that are not there) is `Failed`; what becomes of it is for the
failure policy, which each kind of policy follows in its own way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import attrs

from kube_core.admission.chain import AdmissionContext
from kube_core.admission.conditions import ConditionError, conditions_hold
from kube_core.admission.expressions import Evaluation, Subject, subject_of
from kube_core.admission.metrics import Pass
from kube_core.api.types import ResourceType
from kube_core.cel.engine import CelError
from kube_core.meta.documents import thaw
from kube_core.registry.context import Attributes
from kube_core.registry.kinds.admission.expressions import Compiled, compiled
from kube_plugins.admission.policies.bindings import BoundPolicy, Policy

__all__ = ["Failed", "Subjects", "evaluations"]


@attrs.frozen
class Failed:
    """A policy that could not be asked, and why."""

    why: str


class Subjects:
    """The write in each of its forms that policies want, each made once. Made anew when the object has changed."""

    def __init__(self, attributes: Attributes, context: AdmissionContext, step: Pass) -> None:
        self._attributes = attributes
        self._context = context
        self._step = step
        self._made: dict[ResourceType, Subject] = {}

    async def of(self, resource: ResourceType) -> Subject:
        if resource not in self._made:
            self._made[resource] = await subject_of(self._attributes, resource, self._context)
        return self._made[resource]

    async def selects(self, policy: Policy, evaluation: Evaluation) -> bool:
        """Whether a policy's match conditions hold. Raises `ConditionError`."""
        conditions = policy.spec.get("matchConditions")
        if not conditions:
            return True
        clock, held = self._context.clock, None
        began = clock.monotonic()
        try:
            held = await conditions_hold(conditions, evaluation, policy.conditions_scope)
        finally:
            took, operation = clock.monotonic() - began, self._attributes.operation
            self._context.metrics.conditions("policy", policy.name, operation, self._step, took, held=held)
        return held


async def evaluations(bound: BoundPolicy, subjects: Subjects) -> AsyncIterator[Evaluation | Failed]:
    """One for each object of parameters for which the conditions hold."""
    if bound.problem:
        yield Failed(bound.problem)
        return
    policy = bound.policy
    variables = _variables(policy)
    for params in bound.params:
        evaluation = Evaluation(
            await subjects.of(bound.resource), thaw(params) if params is not None else None, variables
        )
        try:
            if not await subjects.selects(policy, evaluation):
                continue
        except ConditionError as error:
            yield Failed(str(error))
            continue
        yield evaluation


def _variables(policy: Policy) -> dict[str, Compiled]:
    """The variables that compile; the others are told of when they are named."""
    found: dict[str, Compiled] = {}
    for variable in policy.spec.get("variables") or ():
        try:
            found[variable["name"]] = compiled(variable["expression"], policy.scope)
        except CelError:
            continue
    return found

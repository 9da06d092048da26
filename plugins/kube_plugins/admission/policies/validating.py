"""ValidatingAdmissionPolicy: holds writes to the validations of policies, and denies, warns or notes what fails.

Mirrors upstream's plugin of this name, in reasons, codes, messages and audit annotations. Of several denials the first
is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import orjson

from kube_core.admission.chain import AdmissionContext, AdmissionPlugin
from kube_core.api.resources import VALIDATING_ADMISSION_POLICIES, VALIDATING_ADMISSION_POLICY_BINDINGS
from kube_core.meta.status import StatusError, forbidden
from kube_core.registry.context import Attributes, Operation
from kube_plugins.admission.policies.bindings import Bindings, BoundPolicy, is_reviewed

if TYPE_CHECKING:
    from kube_plugins.admission.policies.validations import Decision

__all__ = ["ValidatingAdmissionPolicy"]

_CODES: Final = {"Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413, "Invalid": 422}
_FAILURES: Final = "validation.policy.admission.k8s.io/validation_failure"


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
        # Expressions are native, and most clusters have no policies.
        from kube_plugins.admission.policies.evaluating import Subjects
        from kube_plugins.admission.policies.validations import decisions_of

        subjects = Subjects(attributes, self.context, "validate")
        denials: list[StatusError] = []
        failures: list[Mapping[str, Any]] = []
        notes: dict[str, list[str]] = {}
        for each in bound:
            began, decisions = self.context.clock.monotonic(), []
            async for decision in decisions_of(each, subjects, notes):
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

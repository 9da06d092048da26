"""MutatingAdmissionPolicy: changes writes by the mutations of policies, one after another.

A mutation is an expression that gives a configuration, which is merged in as server-side apply does, or the operations
of a JSON Patch. Each sees what the one before left. A policy with reinvocation policy `IfNeeded` is asked once more
when something changed the object after it. What of a policy fails refuses the write, or is passed over, as its failure
policy says. Mirrors upstream's plugin of this name.
"""

from __future__ import annotations

from typing import ClassVar

from kube_core.admission.chain import AdmissionContext, AdmissionPlugin
from kube_core.admission.changes import Memory
from kube_core.api.resources import MUTATING_ADMISSION_POLICIES, MUTATING_ADMISSION_POLICY_BINDINGS
from kube_core.meta.status import StatusError, forbidden
from kube_core.registry.context import Attributes, Operation
from kube_plugins.admission.policies.bindings import Bindings, is_reviewed

__all__ = ["MutatingAdmissionPolicy"]


class MutatingAdmissionPolicy(AdmissionPlugin):
    name = "MutatingAdmissionPolicy"
    operations: ClassVar[frozenset[Operation]] = frozenset(("CREATE", "UPDATE", "CONNECT"))

    def __init__(self, context: AdmissionContext) -> None:
        super().__init__(context)
        self._bindings = Bindings(context.reader, MUTATING_ADMISSION_POLICIES, MUTATING_ADMISSION_POLICY_BINDINGS)

    def handles(self, attributes: Attributes) -> bool:
        return super().handles(attributes) and is_reviewed(attributes)

    async def mutate(self, attributes: Attributes) -> None:
        bound = self._bindings.of(attributes) if attributes.object is not None else []
        if not bound:
            return
        # Expressions are native, and most clusters have no policies.
        from kube_plugins.admission.policies.mutations import Refused, follow

        memory = Memory.of(attributes, self.name)
        refusals: list[str] = []
        for each in bound:
            who = f"{each.policy.name}/{each.binding.name}"
            if memory.skips(attributes, who):
                continue
            changed, error = False, "no_error"
            began = self.context.clock.monotonic()
            try:
                changed = await follow(each, attributes, self.context)
            except Refused as refused:
                error = "other_error"
                if not each.policy.fails_open:
                    named = f"policy '{each.policy.name}' with binding '{each.binding.name}'"
                    refusals.append(f"{named} denied request: {refused}")
            action = "deny" if error != "no_error" and not each.policy.fails_open else "allow"
            took = self.context.clock.monotonic() - began
            self.context.metrics.policy(
                "mutating", each.policy.name, each.binding.name, took, action=action, error=error
            )
            reinvocable = each.policy.spec.get("reinvocationPolicy") == "IfNeeded"
            memory.note(attributes, who, changed=changed, reinvocable=reinvocable)
        memory.leave(attributes)
        if refusals:
            raise _denial(refusals, attributes)


def _denial(refusals: list[str], attributes: Attributes) -> StatusError:
    refused = forbidden(attributes.resource.group_resource, attributes.key.name, refusals[0])
    details = {**(refused.details or {}), "causes": [{"message": each} for each in refusals]}
    return StatusError(refusals[0], code=403, reason="Invalid", details=details)

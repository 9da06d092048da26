"""MutatingAdmissionPolicy: changes writes by the mutations of policies, one after another.

A mutation is an expression that gives a configuration, which is merged in as server-side apply does, or the operations
of a JSON Patch. Each sees what the one before left. A policy with reinvocation policy `IfNeeded` is asked once more
when something changed the object after it. What of a policy fails refuses the write, or is passed over, as its failure
policy says. Mirrors upstream's plugin of this name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from kube_core.admission.chain import AdmissionContext, AdmissionPlugin
from kube_core.admission.changes import Memory, replace
from kube_core.admission.expressions import Evaluation
from kube_core.api.resources import MUTATING_ADMISSION_POLICIES, MUTATING_ADMISSION_POLICY_BINDINGS
from kube_core.cel.budgets import Budget, OutOfBudget
from kube_core.cel.engine import CelError
from kube_core.meta.documents import Document, thaw
from kube_core.meta.status import StatusError, forbidden
from kube_core.registry.context import Attributes, Operation
from kube_core.registry.decoding import DecodingError
from kube_core.registry.kinds.admission.expressions import mutation
from kube_core.registry.patches import json_patch
from kube_plugins.admission.policies.bindings import Bindings, BoundPolicy, is_reviewed
from kube_plugins.admission.policies.evaluating import Failed, Subjects, evaluations

__all__ = ["MutatingAdmissionPolicy"]

_MEMBERS: Final = ("op", "path", "from", "value")


class _Refused(Exception):
    """A mutation that cannot be carried out; the message is upstream's."""


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
        memory = Memory.of(attributes, self.name)
        refusals: list[str] = []
        for each in bound:
            who = f"{each.policy.name}/{each.binding.name}"
            if memory.skips(attributes, who):
                continue
            changed, error = False, "no_error"
            began = self.context.clock.monotonic()
            try:
                changed = await self._follow(each, attributes)
            except _Refused as refused:
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

    async def _follow(self, bound: BoundPolicy, attributes: Attributes) -> bool:
        """Whether a policy changed anything. Raises `_Refused`."""
        changed = False
        async for evaluation in evaluations(bound, Subjects(attributes, self.context, "admit")):
            if isinstance(evaluation, Failed):
                raise _Refused(evaluation.why)
            for each in bound.policy.spec.get("mutations") or ():
                # What the mutation before left is another subject.
                subject = await Subjects(attributes, self.context, "admit").of(bound.resource)
                now = Evaluation(subject, evaluation.params, evaluation.variables)
                changed |= await _mutate(bound, each, now, attributes)
        return changed


async def _mutate(
    bound: BoundPolicy, mutation_of: Mapping[str, Any], evaluation: Evaluation, attributes: Attributes
) -> bool:
    form = "jsonPatch" if mutation_of.get("patchType") == "JSONPatch" else "applyConfiguration"
    text = mutation_of[form]["expression"]
    try:
        value = await evaluation.value(mutation(text, bound.policy.scope), Budget())
    except OutOfBudget as error:
        raise _Refused(str(error)) from None
    except CelError as error:
        raise _Refused(f"expression '{text}' resulted in error: {error}") from None
    shown: Document = evaluation.subject.values["object"]
    try:
        patched = _patched(shown, value) if form == "jsonPatch" else _merged(shown, value, bound, attributes)
        return await replace(attributes, patched, bound.resource)
    except (DecodingError, ValueError) as error:
        raise _Refused(str(error)) from None


def _patched(document: Document, operations: Any) -> Any:
    """Raises `_Refused`."""
    if not isinstance(operations, list) or not all(isinstance(each, dict) for each in operations):
        raise _Refused("type mismatch: JSONPatch expression should evaluate to array")
    for operation in operations:
        if "op" not in operation or "path" not in operation:
            raise _Refused("JSON Patch: an operation has no op or no path")
    try:
        ours = [{name: each[name] for name in _MEMBERS if name in each} for each in operations]
        return json_patch.apply(document, ours)
    except StatusError as error:
        raise _Refused(f"JSON Patch: {error.message}") from None


def _merged(document: Document, configuration: Any, bound: BoundPolicy, attributes: Attributes) -> Any:
    """Raises `_Refused`, and `ValueError`."""
    if not isinstance(configuration, dict) or attributes.shapes is None:
        raise _Refused("unexpected type for apply configuration")
    whole = {**thaw(configuration), "apiVersion": document["apiVersion"], "kind": document["kind"]}
    try:
        return attributes.shapes.merged(document, whole, bound.resource)
    except ValueError as error:
        raise _Refused(f"error applying patch: {error}") from None


def _denial(refusals: list[str], attributes: Attributes) -> StatusError:
    refused = forbidden(attributes.resource.group_resource, attributes.key.name, refusals[0])
    details = {**(refused.details or {}), "causes": [{"message": each} for each in refusals]}
    return StatusError(refusals[0], code=403, reason="Invalid", details=details)

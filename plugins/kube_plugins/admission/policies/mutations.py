"""The mutations of a policy, carried out one after another: configurations merged in, and JSON Patches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kube_core.admission.chain import AdmissionContext
from kube_core.admission.changes import replace
from kube_core.admission.expressions import Evaluation
from kube_core.cel.budgets import Budget, OutOfBudget
from kube_core.cel.engine import CelError
from kube_core.meta.documents import Document, thaw
from kube_core.meta.status import StatusError
from kube_core.registry.context import Attributes
from kube_core.registry.decoding import DecodingError
from kube_core.registry.kinds.admission.expressions import mutation
from kube_core.registry.patches import json_patch
from kube_plugins.admission.policies.bindings import BoundPolicy
from kube_plugins.admission.policies.evaluating import Failed, Subjects, evaluations

__all__ = ["Refused", "follow"]

_MEMBERS: Final = ("op", "path", "from", "value")


class Refused(Exception):
    """A mutation that cannot be carried out; the message is upstream's."""


async def follow(bound: BoundPolicy, attributes: Attributes, context: AdmissionContext) -> bool:
    """Whether a policy changed anything. Raises `Refused`."""
    changed = False
    async for evaluation in evaluations(bound, Subjects(attributes, context, "admit")):
        if isinstance(evaluation, Failed):
            raise Refused(evaluation.why)
        for each in bound.policy.spec.get("mutations") or ():
            # What the mutation before left is another subject.
            subject = await Subjects(attributes, context, "admit").of(bound.resource)
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
        raise Refused(str(error)) from None
    except CelError as error:
        raise Refused(f"expression '{text}' resulted in error: {error}") from None
    shown: Document = evaluation.subject.values["object"]
    try:
        patched = _patched(shown, value) if form == "jsonPatch" else _merged(shown, value, bound, attributes)
        return await replace(attributes, patched, bound.resource)
    except (DecodingError, ValueError) as error:
        raise Refused(str(error)) from None


def _patched(document: Document, operations: Any) -> Any:
    """Raises `Refused`."""
    if not isinstance(operations, list) or not all(isinstance(each, dict) for each in operations):
        raise Refused("type mismatch: JSONPatch expression should evaluate to array")
    for operation in operations:
        if "op" not in operation or "path" not in operation:
            raise Refused("JSON Patch: an operation has no op or no path")
    try:
        ours = [{name: each[name] for name in _MEMBERS if name in each} for each in operations]
        return json_patch.apply(document, ours)
    except StatusError as error:
        raise Refused(f"JSON Patch: {error.message}") from None


def _merged(document: Document, configuration: Any, bound: BoundPolicy, attributes: Attributes) -> Any:
    """Raises `Refused`, and `ValueError`."""
    if not isinstance(configuration, dict) or attributes.shapes is None:
        raise Refused("unexpected type for apply configuration")
    whole = {**thaw(configuration), "apiVersion": document["apiVersion"], "kind": document["kind"]}
    try:
        return attributes.shapes.merged(document, whole, bound.resource)
    except ValueError as error:
        raise Refused(f"error applying patch: {error}") from None

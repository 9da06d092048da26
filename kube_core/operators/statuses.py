"""What a status becomes: pure functions from the present one and what is to change.

A status is written by a merge patch of what differs, and not at all where nothing does. Conditions are a list that
others may write to as well, so a patch that has them names the version that they were read from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from kube_core.api.models.classes import camel_case
from kube_core.api.models.conversion import unstructure
from kube_core.control.conditions import set_condition
from kube_core.meta.documents import Document, MutableDocument, metadata_of, resource_version_of

__all__ = ["ConditionChange", "status_patch"]


@attrs.frozen
class ConditionChange:
    """What one condition is to be."""

    type: str
    status: str
    reason: str
    message: str


def status_patch(
    document: Document, changes: Mapping[str, Any], conditions: Sequence[ConditionChange], *, now: float
) -> MutableDocument | None:
    """The merge patch that makes the status of `document` so; None where it is.

    `changes` are values by the names that they have in Python; None takes a field away. Conditions follow upstream's
    rules (`metav1.Condition`): the time moves only with the status, and `observedGeneration` is the object's.
    """
    present: Mapping[str, Any] = document.get("status") or {}
    status: MutableDocument = {}
    for name, value in changes.items():
        wanted, field = unstructure(value), camel_case(name)
        change = _merge_patch(present.get(field), wanted)
        if change is not _SAME:
            status[field] = change
    patch: MutableDocument = {"status": status}
    before = present.get("conditions") or ()
    after: Sequence[Document] = before
    generation = metadata_of(document).get("generation")
    for condition in conditions:
        more = {} if generation is None else {"observedGeneration": generation}
        after = set_condition(
            after, condition.type, condition.status, now=now, reason=condition.reason, message=condition.message, **more
        )
    if conditions:
        # The common form of a condition requires a message, if an empty one.
        ours = {condition.type for condition in conditions}
        after = [{**each, "message": each.get("message", "")} if each["type"] in ours else each for each in after]
    if list(after) != list(before):
        status["conditions"] = after
        patch["metadata"] = {"resourceVersion": resource_version_of(document)}
    return patch if status else None


_SAME: Any = object()


def _merge_patch(present: Any, wanted: Any) -> Any:
    """What to say so that `present` becomes exactly `wanted`."""
    if present == wanted:
        return _SAME
    if not isinstance(present, Mapping) or not isinstance(wanted, Mapping):
        return wanted
    patch: MutableDocument = {name: None for name in present if name not in wanted}
    for name, value in wanted.items():
        change = _merge_patch(present.get(name), value)
        if change is not _SAME:
            patch[name] = change
    return patch

"""What a namespace says about its own deletion: five conditions, from what one pass over its content came to.

Pure. Types, reasons and messages are upstream's, since people and tools read them (`kubectl get namespace -o yaml`).
A condition that was never bad is left out until a pass is over; once there, it follows each pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from kube_core.api.types import ResourceType
from kube_core.control.conditions import set_condition
from kube_core.meta.documents import Document, MutableDocument

__all__ = ["Outcome", "deletion_conditions"]


@attrs.define
class Outcome:
    """What one pass found and did.

    `remaining` counts the objects that are still there; `finalizers` how many of them each finalizer holds.
    """

    discovery_failures: dict[str, str] = attrs.field(factory=dict)
    deletion_failures: list[str] = attrs.field(factory=list)
    remaining: dict[ResourceType, int] = attrs.field(factory=dict)
    finalizers: dict[str, int] = attrs.field(factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether the namespace is known to hold nothing any more."""
        return not (self.discovery_failures or self.deletion_failures or self.remaining)


def deletion_conditions(conditions: Sequence[Document], outcome: Outcome, now: float) -> list[MutableDocument]:
    """The namespace's conditions after a pass."""
    changed: Sequence[Document] = conditions
    for condition_type, (status, reason, message) in _found(outcome).items():
        changed = set_condition(changed, condition_type, status, now=now, reason=reason, message=message)
    return [dict(condition) for condition in changed]


def _found(outcome: Outcome) -> Mapping[str, tuple[str, str, str]]:
    return {
        "NamespaceDeletionDiscoveryFailure": _discovery(outcome),
        "NamespaceDeletionGroupVersionParsingFailure": (
            "False", "ParsedGroupVersions", "All legacy kube types successfully parsed",
        ),
        "NamespaceDeletionContentFailure": _content(outcome),
        "NamespaceContentRemaining": _remaining(outcome),
        "NamespaceFinalizersRemaining": _finalizers(outcome),
    }  # fmt: skip


def _discovery(outcome: Outcome) -> tuple[str, str, str]:
    if not outcome.discovery_failures:
        return "False", "ResourcesDiscovered", "All resources successfully discovered"
    failures = ", ".join(f"{version}: {error}" for version, error in sorted(outcome.discovery_failures.items()))
    count = len(outcome.discovery_failures)
    message = (
        f"Discovery failed for some groups, {count} failing: unable to retrieve the complete list of server APIs: "
        + failures
    )
    return "True", "DiscoveryFailed", message


def _content(outcome: Outcome) -> tuple[str, str, str]:
    if not outcome.deletion_failures:
        return "False", "ContentDeleted", "All content successfully deleted, may be waiting on finalization"
    failures = sorted(outcome.deletion_failures)
    text = failures[0] if len(failures) == 1 else f"[{', '.join(failures)}]"
    return (
        "True",
        "ContentDeletionFailed",
        f"Failed to delete all resource types, {len(failures)} remaining: {text}",
    )


def _remaining(outcome: Outcome) -> tuple[str, str, str]:
    if not outcome.remaining:
        return "False", "ContentRemoved", "All content successfully removed"
    counts = sorted(
        f"{resource.plural}.{resource.group} has {count} resource instances"
        for resource, count in outcome.remaining.items()
    )
    return "True", "SomeResourcesRemain", f"Some resources are remaining: {', '.join(counts)}"


def _finalizers(outcome: Outcome) -> tuple[str, str, str]:
    if not outcome.finalizers:
        return "False", "ContentHasNoFinalizers", "All content-preserving finalizers finished"
    counts = sorted(f"{name} in {count} resource instances" for name, count in outcome.finalizers.items())
    message = f"Some content in the namespace has finalizers remaining: {', '.join(counts)}"
    return "True", "SomeFinalizersRemain", message

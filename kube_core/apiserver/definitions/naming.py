"""Which of the names that a definition asks for it gets, and the conditions that say so. Pure.

Names are given first come, first served, within a group: plural, singular and short names among each other, kinds and
list kinds among each other. A name that was accepted stays accepted. Mirrors upstream's naming, establishing and
approval-policy controllers; reasons and messages are theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kube_core.meta.documents import Document, MutableDocument, annotations_of, thaw
from kube_core.registry.kinds.definitions.conditions import API_APPROVED, is_protected, set_condition

__all__ = ["is_established", "status_of"]

Names = Mapping[str, Any]


def is_established(definition: Document) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def status_of(definition: Document, others: Iterable[Document], now: float) -> dict[str, Any]:
    """The status that a definition should have. `others`: of the same group; `now`: in seconds since the epoch."""
    document: MutableDocument = {"metadata": definition["metadata"], "status": thaw(definition.get("status") or {})}
    _approve(document, definition["spec"]["group"], now)
    asked = definition["spec"]["names"]
    accepted = (definition.get("status") or {}).get("acceptedNames") or {}
    names, conflict = _accept(asked, accepted, others)
    document["status"]["acceptedNames"] = names
    if conflict is None:
        set_condition(document, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now)
    else:
        set_condition(document, "NamesAccepted", "False", *conflict, now)
    if not is_established(definition):
        if conflict is None:
            words = "True", "InitialNamesAccepted", "the initial names have been accepted"
        else:
            words = "False", "NotAccepted", "not all names are accepted"
        set_condition(document, "Established", *words, now)
    status: dict[str, Any] = document["status"]
    return status


def _accept(asked: Names, accepted: Names, others: Iterable[Document]) -> tuple[dict[str, Any], tuple[str, str] | None]:
    """The accepted names, and reason and message of the last conflict."""
    resources, kinds = _taken(others)
    result: dict[str, Any] = {"plural": "", "kind": "", **accepted}
    conflict: tuple[str, str] | None = None

    def take(name: str, reason: str, taken: set[str]) -> None:
        nonlocal conflict
        value = asked.get(name) or ""
        if value != (accepted.get(name) or "") and value in taken:
            conflict = reason, f'"{value}" is already in use'
        elif value:
            result[name] = value

    take("plural", "PluralConflict", resources)
    take("singular", "SingularConflict", resources)
    wanted, had = asked.get("shortNames") or (), accepted.get("shortNames") or ()
    used = [name for name in wanted if name not in had and name in resources]
    if used:
        texts = [f'"{name}" is already in use' for name in used]
        conflict = "ShortNamesConflict", texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    else:
        _set(result, "shortNames", wanted)
    take("kind", "KindConflict", kinds)
    take("listKind", "ListKindConflict", kinds)
    _set(result, "categories", asked.get("categories") or ())
    return result, conflict


def _set(names: dict[str, Any], name: str, value: Iterable[str]) -> None:
    found = list(value)
    if found:
        names[name] = found
    else:
        names.pop(name, None)


def _taken(others: Iterable[Document]) -> tuple[set[str], set[str]]:
    resources: set[str] = set()
    kinds: set[str] = set()
    for other in others:
        names = (other.get("status") or {}).get("acceptedNames") or {}
        resources.update((names.get("plural") or "", names.get("singular") or "", *(names.get("shortNames") or ())))
        kinds.update((names.get("kind") or "", names.get("listKind") or ""))
    return resources - {""}, kinds - {""}


def _approve(document: MutableDocument, group: str, now: float) -> None:
    """Say what became of the approval that the Kubernetes project's own groups need."""
    if not is_protected(group):
        return
    given = annotations_of(document).get(API_APPROVED) or ""
    if given.startswith("unapproved"):
        words = "False", "UnapprovedAnnotation", f'not approved: "{given}"'
    elif given.startswith(("http://", "https://")):
        words = "True", "ApprovedAnnotation", f"approved in {given}"
    elif given:
        words = "False", "InvalidAnnotation", f'invalid approval: "{given}"'
    else:
        words = "False", "MissingAnnotation", f'protected groups must have approval annotation "{API_APPROVED}"'
    set_condition(document, "KubernetesAPIApprovalPolicyConformant", *words, now)

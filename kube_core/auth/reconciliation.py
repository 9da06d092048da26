"""Putting default roles and bindings right: what is missing is added, what somebody added stays. Pure.

Upstream's rules, documented under "Auto-reconciliation": a role gets the rules and aggregation selectors that it lacks,
a binding its subjects, both their labels and annotations; a binding to another role is to be made anew, as the role of
a binding cannot change. With the annotation `rbac.authorization.kubernetes.io/autoupdate: "false"` an object is left as
it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kube_core.auth.rbac import missing
from kube_core.meta.documents import Document, MutableDocument, thaw

__all__ = ["AUTOUPDATE", "is_bound_elsewhere", "is_protected", "reconciled"]

AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"


def is_protected(present: Document) -> bool:
    return (present["metadata"].get("annotations") or {}).get(AUTOUPDATE) == "false"


def is_bound_elsewhere(present: Document, wanted: Document) -> bool:
    """Whether a binding refers to another role than it should."""
    return "roleRef" in wanted and present.get("roleRef") != wanted["roleRef"]


def reconciled(present: Document, wanted: Document) -> MutableDocument | None:
    """The object with what it lacks; None where it lacks nothing."""
    changes: dict[str, Any] = {}
    for field in ("labels", "annotations"):
        lacking = _lacking(present["metadata"].get(field), wanted["metadata"].get(field))
        if lacking:
            changes.setdefault("metadata", {})[field] = {**(present["metadata"].get(field) or {}), **lacking}
    if "roleRef" in wanted:
        changes |= _more(present, "subjects", wanted.get("subjects") or ())
    elif wanted.get("aggregationRule") is None:
        rules, expected = present.get("rules") or (), wanted.get("rules") or ()
        if rules != expected and (lacking_rules := missing(rules, expected)):
            changes["rules"] = [*rules, *lacking_rules]
        if present.get("aggregationRule") is not None:
            changes["aggregationRule"] = None
    else:
        rule = present.get("aggregationRule") or {}
        selectors = _more(rule, "clusterRoleSelectors", wanted["aggregationRule"]["clusterRoleSelectors"])
        if selectors:
            changes["aggregationRule"] = {**rule, **selectors}
    if not changes:
        return None
    document: MutableDocument = thaw(present)
    document["metadata"].update(changes.pop("metadata", {}))
    for field, value in changes.items():
        if value is None:
            document.pop(field, None)
        else:
            document[field] = thaw(value)
    return document


def _lacking(present: Mapping[str, str] | None, wanted: Mapping[str, str] | None) -> dict[str, str]:
    return {key: value for key, value in (wanted or {}).items() if key not in (present or {})}


def _more(present: Mapping[str, Any], field: str, wanted: Sequence[Any]) -> dict[str, Any]:
    items = present.get(field) or ()
    lacking = [each for each in wanted if each not in items]
    return {field: [*items, *lacking]} if lacking else {}

"""Node selector terms: which nodes an affinity means (upstream: "Assigning Pods to Nodes"). Pure.

The terms of a selector are alternatives, the expressions of one term must all hold, and an empty term means nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["matches_selector", "matches_term"]


def matches_selector(selector: Mapping[str, Any], labels: Mapping[str, str], name: str) -> bool:
    """Whether a node (its labels and name) is one of those that a `NodeSelector` means."""
    return any(matches_term(term, labels, name) for term in selector.get("nodeSelectorTerms") or ())


def matches_term(term: Mapping[str, Any], labels: Mapping[str, str], name: str) -> bool:
    expressions: Iterable[Mapping[str, Any]] = term.get("matchExpressions") or ()
    fields: Iterable[Mapping[str, Any]] = term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    named = {"metadata.name": name}
    return all(_holds(each, labels) for each in expressions) and all(_holds(each, named) for each in fields)


def _holds(expression: Mapping[str, Any], values: Mapping[str, str]) -> bool:
    found = values.get(str(expression.get("key")))
    wanted: Sequence[str] = expression.get("values") or ()
    match expression.get("operator"):
        case "In":
            return found is not None and found in wanted
        case "NotIn":
            return found is None or found not in wanted
        case "Exists":
            return found is not None
        case "DoesNotExist":
            return found is None
        case "Gt" | "Lt" as operator:
            try:
                number, bound = int(found or ""), int(wanted[0])
            except (ValueError, IndexError):
                return False
            return number > bound if operator == "Gt" else number < bound
    return False

"""What somebody wants to do, and what is answered: the two values that pass between whoever asks and an authorizer.

`AccessAttributes` is upstream's `authorizer.Attributes`. An `AccessAuthorizer` looks at one and allows, denies, or has
no opinion, in which case the next is asked (`kube_core.auth.authorization`); upstream calls them authorization modes.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from kube_core.abc.transport import User
from kube_core.meta.documents import Document
from kube_core.meta.selectors import SelectorError, parse_fields, parse_labels

__all__ = [
    "ALLOWED",
    "NO_OPINION",
    "AccessAttributes",
    "AccessAuthorizer",
    "Decision",
    "Rule",
    "Rules",
    "Selector",
    "Verdict",
    "exact_field",
    "field_requirements",
    "label_requirements",
]

Rule = Mapping[str, Any]
#: A selector: the text of a request's query, or the `requirements` of a review.
Selector = str | Sequence[Document]
_OPERATORS = {"in": "In", "notin": "NotIn", "exists": "Exists", "!": "DoesNotExist"}


@attrs.frozen
class AccessAttributes:
    """What somebody wants to do: on a resource, or (with `resource` "") on a path."""

    user: User
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    field_selector: Selector = ""
    label_selector: Selector = ""


class Verdict(enum.Enum):
    ALLOW = "allow"
    DENY = "deny"
    NO_OPINION = "no opinion"


@attrs.frozen
class Decision:
    """A verdict, and why, as far as somebody may be told."""

    verdict: Verdict
    reason: str = ""
    #: What went wrong on the way; a decision is made all the same.
    error: str = ""

    @property
    def allowed(self) -> bool:
        return self.verdict is Verdict.ALLOW


ALLOWED = Decision(Verdict.ALLOW)
NO_OPINION = Decision(Verdict.NO_OPINION)


@attrs.frozen
class Rules:
    """Rules of a user in a namespace. `problem` says why there may be more than these; "" where there are not."""

    rules: Sequence[Rule] = ()
    problem: str = ""


class AccessAuthorizer(abc.ABC):
    """One of those that are asked in turn."""

    @abc.abstractmethod
    async def authorize(self, attributes: AccessAttributes) -> Decision: ...

    def rules_of(self, user: User, namespace: str) -> Rules:
        """The rules by which it decides, where it has any."""
        return Rules()


def exact_field(selector: Selector, name: str) -> str:
    """The one value that a field selector demands of a field; "" where it does not, or cannot be understood."""
    if not selector:
        return ""
    if not isinstance(selector, str):
        for requirement in selector:
            values: Sequence[str] = requirement.get("values") or ()
            if requirement.get("key") == name and requirement.get("operator") == "In" and len(values) == 1:
                return str(values[0])
        return ""
    try:
        return next((value for field, value in parse_fields(selector).equalities if field == name), "")
    except SelectorError:
        return ""


def field_requirements(selector: Selector) -> Sequence[Document]:
    """A field selector as the `requirements` of a review; none where it cannot be understood."""
    if not isinstance(selector, str):
        return selector
    try:
        terms = parse_fields(selector).terms
    except SelectorError:
        return ()
    return [{"key": term.field, "operator": "In" if term.equal else "NotIn", "values": [term.value]} for term in terms]


def label_requirements(selector: Selector) -> Sequence[Document]:
    """A label selector as the `requirements` of a review; none where it cannot be understood."""
    if not isinstance(selector, str):
        return selector
    try:
        requirements = parse_labels(selector).requirements
    except SelectorError:
        return ()
    # A review has no word for "greater" and "less": without them it only allows less.
    return [
        {"key": each.key, "operator": _OPERATORS[each.operator], "values": list(each.values)}
        for each in requirements
        if each.operator in _OPERATORS
    ]

"""The conditions under which an authorization webhook is asked: expressions (CEL) over `request`.

`request` is the spec of the SubjectAccessReview that the webhook would be sent, with every field of its resource, the
empty ones too; `has(request.resourceAttributes)` tells a request for a resource from one for a path. Documented under
"Configuring the API Server using an authorization config file".
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kube_core.api.structural import Structural
from kube_core.cel.budgets import Budget
from kube_core.cel.engine import CelError, Program, compile_expression
from kube_core.cel.field_types import typed

__all__ = ["ConditionFailed", "condition_problem", "conditions_hold"]

_VARIABLES: Final = ("request",)
_RESOURCE: Final = ("namespace", "verb", "group", "version", "resource", "subresource", "name")
#: Bytes that a request is taken to have: it is bounded by what a request line and a certificate may hold.
_SIZE: Final = 16 * 1024


class ConditionFailed(Exception):
    """A condition has no value; the message says which, and why."""


def condition_problem(text: str) -> str:
    """Why an expression cannot be a condition; "" where it can."""
    try:
        program = _program(text)
        returns = typed(text, _schemas(), _VARIABLES) or program.returns
    except CelError as error:
        return f"compilation failed: {error}"
    return "" if returns == "BOOL" else f"must evaluate to bool but got {returns.lower()}"


def conditions_hold(conditions: Sequence[str], spec: Mapping[str, Any]) -> bool:
    """One that does not hold settles it. `spec`: of the review. Raises `ConditionFailed`."""
    request, problems = _shown(spec), []
    for text in conditions:
        try:
            program = _program(text)
            Budget().spend(program, {"request": request}, _SIZE)
            holds = program.evaluate({"request": request})
        except CelError as error:
            problems.append(f"cel evaluation error: expression '{text}' resulted in error: {error}")
            continue
        if holds is False:
            return False
    if problems:
        raise ConditionFailed(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")
    return True


def _program(text: str) -> Program:
    return compile_expression(text, _VARIABLES)


def _shown(spec: Mapping[str, Any]) -> dict[str, Any]:
    shown = {"user": "", "groups": [], "uid": "", "extra": {}, **spec}
    if (resource := spec.get("resourceAttributes")) is not None:
        shown["resourceAttributes"] = {**dict.fromkeys(_RESOURCE, ""), **resource}
    return shown


@functools.cache
def _schemas() -> Mapping[str, Structural]:
    text = {"type": "string"}
    texts = {"type": "array", "items": text}
    requirement = {"type": "object", "properties": {"key": text, "operator": text, "values": texts}}
    selector = {
        "type": "object",
        "properties": {"rawSelector": text, "requirements": {"type": "array", "items": requirement}},
    }
    resource = {**dict.fromkeys(_RESOURCE, text), "fieldSelector": selector, "labelSelector": selector}
    request = {
        "user": text,
        "groups": texts,
        "uid": text,
        "extra": {"type": "object", "additionalProperties": texts},
        "resourceAttributes": {"type": "object", "properties": resource},
        "nonResourceAttributes": {"type": "object", "properties": {"path": text, "verb": text}},
    }
    return {"request": Structural({"type": "object", "properties": request})}

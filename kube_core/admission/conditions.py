"""Match conditions: expressions (CEL) that all have to hold for a webhook to be asked.

One that does not hold settles it, whatever happens to the others. Otherwise one that has no value is an error, which
refuses the request or lets it pass the webhook, as the failure policy says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["ConditionError", "conditions_hold"]

_VARIABLES = ("object", "oldObject", "request")


class ConditionError(Exception):
    """A condition has no value; the message says which, and why."""


def conditions_hold(conditions: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]) -> bool:
    """`variables`: `object`, `oldObject` and `request`, plain JSON. Raises `ConditionError`."""
    from kube_core.registry.cel.engine import CelError, compile_expression

    problems = []
    for condition in conditions:
        expression = condition.get("expression") or ""
        try:
            value = compile_expression(expression, _VARIABLES).evaluate(variables)
        except CelError as error:
            problems.append(f"expression '{expression}' resulted in error: {error}")
            continue
        if value is False:
            return False
    if problems:
        raise ConditionError(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")
    return True

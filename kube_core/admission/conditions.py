"""Match conditions: expressions (CEL) that all have to hold for a webhook or a policy to be asked.

One that does not hold settles it, whatever happens to the others. Otherwise one that has no value is an error, which
refuses the request or lets it pass, as the failure policy says. Whoever has conditions and an `Evaluation` calls
`conditions_hold`; what a condition may name is its `scope`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kube_core.admission.expressions import Evaluation
from kube_core.cel.budgets import CONDITIONS_BUDGET, Budget, OutOfBudget
from kube_core.cel.engine import CelError
from kube_core.registry.kinds.admission.expressions import CONDITIONS, Scope, compiled

__all__ = ["ConditionError", "conditions_hold"]


class ConditionError(Exception):
    """A condition has no value; the message says which, and why."""


async def conditions_hold(
    conditions: Sequence[Mapping[str, Any]], evaluation: Evaluation, scope: Scope = CONDITIONS
) -> bool:
    """Raises `ConditionError`."""
    problems = []
    budget = Budget(CONDITIONS_BUDGET)
    for condition in conditions:
        expression = condition.get("expression") or ""
        try:
            value = await evaluation.value(compiled(expression, scope), budget)
        except OutOfBudget as error:
            raise ConditionError(str(error)) from None
        except CelError as error:
            problems.append(f"expression '{expression}' resulted in error: {error}")
            continue
        if value is False:
            return False
    if problems:
        raise ConditionError(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")
    return True

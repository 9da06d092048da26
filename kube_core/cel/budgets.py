"""What evaluating may cost, in upstream's units: each expression by itself, and all of those that share a budget.

A `Budget` is asked before an expression is evaluated. Most are known to be cheap without looking at the values: what an
expression costs at most on values of such a size is kept with it, and added up. Where that would be too much, the
values are looked at, and where that is too much as well, what it really costs is counted, and of those before it too.
So what is refused has really cost more than upstream allows, and who stays far below pays an addition.

`CelError` with `COST_EXCEEDED` is an expression that alone costs too much; `OutOfBudget` says that nothing more is to
be evaluated. The limits are upstream's, documented under "Resource use by validation functions" of
CustomResourceDefinitions and under "Validating Admission Policy".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from kube_core.cel.engine import COST_EXCEEDED, CelError, Program

__all__ = ["CONDITIONS_BUDGET", "OBJECT_BUDGET", "OUT_OF_BUDGET", "Budget", "OutOfBudget"]

#: Of one evaluation.
_CALL_LIMIT: Final = 1_000_000
#: Of all rules on one object, or of a policy on one request.
OBJECT_BUDGET: Final = 10_000_000
#: Of all match conditions of a webhook or policy on one request.
CONDITIONS_BUDGET: Final = 2_500_000
OUT_OF_BUDGET: Final = "validation failed due to running out of cost budget, no further validation rules will be run"


class OutOfBudget(CelError):
    """All that there was is spent."""

    def __init__(self) -> None:
        super().__init__(OUT_OF_BUDGET)


@attrs.define
class Budget:
    left: int = OBJECT_BUDGET
    #: What was evaluated of which only a bound is known, and the sum of those.
    _open: list[tuple[Program, Mapping[str, Any]]] = attrs.field(factory=list, init=False)
    _bound: int = attrs.field(default=0, init=False)

    def spend(self, program: Program, variables: Mapping[str, Any], size: int) -> None:
        """`size`: of all values together, in characters or bytes of JSON.

        Raises `CelError` where this evaluation costs more than one may, and `OutOfBudget`.
        """
        bound = program.cost_within(size)
        if bound > _CALL_LIMIT or self._bound + bound > self.left:
            bound = program.cost_at_most(variables, size)
        if bound <= _CALL_LIMIT:
            if self._bound + bound > self.left:
                self._settle()
            if self._bound + bound <= self.left:
                self._open.append((program, variables))
                self._bound += bound
                return
        cost = program.counted(variables, _CALL_LIMIT)
        if cost > self.left - self._bound:
            self._settle()
        if cost > self.left:
            self.left = -1
            raise OutOfBudget
        self.left -= cost
        if cost > _CALL_LIMIT:
            raise CelError(COST_EXCEEDED)

    def _settle(self) -> None:
        """Count what so far was only known not to be more than something."""
        for program, variables in self._open:
            self.left -= program.counted(variables, _CALL_LIMIT)
        self._open.clear()
        self._bound = 0

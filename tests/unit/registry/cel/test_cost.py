"""What expressions may cost: refused before they are evaluated, as the engine cannot be stopped."""

from __future__ import annotations

from typing import Any

import pytest

from kube_core.registry.cel.engine import COST_EXCEEDED, CelError, compile_expression

NESTED = "object.all(x, object.all(y, object.all(z, x + y + z >= 0)))"


def value(expression: str, given: Any) -> Any:
    return compile_expression(expression, ("object",)).evaluate({"object": given})


def test_loops_within_loops_multiply() -> None:
    assert value(NESTED, list(range(20))) is True
    with pytest.raises(CelError, match=COST_EXCEEDED):
        value(NESTED, list(range(200)))


@pytest.mark.parametrize(
    "expression",
    [
        "object.all(x, x >= 0)",
        "object.all(x, x >= 0) && object.exists(x, x == 0)",
        "object.map(x, x + 1).filter(y, y > 1).size() > 0",
        "cel.bind(n, object.size(), object.all(x, x < n))",
    ],
)
def test_loops_beside_each_other_do_not(expression: str) -> None:
    assert value(expression, list(range(10_000))) is True


def test_texts_count_where_they_are_taken_apart() -> None:
    expression = "object.split('').all(x, object.split('').all(y, x == y))"
    assert value(expression, "a" * 10) is True
    with pytest.raises(CelError, match=COST_EXCEEDED):
        value(expression, "a" * 5_000)


def test_expressions_that_are_not_checked_are_weighed_too() -> None:
    with pytest.raises(CelError, match=COST_EXCEEDED):
        value("object.all(x, object.all(y, object.all(z, 1 < 1.5)))", list(range(500)))


def test_searching_never_goes_back() -> None:
    assert value("object.find('(a+)+$') == ''", "a" * 50_000 + "b") is True

"""What expressions may cost: none takes long, whoever wrote it."""

from __future__ import annotations

from typing import Any

import pytest

from kube_core.cel.engine import COST_EXCEEDED, CelError, compile_expression


def value(expression: str, given: Any) -> Any:
    return compile_expression(expression, ("object",)).evaluate({"object": given})


@pytest.mark.parametrize(
    ("expression", "size"),
    [
        ("object.all(x, x >= 0)", 9_000),
        ("object.all(x, object.all(y, x + y >= 0))", 90),
        ("object.map(x, x + 1).filter(y, y > 1).size() > 0", 4_000),
        ("object.transformMap(i, v, v).size() > 0", 900),
    ],
)
def test_loops_of_a_common_size_are_judged(expression: str, size: int) -> None:
    assert value(expression, list(range(size))) is True


@pytest.mark.parametrize(
    ("expression", "size"),
    [
        ("object.all(x, x >= 0)", 20_000),
        ("object.all(x, object.all(y, object.all(z, x + y + z >= 0)))", 200),
        ("object.all(x, object.all(y, object.all(z, 1 < 1.5)))", 200),
        ("object.transformMap(i, v, v).size() > 0", 2_000),
    ],
)
def test_loops_that_take_too_many_turns_are_an_error(expression: str, size: int) -> None:
    with pytest.raises(CelError, match=COST_EXCEEDED):
        value(expression, list(range(size)))


def test_texts_that_are_taken_apart_are_bounded_too() -> None:
    with pytest.raises(CelError, match=COST_EXCEEDED):
        value("object.split('').all(x, object.split('').all(y, x == y))", "a" * 5_000)


def test_searching_never_goes_back() -> None:
    assert value("object.find('(a+)+$') == ''", "a" * 50_000 + "b") is True

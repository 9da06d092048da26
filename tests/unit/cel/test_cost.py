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
        ("object.all(x, x >= 0)", 40_000),
        ("object.all(x, object.all(y, x + y >= 0))", 250),
        ("object.exists(x, x == 19999) && !object.all(x, x < 15000)", 20_000),
        ("object.exists_one(x, x == 19999)", 20_000),
        ("object.map(x, x + 1).all(y, y > 0)", 12_000),
        ("object.filter(x, x % 2 == 0).size() == 6000", 12_000),
        ("object.all(i, x, i == x)", 20_000),
        ("object.map(x, timestamp(x)).all(t, t > timestamp(-5))", 2_000),
        ("[object.map(x, x * 2)].all(all, all.all(y, y % 2 == 0))", 12_000),
        ("object.all(x, object.all(y, x + y >= 0))", 370),
        ("object.size() > 1 ? object.all(x, x < 1000000.5) : false", 12_000),
        ("object.all(x, 1 / x > 7) || true", 20_000),
        ("object.transformMap(i, v, v).size() == 2000", 2_000),
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
        ("object.all(x, x >= 0)", 600_000),
        ("object.all(x, object.all(y, object.all(z, x + y + z >= 0)))", 200),
        ("object.all(x, object.all(y, object.all(z, 1 < 1.5)))", 200),
        ("object.map(x, object.map(y, x + y)).size() > 0", 2_000),
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


def test_an_error_in_one_slice_counts_unless_another_settles_it() -> None:
    items = list(range(20_000))
    assert value("object.all(x, 1 / x > 7)", items) is False
    with pytest.raises(CelError, match="division by zero"):
        value("object.all(x, x > 0 || 1 / x > 0)", items)

"""Equality of JSON values."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core.meta.documents import freeze
from kube_core.meta.equality import same

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (1, 1.0, True), (True, 1, False), (False, 0, False), ([1], [True], False), ({"a": [0]}, {"a": [False]}, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True), ({"a": None}, {}, False), ([1, 2], [1], False), ("1", 1, False),
    ],
)  # fmt: skip
def test_true_is_not_one(one: Any, other: Any, equal: bool) -> None:
    assert same(one, other) is same(other, one) is equal


@given(JSON)
def test_a_value_is_what_it_is_sent_as(value: Any) -> None:
    assert same(value, orjson.loads(orjson.dumps(value)))
    assert same(freeze(value), value)

"""Repeated keys are found wherever they stand, and only they."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core.api.duplicates import duplicate_fields, in_order


def found(text: str) -> list[str]:
    return duplicate_fields(text.encode(), orjson.loads(text))


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ('{"a":1}', []),
        ('{"a": 1, "b": {"a": 1}}', []),
        ('{"a":1,"a":1}', ["a"]),
        ('{"a":1,"a":2,"a":3}', ["a"]),
        ('{"spec":{"replicas":3,"replicas":4}}', ["spec.replicas"]),
        ('{"spec":{"replicas":3},"spec":{"replicas":4}}', ["spec"]),
        ('{"c":[{"n":1},{"n":1,"n":2}]}', ["c[1].n"]),
        ('[{"op":"add","op":"add"}]', ["[0].op"]),
        ('{"a":"\\u0062\\"a\\":"}', []),
        ('"text"', []),
    ],
)
def test_repeated_keys_are_named_by_their_path(text: str, paths: list[str]) -> None:
    assert found(text) == [f'duplicate field "{path}"' for path in paths]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(VALUES, st.sampled_from([None, 1]))
def test_no_text_of_a_value_has_any(value: Any, indent: int | None) -> None:
    assert found(json.dumps(value, indent=indent)) == []


def test_repeated_and_unknown_fields_are_told_as_they_stand_in_the_text() -> None:
    text = b'{"a": {"new": 1, "b": 1, "b": 2}, "b": 1, "late": 1}'
    unknown = ['unknown field "a.new"', 'unknown field "late"']
    repeated = duplicate_fields(text, orjson.loads(text))
    assert in_order(repeated, unknown) == [unknown[0], 'duplicate field "a.b"', unknown[1]]
    assert in_order(['line 3: key "b" already set in map'], unknown) == ['line 3: key "b" already set in map', *unknown]

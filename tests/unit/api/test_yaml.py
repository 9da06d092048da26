"""YAML as upstream reads it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core.api import yaml

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Co"], include_characters="\n\t")) | (
    st.sampled_from(
        ["yes", "n", "null", "~", "1", "1e3", ".5", "0x1f", "1:30", "2026-01-01", "", " a", "a ", "- x", "a: b"]
    )
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: b", {"a": "b"}),
        ("yes: on\nn: off", {"true": True, "false": False}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("base: &b {x: 1}\nmore: {<<: *b, z: 2}", {"base": {"x": 1}, "more": {"x": 1, "z": 2}}),
        ("at: 2026-01-01T00:00:00Z", {"at": "2026-01-01T00:00:00Z"}),
        ("a: |\n  one\n  two\nb: >-\n  three\n  four\n", {"a": "one\ntwo\n", "b": "three four"}),
        ("a: 1e3", {"a": 1000.0}),
        ("1: x", {"1": "x"}),
        ("", None),
        ("a: 1\n---\nb: 2\n", {"a": 1}),
    ],
)
def test_first_document_is_read(text: str, value: Any) -> None:
    assert yaml.load(text) == value


def test_every_document_is_read() -> None:
    assert list(yaml.load_all("a: 1\n---\n---\nb: 2\n")) == [{"a": 1}, {"b": 2}]


def test_last_of_repeated_keys_counts_and_each_is_told() -> None:
    text = "data:\n  a: one\n  a: two\n  n: 1\n  n: 2\n"
    assert yaml.load_noting_duplicates(text) == (
        {"data": {"a": "two", "false": 2}},
        ['line 3: key "a" already set in map', "line 5: key false already set in map"],
    )


@pytest.mark.parametrize("text", ["a: b: c", "a: [", "\x00", ": :\n- x", "a: !!python/object:x {}"])
def test_what_is_no_yaml_is_an_error(text: str) -> None:
    with pytest.raises(yaml.YamlError):
        yaml.load(text)


def test_what_was_written_is_read_again() -> None:
    document = {"kind": "X", "apiVersion": "v1", "data": {"t": "yes", "n": "1", "m": "a\nb\n", "e": "", "l": [1, None]}}
    assert yaml.load(yaml.dump(document)) == document


@given(VALUES)
def test_any_value_comes_back(value: Any) -> None:
    assert yaml.load(yaml.dump({"value": value})) == {"value": value}


def test_it_is_written_as_upstream_writes_it() -> None:
    document = {"kind": "X", "apiVersion": "v1", "items": [{"b": "yes", "a": 1}], "text": "a\nb\n", "at": "2026-01-01"}
    assert yaml.dump(document).decode() == (
        'apiVersion: v1\nat: "2026-01-01"\nitems:\n- a: 1\n  b: "yes"\nkind: X\ntext: |\n  a\n  b\n'
    )

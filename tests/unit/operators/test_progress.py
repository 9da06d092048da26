"""What counts of an object, what has changed, and the record on it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube_core.operators.progress import ANNOTATION_DOMAIN, DiffItem, Record, Tries, diff, essence_of, value_at

NAME = f"{ANNOTATION_DOMAIN}/site"
VALUES = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.text(min_size=1, max_size=2), inner),
    max_leaves=8,
)


def annotated(text: str) -> dict[str, Any]:
    return {"metadata": {"annotations": {NAME: text}}}


def test_status_and_bookkeeping_are_not_essential() -> None:
    annotations = {NAME: "{}", "kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "yes"}
    document = {
        "apiVersion": "v1",
        "kind": "Site",
        "metadata": {"name": "a", "resourceVersion": "1", "labels": {"a": "b"}, "annotations": annotations},
        "spec": {"pages": 1},
        "status": {"pages": 1},
    }
    assert essence_of(document) == {
        "metadata": {"labels": {"a": "b"}, "annotations": {"mine": "yes"}},
        "spec": {"pages": 1},
    }


def test_a_record_is_read_as_it_was_written() -> None:
    record = Record(
        {"spec": {}}, "update", {"spec": {"a": 1}}, {"first": Tries(1.5, 2, 7.0), "second": Tries(2.0, done=True)}
    )
    assert Record.of(annotated(record.text()), NAME) == record


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"handlers": {"a": {"unknown": 1}}}', '{"handlers": 3}'])
def test_a_record_that_nobody_can_read_counts_as_none(text: str) -> None:
    assert Record.of(annotated(text), NAME) == Record()


def test_differences_name_the_field_down_to_what_is_no_map() -> None:
    before, after = {"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 1, "c": 3}, "e": "new"}
    assert list(diff(before, after)) == [
        DiffItem("change", ("a", "c"), 2, 3),
        DiffItem("remove", ("d",), [1], None),
        DiffItem("add", ("e",), None, "new"),
    ]


@settings(deadline=None)
@given(VALUES, VALUES)
def test_there_are_differences_exactly_where_values_differ(before: Any, after: Any) -> None:
    items = list(diff(before, after))
    assert bool(items) == (before != after)
    for item in items:
        assert value_at(before if isinstance(before, dict) else None, item.field) == item.before or not item.field

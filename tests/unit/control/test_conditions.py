from __future__ import annotations

from kube_core.control.conditions import condition_of, is_condition_true, set_condition, without_condition
from kube_core.meta.documents import Document

EARLIER, LATER = 1_767_225_600.0, 1_767_229_200.0


def test_new_condition_comes_last() -> None:
    conditions = set_condition([{"type": "A", "status": "True"}], "B", "False", now=EARLIER, reason="No", message="no")
    assert [condition["type"] for condition in conditions] == ["A", "B"]
    assert conditions[1] == {
        "type": "B",
        "status": "False",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "reason": "No",
        "message": "no",
    }


def test_transition_time_moves_only_with_the_status() -> None:
    first = set_condition([], "A", "True", now=EARLIER, reason="One")
    same = set_condition(first, "A", "True", now=LATER, reason="Two")
    moved = set_condition(same, "A", "False", now=LATER)
    assert same[0]["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert same[0]["reason"] == "Two"
    assert moved[0]["lastTransitionTime"] == "2026-01-01T01:00:00Z"
    assert first[0]["reason"] == "One"


def test_order_is_kept_and_others_are_left_alone() -> None:
    conditions: list[Document] = [{"type": "A", "status": "True", "x": 1}, {"type": "B", "status": "True"}]
    assert [c["type"] for c in set_condition(conditions, "A", "False", now=EARLIER)] == ["A", "B"]
    assert without_condition(conditions, "B") == [{"type": "A", "status": "True", "x": 1}]


def test_condition_is_found_in_a_status() -> None:
    document = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert is_condition_true(document, "Ready")
    assert not is_condition_true(document, "Other")
    assert condition_of({}, "Ready") is None

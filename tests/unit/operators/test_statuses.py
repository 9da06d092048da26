"""What is written of a status: only what differs, and conditions by upstream's rules."""

from __future__ import annotations

from typing import Any

from kube_core.operators.statuses import ConditionChange, status_patch

READY = ConditionChange("Ready", "True", "Done", "")


def site(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a", "generation": 4, "resourceVersion": "7"}, "status": status}


def test_only_what_differs_is_written() -> None:
    document = site(pages=3, urls={"a": "1", "b": "2"}, old=True)
    patch = status_patch(document, {"pages": 3, "urls": {"a": "1", "c": "3"}, "old": None, "ready_pages": 2}, (), now=0)
    assert patch == {"status": {"urls": {"b": None, "c": "3"}, "old": None, "readyPages": 2}}


def test_nothing_is_written_where_nothing_differs() -> None:
    assert status_patch(site(pages=3), {"pages": 3, "gone": None}, (), now=0) is None


def test_a_first_condition_has_its_time_and_the_generation_it_was_seen_at() -> None:
    assert status_patch(site(), {}, (READY,), now=0) == {
        "metadata": {"resourceVersion": "7"},
        "status": {
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "lastTransitionTime": "1970-01-01T00:00:00Z",
                    "reason": "Done",
                    "message": "",
                    "observedGeneration": 4,
                }
            ]
        },
    }


def test_a_condition_that_is_as_it_was_is_not_written() -> None:
    patch = status_patch(site(), {}, (READY,), now=0)
    assert patch is not None
    assert status_patch(site(**patch["status"]), {}, (READY,), now=100) is None


def test_other_conditions_are_kept() -> None:
    other = {"type": "Other", "status": "False"}
    patch = status_patch(site(conditions=[other]), {}, (READY,), now=0)
    assert patch is not None
    assert [each["type"] for each in patch["status"]["conditions"]] == ["Other", "Ready"]


def test_a_condition_has_a_message_if_an_empty_one() -> None:
    silent = ConditionChange("Ready", "True", "Serving", "")
    patch = status_patch(site(), {}, (silent,), now=0)
    assert patch is not None
    [condition] = patch["status"]["conditions"]
    assert condition["message"] == ""
    assert status_patch(site(conditions=[condition]), {}, (silent,), now=9) is None

"""What is published of the community's conformance tests is what was recorded, and says why a test did not pass."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[1] / "conformance"
ONE, OTHER = "[sig-node] Pods should be one [Conformance]", "[sig-node] Pods should be other [Conformance]"


@pytest.fixture(scope="module")
def recorder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("conformance_record", FOLDER / "record.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_test_keeps_its_state_until_a_run_finishes_it(recorder: ModuleType) -> None:
    known = [{"name": ONE, "state": "failed"}, {"name": OTHER, "state": "passed"}]
    run = [{"name": ONE, "state": "passed"}, {"name": OTHER, "state": "interrupted"}]
    assert recorder.merged(known, run) == {ONE: "passed", OTHER: "passed"}
    assert recorder.merged(known, [{"name": OTHER, "state": "panicked"}]) == {ONE: "failed", OTHER: "failed"}


def test_a_test_that_never_ran_is_listed_and_one_without_the_mark_is_not(recorder: ModuleType) -> None:
    run = [{"name": ONE, "state": "skipped"}, {"name": "[sig-node] Pods may be slow", "state": "passed"}]
    assert recorder.merged([], run) == {ONE: "not run"}


def test_two_runs_agree_when_every_test_came_to_the_same(recorder: ModuleType) -> None:
    run = [{"name": ONE, "state": "passed"}, {"name": OTHER, "state": "failed"}]
    assert recorder.differing(run, run[::-1]) == {}
    assert recorder.differing(run, run[:1]) == {OTHER: ("failed", "not run")}
    later = [{"name": ONE, "state": "timedout"}, {"name": OTHER, "state": "panicked"}]
    assert recorder.differing(run, later) == {ONE: ("passed", "not run")}


def test_the_first_reason_that_matches_is_given_and_none_where_a_test_passed(recorder: ModuleType) -> None:
    reasons = [
        {"match": "should be one", "kind": "absent", "reason": "first"},
        {"match": "Pods", "kind": "defect", "reason": "second"},
    ]
    assert recorder.explained({ONE: "failed", OTHER: "passed"}, reasons) == [
        {"name": ONE, "state": "failed", "kind": "absent", "reason": "first"},
        {"name": OTHER, "state": "passed"},
    ]


def test_what_is_published_gives_the_reasons_as_they_are_now(recorder: ModuleType) -> None:
    results, reasons = (json.loads((FOLDER / f"{name}.json").read_text()) for name in ("results", "reasons"))
    assert len(results) == 462
    assert {each["kind"] for each in reasons} <= {"absent", "defect", "machine"}
    assert results == recorder.explained(recorder.merged(results, []), reasons)

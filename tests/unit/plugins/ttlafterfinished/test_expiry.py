"""When a finished Job's time is over."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.jobs import job
from fakes.objects import NOW
from kube_core.meta.times import format_time
from kube_plugins.controllers.ttlafterfinished.controller import expiry


def finished(kind: str, status: str = "True") -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": status, "lastTransitionTime": format_time(NOW)}]}


@pytest.mark.parametrize(
    ("seconds", "status", "expected"),
    [
        (60, finished("Complete"), NOW + 60),
        (0, finished("Failed"), NOW),
        (None, finished("Complete"), None),
        (60, {}, None),
        (60, finished("Suspended"), None),
        (60, finished("SuccessCriteriaMet"), None),
        (60, finished("Failed", "False"), None),
    ],
)
def test_the_time_counts_from_the_end(seconds: int | None, status: dict[str, Any], expected: float | None) -> None:
    assert expiry(job(status=status, ttlSecondsAfterFinished=seconds)) == expected


@given(seconds=st.integers(0, 10**6), kinds=st.lists(st.sampled_from(["Complete", "Failed", "Suspended"]), max_size=3))
def test_only_what_has_ended_has_a_time_and_never_one_before_its_end(seconds: int, kinds: list[str]) -> None:
    conditions = [finished(kind)["conditions"][0] for kind in kinds]
    moment = expiry(job(status={"conditions": conditions}, ttlSecondsAfterFinished=seconds))
    if {"Complete", "Failed"} & set(kinds):
        assert moment == NOW + seconds
    else:
        assert moment is None

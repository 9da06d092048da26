"""When a finished Job's time is over."""

from __future__ import annotations

from typing import Any

import pytest

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

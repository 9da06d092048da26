"""Cells: durations, labels, selectors, lists."""

from typing import Any

import pytest

from kube_core.registry.tables import cells

MINUTE, HOUR, DAY, YEAR = 60, 3600, 86_400, 365 * 86_400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119.9, "119s"),
        (2 * MINUTE, "2m"),
        (2 * MINUTE + 5, "2m5s"),
        (9 * MINUTE + 59, "9m59s"),
        (10 * MINUTE + 59, "10m"),
        (179 * MINUTE, "179m"),
        (3 * HOUR, "3h"),
        (3 * HOUR + 20 * MINUTE, "3h20m"),
        (8 * HOUR + 20 * MINUTE, "8h"),
        (47 * HOUR, "47h"),
        (2 * DAY, "2d"),
        (2 * DAY + 5 * HOUR, "2d5h"),
        (8 * DAY + 5 * HOUR, "8d"),
        (729 * DAY, "729d"),
        (2 * YEAR + 3 * DAY, "2y3d"),
        (3 * YEAR, "3y"),
        (8 * YEAR + 3 * DAY, "8y"),
    ],
)
def test_durations_get_coarser_with_size(seconds: float, text: str) -> None:
    assert cells.duration(seconds) == text


@pytest.mark.parametrize(
    ("time", "text"),
    [
        ("2026-01-01T00:00:00Z", "60s"),
        ("2026-01-01T02:00:00+02:00", "60s"),
        ("2026-01-01T00:00:30.500000Z", "29s"),
        (None, "<unknown>"),
        ("", "<unknown>"),
        ("yesterday", "<invalid>"),
    ],
)
def test_ages_count_from_a_time(time: str | None, text: str) -> None:
    assert cells.since(time, 1_767_225_660.0) == text


def test_labels_are_sorted() -> None:
    assert cells.labels_text({"b": "2", "a": "1"}) == "a=1,b=2"
    assert cells.labels_text({}) == cells.labels_text(None) == "<none>"


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        (None, "<none>"),
        ({}, "<none>"),
        ({"matchLabels": {"b": "2", "a": "1"}}, "a=1,b=2"),
        ({"matchExpressions": [{"key": "z", "operator": "In", "values": ["c", "b"]}]}, "z in (b,c)"),
        ({"matchExpressions": [{"key": "z", "operator": "NotIn", "values": ["b"]}]}, "z notin (b)"),
        (
            {"matchLabels": {"m": "1"}, "matchExpressions": [
                {"key": "z", "operator": "DoesNotExist"}, {"key": "a", "operator": "Exists"}]},
            "a,m=1,!z",
        ),
        ({"matchExpressions": [{"key": "z", "operator": "Near"}]}, "<error>"),
    ],
)  # fmt: skip
def test_selectors_read_as_queries(selector: dict[str, Any] | None, text: str) -> None:
    assert cells.selector_text(selector) == text


def test_long_lists_say_how_much_is_left_out() -> None:
    assert cells.limited(["a", "b"], 3) == "a,b"
    assert cells.limited(["a", "b", "c", "d", "e"], 3) == "a,b,c + 2 more..."
    assert cells.limited([], 3, empty="*") == "*"


def test_access_modes_are_short_and_in_order() -> None:
    assert cells.access_modes(["ReadWriteOncePod", "ReadWriteMany", "ReadWriteOnce"]) == "RWO,RWX,RWOP"

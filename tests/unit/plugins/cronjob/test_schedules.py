"""When a CronJob is due: schedules, macros, time zones, deadlines, policies, history."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.objects import NOW, metadata
from kube_core.meta.times import format_time, parse_time
from kube_plugins.controllers.cronjob.jobs import (
    SCHEDULED_ANNOTATION,
    concerns_owner,
    job_name,
    make_job,
    outcome,
    reference_to,
    surplus,
)
from kube_plugins.controllers.cronjob.runs import DELAY, decide, due
from kube_plugins.controllers.cronjob.schedules import ScheduleError, parse_schedule, parse_zone


def at(text: str) -> float:
    return parse_time(text)


def cron_job(schedule: str = "@hourly", *, last: float | None = None, **spec: Any) -> dict[str, Any]:
    status = {"lastScheduleTime": format_time(last)} if last is not None else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": metadata("tick"),
        "spec": {"schedule": schedule, "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {}}, **spec},
        "status": status,
    }


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"),
        ("@daily", "2026-01-01T00:00:01Z", "2026-01-02T00:00:00Z"),
        ("@weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
        ("@yearly", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("*/15 * * * *", "2026-01-01T00:16:00Z", "2026-01-01T00:30:00Z"),
        ("30 6-16/4 * * 1-5", "2026-01-02T14:31:00Z", "2026-01-05T06:30:00Z"),
        ("0 0 ? JAN mon", "2026-01-01T00:00:00Z", "2026-01-05T00:00:00Z"),
        ("0 0 13 * fri", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),  # either day
        ("0 0 */10 * */6", "2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z"),  # steps restrict: either day
        ("@every 1h30m", "2026-01-01T00:00:00Z", "2026-01-01T01:30:00Z"),
    ],
)
def test_the_next_time(text: str, after: str, expected: str) -> None:
    assert parse_schedule(text).after(at(after)) == at(expected)


def test_a_day_that_never_comes() -> None:
    with pytest.raises(ScheduleError):
        parse_schedule("0 0 31 2 *")


@pytest.mark.parametrize("text", ["", "* * * *", "61 * * * *", "@every x", "@every 1q"])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError):
        parse_schedule(text)


@pytest.mark.parametrize("text", ["TZ=Europe/Berlin 0 9 * * *", "CRON_TZ=Europe/Berlin  0 9 * * *"])
def test_a_schedule_may_name_its_own_zone(text: str) -> None:
    schedule = parse_schedule(text, parse_zone("Asia/Tokyo"))
    assert schedule.after(at("2026-01-10T00:00:00Z")) == at("2026-01-10T08:00:00Z")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("TZ=Mars/Olympus 0 9 * * *", "provided bad location Mars/Olympus: unknown time zone Mars/Olympus"),
        ("TZ=Europe/Berlin", "expected exactly 5 fields, found 0: []"),
    ],
)
def test_what_is_wrong_with_a_zone_of_its_own_is_told(text: str, problem: str) -> None:
    with pytest.raises(ScheduleError) as raised:
        parse_schedule(text)
    assert str(raised.value) == problem


def test_a_schedule_counts_in_its_zone() -> None:
    schedule = parse_schedule("0 9 * * *", parse_zone("Europe/Berlin"))
    assert schedule.after(at("2026-01-10T00:00:00Z")) == at("2026-01-10T08:00:00Z")
    assert schedule.after(at("2026-07-10T00:00:00Z")) == at("2026-07-10T07:00:00Z")
    with pytest.raises(ScheduleError):
        parse_zone("Mars/Olympus")


@pytest.mark.parametrize(
    ("spec", "last", "now", "expected"),
    [
        ({}, None, 1800, (None, 0)),
        ({}, None, 3600, (3600, 1)),
        ({}, 3600, 3700, (None, 0)),
        ({}, 3600, 7300, (7200, 1)),
        ({}, None, 10 * 3600 + 5, (36000, 10)),
        ({"startingDeadlineSeconds": 100}, None, 10 * 3600 + 50, (36000, 1)),
        ({"startingDeadlineSeconds": 100}, None, 10 * 3600 + 150, (None, 0)),
    ],
)
def test_the_last_missed_time_is_due(
    spec: dict[str, Any], last: float | None, now: float, expected: tuple[float | None, int]
) -> None:
    document = cron_job(last=None if last is None else NOW + last, **spec)
    schedule = parse_schedule("@hourly")
    moment, missed, upcoming = due(document, schedule, NOW + now)
    assert (None if moment is None else moment - NOW, missed) == expected
    assert upcoming == schedule.after(NOW + now)


def test_many_missed_times_are_told_and_the_last_one_is_run() -> None:
    decision = decide(cron_job("* * * * *"), parse_schedule("* * * * *"), [], NOW + 7200)
    assert decision.run == NOW + 7200
    [remark] = decision.remarks
    assert remark.reason == "TooManyMissedTimes"


@pytest.mark.parametrize(
    ("policy", "runs", "replaces", "reasons"),
    [("Allow", True, 0, []), ("Forbid", False, 0, ["JobAlreadyActive"]), ("Replace", True, 1, [])],
)
def test_concurrency_policies(policy: str, runs: bool, replaces: int, reasons: list[str]) -> None:
    active = [{"name": "tick-1", "uid": "u"}]
    decision = decide(cron_job(concurrencyPolicy=policy), parse_schedule("@hourly"), active, NOW + 3601)
    assert (decision.run is not None, len(decision.replace)) == (runs, replaces)
    assert [remark.reason for remark in decision.remarks] == reasons
    assert decision.wait == pytest.approx(3599 + DELAY)


def test_a_suspended_one_waits_for_a_change() -> None:
    decision = decide(cron_job(suspend=True), parse_schedule("@hourly"), [], NOW + 7200)
    assert (decision.run, decision.wait) == (None, None)


def test_a_job_is_named_after_its_minute_and_carries_its_time() -> None:
    made = make_job(cron_job(), datetime(2026, 1, 1, 1, tzinfo=UTC))
    assert made["metadata"]["name"] == f"tick-{(int(NOW) + 3600) // 60}"
    assert made["metadata"]["annotations"][SCHEDULED_ANNOTATION] == "2026-01-01T01:00:00Z"
    berlin = make_job(cron_job(), datetime(2026, 1, 1, 2, tzinfo=ZoneInfo("Europe/Berlin")))
    assert berlin["metadata"]["annotations"][SCHEDULED_ANNOTATION] == "2026-01-01T02:00:00+01:00"
    assert berlin["metadata"]["name"] == made["metadata"]["name"]


def finished(name: str, kind: str, minutes: int) -> dict[str, Any]:
    status = {
        "startTime": format_time(NOW + 60 * minutes),
        "conditions": [{"type": kind, "status": "True"}],
    }
    return {"metadata": metadata(name), "spec": {}, "status": status}


@pytest.mark.parametrize(
    ("change", "concerns"),
    [
        ({"status": {"active": 1, "ready": 1}}, False),
        ({"status": finished("now", "Complete", 0)["status"]}, True),
        ({"status": {"completionTime": format_time(NOW)}}, True),
        ({"metadata": metadata("busy", deletionTimestamp=format_time(NOW))}, True),
    ],
)
def test_a_job_that_only_makes_progress_does_not_concern_its_owner(change: dict[str, Any], concerns: bool) -> None:
    before: dict[str, Any] = {"metadata": metadata("busy"), "spec": {}, "status": {"active": 1}}
    assert concerns_owner(before, {**before, **change}) == concerns
    assert concerns_owner(None, before)
    assert concerns_owner(before, None)


def test_history_keeps_the_newest_of_each_outcome() -> None:
    jobs = [finished(f"good{i}", "Complete", i) for i in range(5)] + [finished("bad1", "Failed", 1)]
    jobs += [finished("bad2", "Failed", 2), {"metadata": metadata("busy"), "spec": {}, "status": {}}]
    assert outcome(jobs[-1]) == ""
    document = cron_job(successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1)
    assert [job["metadata"]["name"] for job in surplus(document, jobs)] == ["good0", "good1", "bad1"]


@settings(max_examples=100, deadline=None)
@given(
    step=st.sampled_from([1, 5, 7, 15, 60]),
    looks=st.lists(st.floats(0.0, 5000.0), min_size=1, max_size=40),
)
def test_whenever_it_looks_no_time_is_run_twice_and_the_last_one_is_not_lost(step: int, looks: list[float]) -> None:
    schedule = parse_schedule(f"*/{step} * * * *" if step < 60 else "0 * * * *")
    document, now, ran = cron_job(), NOW, list[float]()
    for pause in looks:
        now += pause
        decision = decide(document, schedule, [], now)
        if decision.run is not None:
            ran.append(decision.run)
            document["status"] = {"lastScheduleTime": format_time(decision.run)}
        upcoming = schedule.after(now)
        assert due(document, schedule, now) == (None, 0, upcoming)
        assert upcoming is not None
        assert decision.wait == pytest.approx(upcoming - now + DELAY)
    assert ran == sorted(set(ran))
    assert all(moment <= now for moment in ran)


events = st.lists(st.tuples(st.sampled_from(["look", "look", "end", "crash"]), st.floats(0.0, 2000.0)), max_size=40)


@given(policy=st.sampled_from(["Allow", "Forbid", "Replace"]), events=events)
def test_runs_keep_to_their_policy_whatever_happens_between_looks(policy: str, events: list[tuple[str, float]]) -> None:
    """Jobs end when they like, and the controller may be stopped between making a Job and writing that down."""
    schedule = parse_schedule("*/10 * * * *")
    document, now = cron_job("*/10 * * * *", concurrencyPolicy=policy), NOW
    running: dict[str, dict[str, Any]] = {}
    made: list[str] = []
    for what, pause in events:
        now += pause
        if what == "end":
            if running:
                del running[min(running)]
            continue
        active = [reference_to(job) for job in running.values()]
        decision = decide(document, schedule, active, now)
        if decision.run is None:
            continue
        for reference in decision.replace:
            running.pop(reference["name"], None)
        name = job_name(document, decision.run)
        if name not in made:  # the server refuses a second one of that name
            made.append(name)
            running[name] = {"metadata": {**metadata(name)}}
        if policy != "Allow":
            assert len(running) <= 1
        if what != "crash":
            document["status"] = {"lastScheduleTime": format_time(decision.run)}
    assert len(made) == len(set(made))

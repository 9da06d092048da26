"""What a Job's controller decides: pods to make and to end, the verdict, the wait after failures."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.jobs import job, job_pod
from fakes.objects import NOW
from kube_core.meta.documents import Document, annotations_of, finalizers_of, labels_of
from kube_core.meta.times import format_time
from kube_plugins.controllers.job.backoff import FAILURES_ANNOTATION, Streak, delay_after
from kube_plugins.controllers.job.indexes import format_indexes, parse_indexes
from kube_plugins.controllers.job.observation import TRACKING_FINALIZER, Observation
from kube_plugins.controllers.job.podmaking import make_pod
from kube_plugins.controllers.job.policies import judge, matched_success_rule
from kube_plugins.controllers.job.scaling import Plan, plan_pods, replacement_counts, wanted
from kube_plugins.controllers.job.status import finish, follow, suspension
from kube_plugins.controllers.job.verdict import Verdict, decide, until_deadline


def names(pods: Any) -> list[str]:
    return [pod["metadata"]["name"] for pod in pods]


def seen(document: Document, pods: Any = (), now: float = NOW) -> Observation:
    return Observation(document, pods, now)


@pytest.mark.parametrize(
    ("indexes", "text"),
    [([], ""), ([4], "4"), ([0, 1], "0,1"), ([1, 3, 4, 5, 7], "1,3-5,7"), ([0, 1, 2], "0-2")],
)
def test_indexes_are_written_as_runs(indexes: list[int], text: str) -> None:
    assert format_indexes(reversed(indexes)) == text
    assert sorted(parse_indexes(text, 100)) == indexes


def test_what_is_no_index_or_out_of_range_is_left_out() -> None:
    assert sorted(parse_indexes("1,x,3-9,12", 6)) == [1, 3, 4, 5]


@given(st.frozensets(st.integers(0, 60)))
def test_indexes_come_back_as_they_were(indexes: frozenset[int]) -> None:
    assert parse_indexes(format_indexes(indexes), 61) == indexes


@pytest.mark.parametrize(
    ("spec", "status", "expected"),
    [
        ({"completions": 5, "parallelism": 2}, {}, 2),
        ({"completions": 5, "parallelism": 9}, {}, 5),
        ({"completions": 5, "parallelism": 3}, {"succeeded": 4}, 1),
        ({"completions": 5, "parallelism": 3}, {"succeeded": 5}, 0),
        ({"completions": 5, "parallelism": 0}, {}, 0),
        ({"completions": 5, "parallelism": 3, "suspend": True}, {}, 0),
        ({"completions": None, "parallelism": 3}, {}, 3),
        ({"completions": None, "parallelism": 3}, {"succeeded": 1}, 0),
    ],
)
def test_no_more_run_than_parallelism_and_missing_completions(
    spec: dict[str, Any], status: dict[str, Any], expected: int
) -> None:
    assert wanted(seen(job(status=status, **spec))) == expected


def test_a_work_queue_lets_its_other_pods_end_by_themselves() -> None:
    document = job(completions=None, parallelism=3, status={"succeeded": 1})
    pods = [job_pod(document, f"p{i}") for i in range(2)]
    assert plan_pods(seen(document, pods), Streak()) == Plan()
    assert decide(seen(document, pods)) is None
    assert decide(seen(document)) == Verdict(
        "SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods"
    )


def test_an_indexed_job_makes_the_first_free_indexes_and_ends_doubles() -> None:
    document = job(completions=6, parallelism=4, completionMode="Indexed", status={"completedIndexes": "0,2"})
    running = job_pod(document, "one", index=1)
    assert plan_pods(seen(document, [running]), Streak()).create == (3, 4, 5)
    twin = job_pod(document, "twin", index=1, ready=True)
    done = job_pod(document, "done", index=2)
    stray = job_pod(document, "stray")
    plan = plan_pods(seen(document, [running, twin, done, stray]), Streak())
    assert sorted(names(plan.delete)) == ["done", "one", "stray"]


def test_a_suspended_job_ends_its_pods() -> None:
    document = job(completions=3, parallelism=3, suspend=True)
    pods = [job_pod(document, f"p{i}") for i in range(3)]
    assert len(plan_pods(seen(document, pods), Streak()).delete) == 3


def test_a_pod_that_is_going_is_replaced_at_once_or_when_it_is_gone() -> None:
    for policy, expected in (("TerminatingOrFailed", 1), ("Failed", 0)):
        document = job(podReplacementPolicy=policy)
        going = job_pod(document, "going", deleting=True)
        observation = seen(document, [going])
        assert len(plan_pods(observation, Streak()).create) == expected
        assert observation.failed == expected  # counted at once, or later


@pytest.mark.parametrize(("failures", "delay"), [(0, 0), (1, 10), (2, 20), (3, 40), (7, 600), (100, 600)])
def test_the_wait_doubles_up_to_ten_minutes(failures: int, delay: float) -> None:
    assert delay_after(failures) == delay


def test_the_wait_counts_failures_since_the_last_success() -> None:
    document = job(completions=9)
    pods = [
        job_pod(document, "old", phase="Failed", ended=100),
        job_pod(document, "good", phase="Succeeded", ended=50),
        job_pod(document, "bad", phase="Failed", ended=15),
        job_pod(document, "worse", phase="Failed", ended=5),
    ]
    streak = Streak().observe(document, pods, NOW)
    assert streak.wait(NOW) == 15.0
    assert streak.observe(document, pods, NOW) == streak
    assert streak.observe(document, [], NOW + 15).wait(NOW + 15) == 0.0  # those deleted meanwhile are remembered
    assert plan_pods(seen(document, pods), streak) == Plan(wait=15.0)


@pytest.mark.parametrize(
    ("spec", "failed", "reason"),
    [
        ({"backoffLimit": 0}, 1, "BackoffLimitExceeded"),
        ({"backoffLimit": 2}, 2, ""),
        ({"backoffLimit": 2}, 3, "BackoffLimitExceeded"),
    ],
)
def test_too_many_failures_end_the_job(spec: dict[str, Any], failed: int, reason: str) -> None:
    document = job(**spec)
    pods = [job_pod(document, f"p{i}", phase="Failed") for i in range(failed)]
    verdict = decide(seen(document, pods))
    assert (verdict.reason if verdict else "") == reason
    if verdict:
        assert verdict.message == "Job has reached the specified backoff limit"
        assert verdict.final == "Failed"


def test_restarts_in_place_are_failures() -> None:
    document = job(backoffLimit=2)
    document["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure"
    pod = job_pod(document, "p")
    for restarts, failed in ((1, False), (2, True)):
        pod["status"]["containerStatuses"] = [{"name": "c", "restartCount": restarts}]
        assert (decide(seen(document, [pod])) is not None) is failed


def test_a_job_that_runs_too_long_fails_unless_it_is_suspended() -> None:
    document = job(activeDeadlineSeconds=30, status={"startTime": format_time(NOW)})
    assert until_deadline(seen(document, now=NOW + 10)) == 20.0
    assert decide(seen(document, now=NOW + 10)) is None
    assert decide(seen(document, now=NOW + 30)) == Verdict(
        "FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline"
    )
    document["spec"]["suspend"] = True
    assert decide(seen(document, now=NOW + 30)) is None


def rules(*found: dict[str, Any]) -> dict[str, Any]:
    return {"podFailurePolicy": {"rules": list(found)}, "podReplacementPolicy": "Failed"}


def test_the_failure_policy_takes_its_first_matching_rule() -> None:
    document = job(
        **rules(
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42], "containerName": "c"}},
            {"action": "Count", "onExitCodes": {"operator": "NotIn", "values": [1]}},
        ),
        backoffLimit=0,
    )
    disrupted = job_pod(document, "disrupted", phase="Failed", exit_code=42)
    disrupted["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True"}]
    assert judge(document, disrupted).ignored
    assert decide(seen(document, [disrupted])) is None
    fatal = job_pod(document, "fatal", phase="Failed", exit_code=42)
    assert decide(seen(document, [fatal])) == Verdict(
        "FailureTarget",
        "PodFailurePolicy",
        "Container c for pod default/fatal failed with exit code 42 matching FailJob rule at index 1",
    )
    plain = job_pod(document, "plain", phase="Failed", exit_code=1)
    assert judge(document, plain).counts


def test_success_rules_need_their_indexes_or_their_number() -> None:
    policy = {"rules": [{"succeededIndexes": "0,2-3", "succeededCount": 2}, {"succeededCount": 4}]}
    document = job(completions=8, completionMode="Indexed", successPolicy=policy)
    assert matched_success_rule(document, {0, 5, 6}) is None
    assert matched_success_rule(document, {0, 3}) == 0
    assert matched_success_rule(document, {4, 5, 6, 7}) == 1
    document["status"] = {"completedIndexes": "0,3"}
    assert decide(seen(document)) == Verdict("SuccessCriteriaMet", "SuccessPolicy", "Matched rules at index 0")


def test_each_index_has_its_own_limit_and_wait() -> None:
    document = job(
        completions=3, parallelism=3, completionMode="Indexed", backoffLimitPerIndex=1, backoffLimit=2**31 - 1
    )
    again = job_pod(document, "again", index=0, phase="Failed", ended=4, annotations={FAILURES_ANNOTATION: "0"})
    spent = job_pod(document, "spent", index=1, phase="Failed", ended=90, annotations={FAILURES_ANNOTATION: "1"})
    observation = seen(document, [again, spent])
    assert observation.failed_indexes == {1}
    assert plan_pods(observation, Streak()) == Plan(create=(2,), wait=6.0)
    assert replacement_counts(observation, 0) == (1, 0)
    assert replacement_counts(observation, 2) == (0, 0)
    document["status"] = {"completedIndexes": "0,2", "failedIndexes": "1"}
    verdict = decide(seen(document))
    assert verdict is not None
    assert (verdict.reason, verdict.message) == ("FailedIndexes", "Job has failed indexes")


def test_a_verdict_stands() -> None:
    told = {"type": "FailureTarget", "status": "True", "reason": "Because", "message": "it is so"}
    document = job(status={"succeeded": 1, "conditions": [told]})
    assert decide(seen(document)) == Verdict("FailureTarget", "Because", "it is so")


def test_the_end_is_told_when_no_pod_is_left() -> None:
    document = job(status={"startTime": format_time(NOW)})
    verdict = Verdict("SuccessCriteriaMet", "CompletionsReached", "enough")
    observation = seen(document, [job_pod(document, "going", deleting=True)])
    status = finish(observation, follow(observation, {}, verdict, deleted=0), verdict)
    assert [each["type"] for each in status["conditions"]] == ["SuccessCriteriaMet"]
    observation = seen(document)
    status = finish(observation, follow(observation, status, verdict, deleted=0), verdict)
    assert [each["type"] for each in status["conditions"]] == ["SuccessCriteriaMet", "Complete"]
    assert status["completionTime"] == format_time(NOW)


def test_suspending_and_resuming_are_told_and_start_the_time_anew() -> None:
    document = job(suspend=True, status={"startTime": format_time(NOW - 50)})
    status = follow(seen(document), dict(document["status"]), None, suspension(seen(document)), deleted=0)
    assert "startTime" not in status
    assert [(each["type"], each["status"], each["reason"]) for each in status["conditions"]] == [
        ("Suspended", "True", "JobSuspended")
    ]
    document = {**document, "spec": {**document["spec"], "suspend": False}, "status": status}
    status = follow(seen(document), status, None, suspension(seen(document)), deleted=0)
    assert [(each["status"], each["reason"]) for each in status["conditions"]] == [("False", "JobResumed")]
    assert status["startTime"] == format_time(NOW)


def test_a_pod_knows_its_index_and_is_tracked() -> None:
    made = make_pod(job("work", completionMode="Indexed"), 3, (1, 0))
    assert made["metadata"]["generateName"] == "work-3-"
    assert made["spec"]["hostname"] == "work-3"
    assert finalizers_of(made) == [TRACKING_FINALIZER]
    label = "batch.kubernetes.io/job-completion-index"
    assert labels_of(made)[label] == annotations_of(made)[label] == "3"
    assert annotations_of(made)[FAILURES_ANNOTATION] == "1"
    [variable] = made["spec"]["containers"][0]["env"]
    assert variable["name"] == "JOB_COMPLETION_INDEX"

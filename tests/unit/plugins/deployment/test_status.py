"""The status and its conditions, with the reasons and messages that `kubectl rollout status` reads."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.objects import NOW, deployment, pod, replica_set, rolling
from kube_core.meta.times import format_time
from kube_plugins.controllers.deployment import progress, recreate
from kube_plugins.controllers.deployment.revisions import Generations
from kube_plugins.controllers.deployment.status import (
    calculate_status,
    condition_of,
    is_complete,
    make_condition,
    note_failure,
)


def condition(status: dict[str, Any], kind: str) -> tuple[str, str, str]:
    found = condition_of(status, kind)
    assert found is not None
    return (found["status"], found["reason"], found["message"])


def test_counters_add_up_over_all_replica_sets() -> None:
    generations = Generations(
        replica_set("new", replicas=2, available=1, terminatingReplicas=1), (replica_set("old", replicas=2),)
    )
    status = calculate_status(deployment(replicas=3), generations, NOW)
    del status["conditions"]
    assert status == {
        "observedGeneration": 1,
        "replicas": 4,
        "updatedReplicas": 2,
        "readyReplicas": 3,
        "availableReplicas": 3,
        "unavailableReplicas": 1,
        "terminatingReplicas": 1,
    }


def test_counters_of_zero_are_left_out() -> None:
    status = calculate_status(deployment(replicas=0), Generations(None, ()), NOW)
    assert set(status) == {"observedGeneration", "terminatingReplicas", "conditions"}


@pytest.mark.parametrize(
    ("available", "expected"),
    [
        (2, ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")),
        (1, ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")),
    ],
)
def test_available_follows_the_minimum(available: int, expected: tuple[str, str, str]) -> None:
    document = deployment(replicas=3, strategy=rolling(0, 1))
    generations = Generations(replica_set(replicas=3, available=available), ())
    assert condition(calculate_status(document, generations, NOW), "Available") == expected


def test_a_failure_of_a_replica_set_shows_on_the_deployment_and_goes_again() -> None:
    failing = replica_set(replicas=3, available=0)
    failing["status"]["conditions"] = [
        {
            "type": "ReplicaFailure",
            "status": "True",
            "reason": "FailedCreate",
            "message": "no",
            "lastTransitionTime": "t",
        }
    ]
    document = deployment()
    document["status"] = calculate_status(document, Generations(failing, ()), NOW)
    note_failure(document["status"], Generations(failing, ()))
    assert condition(document["status"], "ReplicaFailure") == ("True", "FailedCreate", "no")
    paused = calculate_status(document, Generations(replica_set(), ()), NOW)
    assert condition(paused, "ReplicaFailure") == ("True", "FailedCreate", "no")
    note_failure(paused, Generations(replica_set(), ()))
    assert condition_of(paused, "ReplicaFailure") is None


def test_a_condition_keeps_its_times_while_nothing_changes() -> None:
    document = deployment()
    document["status"] = calculate_status(document, Generations(replica_set(), ()), NOW)
    assert calculate_status(document, Generations(replica_set(), ()), NOW + 50) == document["status"]


def observed(document: dict[str, Any], new: dict[str, Any], now: float, *old: dict[str, Any]) -> dict[str, Any]:
    status = calculate_status(document, Generations(new, old), now)
    progress.update_progress(document, new, status, now)
    return status


def test_a_complete_rollout_has_progressed() -> None:
    status = observed(deployment(replicas=3), replica_set("web-1", replicas=3), NOW)
    expected = ("True", "NewReplicaSetAvailable", 'ReplicaSet "web-1" has successfully progressed.')
    assert condition(status, "Progressing") == expected


def test_each_bit_of_progress_sets_the_clock_anew() -> None:
    document = deployment(replicas=3)
    document["status"] = {"conditions": [make_condition("Progressing", "True", "NewReplicaSetCreated", "m", NOW)]}
    document["status"] = observed(document, replica_set("web-1", replicas=1, available=0), NOW + 10)
    expected = ("True", "ReplicaSetUpdated", 'ReplicaSet "web-1" is progressing.')
    assert condition(document["status"], "Progressing") == expected
    document["status"] = observed(document, replica_set("web-1", replicas=1, available=1), NOW + 20)
    found = condition_of(document["status"], "Progressing")
    assert found is not None
    assert found["lastUpdateTime"] == format_time(NOW + 20)
    assert found["lastTransitionTime"] == format_time(NOW)


def test_a_rollout_without_progress_times_out_and_says_so() -> None:
    document = deployment(replicas=3, progressDeadlineSeconds=10)
    stuck = replica_set("web-1", replicas=3, available=0)
    document["status"] = observed(document, stuck, NOW)
    after = progress.seconds_until_stuck(document, document["status"], NOW)
    assert after == 11.0
    document["status"] = observed(document, stuck, NOW + after)
    expected = ("False", "ProgressDeadlineExceeded", 'ReplicaSet "web-1" has timed out progressing.')
    assert condition(document["status"], "Progressing") == expected
    assert progress.seconds_until_stuck(document, document["status"], NOW + after) is None


def test_a_rollout_that_was_complete_is_not_timed_by_pods_that_fail_later() -> None:
    document = deployment(replicas=3, progressDeadlineSeconds=10)
    document["status"] = observed(document, replica_set("web-1", replicas=3), NOW)
    document["status"] = observed(document, replica_set("web-1", replicas=3, available=0), NOW + 100)
    assert condition(document["status"], "Progressing")[1] == "NewReplicaSetAvailable"


def test_without_a_deadline_there_is_no_such_condition() -> None:
    status = observed(deployment(progressDeadlineSeconds=None), replica_set(), NOW)
    assert condition_of(status, "Progressing") is None


def test_pause_and_resume_are_noted_once() -> None:
    paused, status = deployment(paused=True), {"conditions": []}  # type: ignore[var-annotated]
    assert progress.note_pause(paused, status, NOW)
    assert condition(status, "Progressing") == ("Unknown", "DeploymentPaused", "Deployment is paused")
    assert not progress.note_pause(paused, status, NOW)
    assert progress.note_pause(deployment(), status, NOW)
    assert condition(status, "Progressing") == ("Unknown", "DeploymentResumed", "Deployment is resumed")
    assert not progress.note_pause(deployment(), status, NOW)


def test_complete_means_every_pod_new_and_available_as_of_this_generation() -> None:
    document = deployment(replicas=2)
    whole = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    assert is_complete(document, whole)
    for counter, number in whole.items():
        assert not is_complete(document, whole | {counter: number - 1})


def test_recreate_waits_for_every_old_pod_that_has_not_ended() -> None:
    old, new = replica_set("old", replicas=0), replica_set("new", replicas=0)
    going = pod("going", node="n", owner=old, deleting=True)
    ended = pod("ended", node="n", owner=old, phase="Failed")
    assert recreate.old_pods_running(new, [old], [going])
    assert not recreate.old_pods_running(new, [old], [ended, pod("own", node="n", owner=new)])
    assert recreate.old_pods_running(None, [replica_set("old", replicas=1)], [])


def test_recreate_takes_everything_old_at_once() -> None:
    plan = recreate.plan_recreate([replica_set("a", replicas=2), replica_set("b", replicas=0)])
    assert [(step.replica_set["metadata"]["name"], step.replicas) for step in plan] == [("a", 0)]

"""A Job counts each pod that ended exactly once, whatever happens between its steps."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.jobs import job, job_pod
from fakes.objects import NOW
from kube_core.meta.documents import finalizers_of, name_of, thaw, uid_of
from kube_plugins.controllers.job.counting import LIMIT, note, settle
from kube_plugins.controllers.job.observation import TRACKING_FINALIZER, Observation
from kube_plugins.controllers.job.verdict import Verdict


def test_what_ended_is_noted_then_released_then_counted() -> None:
    document = job(completions=3)
    pods = [
        job_pod(document, "good", phase="Succeeded"),
        job_pod(document, "bad", phase="Failed"),
        job_pod(document, "busy"),
        job_pod(document, "counted", phase="Succeeded", tracked=False),
    ]
    seen = Observation(document, pods, NOW)
    noted = note(seen, None)
    assert [pod["metadata"]["name"] for pod in noted.release] == ["good", "bad"]
    assert noted.status["uncountedTerminatedPods"] == {"succeeded": [uid_of(pods[0])], "failed": [uid_of(pods[1])]}
    assert (seen.succeeded, seen.failed) == (1, 1)
    settled = settle(seen, noted.status, {uid_of(pods[0])})
    assert settled["succeeded"] == 1
    assert settled["uncountedTerminatedPods"] == {"failed": [uid_of(pods[1])]}


def test_an_index_counts_once_however_many_pods_had_it() -> None:
    document = job(completions=3, completionMode="Indexed", status={"completedIndexes": "0", "succeeded": 1})
    pods = [job_pod(document, f"p{i}", index=i, phase="Succeeded") for i in (0, 1, 1, 7)]
    noted = note(Observation(document, pods, NOW), None)
    assert (noted.status["completedIndexes"], noted.status["succeeded"]) == ("0,1", 2)
    assert len(noted.release) == 4


def test_a_status_holds_a_limited_number_of_uids() -> None:
    document = job(completions=2 * LIMIT)
    pods = [job_pod(document, f"p{i}", phase="Succeeded") for i in range(LIMIT + 10)]
    assert len(note(Observation(document, pods, NOW), None).release) == LIMIT


def test_a_failed_pod_that_carries_its_index_s_count_waits_for_its_replacement() -> None:
    document = job(completions=2, completionMode="Indexed", backoffLimitPerIndex=3)
    failed = job_pod(document, "failed", index=0, phase="Failed")
    assert note(Observation(document, [failed], NOW), None).release == ()
    replaced = [failed, job_pod(document, "next", index=0)]
    assert note(Observation(document, replaced, NOW), None).release == (failed,)
    verdict = Verdict("FailureTarget", "DeadlineExceeded", "too long")
    assert note(Observation(document, [failed], NOW), verdict).release == (failed,)


ends = st.lists(st.sampled_from(["Succeeded", "Failed"]), max_size=8)
happenings = st.lists(
    st.sampled_from(["reconcile", "stop before writing", "stop before releasing", "stop half way", "see", "go"]),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(ends=ends, happenings=happenings)
def test_no_pod_is_counted_twice_and_none_is_lost(ends: list[str], happenings: list[str]) -> None:
    """The status is conflict-checked, the pods' cache lags, the controller stops anywhere and starts again."""
    document = job(completions=50)
    real = {f"u{number}": _pod(document, number, phase) for number, phase in enumerate(ends)}
    cache = {uid: thaw(pod) for uid, pod in real.items()}
    released: set[str] = set()
    status: dict[str, Any] = {}

    def see() -> None:
        """The cache catches up."""
        cache.clear()
        cache.update({uid: thaw(pod) for uid, pod in real.items()})
        released.clear()

    def reconcile(stop: str) -> None:
        nonlocal status
        seen = Observation({**document, "status": status}, list(cache.values()), NOW, frozenset(released))
        noted = note(seen, None)
        if stop == "stop before writing":
            return
        status = noted.status
        off: set[str] = set()
        for number, pod in enumerate(noted.release):
            if stop == "stop before releasing" or (stop == "stop half way" and number % 2):
                continue
            off.add(uid_of(pod))
            released.add(uid_of(pod))
            if uid_of(pod) in real:
                real[uid_of(pod)]["metadata"]["finalizers"] = []
        if stop:
            return
        status = settle(seen, status, off)

    def total() -> tuple[int, int]:
        seen = Observation({**document, "status": status}, list(cache.values()), NOW, frozenset(released))
        return seen.succeeded, seen.failed

    expected = (ends.count("Succeeded"), ends.count("Failed"))
    for happening in happenings:
        if happening == "see":
            see()
        elif happening == "go":
            for uid in [uid for uid, pod in real.items() if TRACKING_FINALIZER not in finalizers_of(pod)]:
                del real[uid]
        else:
            reconcile("" if happening == "reconcile" else happening)
        assert total() == expected
    for _ in range(2):
        see()
        reconcile("")
    assert (status.get("succeeded", 0), status.get("failed", 0)) == expected
    assert status["uncountedTerminatedPods"] == {}


def _pod(document: dict[str, Any], number: int, phase: str) -> dict[str, Any]:
    made = job_pod(document, f"p{number}", phase=phase)
    made["metadata"]["uid"] = f"u{number}"
    return made


@pytest.mark.parametrize(("kind", "failed"), [("FailureTarget", ["bad", "busy"]), ("SuccessCriteriaMet", ["bad"])])
def test_a_verdict_lets_every_pod_go_and_blames_those_it_ends_only_where_it_is_one_of_failure(
    kind: Literal["FailureTarget", "SuccessCriteriaMet"], failed: list[str]
) -> None:
    document = job(completions=2, parallelism=2)
    pods = [job_pod(document, "bad", phase="Failed"), job_pod(document, "busy")]
    noted = note(Observation(document, pods, NOW), Verdict(kind, "Why", "because"))
    assert [name_of(pod) for pod in noted.release] == ["bad", "busy"]
    by_uid = {uid_of(pod): name_of(pod) for pod in pods}
    assert [by_uid[uid] for uid in noted.status["uncountedTerminatedPods"]["failed"]] == failed

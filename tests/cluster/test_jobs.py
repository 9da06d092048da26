"""Jobs in a whole cluster with a simulated node, in virtual time: they run, fail, wait, and are cleaned up."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.api import pods, resources
from kube_core.bus.changes import Change
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document, finalizers_of, labels_of, name_of
from kube_core.meta.status import NotFound
from kube_drivers.runtime.fake import BEHAVIOUR_ANNOTATION
from kube_plugins.controllers.job.indexes import completion_index

pytestmark = pytest.mark.anyio


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(nodes=1, listen=False, clock=FakeClock(), seed=1) as made:
        yield made


def job(name: str = "work", behaviour: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    annotations = {BEHAVIOUR_ANNOTATION: json.dumps({"c": {"runs_for": 5} if behaviour is None else behaviour})}
    template = {
        "metadata": {"annotations": annotations},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "work:1"}]},
    }
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"template": template, **spec}}


async def status_of(cluster: Cluster, name: str = "work") -> dict[str, Any]:
    return dict((await cluster.client.get(resources.JOBS, name, "default")).get("status") or {})


async def pods_of(cluster: Cluster, name: str = "work") -> Sequence[Document]:
    selector = f"batch.kubernetes.io/job-name={name}"
    return (await cluster.client.list(resources.PODS, "default", label_selector=selector)).items


async def reasons(cluster: Cluster, kind: str = "Job") -> list[str]:
    found = (await cluster.client.list(resources.EVENTS, "default")).items
    return sorted(each["reason"] for each in found if each["involvedObject"]["kind"] == kind)


def conditions(status: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["type"], each["reason"]) for each in status.get("conditions") or () if each["status"] == "True"]


async def test_a_job_runs_its_completions_with_its_parallelism(cluster: Cluster) -> None:
    await cluster.client.create(resources.JOBS, job(completions=5, parallelism=2))
    await cluster.settled()
    assert (await status_of(cluster))["active"] == 2
    await cluster.advance(seconds=30)
    status = await status_of(cluster)
    assert status["succeeded"] == 5
    assert conditions(status) == [
        ("SuccessCriteriaMet", "CompletionsReached"),
        ("Complete", "CompletionsReached"),
    ]
    assert "completionTime" in status
    assert status["uncountedTerminatedPods"] == {}
    found = await pods_of(cluster)
    assert len(found) == 5
    assert all(pods.phase_of(pod) == "Succeeded" and not finalizers_of(pod) for pod in found)
    assert (await reasons(cluster)).count("SuccessfulCreate") == 5
    assert "Completed" in await reasons(cluster)


async def test_a_status_is_written_for_what_happened_and_not_more_often(cluster: Cluster) -> None:
    changes = cluster.bus.subscribe(resources.JOBS)
    await cluster.client.create(resources.JOBS, job())
    await cluster.advance(seconds=30)
    told = [change.latest.document["status"] for change in changes.drain() if isinstance(change, Change)]
    # Made; with its pod; that is ready; that has ended; and was counted.
    assert [(status.get("active", 0), status.get("ready", 0), status.get("succeeded", 0)) for status in told] == [
        (0, 0, 0),
        (1, 0, 0),
        (1, 1, 0),
        (0, 0, 0),
        (0, 0, 1),
    ]


async def test_an_indexed_job_does_every_index(cluster: Cluster) -> None:
    await cluster.client.create(resources.JOBS, job(completions=4, parallelism=3, completionMode="Indexed"))
    await cluster.advance(seconds=30)
    assert (await status_of(cluster))["completedIndexes"] == "0-3"
    assert sorted(completion_index(pod) or 0 for pod in await pods_of(cluster)) == [0, 1, 2, 3]


async def test_failures_are_tried_again_ever_later_until_the_limit(cluster: Cluster) -> None:
    failing = {"runs_for": 1, "exit_code": 3}
    await cluster.client.create(resources.JOBS, job(behaviour=failing, backoffLimit=2))
    await cluster.advance(seconds=5)
    assert len(await pods_of(cluster)) == 1
    await cluster.advance(seconds=10)
    assert len(await pods_of(cluster)) == 2  # after 10 seconds
    await cluster.advance(seconds=10)
    assert len(await pods_of(cluster)) == 2
    await cluster.advance(seconds=30)
    status = await status_of(cluster)
    assert status["failed"] == 3
    assert conditions(status) == [("FailureTarget", "BackoffLimitExceeded"), ("Failed", "BackoffLimitExceeded")]
    assert "BackoffLimitExceeded" in await reasons(cluster)


async def test_a_deadline_ends_the_pods_that_run(cluster: Cluster) -> None:
    await cluster.client.create(resources.JOBS, job(behaviour={}, activeDeadlineSeconds=20, parallelism=2))
    await cluster.advance(seconds=10)
    assert (await status_of(cluster))["active"] == 2
    await cluster.advance(seconds=60)
    status = await status_of(cluster)
    assert conditions(status)[-1] == ("Failed", "DeadlineExceeded")
    assert status.get("active", 0) == 0
    assert await pods_of(cluster) == []


async def test_a_suspended_job_runs_when_it_is_resumed(cluster: Cluster) -> None:
    await cluster.client.create(resources.JOBS, job(suspend=True))
    await cluster.advance(seconds=5)
    assert await pods_of(cluster) == []
    assert conditions(await status_of(cluster)) == [("Suspended", "JobSuspended")]
    await cluster.client.patch(resources.JOBS, "work", {"spec": {"suspend": False}}, "default")
    await cluster.advance(seconds=2)
    assert (await status_of(cluster))["active"] == 1
    await cluster.client.patch(resources.JOBS, "work", {"spec": {"suspend": True}}, "default")
    await cluster.advance(seconds=60)
    assert await pods_of(cluster) == []
    assert (await status_of(cluster)).get("failed", 0) == 0  # ended, not failed
    await cluster.client.patch(resources.JOBS, "work", {"spec": {"suspend": False}}, "default")
    await cluster.advance(seconds=30)
    assert conditions(await status_of(cluster))[-1] == ("Complete", "CompletionsReached")


async def test_each_index_fails_on_its_own(cluster: Cluster) -> None:
    document = job(
        behaviour={"runs_for": 1, "exit_code": 1}, completions=2, parallelism=2, completionMode="Indexed",
        backoffLimitPerIndex=1,
    )  # fmt: skip
    await cluster.client.create(resources.JOBS, document)
    await cluster.advance(seconds=60)
    status = await status_of(cluster)
    assert status["failedIndexes"] == "0,1"
    assert status["failed"] == 4
    assert conditions(status)[-1] == ("Failed", "FailedIndexes")


async def test_a_job_that_is_deleted_takes_its_pods_along(cluster: Cluster) -> None:
    await cluster.client.create(resources.JOBS, job(behaviour={}))
    await cluster.advance(seconds=2)
    await cluster.client.delete(resources.JOBS, "work", "default", propagation="Background")
    await cluster.advance(seconds=60)
    assert await pods_of(cluster) == []


async def test_pods_of_a_job_that_left_them_behind_are_let_go(cluster: Cluster) -> None:
    await cluster.client.create(resources.JOBS, job(behaviour={}))
    await cluster.advance(seconds=2)
    await cluster.client.delete(resources.JOBS, "work", "default", propagation="Orphan")
    await cluster.advance(seconds=5)
    [pod] = await pods_of(cluster)
    assert not finalizers_of(pod)
    assert labels_of(pod)["job-name"] == "work"


async def test_a_finished_job_goes_when_its_time_is_over(cluster: Cluster) -> None:
    await cluster.client.create(resources.JOBS, job(ttlSecondsAfterFinished=60))
    await cluster.advance(seconds=30)
    assert conditions(await status_of(cluster))[-1] == ("Complete", "CompletionsReached")
    await cluster.advance(seconds=90)
    with pytest.raises(NotFound):
        await status_of(cluster)
    assert await pods_of(cluster) == []


async def test_a_success_policy_ends_what_still_runs(cluster: Cluster) -> None:
    quick = {"runs_for": 2}
    document = job(
        behaviour=quick, completions=3, parallelism=1, completionMode="Indexed",
        successPolicy={"rules": [{"succeededIndexes": "0"}]},
    )  # fmt: skip
    await cluster.client.create(resources.JOBS, document)
    await cluster.advance(seconds=60)
    status = await status_of(cluster)
    assert status["completedIndexes"] == "0"
    assert conditions(status) == [("SuccessCriteriaMet", "SuccessPolicy"), ("Complete", "SuccessPolicy")]


async def test_a_failure_policy_fails_the_job_at_once(cluster: Cluster) -> None:
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}
    document = job(behaviour={"runs_for": 2, "exit_code": 42}, podFailurePolicy={"rules": [rule]})
    await cluster.client.create(resources.JOBS, document)
    await cluster.advance(seconds=10)
    status = await status_of(cluster)
    assert conditions(status)[-1] == ("Failed", "PodFailurePolicy")
    assert len(await pods_of(cluster)) == 1


async def test_a_pod_that_is_deleted_counts_as_a_failure_and_is_replaced(cluster: Cluster) -> None:
    await cluster.client.create(resources.JOBS, job(behaviour={"runs_for": 60}))
    await cluster.advance(seconds=5)
    [victim] = await pods_of(cluster)
    await cluster.client.delete(resources.PODS, name_of(victim), "default")
    await cluster.advance(seconds=40)
    [replaced] = await pods_of(cluster)
    assert name_of(replaced) != name_of(victim)
    assert (await status_of(cluster))["failed"] == 1
    await cluster.advance(seconds=60)
    assert conditions(await status_of(cluster))[-1] == ("Complete", "CompletionsReached")


async def test_with_the_replacement_policy_failed_a_pod_is_replaced_when_it_has_ended(cluster: Cluster) -> None:
    document = job(behaviour={"runs_for": 60, "stop_latency": 10}, podReplacementPolicy="Failed")
    await cluster.client.create(resources.JOBS, document)
    await cluster.advance(seconds=5)
    [victim] = await pods_of(cluster)
    await cluster.client.delete(resources.PODS, name_of(victim), "default")
    await cluster.advance(seconds=5)
    assert [name_of(pod) for pod in await pods_of(cluster)] == [name_of(victim)]
    assert (await status_of(cluster))["terminating"] == 1
    await cluster.advance(seconds=90)
    assert conditions(await status_of(cluster))[-1] == ("Complete", "CompletionsReached")


async def test_a_namespace_that_goes_takes_its_running_jobs_along(cluster: Cluster) -> None:
    await cluster.client.create(resources.NAMESPACES, {"metadata": {"name": "gone"}})
    await cluster.settled()
    document = job(behaviour={}, completions=3, parallelism=3)
    document["metadata"]["namespace"] = "gone"
    await cluster.client.create(resources.JOBS, document)
    await cluster.advance(seconds=5)
    await cluster.client.delete(resources.NAMESPACES, "gone")
    await cluster.advance(seconds=90)
    with pytest.raises(NotFound):
        await cluster.client.get(resources.NAMESPACES, "gone")


async def test_a_job_of_many_pods_counts_each_of_them_once(cluster: Cluster) -> None:
    await cluster.client.create(resources.JOBS, job(completions=150, parallelism=60))
    await cluster.advance(seconds=60)
    status = await status_of(cluster)
    assert status["succeeded"] == 150
    assert len(await pods_of(cluster)) == 150


async def test_a_job_that_is_suspended_has_no_start_and_gets_a_new_one(cluster: Cluster) -> None:
    await cluster.client.create(resources.JOBS, job(behaviour={"runs_for": 60}))
    await cluster.advance(seconds=5)
    first = (await status_of(cluster))["startTime"]
    await cluster.client.patch(resources.JOBS, "work", {"spec": {"suspend": True}}, "default")
    await cluster.advance(seconds=40)
    status = await status_of(cluster)
    assert "startTime" not in status
    assert conditions(status) == [("Suspended", "JobSuspended")]
    assert status.get("active", 0) == status.get("failed", 0) == 0
    await cluster.client.patch(resources.JOBS, "work", {"spec": {"suspend": False}}, "default")
    await cluster.advance(seconds=5)
    assert (await status_of(cluster))["startTime"] > first
    assert {"Suspended", "Resumed"} <= set(await reasons(cluster))


async def test_pods_that_success_leaves_over_are_ended_and_blamed_on_nobody(cluster: Cluster) -> None:
    rules = {"rules": [{"succeededCount": 1}]}
    made = job(behaviour={"runs_for": 1000}, completions=3, parallelism=3, completionMode="Indexed")
    made["spec"]["successPolicy"] = rules
    await cluster.client.create(resources.JOBS, made)
    await cluster.advance(seconds=5)
    first, *others = await pods_of(cluster)
    ended = {"status": {"phase": "Succeeded"}}
    await cluster.client.patch(resources.PODS, name_of(first), ended, "default", subresource="status")
    await cluster.advance(minutes=2)
    status = await status_of(cluster)
    assert conditions(status) == [("SuccessCriteriaMet", "SuccessPolicy"), ("Complete", "SuccessPolicy")]
    assert (status["succeeded"], status.get("failed", 0)) == (1, 0)
    assert len(others) == 2
    assert [name_of(pod) for pod in await pods_of(cluster)] == [name_of(first)]


async def test_a_pod_that_lost_its_labels_is_let_go_and_may_be_deleted(cluster: Cluster) -> None:
    await cluster.client.create(resources.JOBS, job(behaviour={}))
    await cluster.settled()
    [pod] = await pods_of(cluster)
    strange = {"metadata": {"labels": {"$patch": "replace", "mine": "yes"}}}
    await cluster.client.patch(resources.PODS, name_of(pod), strange, "default", patch_type="strategic")
    await cluster.settled()
    released = await cluster.client.get(resources.PODS, name_of(pod), "default")
    assert not finalizers_of(released)
    assert "ownerReferences" not in released["metadata"]
    await cluster.client.delete(resources.PODS, name_of(pod), "default")
    await cluster.advance(minutes=1)
    with pytest.raises(NotFound):
        await cluster.client.get(resources.PODS, name_of(pod), "default")

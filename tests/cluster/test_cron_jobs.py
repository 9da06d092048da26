"""CronJobs in a whole cluster with a simulated node, in virtual time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.api import resources
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document, name_of
from kube_core.registry.kinds.batch.cronjobs import CronJobStrategy
from kube_drivers.runtime.fake import BEHAVIOUR_ANNOTATION
from kube_plugins.controllers.cronjob.jobs import SCHEDULED_ANNOTATION

pytestmark = pytest.mark.anyio


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(nodes=1, listen=False, clock=FakeClock(), seed=1) as made:
        yield made


def cron_job(schedule: str = "*/10 * * * *", seconds: float | None = 5, **spec: Any) -> dict[str, Any]:
    annotations = {BEHAVIOUR_ANNOTATION: json.dumps({"c": {"runs_for": seconds}})}
    template = {
        "metadata": {"annotations": annotations},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "work:1"}]},
    }
    return {
        "metadata": {"name": "tick", "namespace": "default"},
        "spec": {"schedule": schedule, "jobTemplate": {"spec": {"template": template}}, **spec},
    }


async def jobs_of(cluster: Cluster) -> Sequence[Document]:
    return (await cluster.client.list(resources.JOBS, "default")).items


async def status_of(cluster: Cluster) -> dict[str, Any]:
    return dict((await cluster.client.get(resources.CRON_JOBS, "tick", "default")).get("status") or {})


async def reasons(cluster: Cluster) -> list[str]:
    found = (await cluster.client.list(resources.EVENTS, "default")).items
    return [each["reason"] for each in found if each["involvedObject"]["kind"] == "CronJob"]


async def test_jobs_are_started_by_the_clock_and_the_last_ones_kept(cluster: Cluster) -> None:
    await cluster.client.create(resources.CRON_JOBS, cron_job())
    await cluster.advance(minutes=9)
    assert await jobs_of(cluster) == []
    await cluster.advance(minutes=52)
    status = await status_of(cluster)
    assert status["lastScheduleTime"] == "2026-01-01T01:00:00Z"
    assert status["lastSuccessfulTime"].startswith("2026-01-01T01:00:0")
    assert "active" not in status
    minutes = [int(name_of(job).removeprefix("tick-")) % 60 for job in await jobs_of(cluster)]
    assert sorted(minutes) == [0, 40, 50]
    assert {"SuccessfulCreate", "SawCompletedJob", "SuccessfulDelete"} == set(await reasons(cluster))


async def test_a_run_that_goes_on_holds_up_the_next_where_that_is_forbidden(cluster: Cluster) -> None:
    await cluster.client.create(resources.CRON_JOBS, cron_job(seconds=900, concurrencyPolicy="Forbid"))
    await cluster.advance(minutes=21)
    [job] = await jobs_of(cluster)
    assert [each["name"] for each in (await status_of(cluster))["active"]] == [name_of(job)]
    assert "JobAlreadyActive" in await reasons(cluster)
    await cluster.advance(minutes=5)  # the first has ended, and the time that was missed is made up for
    assert len(await jobs_of(cluster)) == 2


async def test_a_run_that_goes_on_is_replaced_where_that_is_asked(cluster: Cluster) -> None:
    await cluster.client.create(resources.CRON_JOBS, cron_job(seconds=None, concurrencyPolicy="Replace"))
    await cluster.advance(minutes=11)
    [first] = await jobs_of(cluster)
    await cluster.advance(minutes=10)
    [second] = await jobs_of(cluster)
    assert name_of(first) != name_of(second)


async def test_an_old_one_with_a_zone_in_its_schedule_runs_by_it_and_is_told_so(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(CronJobStrategy, "validate", lambda self, document: ())
        await cluster.client.create(resources.CRON_JOBS, cron_job("CRON_TZ=Asia/Kolkata 0 6 * * *"))
    await cluster.advance(minutes=29)
    assert await jobs_of(cluster) == []
    await cluster.advance(minutes=2)
    [job] = await jobs_of(cluster)
    assert job["metadata"]["annotations"][SCHEDULED_ANNOTATION] == "2026-01-01T06:00:00+05:30"
    assert "UnsupportedSchedule" in await reasons(cluster)


async def test_a_suspended_one_starts_nothing_and_goes_on_when_it_may(cluster: Cluster) -> None:
    await cluster.client.create(resources.CRON_JOBS, cron_job(suspend=True, startingDeadlineSeconds=60))
    await cluster.advance(minutes=25)
    assert await jobs_of(cluster) == []
    await cluster.client.patch(resources.CRON_JOBS, "tick", {"spec": {"suspend": False}}, "default")
    await cluster.advance(minutes=1)
    assert await jobs_of(cluster) == []  # what was missed is older than the deadline
    await cluster.advance(minutes=5)
    assert len(await jobs_of(cluster)) == 1

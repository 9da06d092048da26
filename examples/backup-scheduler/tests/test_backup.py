"""Backups in virtual time: days pass in milliseconds."""

from __future__ import annotations

import pytest
from backup_scheduler import Backup

import kube_core as kube
from kube_core.api import batch, resources
from kube_core.meta.status import StatusError

#: Without nodes nothing beats while days pass; that a Job's pod has done its work the tests say themselves.
pytestmark = [pytest.mark.anyio, pytest.mark.cluster(nodes=0)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
async def claim(cluster: kube.Cluster) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    await cluster.client.create(
        resources.PERSISTENT_VOLUME_CLAIMS, {"metadata": {"name": "data"}, "spec": spec}, "default"
    )


async def jobs(cluster: kube.Cluster) -> list[str]:
    return sorted([job.metadata.name or "" async for job in cluster.client.list(batch.Job)])


async def finish(cluster: kube.Cluster) -> None:
    """Every pod has done its work."""
    for pod in (await cluster.client.list(resources.PODS, "default")).items:
        await cluster.client.patch(
            resources.PODS,
            pod["metadata"]["name"],
            {"status": {"phase": "Succeeded"}},
            "default",
            subresource="status",
        )
    await cluster.settled()


async def test_a_backup_is_made_at_each_time_and_the_last_few_stay(cluster: kube.Cluster) -> None:
    await cluster.client.apply(Backup("data", "0 3 * * *", keep=2), name="shop")
    await cluster.settled()
    assert await jobs(cluster) == []
    for _ in range(4):
        await cluster.advance(hours=24)
        await finish(cluster)
    made = await jobs(cluster)
    assert len(made) == 2
    assert all(name.endswith("0300") for name in made)
    status = kube.status_of(await cluster.client.get(Backup, "shop"))
    assert status.kept == 2


async def test_a_schedule_that_cannot_be_read_is_refused(cluster: kube.Cluster) -> None:
    with pytest.raises(StatusError, match=r"spec\.schedule"):
        await cluster.client.apply(Backup("data", "at noon"), name="shop")

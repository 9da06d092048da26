"""ReplicationControllers in a whole cluster, in virtual time: the older form of a ReplicaSet, with all that it does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.api import resources
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document, controller_of, name_of

pytestmark = pytest.mark.anyio

RCS = resources.REPLICATION_CONTROLLERS


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(nodes=1, listen=False, clock=FakeClock(), seed=1) as made:
        yield made


def controller(name: str = "web", replicas: int | None = 2, **spec: Any) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "web:1"}]},
    }
    counted = {} if replicas is None else {"replicas": replicas}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"template": template, **counted, **spec}}


async def pods_of(cluster: Cluster) -> Sequence[Document]:
    return (await cluster.client.list(resources.PODS, "default")).items


async def status_of(cluster: Cluster) -> Document:
    found: Document = (await cluster.client.get(RCS, "web", "default"))["status"]
    return found


async def test_it_gets_its_pods_and_says_so(cluster: Cluster) -> None:
    made = await cluster.client.create(RCS, controller(replicas=None))
    assert made["spec"]["selector"] == made["metadata"]["labels"] == {"app": "web"}
    assert made["spec"]["replicas"] == 1
    await cluster.client.scale(RCS, "web", 3, "default")
    await cluster.advance(seconds=5)
    found = await pods_of(cluster)
    assert len(found) == 3
    assert all(name_of(pod).startswith("web-") for pod in found)
    assert {(controller_of(pod) or {})["kind"] for pod in found} == {"ReplicationController"}
    assert await status_of(cluster) == {
        "replicas": 3,
        "fullyLabeledReplicas": 3,
        "readyReplicas": 3,
        "availableReplicas": 3,
        "observedGeneration": 2,
    }
    events = (await cluster.client.list(resources.EVENTS, "default")).items
    ours = [each for each in events if each["involvedObject"]["kind"] == "ReplicationController"]
    assert {(each["reason"], each["source"]["component"]) for each in ours} == {
        ("SuccessfulCreate", "replication-controller")
    }


async def test_it_adopts_what_it_selects_and_releases_what_it_no_longer_does(cluster: Cluster) -> None:
    lone = {
        "metadata": {"name": "lone", "namespace": "default", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "web:1"}]},
    }
    await cluster.client.create(resources.PODS, lone)
    await cluster.client.create(RCS, controller(replicas=1))
    await cluster.settled()
    [pod] = await pods_of(cluster)
    assert name_of(pod) == "lone"
    assert (controller_of(pod) or {})["name"] == "web"
    await cluster.client.patch(resources.PODS, "lone", {"metadata": {"labels": {"app": "other"}}}, "default")
    await cluster.settled()
    owners = {name_of(pod): controller_of(pod) is not None for pod in await pods_of(cluster)}
    assert owners.pop("lone") is False
    assert list(owners.values()) == [True]


async def test_a_quota_that_is_exceeded_is_told_and_the_condition_goes_when_there_is_room(cluster: Cluster) -> None:
    quota = {"metadata": {"name": "few", "namespace": "default"}, "spec": {"hard": {"pods": "2"}}}
    await cluster.client.create(resources.RESOURCE_QUOTAS, quota)
    await cluster.settled()
    await cluster.client.create(RCS, controller(replicas=3))
    await cluster.advance(seconds=5)
    [condition] = (await status_of(cluster))["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("ReplicaFailure", "True", "FailedCreate")
    assert "exceeded quota: few" in condition["message"]
    await cluster.client.scale(RCS, "web", 2, "default")
    await cluster.advance(seconds=5)
    status = await status_of(cluster)
    assert status["replicas"] == 2
    assert "conditions" not in status


async def test_its_pods_stay_when_it_goes_alone_and_go_when_asked(cluster: Cluster) -> None:
    await cluster.client.create(RCS, controller())
    await cluster.settled()
    await cluster.client.delete(RCS, "web", "default", propagation="Orphan")
    await cluster.advance(seconds=5)
    left = await pods_of(cluster)
    assert [controller_of(pod) for pod in left] == [None, None]
    await cluster.client.create(RCS, controller())
    await cluster.settled()
    assert {name_of(pod) for pod in await pods_of(cluster)} == {name_of(pod) for pod in left}
    await cluster.client.delete(RCS, "web", "default", propagation="Background")
    await cluster.advance(minutes=1)
    assert not await pods_of(cluster)

"""Events on a real server: what a recorder says is what `kubectl get events` will read."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fakes.waiting import eventually
from kube_core.api import resources
from kube_core.cluster import Cluster
from kube_core.control.events import EventWriter
from kube_core.meta.documents import Document

pytestmark = pytest.mark.anyio


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(nodes=0, listen=False, controllers=()) as cluster:
        yield cluster


async def test_recorded_events_are_accepted_and_counted(cluster: Cluster) -> None:
    client = cluster.client
    config_map = await client.create(resources.CONFIG_MAPS, {"metadata": {"name": "a", "namespace": "default"}})
    node = await client.create(resources.NODES, {"metadata": {"name": "n1"}})

    async def both_written() -> dict[str, Document] | None:
        events = {each["involvedObject"]["kind"]: each for each in (await client.list(resources.EVENTS)).items}
        return events if len(events) == 2 and events["ConfigMap"]["count"] == 2 else None

    async with EventWriter(client, clock=cluster.clock, random=cluster.random) as writer:
        recorder = writer.recorder("test-controller", host="here")
        for _ in range(2):
            recorder.warning(config_map, "Odd", "it looks odd")
        recorder.normal(node, "Fine", "it looks fine")
        events = await eventually(both_written)
    assert events["ConfigMap"]["metadata"]["namespace"] == "default"
    assert events["ConfigMap"]["source"] == {"component": "test-controller", "host": "here"}
    assert events["Node"]["metadata"]["namespace"] == "default"
    assert events["Node"]["type"] == "Normal"
    selected = await client.list(
        resources.EVENTS, "default", field_selector="involvedObject.name=a,involvedObject.kind=ConfigMap"
    )
    assert [each["reason"] for each in selected.items] == ["Odd"]

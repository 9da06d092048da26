"""Virtual time with the renewals of leases that nobody can miss, and without: the same state and the same events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.api import resources
from kube_core.api.resources import LEASES
from kube_core.api.types import ResourceType
from kube_core.apiserver.requests import RequestInfo
from kube_core.cluster import Cluster
from kube_core.cluster.faults import Fault
from kube_core.meta.documents import Document, key_of

pytestmark = pytest.mark.anyio

KINDS = (
    resources.NODES, resources.LEASES, resources.PODS, resources.JOBS, resources.CRON_JOBS, resources.EVENTS,
    resources.NAMESPACES, resources.SERVICE_ACCOUNTS, resources.ENDPOINT_SLICES,
)  # fmt: skip
_BEHAVIOUR = {"fake.kube-core.dev/behaviour": json.dumps({"*": {"runs_for": 30.0}})}

Day = Callable[[Cluster], Awaitable[None]]


def cron_job(number: int) -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "task:1"}]}
    template = {"metadata": {"annotations": _BEHAVIOUR}, "spec": pod}
    return {
        "metadata": {"name": f"every-{number}", "namespace": "default"},
        "spec": {"schedule": f"{number}-59/20 * * * *", "jobTemplate": {"spec": {"template": template}}},
    }


def timeless(value: Any) -> Any:
    """Without resource versions: those of a run in which less is written are other ones."""
    if isinstance(value, Mapping):
        return {name: timeless(each) for name, each in value.items() if name != "resourceVersion"}
    return [timeless(each) for each in value] if isinstance(value, list) else value


async def lived(day: Day, *, every_heartbeat: bool) -> tuple[dict[str, Any], list[Any], int]:
    """What there is after a day, the events in their order, and how many renewals were written."""
    async with Cluster(clock=FakeClock(), seed=1, nodes=3, listen=False, every_heartbeat=every_heartbeat) as cluster:
        told = cluster.bus.subscribe(resources.EVENTS, limit=100_000)
        for number in range(3):
            await cluster.client.create(resources.CRON_JOBS, cron_job(number))
        await cluster.settled()
        revision = cluster.server.store.revision
        await day(cluster)
        written = cluster.server.store.revision - revision
        state = {str(kind.group_resource): await everything(cluster, kind) for kind in KINDS}
        events = [timeless(change.after.document) for change in told.drain() if change.after is not None]
        return state, events, written


async def everything(cluster: Cluster, kind: ResourceType) -> dict[str, Any]:
    found = (await cluster.client.list(kind)).items
    return {str(key_of(each)): timeless(each) for each in found}


async def cut_off_between(cluster: Cluster) -> None:
    """A node is cut off while time stands still, and comes back."""
    await cluster.advance(minutes=17)
    with cluster.faults.inject(Fault.partitions("node-3")):
        await cluster.advance(minutes=13)
    await cluster.advance(minutes=10)


async def cut_off_on_the_way(cluster: Cluster) -> None:
    """The same in the middle of one move, by somebody who waits on the cluster's clock, in between two heartbeats."""

    async def somebody() -> None:
        await cluster.clock.sleep(17 * 60 + 34)
        with cluster.faults.inject(Fault.partitions("node-3")):
            await cluster.clock.sleep(13 * 60)

    async with asyncio.TaskGroup() as group:
        group.create_task(somebody())
        await asyncio.sleep(0)
        await cluster.advance(minutes=40)


@pytest.mark.parametrize("day", [cut_off_between, cut_off_on_the_way])
async def test_renewals_that_nobody_can_miss_are_left_out_and_all_else_is_the_same(day: Day) -> None:
    state, events, written = await lived(day, every_heartbeat=False)
    full_state, full_events, fully_written = await lived(day, every_heartbeat=True)
    assert any(event["reason"] == "NodeNotReady" for event in events)
    assert sum(event["reason"] == "SawCompletedJob" for event in events) > 3
    assert events == full_events
    assert state == full_state
    assert fully_written - written > 300


async def test_who_looks_at_leases_sees_every_renewal() -> None:
    async with Cluster(clock=FakeClock(), seed=1, nodes=1, listen=False) as cluster:
        renewed = cluster.bus.subscribe(resources.LEASES, limit=1000)
        await cluster.advance(minutes=5)
        assert len(renewed.drain()) == 30


async def test_whenever_time_stands_still_leases_are_as_if_every_renewal_were_written() -> None:
    async with Cluster(clock=FakeClock(), seed=1, nodes=1, listen=False) as cluster:

        async def renewed() -> Document:
            lease = await cluster.client.get(resources.LEASES, "node-1", "kube-node-lease")
            spec: Document = lease["spec"]
            return spec

        await cluster.settled()
        assert (await renewed())["renewTime"].endswith(":00.000000Z")
        revision = cluster.server.store.revision
        await cluster.advance(seconds=39)
        assert (await renewed())["renewTime"].endswith(":30.000000Z")
        await cluster.advance(minutes=30)
        assert (await renewed())["renewTime"].endswith(":30.000000Z")
        assert cluster.server.store.revision - revision < 183 / 3


async def test_a_node_that_is_cut_off_meets_the_rule_with_every_renewal_and_is_back_with_the_next() -> None:
    met: list[int] = []
    for every_heartbeat in (True, False):
        async with Cluster(
            clock=FakeClock(), seed=1, nodes=1, listen=False, every_heartbeat=every_heartbeat
        ) as cluster:
            with cluster.faults.inject(rule := Fault.partitions("node-1")):
                await cluster.advance(seconds=600)
                met.append(cluster.faults.used(rule))
            await cluster.advance(seconds=10)
            lease = await cluster.client.get(LEASES, "node-1", "kube-node-lease")
            assert lease["spec"]["renewTime"].endswith(":10:10.000000Z")
            node = await cluster.client.get(resources.NODES, "node-1")
            assert {"Ready": "True"}.items() <= {
                each["type"]: each["status"] for each in node["status"]["conditions"]
            }.items()
    assert met[0] == met[1] >= 60


@pytest.mark.parametrize(
    "fault",
    [
        Fault.drops(resource="leases", times=2),
        Fault.drops(resource="leases", probability=0.9),
        Fault.drops(resource="leases", carried_out=True),
        Fault.delays(1.0, resource="leases"),
        Fault.answers(500, resource="leases"),
    ],
)
async def test_a_rule_that_may_do_otherwise_is_met_by_requests(fault: Fault) -> None:
    async with Cluster(clock=FakeClock(), seed=1, nodes=0, listen=False) as cluster:
        cluster.faults.add(fault)
        renewal = RequestInfo("", "update", LEASES.group, LEASES.version, LEASES.plural, "kube-node-lease", "node-1")
        assert not cluster.faults.surely_drops(renewal, "system:node:node-1")
        assert cluster.faults.used(fault) == 0
        cluster.faults.clear()
        cluster.faults.add(Fault.drops(resource="leases"))
        assert cluster.faults.surely_drops(renewal, "system:node:node-1")


async def test_a_rule_about_renewals_meets_each_of_them() -> None:
    async with Cluster(clock=FakeClock(), seed=1, nodes=1, listen=False) as cluster:
        slow = cluster.faults.add(Fault.delays(1.0, resource="leases", name="node-1"))
        await cluster.advance(seconds=115)
        assert cluster.faults.used(slow) == 10

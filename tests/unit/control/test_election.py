"""Leader election: who leads, when another takes over, and when a leader must stop."""

from __future__ import annotations

import asyncio

import pytest

from fakes.api import CONFIG_MAPS, FakeApi, until
from kube_core._kit.random import Random
from kube_core.api.resources import LEASES
from kube_core.client.client import ApiClient
from kube_core.control.election import ElectionTimes, LeaderElector, LeadershipLost, LedTransport
from kube_core.control.metrics import ControllerMetrics
from kube_core.meta.documents import Document, thaw
from kube_core.meta.status import ServiceUnavailable

pytestmark = pytest.mark.anyio

CONFIG_MAP = {"metadata": {"name": "a", "namespace": "default"}}


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    api.resources.append(LEASES)
    return api


def candidate(api: FakeApi, identity: str, seed: int = 1) -> LeaderElector:
    return LeaderElector(
        api.client(identity),
        name="work",
        namespace="default",
        identity=identity,
        clock=api.clock,
        random=Random(seed),
    )


def spec(api: FakeApi) -> Document:
    lease = api.get(LEASES, "work", "default")
    assert lease is not None
    found: Document = lease["spec"]
    return found


async def test_the_first_leads_and_the_others_stand_by(api: FakeApi) -> None:
    one, other = candidate(api, "one"), candidate(api, "other", 2)
    await one.acquire()
    assert one.leads
    assert (spec(api)["holderIdentity"], spec(api)["leaseDurationSeconds"], spec(api)["leaseTransitions"]) == (
        "one",
        15,
        0,
    )
    waiting, holding = asyncio.create_task(other.acquire()), asyncio.create_task(one.hold())
    await api.clock.advance(120)
    assert not waiting.done()
    assert not holding.done()
    assert other.leader == "one"
    for task in (waiting, holding):
        task.cancel()
    await asyncio.gather(waiting, holding, return_exceptions=True)


async def test_a_silent_leader_is_replaced_after_the_lease_ran_out_and_not_before(api: FakeApi) -> None:
    one, other = candidate(api, "one"), candidate(api, "other", 2)
    await one.acquire()
    waiting = asyncio.create_task(other.acquire())
    await api.clock.advance(14.9)
    assert not waiting.done()
    await api.clock.advance(6)
    assert waiting.done()
    assert not one.leads
    assert (spec(api)["holderIdentity"], spec(api)["leaseTransitions"]) == ("other", 1)


async def test_a_released_lease_is_taken_at_the_next_look(api: FakeApi) -> None:
    one, other = candidate(api, "one"), candidate(api, "other", 2)
    await one.acquire()
    waiting = asyncio.create_task(other.acquire())
    await api.clock.advance(1)
    await one.release()
    assert spec(api)["holderIdentity"] == ""
    await api.clock.advance(5)
    assert waiting.done()
    assert spec(api)["holderIdentity"] == "other"


async def test_who_cannot_renew_gives_up_before_another_may_begin(api: FakeApi) -> None:
    one = candidate(api, "one")
    await one.acquire()
    holding = asyncio.create_task(one.hold())
    api.refuse = lambda request: ServiceUnavailable("away")
    await api.clock.advance(11.9)
    assert not holding.done()
    await api.clock.advance(0.2)
    with pytest.raises(LeadershipLost, match="could not be renewed for 10 seconds"):
        await holding


async def test_who_was_replaced_stops_at_once(api: FakeApi) -> None:
    one = candidate(api, "one")
    await one.acquire()
    holding = asyncio.create_task(one.hold())
    lease = {"metadata": {"name": "work", "namespace": "default"}, "spec": {**spec(api), "holderIdentity": "other"}}
    api.put(LEASES, lease)
    await api.clock.advance(2.1)
    with pytest.raises(LeadershipLost, match="other holds"):
        await holding


async def test_who_may_no_longer_lead_writes_nothing_though_it_has_not_noticed(api: FakeApi) -> None:
    one = candidate(api, "one")
    client = ApiClient(LedTransport(api.client("one").transport, one))
    with pytest.raises(ServiceUnavailable, match="one does not lead"):
        await client.create(CONFIG_MAPS, CONFIG_MAP)
    await one.acquire()
    await client.create(CONFIG_MAPS, CONFIG_MAP)
    # Its lease runs out while it is asleep, and nobody has told it.
    await api.clock.advance(15)
    assert one.leader == "one"
    with pytest.raises(ServiceUnavailable, match="one does not lead"):
        await client.delete(CONFIG_MAPS, "a", "default")
    assert (await client.list(CONFIG_MAPS)).items


async def test_renewals_of_a_lease_that_somebody_touched_are_counted(api: FakeApi) -> None:
    metrics = ControllerMetrics()
    one = LeaderElector(
        api.client("one"), name="work", namespace="default", identity="one", clock=api.clock, random=Random(1),
        slow_renewals=metrics.slow_renewals.cell("work"),
    )  # fmt: skip
    await one.acquire()
    holding = asyncio.create_task(one.hold())
    await api.clock.advance(10)
    assert 'leader_election_slowpath_total{name="work"} 0' in metrics.text()
    lease = thaw(api.get(LEASES, "work", "default") or {})
    lease["metadata"]["labels"] = {"touched": "true"}
    api.put(LEASES, lease)
    await api.clock.advance(10)
    assert 'leader_election_slowpath_total{name="work"} 1' in metrics.text()
    assert one.leads
    holding.cancel()


async def test_a_server_that_is_away_is_waited_for(api: FakeApi) -> None:
    one = candidate(api, "one")
    api.refuse = lambda request: ServiceUnavailable("away")
    acquiring = asyncio.create_task(one.acquire())
    await api.clock.advance(60)
    api.refuse = None
    await api.clock.advance(5)
    await until(acquiring.done)


async def test_releasing_what_one_does_not_hold_does_nothing(api: FakeApi) -> None:
    await candidate(api, "one").release()
    assert api.requests == []


@pytest.mark.parametrize("times", [(10.0, 10.0, 2.0), (15.0, 2.0, 2.0), (0.9, 0.5, 0.1), (15.0, 10.0, 0.0)])
def test_times_with_which_two_could_lead_are_refused(times: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ElectionTimes(*times)

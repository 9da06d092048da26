"""Faults by rule, in clusters in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from kube_core._kit.clock import FakeClock
from kube_core.api import resources
from kube_core.client.client import ApiClient
from kube_core.client.http import HttpTransport
from kube_core.client.kubeconfig import load_connection
from kube_core.cluster import Cluster
from kube_core.cluster.faults import Fault
from kube_core.meta.documents import Document
from kube_core.meta.status import (
    AlreadyExists,
    Conflict,
    Expired,
    InternalError,
    ServiceUnavailable,
    StatusError,
    TooManyRequests,
)

pytestmark = pytest.mark.anyio

MAP: dict[str, Any] = {"metadata": {"name": "note"}}
POD: dict[str, Any] = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(clock=FakeClock(), seed=1, nodes=2, listen=False, record=True) as cluster:
        await cluster.settled()
        yield cluster


@contextlib.asynccontextmanager
async def over_https(cluster: Cluster, directory: Path) -> AsyncIterator[ApiClient]:
    file = directory / "kubeconfig"
    file.write_bytes(orjson.dumps(cluster.kubeconfig()))
    async with ApiClient(HttpTransport(load_connection(file))) as client:
        yield client


async def ready(cluster: Cluster, node: str) -> str:
    found: Document = await cluster.client.get(resources.NODES, node)
    return str(next(each for each in found["status"]["conditions"] if each["type"] == "Ready")["status"])


@pytest.mark.parametrize(
    ("code", "error"), [(409, Conflict), (410, Expired), (429, TooManyRequests), (500, InternalError)]
)
async def test_requests_are_answered_by_rule_as_often_as_it_says(
    cluster: Cluster, code: int, error: type[StatusError]
) -> None:
    fault = cluster.faults.add(Fault.answers(code, verb="create", resource="configmaps", times=2))
    for _ in range(2):
        with pytest.raises(error):
            await cluster.client.create(resources.CONFIG_MAPS, MAP, "default")
    await cluster.client.create(resources.CONFIG_MAPS, MAP, "default")
    assert cluster.faults.used(fault) == 2


async def test_a_rule_meets_only_what_it_names_and_ends_with_its_block(cluster: Cluster) -> None:
    await cluster.client.create(resources.CONFIG_MAPS, MAP, "default")
    with cluster.faults.inject(Fault.answers(500, resource="configmaps", name="other", user="nobody")):
        await cluster.client.get(resources.CONFIG_MAPS, "note", "default")
    broken = Fault.answers(500, "broken", resource="configmaps", name="no*", user="kubernetes-*")
    with cluster.faults.inject(broken), pytest.raises(InternalError, match="broken"):
        await cluster.client.get(resources.CONFIG_MAPS, "note", "default")
    await cluster.client.get(resources.CONFIG_MAPS, "note", "default")
    assert cluster.server.pipeline.between is None


async def test_controllers_live_through_conflicts_that_come_by_chance(cluster: Cluster) -> None:
    fault = Fault.answers(409, verb="update", user="system:serviceaccount:*", probability=0.3)
    with cluster.faults.inject(fault):
        await cluster.client.create(resources.PODS, POD, "default")
        await cluster.client.create(
            resources.DEPLOYMENTS,
            {
                "metadata": {"name": "web"},
                "spec": {
                    "replicas": 3,
                    "selector": {"matchLabels": {"app": "web"}},
                    "template": {"metadata": {"labels": {"app": "web"}}, "spec": POD["spec"]},
                },
            },
            "default",
        )
        await cluster.advance(minutes=10)
        met = cluster.faults.used(fault)
    found = await cluster.client.get(resources.DEPLOYMENTS, "web", "default")
    assert found["status"]["readyReplicas"] == 3
    assert met == len([each for each in cluster.record.conflicts() if each.asked.verb == "update"])
    assert met


async def test_an_answer_can_be_lost_though_the_request_was_carried_out(cluster: Cluster) -> None:
    lost = Fault.drops(verb="create", resource="configmaps", carried_out=True)
    with cluster.faults.inject(lost), pytest.raises(ServiceUnavailable, match="dropped"):
        await cluster.client.create(resources.CONFIG_MAPS, MAP, "default")
    await cluster.client.get(resources.CONFIG_MAPS, "note", "default")


async def test_latency_is_of_the_clusters_clock(cluster: Cluster) -> None:
    with cluster.faults.inject(Fault.delays(3.0, verb="create", resource="pods", user="kubernetes-admin")):
        began = cluster.clock.now()

        creating = asyncio.create_task(cluster.client.create(resources.PODS, POD, "default"))
        await cluster.advance(seconds=2)
        assert not creating.done()
        await cluster.advance(seconds=2)
        await creating
        assert cluster.clock.now() - began == 4.0


async def test_a_list_is_stale(cluster: Cluster) -> None:
    await cluster.client.create(resources.CONFIG_MAPS, MAP, "default")
    fault = cluster.faults.add(Fault.stale("configmaps", user="kubernetes-admin"))
    await cluster.client.create(resources.CONFIG_MAPS, {"metadata": {"name": "late"}}, "default")

    async def names() -> list[str]:
        found = (await cluster.client.list(resources.CONFIG_MAPS, "default")).items
        return [each["metadata"]["name"] for each in found]

    assert "late" not in await names()
    assert "note" in await names()
    cluster.faults.remove(fault)
    assert "late" in await names()


@pytest.mark.parametrize("expired", [False, True])
async def test_informers_live_through_watches_that_are_dropped(cluster: Cluster, expired: bool) -> None:
    assert cluster.faults.drop_watches(expired=expired) > 10
    await cluster.client.create(resources.PODS, POD, "default")
    await cluster.advance(minutes=1)
    assert (await cluster.client.get(resources.PODS, "web", "default"))["status"]["phase"] == "Running"


async def test_a_node_that_is_cut_off_becomes_unknown_and_comes_back(cluster: Cluster) -> None:
    fault = cluster.faults.add(Fault.partitions("node-2"))
    await cluster.advance(minutes=2)
    assert (await ready(cluster, "node-1"), await ready(cluster, "node-2")) == ("True", "Unknown")
    cluster.faults.remove(fault)
    await cluster.advance(minutes=2)
    assert await ready(cluster, "node-2") == "True"


async def test_a_driver_fails_and_the_pod_starts_when_it_no_longer_does(cluster: Cluster) -> None:
    fault = cluster.faults.add(Fault.fails("runtime of *", "run_sandbox", "no space left on device"))
    await cluster.client.create(resources.PODS, POD, "default")
    await cluster.advance(minutes=1)
    assert (await cluster.client.get(resources.PODS, "web", "default"))["status"]["phase"] == "Pending"
    assert cluster.faults.used(fault)
    cluster.faults.clear()
    await cluster.advance(minutes=10)
    assert (await cluster.client.get(resources.PODS, "web", "default"))["status"]["phase"] == "Running"


async def test_a_store_that_fails_is_told_to_who_writes(cluster: Cluster) -> None:
    with cluster.faults.inject(Fault.fails("store", "transact", "the disk is gone")), pytest.raises(InternalError):
        await cluster.client.create(resources.CONFIG_MAPS, MAP, "default")
    await cluster.client.create(resources.CONFIG_MAPS, MAP, "default")


async def test_a_seed_repeats_what_chance_brings() -> None:
    async def run() -> list[bool]:
        async with Cluster(clock=FakeClock(), seed=5, nodes=0, listen=False, controllers=()) as cluster:
            await cluster.settled()
            cluster.faults.add(Fault.answers(429, verb="create", probability=0.5))
            met = []
            for number in range(20):
                try:
                    await cluster.client.create(resources.NAMESPACES, {"metadata": {"name": f"n{number}"}})
                    met.append(False)
                except TooManyRequests:
                    met.append(True)
            return met

    first = await run()
    assert first == await run()
    assert 0 < sum(first) < 20


WEBHOOK: dict[str, Any] = {
    "metadata": {"name": "checks"},
    "webhooks": [
        {
            "name": "checks.example.dev",
            "clientConfig": {"url": "https://127.0.0.1:1/nobody-is-there"},
            "rules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]}
            ],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 3,
        }
    ],
}


@pytest.mark.parametrize(("policy", "passes"), [("Ignore", True), ("Fail", False)])
async def test_webhooks_fail_by_rule_and_their_policy_decides(cluster: Cluster, policy: str, passes: bool) -> None:
    [webhook] = WEBHOOK["webhooks"]
    hooks = {**WEBHOOK, "webhooks": [{**webhook, "failurePolicy": policy}]}
    await cluster.client.create(resources.VALIDATING_WEBHOOK_CONFIGURATIONS, hooks)
    fault = cluster.faults.add(Fault.webhook_fails("no route to host"))
    if passes:
        await cluster.client.create(resources.CONFIG_MAPS, MAP, "default")
    else:
        with pytest.raises(InternalError, match=r'failed calling webhook "checks.example.dev".*no route to host'):
            await cluster.client.create(resources.CONFIG_MAPS, MAP, "default")
    assert cluster.faults.used(fault) == 1


async def test_a_slow_webhook_is_waited_for_no_longer_than_it_may_take(cluster: Cluster) -> None:
    await cluster.client.create(resources.VALIDATING_WEBHOOK_CONFIGURATIONS, WEBHOOK)
    fault = cluster.faults.add(Fault.webhook_slows(60.0))
    creating = asyncio.create_task(cluster.client.create(resources.CONFIG_MAPS, MAP, "default"))
    await cluster.advance(seconds=2)
    assert not creating.done()
    await cluster.advance(seconds=2)
    assert creating.done()
    with pytest.raises(InternalError, match="context deadline exceeded"):
        await creating
    assert cluster.faults.used(fault) == 1


async def test_a_pod_waits_for_an_address_while_the_network_fails(cluster: Cluster) -> None:
    fault = cluster.faults.add(Fault.fails("network*", message="no free addresses"))
    await cluster.client.create(resources.PODS, POD, "default")
    await cluster.advance(minutes=1)
    assert (await cluster.client.get(resources.PODS, "web", "default"))["status"]["phase"] == "Pending"
    assert cluster.faults.used(fault) > 1
    events = (await cluster.client.list(resources.EVENTS, "default")).items
    assert any("no free addresses" in each["message"] for each in events)
    cluster.faults.clear()
    await cluster.advance(minutes=10)
    assert (await cluster.client.get(resources.PODS, "web", "default"))["status"]["phase"] == "Running"


@pytest.mark.parametrize("carried_out", [False, True])
async def test_over_a_socket_the_connection_breaks(tmp_path: Path, carried_out: bool) -> None:
    async with Cluster(nodes=0, controllers=(), store="memory:") as cluster, over_https(cluster, tmp_path) as client:
        fault = Fault.drops(verb="create", resource="configmaps", times=1, carried_out=carried_out)
        cluster.faults.add(fault)
        with pytest.raises(ServiceUnavailable):
            await client.create(resources.CONFIG_MAPS, MAP, "default")
        assert cluster.faults.used(fault) == 1
        if carried_out:
            with pytest.raises(AlreadyExists):
                await client.create(resources.CONFIG_MAPS, MAP, "default")
        else:
            await client.create(resources.CONFIG_MAPS, MAP, "default")

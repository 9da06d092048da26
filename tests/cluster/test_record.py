"""The record: requests, writes and reconciles of a cluster, each with what it came of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

import kube_core as kube
from fakes.sites import SITES, Site, cluster_with, create_site, program
from kube_core._kit.clock import FakeClock
from kube_core.abc.transport import User
from kube_core.api import core, resources
from kube_core.cli import why
from kube_core.cluster import Cluster
from kube_core.cluster.record import Reconcile, Record, RequestEntry, Write
from kube_core.meta.status import AlreadyExists, Conflict, Forbidden

pytestmark = pytest.mark.anyio

LABELS = {"app": "web"}
DEPLOYMENT: dict[str, Any] = {
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": LABELS},
        "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}},
    },
}


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(clock=FakeClock(), seed=1, listen=False, record=True) as cluster:
        await cluster.settled()
        cluster.record.clear()
        yield cluster


async def test_a_write_is_known_by_who_made_it(cluster: Cluster) -> None:
    await cluster.client.create(resources.DEPLOYMENTS, DEPLOYMENT)
    await cluster.settled()
    record = cluster.record
    assert len(record.writes(kind="Pod", by="replicaset-controller")) == 2
    assert [each.verb for each in record.writes(kind="Deployment", by="kubernetes-admin")] == ["created"]
    assert {each.verb for each in record.writes(kind="Pod", by="system:node:*")} == {"changed"}
    assert not record.writes(kind="Pod", by="deployment-controller")
    assert record.counts()["Pod", "system:kube-scheduler"] == 2


async def test_the_chain_of_causes_goes_back_to_a_client(cluster: Cluster) -> None:
    await cluster.client.create(resources.DEPLOYMENTS, DEPLOYMENT)
    await cluster.settled()
    [created, *_] = cluster.record.writes(kind="Pod", by="replicaset-controller")
    chain = list(cluster.record.chain(created))
    told = [
        each.kind if isinstance(each, Write) else each.user if isinstance(each, RequestEntry) else each.controller
        for each in chain
        if isinstance(each, Write | Reconcile) or each.user == "kubernetes-admin"
    ]
    expected = ["Pod", "replicaset-controller", "ReplicaSet", "deployment-controller", "Deployment"]
    assert told == [*expected, "kubernetes-admin"]


async def test_why_tells_the_chain_in_sentences_and_names_the_fields(cluster: Cluster) -> None:
    await cluster.client.create(resources.DEPLOYMENTS, DEPLOYMENT)
    await cluster.settled()
    await cluster.client.patch(resources.DEPLOYMENTS, "web", {"spec": {"replicas": 3}}, "default")
    await cluster.settled()
    [scaled] = [each for each in cluster.record.writes(kind="Deployment", by="kubernetes-admin") if each.changes]
    assert list(scaled.changes) == ["spec.replicas: 2 → 3"]
    name = next(each.key.name for each in reversed(cluster.record.writes(kind="Pod", by="replicaset-controller")))
    lines = cluster.record.why("pods", name, "default")
    assert lines[0].startswith(f"Pod default/{name} was changed at revision ")
    assert any("when replicaset-controller reconciled default/web-" in line for line in lines)
    assert any("Deployment default/web was changed" in line and "spec.replicas: 2 → 3" in line for line in lines)
    assert lines[-1] == "  kubernetes-admin had asked to patch deployments.apps default/web,"
    assert cluster.record.why("pods", "absent", "default") == ()


async def test_conflicts_are_found_and_named(cluster: Cluster) -> None:
    made = await cluster.client.create(resources.CONFIG_MAPS, {"metadata": {"name": "note"}}, "default")
    cluster.record.assert_no_conflicts()
    await cluster.client.patch(resources.CONFIG_MAPS, "note", {"data": {"a": "b"}}, "default")
    with pytest.raises(Conflict):
        await cluster.client.update(resources.CONFIG_MAPS, {**made, "data": {"c": "d"}})
    with pytest.raises(AssertionError, match="1 conflicts:\nkubernetes-admin asked to update configmaps default/note"):
        cluster.record.assert_no_conflicts()


async def test_requests_carry_user_code_and_what_went_wrong(cluster: Cluster) -> None:
    with pytest.raises(AlreadyExists):
        await cluster.client.create(resources.NAMESPACES, {"metadata": {"name": "default"}})
    [entry] = cluster.record.requests(verb="create", resource="namespaces")
    assert (entry.user, entry.code, entry.seconds) == ("kubernetes-admin", 409, 0.0)
    assert entry.message == 'namespaces "default" already exists'


async def test_a_record_is_bounded_and_none_is_kept_unasked() -> None:
    async with Cluster(clock=FakeClock(), seed=1, nodes=0, listen=False, controllers=()) as cluster:
        with pytest.raises(RuntimeError, match="record=True"):
            _ = cluster.record
        await cluster.settled()
        record = Record(cluster.clock, limit=5)
        cluster.server.cache.recorder = cluster.server.pipeline.recorder = record
        for number in range(9):
            await cluster.client.create(resources.NAMESPACES, {"metadata": {"name": f"n{number}"}})
        assert [each.asked.verb for each in record.requests()] == ["create"] * 5
        assert len(record.writes()) == 5
        assert record.writes()[-1].key.name == "n8"
        assert record.actors(record.writes()[-1]) == ("kubernetes-admin",)


async def test_a_running_cluster_tells_its_administrator_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Cluster(seed=1, nodes=0, record=True) as cluster:
        await cluster.client.create(resources.DEPLOYMENTS, DEPLOYMENT)
        await cluster.settled()
        file = tmp_path / "kubeconfig"
        file.write_bytes(orjson.dumps(cluster.kubeconfig()))

        def ask(kind: str, name: str) -> str | None:
            return why.run(kind, name, "default", kubeconfig=str(file), context="")

        [found] = (await cluster.client.list(resources.REPLICA_SETS, "default")).items
        assert await asyncio.to_thread(ask, "rs", found["metadata"]["name"]) is None
        told = capsys.readouterr().out
        assert f"ReplicaSet default/{found['metadata']['name']} was " in told
        assert "when deployment-controller reconciled default/web," in told
        assert "kubernetes-admin had asked to create deployments.apps in default" in told
        assert 'nothing is recorded of pods "absent"' in str(await asyncio.to_thread(ask, "pods", "absent"))
        assert await asyncio.to_thread(ask, f"rs/{found['metadata']['name']}", "") is None
        assert capsys.readouterr().out == told
        for kind, name in (("rs", ""), ("rs/", ""), ("rs/web", "web")):
            assert "name one object" in str(await asyncio.to_thread(ask, kind, name))
        nobody = cluster.client_for(User("somebody", ("system:authenticated",)))
        with pytest.raises(Forbidden):
            await nobody.get_path("/debug/record/why")


async def test_why_tells_of_custom_kinds_and_of_what_their_controllers_made() -> None:
    @kube.controller(Site, owns=[core.ConfigMap])
    async def pages(ctx: kube.Context[Site]) -> None:
        await ctx.apply(core.ConfigMap(data={"pages": str(ctx.object.pages)}))

    async with cluster_with(program(pages=pages), record=True) as cluster:
        await create_site(cluster.client, pages=3)
        await cluster.settled()
        site, *_ = cluster.record.why(str(SITES.group_resource), "a", "default")
        assert site.startswith("Site default/a was created")
        told = "\n".join(cluster.record.why("configmaps", "a", "default"))
        assert told.startswith("ConfigMap default/a was created")
        assert "when pages reconciled default/a" in told
        assert f"kubernetes-admin had asked to create {SITES.group_resource} in default" in told

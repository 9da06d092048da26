"""The controllers of bootstrap tokens in a cluster that asks for them, in virtual time."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.api.resources import CONFIG_MAPS, SECRETS
from kube_core.cluster import Cluster
from kube_core.meta.documents import MutableDocument
from kube_core.meta.times import format_time
from kube_plugins.controllers.bootstrap.tokens import sign

pytestmark = pytest.mark.anyio

NAMES = ("bootstrap-signer-controller", "token-cleaner-controller")
PASSWORD = "0123456789abcdef"


def token(identity: str, expires: float | None = None) -> MutableDocument:
    told = {"token-id": identity, "token-secret": PASSWORD, "usage-bootstrap-signing": "true"}
    if expires is not None:
        told["expiration"] = format_time(expires)
    return {
        "metadata": {"name": f"bootstrap-token-{identity}", "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": told,
    }


async def cluster_info(cluster: Cluster) -> Mapping[str, str]:
    found = await cluster.client.get(CONFIG_MAPS, "cluster-info", "kube-public")
    return dict(found["data"])


async def test_how_the_cluster_is_reached_is_signed_by_every_token_until_it_runs_out() -> None:
    async with Cluster(clock=FakeClock(), seed=1, listen=False, controllers=("all", *NAMES)) as cluster:
        metadata = {"name": "cluster-info", "namespace": "kube-public"}
        await cluster.client.create(CONFIG_MAPS, {"metadata": metadata, "data": {"kubeconfig": "where"}})
        await cluster.client.create(SECRETS, token("aaaaaa"))
        await cluster.client.create(SECRETS, token("bbbbbb", cluster.clock.now() + 600))
        await cluster.settled()
        signatures = {
            f"jws-kubeconfig-{each}": sign("where", each, "0123456789abcdef") for each in ("aaaaaa", "bbbbbb")
        }
        assert await cluster_info(cluster) == {"kubeconfig": "where", **signatures}
        await cluster.advance(minutes=11)
        names = [each["metadata"]["name"] for each in (await cluster.client.list(SECRETS, "kube-system")).items]
        assert "bootstrap-token-aaaaaa" in names
        assert "bootstrap-token-bbbbbb" not in names
        del signatures["jws-kubeconfig-bbbbbb"]
        assert await cluster_info(cluster) == {"kubeconfig": "where", **signatures}


async def test_they_run_only_where_they_are_named() -> None:
    async with Cluster(clock=FakeClock(), seed=1, listen=False) as cluster:
        assert cluster.controllers is not None
        assert not cluster.controllers.controllers.keys() & set(NAMES)
        assert not {each.name for each in cluster.controllers.left_out} & set(NAMES)

"""A cluster in a script that is not asynchronous."""

from __future__ import annotations

import threading

import pytest

import kube_core as kube
from kube_core.api import resources
from kube_core.meta.status import AlreadyExists

MAP = {"metadata": {"name": "a", "namespace": "default"}, "data": {"k": "v"}}


def test_a_script_uses_a_cluster_without_a_word_of_asyncio() -> None:
    before = threading.active_count()
    with kube.blocking(kube.Cluster(nodes=1, seed=1)) as cluster:
        assert cluster.url.startswith("https://")
        made = cluster.client.create(resources.CONFIG_MAPS, MAP)
        assert cluster.client.get(resources.CONFIG_MAPS, "a", "default") == made
        cluster.settled()
        [node] = cluster.client.list(resources.NODES).items
        assert node["metadata"]["name"] == "node-1"
        with pytest.raises(AlreadyExists):
            cluster.client.create(resources.CONFIG_MAPS, MAP)
    assert threading.active_count() == before


def test_a_watch_is_gone_through_and_let_go() -> None:
    with kube.blocking(kube.Cluster(nodes=0, controllers=(), listen=False)) as cluster:
        cluster.client.create(resources.CONFIG_MAPS, MAP)
        seen = []
        for event in cluster.client.watch(resources.CONFIG_MAPS, "default"):
            seen.append((event.type, event.object["metadata"]["name"]))
            if len(seen) == 2:
                break
            cluster.client.delete(resources.CONFIG_MAPS, "a", "default")
        assert seen == [("ADDED", "a"), ("DELETED", "a")]


def test_what_fails_to_start_is_told_and_leaves_no_thread() -> None:
    before = threading.active_count()
    with (
        pytest.raises(kube.ConfigError, match="unknown controller"),
        kube.blocking(kube.Cluster(controllers=("none-such",))),
    ):
        pass
    assert threading.active_count() == before

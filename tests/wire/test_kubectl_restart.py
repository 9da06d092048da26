"""`kubectl get -w` when the server stops: it ends with what was said, as after any watch."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from fakes.kubectl import running_cluster


def test_a_watch_ends_well_when_the_server_stops(tmp_path: Path, worker_id: str) -> None:
    with contextlib.ExitStack() as clients, contextlib.ExitStack() as servers:
        options = ("--runtime", "fake", "--nodes", "0")
        kubectl = servers.enter_context(running_cluster(tmp_path, f"stopping-{worker_id}", *options))
        kubectl("create", "configmap", "first")
        watch = clients.enter_context(kubectl.started("get", "configmaps", "--watch", "--output=name"))
        watch.line_with("configmap/first")
        kubectl("create", "configmap", "second")
        watch.line_with("configmap/second")
        servers.close()
        assert watch.process.wait(timeout=30) == 0
        with pytest.raises(AssertionError, match="the command ended"):
            watch.line_with("rror")
        assert not [line for line in watch.seen if "EOF" in line]

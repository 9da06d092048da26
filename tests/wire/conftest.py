"""Servers for real clients: one with the fake runtime for the session, one with processes for a module.

Each is `kube-core up` as a person starts it, and every test has a namespace of its own.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.kubectl import PROGRAM, Kubectl, running_cluster

MANIFESTS = Path(__file__).parent / "manifests"
IMAGES = Path(__file__).parents[2] / "examples" / "guestbook" / "images"

_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.clients)
            if PROGRAM is None:
                item.add_marker(pytest.mark.skip(reason="kubectl is not on PATH"))


@pytest.fixture
def manifests() -> Path:
    return MANIFESTS


@pytest.fixture
def unclosed() -> Iterator[None]:
    """For clients that leave connections to be closed when they are collected: in the test that made them."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Kubectl]:
    """A cluster of two nodes whose pods only seem to run; quick, and enough for most commands."""
    directory = tmp_path_factory.mktemp("simulated")
    with running_cluster(directory, f"simulated-{worker_id}", "--runtime", "fake", "--nodes", "2") as kubectl:
        yield kubectl


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Kubectl]:
    """A cluster of two nodes whose pods are processes of this machine."""
    directory = tmp_path_factory.mktemp("processes")
    options = ("--runtime", "process", "--nodes", "2", "--images", str(IMAGES))
    with running_cluster(directory, f"processes-{worker_id}", *options) as kubectl:
        yield kubectl


@pytest.fixture
def kubectl(simulated: Kubectl) -> Iterator[Kubectl]:
    """In a namespace of the simulated cluster."""
    yield from _in_namespace(simulated)


@pytest.fixture
def process_kubectl(processes: Kubectl) -> Iterator[Kubectl]:
    """In a namespace of the cluster of processes."""
    yield from _in_namespace(processes)


def _in_namespace(cluster: Kubectl) -> Iterator[Kubectl]:
    namespace = f"test-{next(_numbers)}"
    cluster("create", "namespace", namespace)
    inside = cluster.within(namespace)
    # Pods are refused until their namespace has its account.
    cluster("wait", "--for=jsonpath={.status.phase}=Active", f"namespace/{namespace}", "--timeout=15s")
    with inside.started("get", "serviceaccounts", "--watch", "--output=name") as accounts:
        accounts.line_with("serviceaccount/default")
    yield inside
    cluster("delete", "namespace", namespace, "--wait=false")

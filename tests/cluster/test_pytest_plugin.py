"""The pytest plugin, used by this module as by anybody's, and in runs of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.api import resources
from kube_core.client.client import ApiClient
from kube_core.cluster import Cluster
from kube_core.testing.kubectl import Kubectl, KubectlFailed

POD = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}


async def test_a_test_that_takes_a_cluster_needs_no_mark(cluster: Cluster, client: ApiClient) -> None:
    assert client is cluster.client
    assert isinstance(cluster.clock, FakeClock)
    assert list(cluster.nodes) == ["node-1"]
    await client.create(resources.PODS, POD, "default")
    await cluster.settled()
    assert (await client.get(resources.PODS, "web", "default"))["status"]["phase"] == "Running"


async def test_every_test_has_a_cluster_of_its_own(client: ApiClient) -> None:
    assert not (await client.list(resources.PODS)).items


@pytest.mark.cluster(nodes=2, seed=7)
class TestMarks:
    async def test_a_mark_gives_options(self, cluster: Cluster) -> None:
        assert (len(cluster.nodes), cluster.config.seed) == (2, 7)

    @pytest.mark.cluster(nodes=3, controllers=("serviceaccount-controller",))
    async def test_the_nearest_mark_counts(self, cluster: Cluster) -> None:
        assert (len(cluster.nodes), cluster.config.seed) == (3, 7)
        assert cluster.controllers is not None
        assert list(cluster.controllers.controllers) == ["serviceaccount-controller"]


@pytest.mark.cluster(listen=True)
async def test_a_cluster_that_listens_has_certificates_that_hold_now(cluster: Cluster) -> None:
    assert cluster.url.startswith("https://127.0.0.1:")
    assert abs(cluster.clock.now() - FakeClock().now()) > 1


async def test_kubectl_talks_to_the_tests_cluster_while_time_waits(cluster: Cluster, kubectl: Kubectl) -> None:
    before = cluster.clock.monotonic()
    creating = asyncio.create_task(kubectl("create", "deployment", "web", "--image", "web:1", "--replicas", "2"))
    await asyncio.sleep(0)
    await cluster.settled()
    assert await creating == "deployment.apps/web created\n"
    await cluster.settled()
    await cluster.advance(minutes=5)
    assert await kubectl("get", "pods", "-o", "jsonpath={.items[*].status.phase}") == "Running Running"
    assert "5m" in await kubectl("get", "deployment", "web")
    assert cluster.clock.monotonic() - before < 310
    with pytest.raises(KubectlFailed, match='pods "absent" not found'):
        await kubectl("get", "pod", "absent")
    await kubectl("apply", "-f", "-", stdin='{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "piped"}}')
    await cluster.client.get(resources.NAMESPACES, "piped")


@pytest.mark.timeout(300)
def test_pytest_starts_without_importing_the_server() -> None:
    program = (
        "import sys, kube_core.testing.plugin\n"
        "print(*sorted(name for name in sys.modules if name.startswith('kube_') and name.count('.') > 0))"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=250)
    assert finished.stdout.split() == ["kube_core.testing", "kube_core.testing.plugin"]


SUITE = """
import pytest
from kube_core.api import resources

@pytest.mark.parametrize("number", range(4))
async def test_alone(cluster, client, number):
    assert not (await client.list(resources.PODS)).items
    await client.create(
        resources.PODS, {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "x", "image": "x"}]}}, "default"
    )
    await cluster.advance(minutes=10)
    assert (await client.get(resources.PODS, "x", "default"))["status"]["phase"] == "Running"

@pytest.mark.cluster(3)
async def test_mistaken(cluster):
    pass
"""


THEIRS = """
import pytest

@pytest.fixture
def client():
    return "theirs"
"""

BESIDE = """
def test_theirs(client):
    assert client == "theirs"

async def test_ours(cluster):
    assert cluster.client.field_manager
"""


@pytest.mark.timeout(300)
def test_a_fixture_named_client_of_another_plugin_stays_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(THEIRS)
    (tmp_path / "test_beside.py").write_text(BESIDE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "theirs", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert "2 passed" in finished.stdout, finished.stdout + finished.stderr


@pytest.mark.timeout(300)
def test_tests_run_side_by_side_and_a_mistaken_mark_is_named(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\nfilterwarnings = error\n")
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "2", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert "4 passed, 1 error" in finished.stdout, finished.stdout + finished.stderr
    assert "options of the mark `cluster` are given by name" in finished.stdout


FAILING = """
from kube_core.api import resources

async def test_failing(cluster, client):
    await client.create(resources.NAMESPACES, {"metadata": {"name": "told"}})
    await cluster.settled()
    assert False
"""


@pytest.mark.timeout(300)
def test_a_failed_test_shows_what_its_cluster_did(tmp_path: Path) -> None:
    (tmp_path / "test_failing.py").write_text(FAILING)
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert "the cluster's record" in finished.stdout, finished.stdout + finished.stderr
    assert "kubernetes-admin asked to create namespaces → 201" in finished.stdout
    assert "Namespace told was created at revision" in finished.stdout


async def test_names_are_the_same_whatever_ran_before(cluster: Cluster) -> None:
    made = await cluster.client.create(resources.NAMESPACES, {"metadata": {"generateName": "demo-"}})
    async with Cluster(nodes=1, seed=1, record=True, listen=False, clock=FakeClock()) as other:
        await other.settled()
        async with other.fork() as fork:
            await fork.settled()
            again = await fork.client.create(resources.NAMESPACES, {"metadata": {"generateName": "demo-"}})
    assert again["metadata"]["name"] == made["metadata"]["name"]
    assert again["metadata"]["uid"] == made["metadata"]["uid"]

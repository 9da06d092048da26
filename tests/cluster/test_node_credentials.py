"""A node's client certificate is renewed in time, and the new one is what the node goes on with."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest

from kube_core._kit.certificates import Authority, make_request, read_certificate
from kube_core._kit.clock import FakeClock
from kube_core._kit.random import Random
from kube_core.abc.transport import User
from kube_core.api import resources
from kube_core.client.connection import ClientCertificate, Connection, TlsMaterial, client_ssl_context
from kube_core.cluster import Cluster
from kube_core.node.credentials import keep_renewed, renewal_moment, with_renewed

pytestmark = pytest.mark.anyio

NODE = User("system:node:n1", ("system:nodes", "system:authenticated"))
HOUR = 3600.0


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    controllers = tuple(f"certificatesigningrequest-{each}-controller" for each in ("approving", "signing"))
    async with Cluster(nodes=0, listen=False, controllers=controllers, seed=1, clock=FakeClock()) as cluster:
        yield cluster


def connection(cluster: Cluster, name: str = NODE.name) -> Connection:
    """By a certificate that holds for two hours."""
    request, key = make_request(name, ["system:nodes"])
    now = cluster.clock.now()
    certificate = cluster.authority.certify(request, key_usages=(), extended_usages=(), start=now, end=now + 2 * HOUR)
    return Connection("https://127.0.0.1:1", client_certificate=ClientCertificate(certificate, key))


async def let_nodes_renew(cluster: Cluster) -> None:
    group = "rbac.authorization.k8s.io"
    role = "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient"
    binding = {
        "metadata": {"name": "nodes-renew"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "Group", "apiGroup": group, "name": "system:nodes"}],
    }
    await cluster.client.create(resources.CLUSTER_ROLE_BINDINGS, binding)


@contextlib.asynccontextmanager
async def renewing(cluster: Cluster, place: Path) -> AsyncIterator[None]:
    client = cluster.client_for(NODE)
    working = keep_renewed(client, "n1", place, clock=cluster.clock, random=Random(1))
    task = asyncio.create_task(working)
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_certificate_is_renewed_before_its_time_is_over(cluster: Cluster, tmp_path: Path) -> None:
    place = tmp_path / "client.pem"
    await let_nodes_renew(cluster)
    used = with_renewed(connection(cluster), "n1", place, cluster.clock.now())
    assert used.client_certificate_files == (str(place), str(place))
    first = read_certificate(place.read_bytes())
    async with renewing(cluster, place):
        await cluster.advance(hours=2 * 0.69)
        assert read_certificate(place.read_bytes()) == first
        await cluster.advance(hours=2 * 0.22)
        second = read_certificate(place.read_bytes())
        assert second.name == NODE.name
        assert second.end > first.end
    # What is kept goes with its key, and stands before the older one of the kubeconfig.
    again = with_renewed(attrs.evolve(used, client_certificate_files=None), "n1", place, cluster.clock.now())
    assert again.client_certificate is not None
    assert again.client_certificate.certificate == place.read_bytes()
    context = client_ssl_context(again, TlsMaterial(certificate=again.client_certificate))
    assert isinstance(context, ssl.SSLContext)


async def test_what_nobody_approves_is_asked_for_again(cluster: Cluster, tmp_path: Path) -> None:
    place = tmp_path / "client.pem"
    with_renewed(connection(cluster), "n1", place, cluster.clock.now())
    first = read_certificate(place.read_bytes())
    async with renewing(cluster, place):
        await cluster.advance(hours=2 * 0.91)
        assert read_certificate(place.read_bytes()) == first
        await let_nodes_renew(cluster)
        await cluster.advance(minutes=20)
        assert read_certificate(place.read_bytes()).end > first.end


async def test_whose_certificate_is_no_nodes_goes_on_with_it(cluster: Cluster, tmp_path: Path) -> None:
    place, admin = tmp_path / "client.pem", connection(cluster, "ann")
    assert with_renewed(admin, "n1", place, cluster.clock.now()) == admin
    assert not place.exists()
    token = Connection("https://127.0.0.1:1", token="t")
    assert with_renewed(token, "n1", place, cluster.clock.now()) == token


async def test_a_kept_certificate_that_is_over_or_older_is_not_used(cluster: Cluster, tmp_path: Path) -> None:
    place, old = tmp_path / "client.pem", connection(cluster)
    with_renewed(old, "n1", place, cluster.clock.now())
    late = cluster.clock.now() + 3 * HOUR
    assert with_renewed(old, "n1", place, late) == old
    await cluster.advance(minutes=30)
    newer = connection(cluster)
    assert with_renewed(newer, "n1", place, cluster.clock.now()) == newer


def test_the_moment_is_between_seven_and_nine_tenths() -> None:
    pair = Authority.create("a", now=0.0).issue_client("x", now=0.0)
    read, random = read_certificate(pair.certificate), Random(1)
    parts = [(renewal_moment(pair.certificate, random) - read.begin) / (read.end - read.begin) for _ in range(100)]
    assert 0.7 <= min(parts) < 0.75
    assert 0.85 < max(parts) <= 0.9

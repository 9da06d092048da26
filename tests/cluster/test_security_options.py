"""A cluster that is told to encrypt, to audit, and who may come in; and whose parts are users like others."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import orjson
import pytest

from fakes.waiting import eventually
from kube_core._kit.clock import FakeClock
from kube_core.abc.store import StoreCorrupt
from kube_core.abc.transport import User
from kube_core.api import resources
from kube_core.auth.options import SecurityOptions
from kube_core.cluster import Cluster, ClusterConfig
from kube_core.cluster.identities import SCHEDULER, controller_user, node_user
from kube_core.config import ConfigError
from kube_core.meta.status import Forbidden, NotFound

pytestmark = pytest.mark.anyio

POD: dict[str, Any] = {
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "containers": [{"name": "main", "image": "app"}],
        "volumes": [{"name": "v", "secret": {"secretName": "mine"}}],
        "nodeName": "node-1",
    },
}


def secret(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "stringData": {"password": "correct-horse-battery"}}


async def test_a_node_reads_the_secrets_of_its_pods_and_no_others() -> None:
    async with Cluster(nodes=2, controllers=(), clock=FakeClock(), listen=False) as cluster:
        node = cluster.client_for(node_user("node-1"))
        for name in ("mine", "other"):
            await cluster.client.create(resources.SECRETS, secret(name))
        with pytest.raises(Forbidden, match="no relationship found between node 'node-1' and this object"):
            await node.get(resources.SECRETS, "mine", namespace="default")
        account = {"metadata": {"name": "default", "namespace": "default"}}
        await cluster.client.create(resources.SERVICE_ACCOUNTS, account)
        await cluster.client.create(resources.PODS, POD)
        assert await node.get(resources.SECRETS, "mine", namespace="default")
        with pytest.raises(Forbidden):
            await node.get(resources.SECRETS, "other", namespace="default")
        with pytest.raises(Forbidden):
            await cluster.client_for(node_user("node-2")).get(resources.SECRETS, "mine", namespace="default")


async def test_parts_of_the_cluster_may_do_their_work_and_nothing_else() -> None:
    async with Cluster(nodes=0, controllers=(), listen=False) as cluster:
        scheduler = cluster.client_for(SCHEDULER)
        deployments = cluster.client_for(controller_user("deployment-controller", "deployment-controller"))
        with pytest.raises(NotFound):
            await scheduler.delete(resources.PODS, "none", namespace="default")
        with pytest.raises(Forbidden):
            await scheduler.create(resources.SECRETS, secret("s"))
        with pytest.raises(NotFound):
            await deployments.delete(resources.REPLICA_SETS, "none", namespace="default")
        with pytest.raises(Forbidden):
            await deployments.delete(resources.PODS, "none", namespace="default")
        with pytest.raises(Forbidden):
            await cluster.client_for(User("system:serviceaccount:kube-system:stranger")).get(resources.NODES, "n")


async def test_a_local_watch_is_authorised_as_any_other() -> None:
    async with Cluster(nodes=0, controllers=(), listen=False) as cluster:
        with pytest.raises(Forbidden, match='cannot watch resource "secrets"'):
            async for _ in cluster.client_for(User("ann")).watch_once(resources.SECRETS):
                pass


async def test_secrets_are_sealed_and_requests_noted(tmp_path: Path) -> None:
    encryption, policy = tmp_path / "encryption.yaml", tmp_path / "policy.yaml"
    key = base64.b64encode(b"k" * 32).decode()
    encryption.write_text(
        "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n- resources: [secrets]\n"
        f"  providers:\n  - aescbc: {{keys: [{{name: k, secret: {key}}}]}}\n  - identity: {{}}\n"
    )
    policy.write_text("kind: Policy\napiVersion: audit.k8s.io/v1\nrules: [{level: Metadata, verbs: [create]}]\n")
    config = ClusterConfig(
        nodes=0,
        controllers=(),
        listen=False,
        store=f"sqlite://{tmp_path / 'store.db'}",
        security=SecurityOptions(
            encryption_provider_config=encryption,
            audit_policy_file=policy,
            audit_log_path=str(tmp_path / "audit.log"),
        ),
    )
    async with Cluster(config) as cluster:
        await cluster.client.create(resources.SECRETS, secret("s"))

        async def noted() -> bool:
            return b'"resource":"secrets"' in (tmp_path / "audit.log").read_bytes()

        await eventually(noted)
    events = [orjson.loads(line) for line in (tmp_path / "audit.log").read_bytes().splitlines()]
    assert {event["verb"] for event in events} == {"create"}
    assert base64.b64encode(b"correct-horse-battery") not in stored(tmp_path)
    assert b"k8s:enc:aescbc:v1:k:" in stored(tmp_path)
    encryption.write_text(encryption.read_text().replace("name: k,", "name: another,"))
    with pytest.raises(StoreCorrupt, match="/registry/core/secrets/default/s cannot be decrypted"):
        async with Cluster(config):
            pass


def stored(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.iterdir() if file.name.startswith("store.db"))


async def test_a_mistake_in_a_file_is_a_mistake_of_configuration(tmp_path: Path) -> None:
    file = tmp_path / "encryption.yaml"
    file.write_text("kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources: []\n")
    with pytest.raises(ConfigError, match=r"encryption\.yaml: resources: required"):
        async with Cluster(nodes=0, listen=False, security=SecurityOptions(encryption_provider_config=file)):
            pass

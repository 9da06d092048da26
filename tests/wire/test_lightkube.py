"""lightkube, unmodified: typed and generic resources, YAML both ways, apply, watches and waiting, sync and async."""

from __future__ import annotations

from pathlib import Path

import pytest
from lightkube import ApiError, AsyncClient, Client, KubeConfig, codecs
from lightkube.generic_resource import create_namespaced_resource, load_in_cluster_generic_resources
from lightkube.models.autoscaling_v1 import ScaleSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Namespace, Node, Pod, Secret
from lightkube.types import CascadeType, PatchType

from fakes.kubectl import Kubectl
from fakes.waiting import soon

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.usefixtures("unclosed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx}]}
---
apiVersion: v1
kind: Secret
metadata: {name: word}
stringData: {word: "{{ word }}"}
"""


@pytest.fixture
def client(kubectl: Kubectl) -> Client:
    configuration = KubeConfig.from_file(kubectl.kubeconfig)
    return Client(config=configuration, namespace=kubectl.namespace, field_manager="lightkube")


def test_typed_resources(client: Client, kubectl: Kubectl) -> None:
    made = client.create(ConfigMap(metadata=ObjectMeta(name="one", labels={"a": "b"}), data={"x": "1"}))
    assert made.metadata is not None
    assert client.get(ConfigMap, "one").data == {"x": "1"}
    assert [found.metadata.name for found in client.list(ConfigMap, labels={"a": "b"}) if found.metadata] == ["one"]
    assert client.patch(ConfigMap, "one", {"data": {"y": "2"}}).data == {"x": "1", "y": "2"}
    steps = [{"op": "remove", "path": "/data/x"}]
    assert client.patch(ConfigMap, "one", steps, patch_type=PatchType.JSON).data == {"y": "2"}
    made.data = {"z": "3"}
    with pytest.raises(ApiError) as conflict:
        client.replace(made)
    assert conflict.value.status.code == 409
    client.set(ConfigMap, "one", labels={"a": "c"})
    assert [found.metadata.name for found in client.list(ConfigMap, labels={"a": "c"}) if found.metadata] == ["one"]
    client.delete(ConfigMap, "one")
    with pytest.raises(ApiError) as missing:
        client.get(ConfigMap, "one")
    assert missing.value.status.reason == "NotFound"
    nodes = {node.metadata.name for node in client.list(Node) if node.metadata}
    assert nodes >= {"node-1", "node-2"}
    assert client.get(Namespace, kubectl.namespace).status


async def test_yaml_apply_scale_and_waiting(client: Client, kubectl: Kubectl) -> None:
    documents = codecs.load_all_yaml(DEPLOYMENT, context={"word": "hello"})
    for each in documents:
        client.apply(each)
    applied = client.apply(documents[0])
    assert applied.metadata is not None
    assert next(entry.manager for entry in applied.metadata.managedFields or []) == "lightkube"
    other = Deployment.Scale(metadata=ObjectMeta(name="web"), spec=ScaleSpec(replicas=2))
    client.replace(other, name="web")
    soon(lambda: (client.get(Deployment.Status, "web").status or applied.status).readyReplicas == 2)  # type: ignore[union-attr]
    with pytest.raises(ApiError) as conflict:
        client.apply(documents[0])
    assert "conflict" in conflict.value.status.message
    client.apply(documents[0], force=True)
    assert client.get(Deployment.Scale, "web").spec.replicas == 1  # type: ignore[union-attr]
    dumped = codecs.dump_all_yaml([client.get(Secret, "word")])
    assert "word: aGVsbG8=" in dumped
    configuration = KubeConfig.from_file(kubectl.kubeconfig)
    async with AsyncClient(config=configuration, namespace=kubectl.namespace) as later:
        await later.wait(Deployment, "web", for_conditions=["Available"])
        names = [pod.metadata.name async for pod in later.list(Pod, labels={"app": "web"}) if pod.metadata]
        assert all(name is not None and name.startswith("web-") for name in names)
        listed = client.list(ConfigMap)
        assert list(listed)
        start = listed.resourceVersion
        await later.create(ConfigMap(metadata=ObjectMeta(name="seen")))
        async for kind, found in later.watch(ConfigMap, resource_version=start):
            assert found.metadata is not None
            assert (kind, found.metadata.name) == ("ADDED", "seen")
            break
    client.delete(Deployment, "web", cascade=CascadeType.FOREGROUND)
    soon(lambda: not list(client.list(Deployment)))


def test_generic_resources(client: Client, kubectl: Kubectl, manifests: Path) -> None:
    kubectl("apply", "-f", manifests / "kopf.yaml")
    kubectl("wait", "--for=condition=Established", "--timeout=15s", "-f", manifests / "kopf.yaml")
    clocks = create_namespaced_resource("operator.example.dev", "v1", "KopfClock", "kopfclocks")
    made = client.create(clocks(metadata=ObjectMeta(name="one"), spec={"a": 1}))
    assert made["spec"] == {"a": 1}
    client.patch(clocks.Status, "one", {"status": {"seen": True}}, patch_type=PatchType.MERGE)
    assert client.get(clocks, "one")["status"] == {"seen": True}
    load_in_cluster_generic_resources(client)
    volume = codecs.load_all_yaml(
        "{apiVersion: operator.example.dev/v1, kind: EphemeralVolume, metadata: {name: v}, spec: {size: 1Gi}}"
    )
    client.apply(volume[0])
    assert client.get(type(volume[0]), "v")["spec"] == {"size": "1Gi"}  # type: ignore[type-var]

"""Static pods on a node of a real server: files become pods, the API shows their mirrors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fakes.waiting import eventually
from kube_core._kit.logs import get_logger
from kube_core.api import pods, resources
from kube_core.api.kubelet import KubeletSettings
from kube_core.cluster import Cluster
from kube_core.control.events import EventWriter
from kube_core.meta.documents import Document, annotations_of, uid_of
from kube_core.node.agent import NodeAgent, NodeConfig
from kube_core.node.pods.admission import MIRROR
from kube_core.node.statics import StaticPods, read_static_pod
from kube_drivers.network.fake import FakeNetwork
from kube_drivers.runtime.fake import FakeRuntime

pytestmark = pytest.mark.anyio

POD = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: IMAGE}]
"""


@contextlib.asynccontextmanager
async def node(folder: Path) -> AsyncIterator[tuple[Cluster, NodeAgent]]:
    async with Cluster(nodes=0, listen=False, controllers=("serviceaccount-controller",)) as cluster:
        await eventually(lambda: accounts(cluster))
        settings = KubeletSettings(static_pod_path=folder, file_check_frequency=0.1)
        async with EventWriter(cluster.client, clock=cluster.clock, random=cluster.random) as events:
            agent = NodeAgent(
                NodeConfig("n", pod_cidr="10.244.0.0/24", kubelet=settings),
                client=cluster.client,
                informers=cluster.informers,
                events=events,
                runtime=FakeRuntime(clock=cluster.clock, node_name="n"),
                network=FakeNetwork(clock=cluster.clock, node_name="n", pod_cidr="10.244.0.0/24"),
                volumes=[],
                clock=cluster.clock,
                random=cluster.random,
            )
            running = asyncio.create_task(agent.run())
            try:
                yield cluster, agent
                assert not running.done()
            finally:
                running.cancel()
                await asyncio.wait([running])


async def accounts(cluster: Cluster) -> bool:
    return bool((await cluster.client.list(resources.SERVICE_ACCOUNTS, "default")).items)


async def mirrors(cluster: Cluster) -> list[Document]:
    return list((await cluster.client.list(resources.PODS, "default")).items)


async def ready(cluster: Cluster, image: str = "x", other_than: str = "") -> Document | None:
    for each in await mirrors(cluster):
        if pods.is_ready(each) and each["spec"]["containers"][0]["image"] == image and uid_of(each) != other_than:
            return each
    return None


async def none_left(cluster: Cluster) -> bool:
    return not await mirrors(cluster)


async def test_a_file_is_a_pod_that_the_api_shows_and_cannot_end(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text(POD.replace("IMAGE", "x"))
    (tmp_path / ".hidden.yaml").write_text(POD.replace("IMAGE", "x"))
    (tmp_path / "broken.yaml").write_text("kind: Pod\n  nonsense")
    async with node(tmp_path) as (cluster, agent):
        mirror = await eventually(lambda: ready(cluster))
        assert (mirror["metadata"]["name"], mirror["spec"]["nodeName"]) == ("web-n", "n")
        assert mirror["metadata"]["ownerReferences"][0]["kind"] == "Node"
        static = agent.pods[0]
        assert annotations_of(mirror)[MIRROR] == uid_of(static) != uid_of(mirror)
        # Deleted, it comes back, and its containers know nothing of it.
        container = agent.runtime.list_containers()[0].id
        await cluster.client.delete(resources.PODS, "web-n", "default", grace_period=0)
        await eventually(lambda: ready(cluster, other_than=uid_of(mirror)))
        assert [each.id for each in agent.runtime.list_containers()] == [container]
        # Another content is another pod.
        file.write_text(POD.replace("IMAGE", "z"))
        await eventually(lambda: ready(cluster, "z"))
        assert [each.config.image for each in agent.runtime.list_containers()] == ["z"]
        file.unlink()
        await eventually(lambda: none_left(cluster))
        await eventually(lambda: idle(agent))


async def test_mirrors_are_found_again_and_those_of_nothing_removed(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(POD.replace("IMAGE", "x"))
    async with node(tmp_path) as (cluster, agent):
        mirror = await eventually(lambda: ready(cluster))
        stray = {"name": "stray", "annotations": {**mirror["metadata"]["annotations"], MIRROR: "gone"}}
        stray["ownerReferences"] = mirror["metadata"]["ownerReferences"]
        spec = {"nodeName": "n", "containers": [{"name": "c", "image": "x"}], "automountServiceAccountToken": False}
        await cluster.client.create(resources.PODS, {"metadata": stray, "spec": spec}, "default")
        await eventually(lambda: only(cluster, "web-n"))
        assert uid_of((await mirrors(cluster))[0]) == uid_of(mirror)
        statics = StaticPods(
            cluster.client, node_name="n", node_uid=lambda: uid_of(agent.node or {}), settings=agent.config.kubelet,
            clock=cluster.clock, log=get_logger("tests"), pods=Nobody(),
        )  # fmt: skip
        statics.mirror_changed(None, mirror)
        await statics.look()
        assert uid_of(statics.mirror_of(uid_of(agent.pods[0])) or {}) == uid_of(mirror)


class Nobody:
    """A node that does nothing with its pods."""

    def start_pod(self, pod: Document) -> None: ...

    def stop_pod(self, pod: Document) -> None: ...

    def look_again(self, uid: str) -> None: ...


async def only(cluster: Cluster, name: str) -> bool:
    return [each["metadata"]["name"] for each in await mirrors(cluster)] == [name]


async def idle(agent: NodeAgent) -> bool:
    return not agent.runtime.list_containers()


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"kind: Service", b"kind: Pod", b"kind: Pod\nspec: {containers: [{name: c}]}", b"a: b: c", b"\xff"],
)
def test_a_file_that_holds_no_pod_says_so(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_static_pod(content, "/manifests/a.yaml", "n")


def test_a_static_pod_is_named_after_its_node_and_its_uid_is_its_content() -> None:
    def read(image: str, node: str) -> dict[str, Any]:
        return read_static_pod(POD.replace("IMAGE", image).encode(), "/manifests/a.yaml", node)

    one = read("x", "Node-1")
    assert (one["metadata"]["name"], one["metadata"]["namespace"]) == ("web-node-1", "default")
    assert one["spec"]["tolerations"] == [{"operator": "Exists", "effect": "NoExecute"}]
    assert uid_of(one) == uid_of(read("x", "Node-1"))
    assert len({uid_of(one), uid_of(read("z", "Node-1")), uid_of(read("x", "node-2"))}) == 3

"""Pods as real containers on a network of their own: probed, served, chosen by RuntimeClass, gone without a trace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fakes.containers import needs_containers, offline
from fakes.images import busybox_layer, make_image
from fakes.waiting import eventually
from kube_core._kit import mounts
from kube_core.api import resources
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document
from kube_drivers import usernamespaces
from kube_drivers.network.bridge.netlink import Netlink

pytestmark = [pytest.mark.anyio, needs_containers("crun")]

WEB = "mkdir -p /www; echo hello from $HOSTNAME > /www/index.html; exec httpd -f -p 8080 -h /www"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder with an archive of images, on a machine whose registries are offline."""
    folder = tmp_path_factory.mktemp("machine")
    make_image(busybox_layer(), Env=["PATH=/bin"]).save_docker(folder / "busybox.tar", "busybox:1")
    with offline(folder / "store"):
        yield folder


@pytest.fixture(scope="module")
async def cluster(machine: Path) -> AsyncIterator[Cluster]:
    options: dict[str, Any] = {
        "runtime": "mixed:oci+fake",
        "network": "bridge",
        "nodes": 2,
        "images": (machine / "busybox.tar",),
        "proxy": "userspace",
        "state_directory": machine / "state",
    }
    (machine / "state").mkdir()
    async with Cluster(name="oci-pods", **options) as cluster:
        yield cluster
    assert mounts.mounts_below(machine / "state") == []
    with Netlink() as netlink:
        assert not {link.name for link in netlink.links()} & devices(cluster)


def devices(cluster: Cluster) -> set[str]:
    return {agent.network._bridge for agent in cluster.nodes.values()}  # type: ignore[attr-defined]


async def create(cluster: Cluster, name: str, script: str, image: str = "busybox:1", **spec: Any) -> None:
    probes = ("readinessProbe", "livenessProbe")
    of_container: dict[str, Any] = {field: spec.pop(field) for field in probes if field in spec}
    container: dict[str, Any] = {"name": "c", "image": image, "command": ["sh", "-c", script], **of_container}
    document: Any = {
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "restartPolicy": "Never", "containers": [container], **spec},
    }
    await cluster.client.create(resources.PODS, document, "default")


async def pod_when(cluster: Cluster, name: str, condition: Any) -> Any:
    async def look() -> Document | None:
        pod = await cluster.client.get(resources.PODS, name, "default")
        return pod if condition(pod) else None

    return await eventually(look, seconds=40)


def is_ready(pod: Any) -> bool:
    conditions = {each["type"]: each["status"] for each in (pod.get("status") or {}).get("conditions") or ()}
    return conditions.get("Ready") == "True"


def is_over(pod: Any) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


async def says(cluster: Cluster, name: str) -> str:
    """What a pod wrote, once it is over."""
    await pod_when(cluster, name, is_over)
    return b"".join(
        [chunk async for chunk in cluster.client.stream(f"/api/v1/namespaces/default/pods/{name}/log")]
    ).decode()


async def test_a_pod_is_probed_and_reached_at_its_address_and_its_services(cluster: Cluster) -> None:
    probe = {"httpGet": {"port": 8080, "path": "/index.html"}, "periodSeconds": 1}
    await create(cluster, "web", WEB, readinessProbe=probe, nodeName="node-1")
    ports = [{"port": 80, "targetPort": 8080}]
    service = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports}}
    made: Any = await cluster.client.create(resources.SERVICES, service, "default")
    pod = await pod_when(cluster, "web", is_ready)
    await cluster.settled()
    address, service_ip = pod["status"]["podIP"], made["spec"]["clusterIP"]
    # From the other node, of the same machine.
    again = f"for n in 1 2 3 4 5; do wget -q -O- http://{service_ip}/ && break; sleep 1; done"
    script = f"wget -q -O- http://{address}:8080/; {again}"
    await create(cluster, "client", script, nodeName="node-2")
    assert await says(cluster, "client") == "hello from web\nhello from web\n"


async def test_a_pod_reaches_the_api_server_at_its_service(cluster: Cluster) -> None:
    script = "nc -w 9 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT </dev/null && echo $KUBERNETES_SERVICE_PORT"
    await create(cluster, "in-cluster", script)
    assert await says(cluster, "in-cluster") == "443\n"


async def test_a_pod_has_names_of_its_own(cluster: Cluster) -> None:
    aliases = [{"ip": "192.0.2.7", "hostnames": ["other.example"]}]
    await create(cluster, "named", "grep -E 'named|other' /etc/hosts", hostAliases=aliases)
    pod = await pod_when(cluster, "named", is_over)
    lines = [line.split() for line in (await says(cluster, "named")).splitlines()]
    assert lines == [[pod["status"]["podIP"], "named"], ["192.0.2.7", "other.example"]]


async def test_a_class_chooses_among_runtimes(cluster: Cluster) -> None:
    await cluster.client.create(resources.RUNTIME_CLASSES, {"metadata": {"name": "pretend"}, "handler": "fake"})
    await create(cluster, "real", "exit 3")
    await create(cluster, "pretends", "exit 3", image="x", runtimeClassName="pretend")
    real = await pod_when(cluster, "real", is_over)
    assert real["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
    pretends = await pod_when(cluster, "pretends", lambda pod: (pod.get("status") or {}).get("phase") == "Running")
    assert pretends["status"]["containerStatuses"][0]["imageID"].startswith("fake:")


@pytest.mark.skipif(not usernamespaces.available(), reason="this machine has no user namespaces, or maps no mounts")
async def test_a_pod_with_users_of_its_own_owns_its_network_and_its_volumes(cluster: Cluster) -> None:
    settings = {"metadata": {"name": "settings"}, "data": {"key": "value\n"}}
    await cluster.client.create(resources.CONFIG_MAPS, settings, "default")
    volumes = [{"name": "v", "configMap": {"name": "settings"}}, {"name": "e", "emptyDir": {}}]
    script = (
        "id -u; cat /proc/self/uid_map; cat /v/key; stat -c %u /v/key /e; echo x > /e/file;"
        "(echo served | nc -l -p 80 &); until nc -w 5 $POD_IP 80 2>/dev/null; do sleep 1; done"
    )
    address = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    container = {"name": "c", "image": "busybox:1", "command": ["sh", "-c", script], "env": [address]}
    container["volumeMounts"] = [{"name": "v", "mountPath": "/v"}, {"name": "e", "mountPath": "/e"}]
    spec = {"hostUsers": False, "restartPolicy": "Never", "volumes": volumes, "containers": [container]}
    firsts = set()
    for name in ("users-1", "users-2"):
        document: Any = {"metadata": {"name": name}, "spec": {**spec, "nodeName": "node-1"}}
        await cluster.client.create(resources.PODS, document, "default")
    for name in ("users-1", "users-2"):
        user, mapping, *rest = (await says(cluster, name)).splitlines()
        inner, first, length = map(int, mapping.split())
        assert (user, inner, length, rest) == ("0", 0, 65_536, ["value", "0", "0", "served"])
        firsts.add(first)
    assert len(firsts) == 2
    assert 0 not in firsts


async def test_an_image_that_is_not_there_is_waited_for(cluster: Cluster) -> None:
    await create(cluster, "no-image", "true", image="registry.example/none:1")

    def waits(pod: Any) -> bool:
        statuses = (pod.get("status") or {}).get("containerStatuses") or [{}]
        waiting = (statuses[0].get("state") or {}).get("waiting") or {}
        return waiting.get("reason") in ("ErrImagePull", "ImagePullBackOff")

    pod = await pod_when(cluster, "no-image", waits)
    assert "failed to pull and unpack image" in pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"]


async def test_deleted_pods_give_everything_back(cluster: Cluster, machine: Path) -> None:
    await create(cluster, "short", "sleep 1000", nodeName="node-1")
    pod = await pod_when(cluster, "short", is_ready)
    uid = pod["metadata"]["uid"]
    assert any(uid in str(path) for path in mounts.mounts_below(machine / "state"))
    await cluster.client.delete(resources.PODS, "short", "default")

    async def gone() -> bool:
        # Its mounts, and its volumes' folders.
        await asyncio.sleep(0)
        return not any(uid in str(path) for path in mounts.mounts_below(machine / "state"))

    assert await eventually(gone)

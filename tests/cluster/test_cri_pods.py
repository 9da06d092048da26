"""Pods at a CRI endpoint: containerd with its own networks, as Debian has it. Probed, served, limited, found again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from fakes import containerd
from fakes.containerd import Containerd
from fakes.waiting import eventually
from kube_core.api import resources
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document
from kube_core.testing.runtime import marked, unique
from kube_drivers.runtime.oci.cgroups import Cgroups

T = TypeVar("T")

#: A daemon, its shims and an OCI runtime for every container take their time where others want the processors, too.
pytestmark = [pytest.mark.anyio, containerd.needs_containerd(), pytest.mark.timeout(240)]

WEB = "mkdir -p /www; echo hello from $HOSTNAME > /www/index.html; exec httpd -f -p 8080 -h /www"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Containerd]:
    with containerd.running() as made:
        yield made


@pytest.fixture(scope="module")
async def cluster(endpoint: Containerd, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    state = tmp_path_factory.mktemp("cri-pods")
    async with Cluster(name="cri-pods", runtime=f"cri:{endpoint.endpoint}", state_directory=state) as cluster:
        yield cluster
    # Only what is ended leaves nothing, the endpoint's other users aside.
    assert endpoint.ctr("containers", "ls", "-q") == ""


async def create(cluster: Cluster, name: str, script: str, **spec: Any) -> None:
    fields = ("readinessProbe", "livenessProbe", "resources", "securityContext", "volumeMounts")
    of_container: dict[str, Any] = {field: spec.pop(field) for field in fields if field in spec}
    container: dict[str, Any] = {
        "name": "c",
        "image": spec.pop("image", "busybox:1"),
        "command": ["sh", "-c", script],
        **of_container,
    }
    document: Any = {
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "restartPolicy": "Never", "containers": [container], **spec},
    }
    await cluster.client.create(resources.PODS, document, "default")


async def pod_when(cluster: Cluster, name: str, condition: Any) -> Any:
    async def look() -> Document | None:
        pod = await cluster.client.get(resources.PODS, name, "default")
        return pod if condition(pod) else None

    return await eventually(look, seconds=120)


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


async def test_a_pod_has_the_endpoints_network_and_is_probed_and_served(cluster: Cluster) -> None:
    probe = {"httpGet": {"port": 8080, "path": "/index.html"}, "periodSeconds": 1}
    await create(cluster, "web", WEB, readinessProbe=probe)
    ports = [{"port": 80, "targetPort": 8080}]
    service = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports}}
    made: Any = await cluster.client.create(resources.SERVICES, service, "default")
    pod = await pod_when(cluster, "web", is_ready)
    address, service_ip = pod["status"]["podIP"], made["spec"]["clusterIP"]
    assert address.startswith("10.253.")
    again = f"for n in 1 2 3 4 5 6 7 8 9; do wget -q -O- http://{service_ip}/ && break; sleep 1; done"
    await create(cluster, "client", f"wget -q -O- http://{address}:8080/; {again}")
    assert await says(cluster, "client") == "hello from web\nhello from web\n"


async def test_a_node_says_which_runtime_it_has(cluster: Cluster) -> None:
    node: Any = await cluster.client.get(resources.NODES, "node-1")
    assert node["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://1.")
    await create(cluster, "seen", "exit 3")
    pod = await pod_when(cluster, "seen", is_over)
    status = pod["status"]["containerStatuses"][0]
    assert status["containerID"].startswith("containerd://")
    assert status["imageID"].startswith("docker.io/library/busybox@sha256:")
    assert (status["state"]["terminated"]["exitCode"], status["state"]["terminated"]["reason"]) == (3, "Error")


async def test_the_image_of_sandboxes_is_not_to_be_removed(cluster: Cluster) -> None:
    runtime: Any = cluster.nodes["node-1"].runtime
    pinned = [each for each in await runtime.list_images() if each.pinned]
    assert ["registry.example/pause:1" in each.references for each in pinned] == [True]


async def test_what_kubelets_write_on_containers_is_there(cluster: Cluster, endpoint: Containerd) -> None:
    await create(cluster, "labelled", "sleep 1000")
    pod = await pod_when(cluster, "labelled", is_ready)
    identity = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    shown = endpoint.ctr("containers", "info", identity)
    for label in ('"io.kubernetes.pod.name": "labelled"', '"io.kubernetes.container.name": "c"'):
        assert label in shown
    await cluster.client.delete(resources.PODS, "labelled", "default")


async def test_security_limits_volumes_and_names_reach_the_container(cluster: Cluster) -> None:
    script = (
        "id -u; id -g; grep NoNewPrivs /proc/self/status | cut -f 2; cat /etc/resolv.conf;"
        "grep -c alias /etc/hosts; touch /file 2>/dev/null || echo read-only;"
        "echo kept > /data/file; cat /data/file; hostname; wc -c < /proc/timer_list;"
        "grep CapEff /proc/self/status | cut -f 2"
    )
    await create(
        cluster,
        "confined",
        script,
        securityContext={
            "runAsUser": 1000,
            "runAsGroup": 3000,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        resources={"limits": {"memory": "64Mi", "cpu": "500m"}},
        volumeMounts=[{"name": "data", "mountPath": "/data"}],
        volumes=[{"name": "data", "emptyDir": {}}],
        hostAliases=[{"ip": "192.0.2.7", "hostnames": ["alias.example"]}],
        dnsPolicy="None",
        dnsConfig={"nameservers": ["192.0.2.53"], "searches": ["example.test"]},
    )
    assert (await says(cluster, "confined")).splitlines() == [
        "1000",
        "3000",
        "1",
        "search example.test",
        "nameserver 192.0.2.53",
        "1",
        "read-only",
        "kept",
        "confined",
        "0",
        "0000000000000000",
    ]


async def test_a_pod_and_its_containers_are_limited_by_cgroups(cluster: Cluster) -> None:
    limits = {"limits": {"memory": "64Mi", "cpu": "500m"}}
    await create(cluster, "limited", "sleep 1000", resources=limits)
    pod = await pod_when(cluster, "limited", is_ready)
    cgroup = f"kubepods/pod{pod['metadata']['uid']}"
    identity = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    cgroups = Cgroups.of_machine()
    if (tree := cgroups.trees.get("memory")) is None:
        pytest.skip("this machine has no cgroups of version 1 for memory")
    found = [(tree / place / "memory.limit_in_bytes").read_text().strip() for place in (cgroup, f"{cgroup}/{identity}")]
    assert found == [str(64 << 20)] * 2
    await cluster.client.delete(resources.PODS, "limited", "default")
    await eventually(lambda: _async(not (tree / cgroup).exists()), seconds=120)


async def test_a_running_container_is_resized(cluster: Cluster) -> None:
    await create(cluster, "resized", "sleep 1000", resources={"limits": {"memory": "64Mi", "cpu": "500m"}})
    pod = await pod_when(cluster, "resized", is_ready)
    change = {
        "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "250m"}, "requests": {"cpu": "250m"}}}]}
    }
    await cluster.client.patch(
        resources.PODS, "resized", change, "default", patch_type="strategic", subresource="resize"
    )
    cgroups, uid = Cgroups.of_machine(), pod["metadata"]["uid"]
    identity = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    if (tree := cgroups.trees.get("cpu")) is None:
        pytest.skip("this machine has no cgroups of version 1 for cpu")
    quota = tree / f"kubepods/pod{uid}/{identity}/cpu.cfs_quota_us"
    await eventually(lambda: _async(quota.read_text().strip() == "25000"), seconds=120)
    await cluster.client.delete(resources.PODS, "resized", "default")


async def test_an_image_that_is_not_there_is_waited_for(cluster: Cluster) -> None:
    await create(cluster, "no-image", "true", image="registry.example/none:1")

    def waits(pod: Any) -> bool:
        statuses = (pod.get("status") or {}).get("containerStatuses") or [{}]
        waiting = (statuses[0].get("state") or {}).get("waiting") or {}
        return waiting.get("reason") in ("ErrImagePull", "ImagePullBackOff")

    pod = await pod_when(cluster, "no-image", waits)
    assert "registry.example/none:1" in pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    await cluster.client.delete(resources.PODS, "no-image", "default")


async def test_a_handler_that_the_endpoint_does_not_have_keeps_the_pod_waiting(cluster: Cluster) -> None:
    await cluster.client.create(resources.RUNTIME_CLASSES, {"metadata": {"name": "none"}, "handler": "none"})
    await create(cluster, "classless", "true", runtimeClassName="none")

    async def told() -> bool:
        events = (await cluster.client.list(resources.EVENTS, "default")).items
        return any(
            'no runtime for "none" is configured' in str(each.get("note") or each.get("message")) for each in events
        )

    await eventually(told, seconds=120)
    await cluster.client.delete(resources.PODS, "classless", "default")


async def test_a_crash_of_the_endpoint_ends_no_pod_and_begins_none_again(
    cluster: Cluster, endpoint: Containerd
) -> None:
    mark = unique()
    await create(cluster, "steady", f"echo begun; sleep {mark} & wait", restartPolicy="Always")
    before = await pod_when(cluster, "steady", is_ready)
    # It is ready once its shell runs, which has then yet to begin the rest.
    (process,) = await eventually(lambda: _async(_sleepers(mark)), seconds=120)
    endpoint.kill()
    # Made while nobody is there to run it, and one that ends meanwhile.
    await create(cluster, "meanwhile", "exit 0")
    await asyncio.to_thread(endpoint.start)
    await pod_when(cluster, "meanwhile", is_over)
    after = await pod_when(cluster, "steady", is_ready)
    assert after["status"]["containerStatuses"] == before["status"]["containerStatuses"]
    assert process in marked(mark)
    await cluster.client.delete(resources.PODS, "steady", "default")
    await eventually(lambda: _async(not marked(mark)), seconds=120)


def _sleepers(mark: str) -> list[int]:
    """The processes that have this word, but for shells."""
    return [pid for pid in marked(mark) if b"sleep\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def _async(value: T) -> T:
    await asyncio.sleep(0)
    return value

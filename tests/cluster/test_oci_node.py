"""What a node works out for real containers: users, volumes in memory, names, changing limits, a look from beside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fakes.containers import needs_containers, offline
from fakes.images import busybox_layer, make_image
from fakes.waiting import eventually
from kube_core._kit import mounts
from kube_core.api import resources
from kube_core.api.kubelet import KubeletSettings
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document

pytestmark = [pytest.mark.anyio, needs_containers("crun")]

FOREVER = "trap 'exit 0' TERM; while true; do sleep 0.2; done"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    folder = tmp_path_factory.mktemp("machine")
    make_image(busybox_layer(), Env=["PATH=/bin"]).save_docker(folder / "busybox.tar", "busybox:1")
    state = folder / "state"
    state.mkdir()
    with offline(folder / "store"):
        options: dict[str, Any] = {"runtime": "oci", "network": "bridge", "images": (folder / "busybox.tar",)}
        settings = KubeletSettings(cluster_dns=("10.96.0.10",), resolv_conf="")
        async with Cluster(name="oci-node", listen=False, state_directory=state, kubelet=settings, **options) as made:
            yield made
    assert mounts.mounts_below(state) == []


async def create(cluster: Cluster, name: str, *containers: Document, **spec: Any) -> None:
    document: Document = {
        "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 5, "containers": list(containers), **spec},
    }
    await cluster.client.create(resources.PODS, document, "default")


def shell(name: str, script: str, **more: Any) -> Document:
    return {"name": name, "image": "busybox:1", "command": ["sh", "-c", script], **more}


async def pod_when(cluster: Cluster, name: str, holds: Any) -> Any:
    async def look() -> Document | None:
        pod = await cluster.client.get(resources.PODS, name, "default")
        return pod if holds(pod) else None

    return await eventually(look, seconds=40)


async def said(cluster: Cluster, name: str, script: str, *, spec: Any = None, **container: Any) -> str:
    """The last words of a pod that runs a script to its end."""
    await create(
        cluster, name, shell("c", f"({script}) > /dev/termination-log 2>&1", **container), restartPolicy="Never",
        **(spec or {}),
    )  # fmt: skip
    pod = await pod_when(cluster, name, lambda pod: (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"))
    return str(pod["status"]["containerStatuses"][0]["state"]["terminated"].get("message", ""))


async def test_a_container_is_who_its_contexts_say_and_writes_where_it_may(cluster: Cluster) -> None:
    script = "id -u; id -g; id -G; touch /x 2>/dev/null || echo read-only; touch /v/x && stat -c '%u %g' /v/x"
    text = await said(
        cluster, "user", script,
        securityContext={"readOnlyRootFilesystem": True, "runAsUser": 1234},
        volumeMounts=[{"name": "v", "mountPath": "/v"}],
        spec={
            "securityContext": {"runAsUser": 1, "runAsGroup": 2000, "fsGroup": 3000},
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
    )  # fmt: skip
    assert text.split("\n")[:5] == ["1234", "2000", "2000 3000", "read-only", "1234 3000"]


async def test_a_volume_in_memory_is_one_and_as_large_as_it_may_be(cluster: Cluster) -> None:
    script = "grep ' /v ' /proc/mounts | cut -d' ' -f3; df -k /v | tail -1 | awk '{print $2}'; stat -c %a /v"
    volume = {"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}
    text = await said(
        cluster, "memory", script, volumeMounts=[{"name": "v", "mountPath": "/v"}], spec={"volumes": [volume]}
    )  # fmt: skip
    assert text.split() == ["tmpfs", "1024", "777"]


async def test_parts_of_volumes_are_mounted_as_they_were_when_the_container_began(cluster: Cluster) -> None:
    config = {"metadata": {"name": "parts"}, "data": {"one": "1", "two": "2"}}
    await cluster.client.create(resources.CONFIG_MAPS, config, "default")
    mounts = [
        {"name": "config", "mountPath": "/etc/one", "subPath": "one"},
        {"name": "v", "mountPath": "/v", "subPathExpr": "of/$(POD)"},
        {"name": "v", "mountPath": "/whole"},
    ]
    name = {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    volumes = [{"name": "config", "configMap": {"name": "parts"}}, {"name": "v", "emptyDir": {}}]
    script = "cat /etc/one; touch /etc/one 2>/dev/null || echo -ro; echo x > /v/file; ls /whole/of/parts"
    text = await said(cluster, "parts", script, volumeMounts=mounts, env=[name], spec={"volumes": volumes})
    assert text == "1-ro\nfile\n"


async def test_a_pod_knows_its_names_and_whom_to_ask_for_others(cluster: Cluster) -> None:
    spec = {
        "hostname": "db",
        "subdomain": "sub",
        "setHostnameAsFQDN": True,
        "hostAliases": [{"ip": "192.0.2.7", "hostnames": ["old", "older"]}],
        "dnsConfig": {"searches": ["corp.example"], "options": [{"name": "ndots", "value": "2"}]},
        "securityContext": {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]},
    }
    script = "hostname; cat /etc/resolv.conf; tail -4 /etc/hosts; cat /proc/sys/kernel/shm_rmid_forced"
    lines = (await said(cluster, "names", script, spec=spec)).split("\n")
    whole = "db.sub.default.svc.cluster.local"
    assert lines[0] == whole
    assert lines[1] == "nameserver 10.96.0.10"
    assert lines[2].startswith("search default.svc.cluster.local svc.cluster.local cluster.local")
    assert lines[3] == "options ndots:2"
    assert lines[4].endswith(f"\t{whole}\tdb")
    assert lines[6:9] == ["# Entries added by HostAliases.", "192.0.2.7\told\tolder", "1"]


async def test_a_running_container_gets_more_without_noticing(cluster: Cluster) -> None:
    requests = {"cpu": "50m", "memory": "32Mi"}
    each = {"limits": {"cpu": "100m", "memory": "32Mi"}, "requests": requests}
    await create(cluster, "grows", shell("c", FOREVER, resources=each))
    pod = await pod_when(cluster, "grows", lambda pod: (pod.get("status") or {}).get("phase") == "Running")
    before = pod["status"]["containerStatuses"][0]["containerID"]
    more = {"limits": {"cpu": "200m", "memory": "64Mi"}, "requests": requests}
    patch = {"spec": {"containers": [{"name": "c", "resources": more}]}}
    await cluster.client.patch(
        resources.PODS, "grows", patch, "default", patch_type="strategic", subresource="resize"
    )  # fmt: skip
    pod = await pod_when(cluster, "grows", lambda pod: pod["status"]["containerStatuses"][0]["resources"] == more)
    assert pod["status"]["containerStatuses"][0]["containerID"] == before
    runtime = cluster.nodes["node-1"].runtime
    container = before.rpartition("/")[2]
    script = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; true"

    async def limit() -> bool:
        result = await runtime.exec_sync(container, ["sh", "-c", script])
        return str(64 * 1024**2) in result.stdout.decode().split()

    await eventually(limit)


async def test_an_ephemeral_container_sees_the_processes_of_the_one_it_looks_at(cluster: Cluster) -> None:
    await create(cluster, "looked-at", shell("c", f"# needle\n{FOREVER}"))
    await pod_when(cluster, "looked-at", lambda pod: (pod.get("status") or {}).get("phase") == "Running")
    script = "cat /proc/1/cmdline | tr '\\0' ' ' > /dev/termination-log"
    debugger = {
        **shell("debug", script), "targetContainerName": "c", "terminationMessagePath": "/dev/termination-log"
    }  # fmt: skip
    patch = {"spec": {"ephemeralContainers": [debugger]}}
    await cluster.client.patch(
        resources.PODS, "looked-at", patch, "default", patch_type="strategic", subresource="ephemeralcontainers"
    )  # fmt: skip

    def ended(pod: Any) -> bool:
        statuses = pod["status"].get("ephemeralContainerStatuses") or []
        return bool(statuses) and "terminated" in statuses[0]["state"]

    pod = await pod_when(cluster, "looked-at", ended)
    assert "needle" in pod["status"]["ephemeralContainerStatuses"][0]["state"]["terminated"]["message"]


async def test_what_is_in_memory_goes_with_the_cluster(cluster: Cluster) -> None:
    """Its pod is left running: the fixture finds what it leaves behind."""
    volume = {"name": "v", "emptyDir": {"medium": "Memory"}}
    await create(
        cluster, "left", shell("c", FOREVER, volumeMounts=[{"name": "v", "mountPath": "/v"}]), volumes=[volume]
    )  # fmt: skip
    await pod_when(cluster, "left", lambda pod: (pod.get("status") or {}).get("phase") == "Running")
    state = Path(str(cluster.nodes["node-1"].config.state_directory))
    assert any(path.name == "v" for path in mounts.mounts_below(state / "pods"))

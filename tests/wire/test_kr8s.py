"""kr8s, unmodified, as it is with asyncio and without."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import kr8s
import kr8s.asyncio
import pytest
from kr8s.asyncio import objects as later
from kr8s.objects import ConfigMap, Deployment, Pod, Service, new_class

from fakes.kubectl import Kubectl
from fakes.waiting import soon

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.usefixtures("unclosed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    # It says so of every version that is newer than itself.
    pytest.mark.filterwarnings("ignore:Kubernetes version .* is not supported:UserWarning"),
]


@pytest.fixture
def api(kubectl: Kubectl) -> Any:
    return kr8s.api(kubeconfig=str(kubectl.kubeconfig), namespace=kubectl.namespace)


@asynccontextmanager
async def forwarded(pod: Any, port: int) -> AsyncIterator[int]:
    """A local port that leads to the pod's. kr8s looks for a free one first, which may be somebody's by then."""
    async with AsyncExitStack() as stack:
        for left in reversed(range(5)):
            try:
                local = await stack.enter_async_context(pod.portforward(port, local_port="auto"))
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE or not left:
                    raise
        yield local


def described(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, "labels": {"app": name}}, **more}


POD = {"containers": [{"name": "main", "image": "nginx"}]}


def test_objects(api: Any, kubectl: Kubectl, manifests: Path) -> None:
    one = ConfigMap(described("ConfigMap", "one", apiVersion="v1", data={"x": "1"}), api=api)
    one.create()
    assert one.exists()
    one.patch({"data": {"y": "2"}})
    assert one.data == {"x": "1", "y": "2"}
    one.label({"more": "yes"})
    one.annotate({"note": "that"})
    found = ConfigMap.get("one", api=api)
    assert (found.labels["more"], found.annotations["note"]) == ("yes", "that")
    assert [each.name for each in api.get("configmaps", label_selector={"more": "yes"})] == ["one"]
    one.delete()
    one.wait("delete", timeout=20)
    assert not one.exists()
    with pytest.raises(kr8s.NotFoundError):
        ConfigMap.get("one", api=api)
    assert {node.name for node in api.get("nodes")} >= {"node-1", "node-2"}
    assert api.version()["minor"].startswith("37")
    assert "kubernetes" in {service.name for service in api.get("services", namespace="default")}


def test_workloads(api: Any) -> None:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": POD}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    web = Deployment(described("Deployment", "web", apiVersion="apps/v1", spec=spec), api=api)
    web.create()
    web.wait("condition=Available", timeout=30)
    web.scale(3)
    soon(lambda: len(web.pods()) == 3)
    assert web.replicas == 3
    service = Service(
        described("Service", "web", apiVersion="v1", spec={"selector": {"app": "web"}, "ports": [{"port": 80}]}),
        api=api,
    )
    service.create()
    assert len(service.ready_pods()) <= 3
    first = web.pods()[0]
    first.refresh()
    assert first.status.phase in {"Running", "Pending"}
    web.delete(propagation_policy="Foreground")
    web.wait("delete", timeout=30)


def test_kinds_of_ones_own(api: Any, kubectl: Kubectl, manifests: Path) -> None:
    kubectl("apply", "-f", manifests / "kopf.yaml")
    kubectl("wait", "--for=condition=Established", "--timeout=15s", "-f", manifests / "kopf.yaml")
    clock = new_class("KopfClock", "operator.example.dev/v1", namespaced=True)
    one = clock(described("KopfClock", "one", spec={"a": 1}), api=api)
    one.create()
    one.patch({"status": {"seen": True}}, subresource="status")
    assert clock.get("one", api=api).status.seen
    one.delete()


async def test_watches_logs_exec_and_forwarding_with_asyncio(process_kubectl: Kubectl, manifests: Path) -> None:
    kubectl = process_kubectl
    kubectl("apply", "-f", manifests / "pods.yaml")
    api = await kr8s.asyncio.api(kubeconfig=str(kubectl.kubeconfig), namespace=kubectl.namespace)
    pods = {pod.name: pod async for pod in api.get("pods")}
    assert sorted(pods) == ["page", "talker"]
    page, talker = pods["page"], pods["talker"]
    await asyncio.gather(*(pod.wait("condition=Ready", timeout=30) for pod in (page, talker)))
    lines = [line async for line in talker.logs(tail_lines=1)]
    assert lines[0].startswith("line ")
    async for line in talker.logs(follow=True, timeout=20):
        if line == "line 5":
            break
    said = await page.exec(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
    assert (said.stdout, said.stderr, said.returncode) == (b"out\n", b"err\n", 3)
    async with forwarded(page, 8080) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert (await reader.read()).endswith(b"hello from page\n")
        writer.close()
        await writer.wait_closed()
    note = await later.ConfigMap(described("ConfigMap", "note", apiVersion="v1"), api=api)
    events: list[tuple[str, str]] = []
    begun = asyncio.Event()

    async def watch() -> None:
        async for kind, found in api.watch("configmaps", label_selector="app=note"):
            events.append((kind, found.name))
            begun.set()
            if kind == "DELETED":
                return

    await note.create()
    watching = asyncio.create_task(watch())
    await begun.wait()
    await note.delete()
    await asyncio.wait_for(watching, 20)
    assert events[0] == ("ADDED", "note")
    assert events[-1] == ("DELETED", "note")


def test_pods_run_and_end(api: Any) -> None:
    pod = Pod(described("Pod", "single", apiVersion="v1", spec=POD), api=api)
    pod.create()
    pod.wait("condition=Ready", timeout=30)
    assert pod.ready()
    pod.delete(grace_period=0)
    pod.wait("delete", timeout=30)

"""Nodes that are processes of their own, with real containers: pods of two of them reach one another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.containers import needs_containers, offline
from fakes.images import busybox_layer, make_image
from fakes.kubectl import Kubectl, running_cluster
from fakes.node_process import NodeProcess
from fakes.waiting import soon
from kube_core._kit import mounts
from kube_drivers.network.bridge.netlink import Netlink
from kube_drivers.network.bridge.network import device_name

pytestmark = [needs_containers("crun"), pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with an archive of images, on a machine whose registries are offline."""
    folder = tmp_path_factory.mktemp("machine")
    make_image(busybox_layer(), Env=["PATH=/bin"]).save_docker(folder / "busybox.tar", "busybox:1")
    with offline(folder / "store"):
        yield folder


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, machine: Path, worker_id: str) -> Iterator[Kubectl]:
    directory = tmp_path_factory.mktemp("outside-oci")
    with running_cluster(directory, f"outside-oci-{worker_id}", "--runtime", "oci", "--nodes", "0") as kubectl:
        kubectl("wait", "--for=jsonpath={.status.phase}=Active", "namespace/default", "--timeout=15s")
        with kubectl.started("get", "serviceaccounts", "--watch", "--output=name") as accounts:
            accounts.line_with("serviceaccount/default")
        yield kubectl


@pytest.fixture(scope="module")
def nodes(cluster: Kubectl, machine: Path) -> Iterator[tuple[NodeProcess, NodeProcess]]:
    one, two = (NodeProcess(cluster, name, "oci", "--images", str(machine / "busybox.tar")) for name in ("one", "two"))
    try:
        one.start()
        two.start()
        yield one, two
    finally:
        one.end()
        two.end()
    assert mounts.mounts_below(cluster.home) == []
    with Netlink() as netlink:
        bridges = {device_name("kcb", str(cluster.home / node.name)) for node in (one, two)}
        assert not bridges & {link.name for link in netlink.links()}


def run_pod(cluster: Kubectl, name: str, node: NodeProcess, script: str, **more: object) -> None:
    container = {"name": "main", "image": "busybox:1", "command": ["sh", "-c", script], **more}
    spec = {"nodeSelector": {"here": node.name}, "terminationGracePeriodSeconds": 1, "containers": [container]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}
    cluster("apply", "-f", "-", stdin=json.dumps(pod))
    cluster("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=30s")


def test_pods_of_two_nodes_reach_one_another(cluster: Kubectl, nodes: tuple[NodeProcess, NodeProcess]) -> None:
    one, two = nodes
    script = "mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www"
    probe = {"httpGet": {"port": 80}, "periodSeconds": 1}
    run_pod(cluster, "web-one", one, script, readinessProbe=probe)
    run_pod(cluster, "web-two", two, script, readinessProbe=probe)
    places = {name: cluster.value("pod", name, ".status.podIP") for name in ("web-one", "web-two")}
    for client, server in (("web-one", "web-two"), ("web-two", "web-one")):
        assert cluster("exec", client, "--", "wget", "-q", "-O-", f"http://{places[server]}/") == f"{server}\n"
    cluster("expose", "pod", "web-two", "--port=8080", "--target-port=80")
    address = cluster.value("service", "web-two", ".spec.clusterIP")

    def answer() -> bool:
        asked = cluster.run("exec", "web-one", "--", "wget", "-q", "-O-", f"http://{address}:8080/")
        return asked.stdout == "web-two\n"

    soon(answer)
    # The way stays while the node's agent does not run, and when it runs again.
    two.kill()
    assert cluster("exec", "web-one", "--", "wget", "-q", "-O-", f"http://{places['web-two']}/") == "web-two\n"
    two.start()
    cluster("wait", "--for=condition=Ready", "node/two", "pod/web-two", "--timeout=30s")
    assert cluster("exec", "web-two", "--", "wget", "-q", "-O-", f"http://{places['web-one']}/") == "web-one\n"

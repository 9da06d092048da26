"""Nodes that are processes of their own (`kube-core node`) of a cluster without any: by kubectl, and at their door.

One node runs processes, one only seems to run anything. The API server reaches both by HTTPS.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fakes.kubectl import Kubectl, running_cluster
from fakes.node_process import NodeProcess
from fakes.waiting import soon
from kube_core._kit.certificates import Authority, read_certificate

_SERVER = "import os, http.server as h; h.HTTPServer((os.environ['POD_IP'], 8080), h.SimpleHTTPRequestHandler)"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Kubectl]:
    directory = tmp_path_factory.mktemp("outside")
    with running_cluster(directory, f"outside-{worker_id}", "--runtime", "process", "--nodes", "0") as kubectl:
        kubectl("wait", "--for=jsonpath={.status.phase}=Active", "namespace/default", "--timeout=15s")
        with kubectl.started("get", "serviceaccounts", "--watch", "--output=name") as accounts:
            accounts.line_with("serviceaccount/default")
        yield kubectl


def _running(cluster: Kubectl, name: str, runtime: str) -> Iterator[NodeProcess]:
    node = NodeProcess(cluster, name, runtime)
    try:
        node.start()
        yield node
    finally:
        node.end()


@pytest.fixture(scope="module")
def real(cluster: Kubectl) -> Iterator[NodeProcess]:
    yield from _running(cluster, "real", "process")


@pytest.fixture(scope="module")
def seeming(cluster: Kubectl) -> Iterator[NodeProcess]:
    yield from _running(cluster, "seeming", "fake")


def run_pod(cluster: Kubectl, name: str, node: NodeProcess, *command: str) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "nodeSelector": {"here": node.name},
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "host", "command": [*command]}],
        },
    }
    cluster("apply", "-f", "-", stdin=json.dumps(pod))
    cluster("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=30s")


@pytest.fixture(scope="module")
def talker(cluster: Kubectl, real: NodeProcess) -> str:
    script = 'i=0; while true; do i=$((i + 1)); echo "line $i"; sleep 0.2; done'
    run_pod(cluster, "talker", real, "sh", "-c", script)
    return "talker"


def asked(
    node: NodeProcess, path: str, *, token: str = "", shown: Path | None = None, method: str = "GET"
) -> tuple[int, str]:
    """Ask the node's own server."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if shown is not None:
        context.load_cert_chain(shown)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{node.url}{path}", headers=headers, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=15) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_nodes_register_themselves_and_get_a_range_of_addresses(
    cluster: Kubectl, real: NodeProcess, seeming: NodeProcess
) -> None:
    cluster("wait", "--for=condition=Ready", "node/real", "node/seeming", "--timeout=15s")
    ranges = [cluster.value("node", name, ".spec.podCIDR") for name in ("real", "seeming")]
    assert all(ranges)
    assert ranges[0] != ranges[1]
    assert "node 'real' is running already" in real.refusal()


def test_logs_follow_over_https(cluster: Kubectl, talker: str) -> None:
    with cluster.started("logs", "-f", talker, "--tail=1") as logs:
        first = int(logs.line_with("line").split()[1])
        for number in range(first + 1, first + 4):
            assert logs.line_with("line") == f"line {number}"


def test_exec_carries_streams_and_exit_code(cluster: Kubectl, talker: str) -> None:
    finished = cluster.run("exec", talker, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (finished.code, finished.stdout) == (7, "out\n")
    assert finished.stderr == "err\ncommand terminated with exit code 7\n"
    assert cluster("exec", "-i", talker, "--", "tr", "a-z", "A-Z", stdin="shout\n") == "SHOUT\n"


def test_port_forward_reaches_the_pod(cluster: Kubectl, real: NodeProcess) -> None:
    run_pod(cluster, "page", real, sys.executable, "-c", f"{_SERVER}.serve_forever()")
    with cluster.started("port-forward", "pod/page", ":8080") as forward:
        match = re.search(r"127\.0\.0\.1:(\d+) -> 8080", forward.line_with("Forwarding from 127.0.0.1"))
        assert match is not None

        def page() -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{match[1]}/", timeout=10) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False  # ready is not listening yet

        soon(page)


def test_the_proxy_of_a_node_is_its_server(cluster: Kubectl, real: NodeProcess, talker: str) -> None:
    assert cluster("get", "--raw", "/api/v1/nodes/real/proxy/healthz") == "ok"
    summary = json.loads(cluster("get", "--raw", "/api/v1/nodes/real/proxy/stats/summary"))
    assert summary["node"]["nodeName"] == "real"
    assert talker in {pod["podRef"]["name"] for pod in summary["pods"]}


def test_a_node_whose_pods_only_seem_to_run(cluster: Kubectl, seeming: NodeProcess) -> None:
    run_pod(cluster, "seems", seeming, "sleep", "1")
    assert cluster.value("pod", "seems", ".spec.nodeName") == "seeming"
    assert cluster("get", "--raw", "/api/v1/nodes/seeming/proxy/healthz") == "ok"


def test_strangers_are_refused_at_the_door(cluster: Kubectl, seeming: NodeProcess, tmp_path: Path) -> None:
    assert asked(seeming, "/healthz") == (401, "Unauthorized")
    assert asked(seeming, "/pods", token="nobody") == (401, "Unauthorized")
    other = Authority.create("kube-core", now=os.path.getmtime(seeming.kubeconfig)).issue_client(
        "kube-apiserver-kubelet-client", ["system:masters"], now=os.path.getmtime(seeming.kubeconfig)
    )
    forged = tmp_path / "forged.pem"
    forged.write_bytes(other.certificate + other.key)
    assert asked(seeming, "/pods", shown=forged) == (401, "Unauthorized")
    token = cluster("create", "token", "default").strip()
    code, text = asked(seeming, "/exec/default/seems/main?command=id&output=1", token=token, method="POST")
    assert (code, "verb=create, resource=nodes, subresource(s)=[proxy]" in text) == (403, True)


def test_who_has_the_role_is_let_in(cluster: Kubectl, seeming: NodeProcess) -> None:
    cluster("create", "serviceaccount", "scraper")
    cluster("create", "clusterrole", "scraper", "--verb=get", "--resource=nodes/metrics")
    cluster("create", "clusterrolebinding", "scraper", "--clusterrole=scraper", "--serviceaccount=default:scraper")
    token = cluster("create", "token", "scraper").strip()

    def metrics() -> str:
        code, text = asked(seeming, "/metrics/resource", token=token)
        return text if code == 200 else ""

    # A no from before the role was known holds for half a minute.
    assert "resource_scrape_error" in soon(metrics, seconds=45)
    assert asked(seeming, "/pods", token=token)[0] == 403


def test_the_credentials_of_a_node_are_no_administrators(cluster: Kubectl, real: NodeProcess) -> None:
    assert oct(real.kubeconfig.stat().st_mode & 0o777) == "0o600"
    node = Kubectl(real.kubeconfig, cluster.home)
    assert "system:node:real" in node.fails("get", "secrets", "-A")
    assert node("get", "node", "real", "-o", "name") == "node/real\n"


def test_a_killed_node_finds_its_processes_again(cluster: Kubectl, real: NodeProcess) -> None:
    run_pod(cluster, "lasting", real, "sh", "-c", "echo run $$$$; exec sleep 98712")
    pid = int(soon(lambda: cluster("logs", "lasting")).split()[1])
    born = psutil.Process(pid).create_time()
    real.kill()
    real.start()
    cluster("wait", "--for=condition=Ready", "node/real", "pod/lasting", "--timeout=30s")
    assert cluster("exec", "lasting", "--", "echo", "there") == "there\n"
    assert psutil.Process(pid).create_time() == born
    assert cluster("logs", "lasting") == f"run {pid}\n"
    assert cluster.value("pod", "lasting", ".status.containerStatuses[0].restartCount") == "0"


def test_a_node_that_is_told_to_end_ends_its_pods_first_where_it_has_time_for_that(
    cluster: Kubectl, tmp_path: Path
) -> None:
    config = tmp_path / "node.yaml"
    config.write_text("labels: {kind: leaving}\nkubelet: {shutdown_grace_period: 20}\n")
    node = NodeProcess(cluster, "leaving", "process", "--config", str(config))
    node.start()
    try:
        assert cluster.value("node", "leaving", ".metadata.labels.kind") == "leaving"
        said = tmp_path / "said"
        script = f"trap 'echo farewell > {said}; exit 0' TERM; touch {tmp_path}/on; while true; do sleep 0.1; done"
        run_pod(cluster, "leaves", node, "sh", "-c", script)
        soon((tmp_path / "on").exists)
    finally:
        node.end()
    assert said.read_text() == "farewell\n"
    status = json.loads(cluster("get", "pod", "leaves", "-o", "json"))["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "Terminated")
    assert status["message"] == "Pod was terminated in response to imminent node shutdown."


def test_a_node_renews_its_certificate_by_a_role_that_came_with_its_kubeconfig(
    cluster: Kubectl, real: NodeProcess
) -> None:
    role = cluster.value("clusterrolebinding", "kube-core:node-autoapprove-certificate-rotation", ".roleRef.name")
    assert role == "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient"
    kept = cluster.home / "real" / "client.pem"
    assert oct(kept.stat().st_mode & 0o777) == "0o600"
    assert read_certificate(kept.read_bytes()).name == "system:node:real"


@pytest.mark.timeout(120)
def test_top_shows_what_nodes_elsewhere_use(cluster: Kubectl, real: NodeProcess, talker: str) -> None:
    def rows() -> str:
        finished = cluster.run("top", "pods", "--no-headers")
        return finished.stdout if talker in finished.stdout else ""

    assert re.search(r"^talker +\d+m +\d+Mi", soon(rows, seconds=50), re.MULTILINE)
    row = soon(lambda: cluster.run("top", "node", "real", "--no-headers").stdout, seconds=50)
    assert re.match(r"real +\d+m", row)

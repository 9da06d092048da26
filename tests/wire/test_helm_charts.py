"""The example of a kind whose controller has Helm install charts: `kube-core run` beside a cluster, the real Helm."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.kubectl import Kubectl, Running
from fakes.programs import BUILD_SECONDS, installed

pytestmark = pytest.mark.timeout(BUILD_SECONDS)

EXAMPLE = Path(__file__).parents[2] / "examples" / "helm-charts" / "helm_charts.py"
CHART = Path(__file__).parent / "charts" / "web"


@pytest.fixture
def helm() -> Path:
    return installed("helm.sh/helm/v3/cmd/helm", "v3.22.0")


@pytest.fixture
def cluster(process_kubectl: Kubectl, helm: Path) -> Iterator[Kubectl]:
    """A namespace of a cluster beside which the controller runs."""
    path = f"{helm.parent}{os.pathsep}{os.environ['PATH']}"
    home = str(process_kubectl.home)
    running = Running(
        subprocess.Popen(
            [sys.executable, "-m", "kube_core.cli", "run", "--install-kinds", str(EXAMPLE)],
            env={**os.environ, "KUBECONFIG": str(process_kubectl.kubeconfig), "HOME": home, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    )
    try:
        yield process_kubectl
    finally:
        running.end()
    assert running.process.returncode == 0, running.seen


@pytest.fixture
def archive(helm: Path, tmp_path: Path) -> str:
    subprocess.run([helm, "package", CHART, "--destination", tmp_path], check=True, capture_output=True)
    return base64.b64encode((tmp_path / "web-1.2.3.tgz").read_bytes()).decode()


def chart(**spec: object) -> str:
    described = {
        "apiVersion": "charts.example.dev/v1",
        "kind": "HelmChart",
        "metadata": {"name": "site"},
        "spec": spec,
    }
    return json.dumps(described)


def test_a_chart_is_installed_upgraded_and_uninstalled(cluster: Kubectl, archive: str) -> None:
    inside = cluster.namespace + "-target"
    there = cluster.within(inside)
    cluster("wait", "--for=create", "crd/helmcharts.charts.example.dev", "--timeout=30s")
    cluster("wait", "--for=condition=Established", "crd/helmcharts.charts.example.dev", "--timeout=30s")
    cluster("apply", "-f", "-", stdin=chart(chart="web", archive=archive, targetNamespace=inside, timeout=60))
    cluster("wait", "--for=condition=Ready", "helmchart/site", "--timeout=45s")
    assert cluster("get", "helmchart", "site", "--no-headers").split()[-2:] == ["1", "4.5"]
    assert there.value("deployment", "site", ".status.readyReplicas") == "1"

    more = {"message": "again", "replicas": 2}
    cluster(
        "apply", "-f", "-", stdin=chart(chart="web", archive=archive, targetNamespace=inside, timeout=60, values=more)
    )
    cluster("wait", "--for=jsonpath={.status.revision}=2", "helmchart/site", "--timeout=45s")
    assert there.value("configmap", "site-message", ".data.message") == "again"
    assert there.value("deployment", "site", ".spec.replicas") == "2"

    cluster("delete", "helmchart", "site", "--timeout=45s")
    assert there("get", "deployments,secrets", "-o", "name") == ""
    cluster("delete", "namespace", inside, "--wait=false")


def test_what_helm_complains_of_is_told(cluster: Kubectl, archive: str) -> None:
    cluster("wait", "--for=create", "crd/helmcharts.charts.example.dev", "--timeout=30s")
    cluster("wait", "--for=condition=Established", "crd/helmcharts.charts.example.dev", "--timeout=30s")
    refused = cluster.fails("apply", "-f", "-", stdin=chart(chart="web", archive=archive, repo="https://here"))
    assert "either a repo or an archive" in refused
    refused = cluster.fails("apply", "-f", "-", stdin=chart(chart="/etc"))
    assert "a chart is in a repo or an archive, or has a URL" in refused
    cluster("apply", "-f", "-", stdin=chart(chart="none", repo="https://127.0.0.1:1", timeout=5))
    cluster("wait", "--for=condition=Ready=False", "helmchart/site", "--timeout=45s")
    message = cluster.value("helmchart", "site", ".status.conditions[0].message")
    assert "https://127.0.0.1:1" in message
    # It can be mended, and it can go.
    mended = {"spec": {"repo": None, "archive": archive, "timeout": 60}}
    cluster("patch", "helmchart", "site", "--type=merge", "-p", json.dumps(mended))
    cluster("wait", "--for=condition=Ready", "helmchart/site", "--timeout=45s")
    cluster("delete", "helmchart", "site", "--timeout=45s")

"""`kubectl top`, `autoscale`, `describe hpa`, and processes of which there are more when they compute more."""

from __future__ import annotations

import json
import re

import pytest

from fakes.kubectl import Kubectl

BEHAVIOUR = json.dumps({"*": {"cpu": "250m", "memory": "64Mi"}})


@pytest.fixture
def web(kubectl: Kubectl) -> Kubectl:
    annotations = json.dumps({"metadata": {"annotations": {"fake.kube-core.dev/behaviour": BEHAVIOUR}}})
    kubectl("run", "web", "--image=nginx", "--labels=app=web", f"--overrides={annotations}")
    kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=20s")
    return kubectl


def test_top_shows_what_pods_use(web: Kubectl) -> None:
    header, row = web("top", "pods").splitlines()
    assert header.split() == ["NAME", "CPU(cores)", "MEMORY(bytes)"]
    assert row.split() == ["web", "250m", "64Mi"]
    assert web("top", "pod", "web", "--no-headers", "--containers").split() == ["web", "web", "250m", "64Mi"]
    assert web("top", "pods", "-l", "app=web", "--no-headers").split() == ["web", "250m", "64Mi"]
    missing = web.fails("top", "pod", "nobody")
    assert re.search(r"podmetrics.metrics.k8s.io .test-\d+/nobody. not found", missing)


def test_top_shows_what_nodes_use(simulated: Kubectl) -> None:
    header, *rows = simulated("top", "nodes").splitlines()
    assert header.split() == ["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"]
    assert [row.split()[0] for row in rows] == ["node-1", "node-2"]


def test_metrics_are_got_like_anything_else(web: Kubectl) -> None:
    header, row = web("get", "podmetrics").splitlines()
    assert header.split() == ["NAME", "CPU", "MEMORY", "WINDOW"]
    assert row.split() == ["web", "250m", "64Mi", "15s"]
    assert web("get", "podmetrics", "web", "-o", "jsonpath={.containers[0].usage.cpu}") == "250m"


@pytest.mark.timeout(240)
def test_a_process_that_computes_is_joined_by_another(process_kubectl: Kubectl) -> None:
    kubectl = process_kubectl
    kubectl("create", "deployment", "burner", "--image=host", "--", "sh", "-c", "while :; do :; done")
    kubectl("set", "resources", "deployment", "burner", "--requests=cpu=20m")
    kubectl("patch", "deployment", "burner", "-p", '{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":0}}}}')
    kubectl("rollout", "status", "deployment/burner", "--timeout=40s")
    assert "autoscaled" in kubectl("autoscale", "deployment", "burner", "--min=1", "--max=2", "--cpu-percent=50")
    # A window has to pass in which it was ready, and an autoscaler looks every fifteen seconds.
    with kubectl.started("wait", "--for=jsonpath={.spec.replicas}=2", "deployment/burner", "--timeout=180s") as waiting:
        waiting.line_with("condition met", timeout=180)
    kubectl("rollout", "status", "deployment/burner", "--timeout=40s")
    text = kubectl("describe", "hpa", "burner")
    assert re.search(r"resource cpu on pods +\(as a percentage of request\): +\d+% \(\d+m\) / 50%", text)
    assert "New size: 2; reason: cpu resource utilization (percentage of request) above target" in text
    assert re.search(r"AbleToScale +True", text)
    used = kubectl("top", "pods", "--no-headers").split()
    assert int(used[1].removesuffix("m")) > 10
    assert kubectl("get", "hpa", "burner", "--no-headers").split()[1] == "Deployment/burner"
    assert kubectl.value("hpa", "burner", ".status.desiredReplicas") == "2"

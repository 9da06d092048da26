"""`kubectl apply -k`: bases and overlays, generators, patches, and pruning of what an overlay no longer has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fakes.kubectl import Kubectl

BASE = """
resources: [web.yaml]
configMapGenerator:
  - name: settings
    literals: [colour=red]
labels:
  - pairs: {app: web}
    includeSelectors: true
"""
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {}}
  template:
    spec:
      containers:
        - name: web
          image: nginx
          envFrom: [{configMapRef: {name: settings}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}]}
"""
OVERLAY = """
resources: [../base]
namePrefix: big-
images: [{name: nginx, newTag: "1.29"}]
replicas: [{name: web, count: 2}]
commonAnnotations: {overlay: big}
configMapGenerator:
  - name: settings
    behavior: merge
    literals: [size=big]
secretGenerator:
  - name: word
    files: [word.txt]
patches:
  - target: {kind: Service}
    patch: '[{"op": "replace", "path": "/spec/ports/0/port", "value": 8080}]'
  - patch: |-
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: web}
      spec: {revisionHistoryLimit: 3}
"""


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    for name, text in (
        ("base/kustomization.yaml", BASE),
        ("base/web.yaml", WEB),
        ("big/kustomization.yaml", OVERLAY),
        ("big/word.txt", "secret"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path / "big"


def settings_of(kubectl: Kubectl) -> str:
    return kubectl.value("deployment", "big-web", ".spec.template.spec.containers[0].envFrom[0].configMapRef.name")


def test_an_overlay_is_applied(kubectl: Kubectl, overlay: Path) -> None:
    kubectl("apply", "-k", overlay)
    kubectl("rollout", "status", "deployment/big-web", "--timeout=30s")
    web = json.loads(kubectl("get", "deployment", "big-web", "-o", "json"))
    assert web["spec"]["replicas"] == 2
    assert web["spec"]["revisionHistoryLimit"] == 3
    assert web["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:1.29"
    assert web["metadata"]["annotations"]["overlay"] == "big"
    assert kubectl.value("service", "big-web", ".spec.ports[0].port") == "8080"
    assert kubectl.value("service", "big-web", ".spec.selector") == '{"app":"web"}'
    name = settings_of(kubectl)
    assert re.fullmatch("big-settings-[0-9a-z]{10}", name)
    assert json.loads(kubectl.value("configmap", name, ".data")) == {"colour": "red", "size": "big"}
    assert kubectl("diff", "-k", overlay) == ""
    unchanged = kubectl("apply", "-k", overlay).splitlines()
    assert all(line.endswith("unchanged") for line in unchanged), unchanged


def test_generated_settings_roll_the_deployment_out_and_old_ones_are_pruned(kubectl: Kubectl, overlay: Path) -> None:
    pruning = ("--prune", "-l", "app=web", "--prune-allowlist=core/v1/ConfigMap", "--prune-allowlist=core/v1/Service")
    kubectl("apply", "-k", overlay, *pruning)
    before = settings_of(kubectl)
    text = (overlay / "kustomization.yaml").read_text()
    (overlay / "kustomization.yaml").write_text(text.replace("size=big", "size=bigger"))
    said = kubectl("apply", "-k", overlay, *pruning)
    after = settings_of(kubectl)
    assert after != before
    assert f"configmap/{before} pruned" in said
    kubectl("rollout", "status", "deployment/big-web", "--timeout=30s")
    assert kubectl("get", "replicasets", "-o", "name").count("replicaset") == 2
    # The overlay's own secret does not have the label by which things were chosen, and so was not made.
    kubectl("delete", "-k", overlay, "--ignore-not-found", "--timeout=20s")
    assert kubectl("get", "deployments,services", "-o", "name") == ""


def test_server_side_apply_of_an_overlay(kubectl: Kubectl, overlay: Path) -> None:
    kubectl("apply", "-k", overlay, "--server-side")
    managers = kubectl.value("deployment", "big-web", ".metadata.managedFields[*].manager").split()
    assert "kubectl" in managers
    kubectl("scale", "deployment", "big-web", "--replicas=5")
    assert "conflict" in kubectl.fails("apply", "-k", overlay, "--server-side")
    kubectl("apply", "-k", overlay, "--server-side", "--force-conflicts")
    assert kubectl.value("deployment", "big-web", ".spec.replicas") == "2"

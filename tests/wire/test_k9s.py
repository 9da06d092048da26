"""k9s, unmodified, as a person uses it: keys on a terminal, and what the screen shows then."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.kubectl import Kubectl
from fakes.programs import BUILD_SECONDS, installed
from fakes.terminal import Terminal, on_terminal

pytestmark = pytest.mark.timeout(BUILD_SECONDS)

LOGS = 'fake.kube-core.dev/behaviour={"*": {"log": "hello from the pod"}}'
ESCAPE, CONTROL_D, BACKSPACE, TAB = "\x1b", "\x04", "\x7f", "\t"
DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: kites.k9s.example.dev}
spec:
  group: k9s.example.dev
  scope: Namespaced
  names: {plural: kites, singular: kite, kind: Kite}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, properties: {colour: {type: string}}}}
    additionalPrinterColumns:
    - {name: Colour, type: string, jsonPath: .spec.colour}
"""
KITE = """
apiVersion: k9s.example.dev/v1
kind: Kite
metadata: {name: small}
spec: {colour: scarlet}
"""


@pytest.fixture(scope="module")
def program() -> Path:
    return installed("github.com/derailed/k9s", "v0.50.18")


@pytest.fixture
def kites(kubectl: Kubectl) -> Iterator[Kubectl]:
    """A kind of its own, there before k9s asks once what the server has."""
    kubectl("apply", "-f", "-", stdin=DEFINITION)
    kubectl("wait", "--for=condition=Established", "crd/kites.k9s.example.dev", "--timeout=20s")
    yield kubectl
    kubectl("delete", "crd", "kites.k9s.example.dev")


@pytest.fixture
def k9s(kubectl: Kubectl, program: Path, tmp_path: Path) -> Iterator[Terminal]:
    """k9s at the pods of the test's namespace."""
    settings = tmp_path / "config.yaml"
    # It asks its makers for a newer version otherwise.
    settings.write_text("k9s:\n  skipLatestRevCheck: true\n  refreshRate: 1\n")
    command: list[str | Path] = [
        program,
        "--kubeconfig",
        kubectl.kubeconfig,
        "--namespace",
        kubectl.namespace,
        "--command",
        "pods",
    ]
    command += ["--splashless", "--logoless", "--logFile", tmp_path / "log"]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "K9S_CONFIG_DIR": str(tmp_path),
        "KUBECACHEDIR": str(tmp_path / "discovered"),
    }
    with on_terminal(command, environment) as terminal:
        terminal.shows("pods")
        yield terminal


def test_pods_are_shown_as_they_come_and_go(kubectl: Kubectl, k9s: Terminal) -> None:
    kubectl("run", "early", "--image=nginx")
    assert "1/1" in k9s.shows("early ")
    k9s.shows("Running")
    kubectl("delete", "pod", "early", "--wait=false")
    k9s.hides("early ")


def test_a_pod_is_described_read_and_its_logs_followed(kubectl: Kubectl, k9s: Terminal) -> None:
    kubectl("run", "web", "--image=nginx", f"--annotations={LOGS}")
    k9s.shows("Running")
    k9s.press("d")
    assert k9s.shows("Node:").split()[-2].startswith("node-")
    k9s.press(ESCAPE)
    k9s.shows("READY")
    k9s.press("y")
    k9s.shows("apiVersion: v1")
    k9s.press(ESCAPE)
    k9s.shows("READY")
    k9s.press("l")
    k9s.shows("hello from the pod")


def test_a_deployment_is_scaled_in_its_dialog_and_deleted_after_a_question(kubectl: Kubectl, k9s: Terminal) -> None:
    kubectl("create", "deployment", "web", "--image=nginx")
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    k9s.press(":deploy\r")
    k9s.shows("1/1")
    k9s.press("s")
    k9s.shows("Replicas:")
    k9s.press(BACKSPACE + "3")
    k9s.shows("Replicas: 3")
    k9s.press(TAB + "\r")
    k9s.shows("3/3")
    assert kubectl.value("deployment", "web", ".spec.replicas") == "3"
    k9s.press(CONTROL_D)
    k9s.shows("Delete")
    k9s.press(TAB + "\r")
    k9s.hides("3/3")
    kubectl("wait", "--for=delete", "deployment/web", "--timeout=20s")


def test_custom_resources_are_shown_with_their_columns(kites: Kubectl, k9s: Terminal) -> None:
    k9s.press(":kites\r")
    k9s.shows("COLOUR")
    kites("apply", "-f", "-", stdin=KITE)
    assert "small" in k9s.shows("scarlet")

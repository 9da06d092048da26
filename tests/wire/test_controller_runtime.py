"""controller-runtime, unmodified: an operator that finds the cluster as envtest does, with all that operators have."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.kubectl import Kubectl, Running
from fakes.programs import BUILD_SECONDS, program

pytestmark = pytest.mark.timeout(BUILD_SECONDS)

SOURCE = Path(__file__).parent / "operator"
DEFINITIONS = SOURCE / "websites.yaml"


@contextlib.contextmanager
def operator(kubectl: Kubectl, name: str) -> Iterator[Running]:
    running = Running(
        subprocess.Popen(
            [program(SOURCE), DEFINITIONS, kubectl.namespace, name],
            env={**os.environ, "KUBECONFIG": str(kubectl.kubeconfig), "HOME": str(kubectl.home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    )
    try:
        yield running
    finally:
        running.end()


def website(name: str, image: str = "nginx", **spec: object) -> str:
    described = {
        "apiVersion": "operator.example.dev/v1",
        "kind": "Website",
        "metadata": {"name": name},
        "spec": {"image": image, **spec},
    }
    return json.dumps(described)


def test_an_operator_reconciles_validates_finalizes_and_hands_over(kubectl: Kubectl) -> None:
    with operator(kubectl, "one") as one:
        one.line_with("one leads", timeout=30)
        with operator(kubectl, "two") as two:
            two.line_with("two starts", timeout=30)
            assert kubectl.value("lease", "operator.example.dev", ".spec.holderIdentity")
            made = kubectl.run("apply", "-f", "-", stdin=website("site", replicas=2))
            assert (made.code, made.stderr) == (0, "Warning: this website was looked at\n"), made.stderr
            kubectl("wait", "--for=condition=Ready", "website/site", "--timeout=30s")
            assert kubectl("get", "website", "site", "--no-headers").split()[:2] == ["site", "2"]
            owner = json.loads(kubectl.value("deployment", "site", ".metadata.ownerReferences[0]"))
            assert (owner["kind"], owner["name"], owner["controller"]) == ("Website", "site", True)

            refused = kubectl.fails("apply", "-f", "-", stdin=website("bad", "forbidden"))
            assert 'denied the request: image "forbidden" may not be used' in refused
            kubectl("patch", "website", "site", "--type=merge", "-p", '{"spec": {"replicas": 3}}')
            kubectl("wait", "--for=jsonpath={.status.readyReplicas}=3", "website/site", "--timeout=30s")
            # What is owned is put back.
            kubectl("delete", "deployment", "site", "--timeout=20s")
            kubectl("wait", "--for=create", "deployment/site", "--timeout=30s")

            one.end()
            assert "ended" in one.seen or one.process.returncode == 0
            two.line_with("two leads", timeout=30)
            kubectl("delete", "website", "site", "--timeout=30s")
            kubectl("get", "configmap", "site-was-here")
            kubectl("wait", "--for=delete", "deployment/site", "--timeout=20s")
    kubectl("delete", "validatingwebhookconfiguration", "websites.operator.example.dev")
    kubectl("delete", "-f", DEFINITIONS, "--timeout=20s")

"""Helm, unmodified: releases with hooks that are pods and jobs, waiting, rolling back, tests, definitions, lookups."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import attrs
import pytest

from fakes.kubectl import Finished, Kubectl
from fakes.programs import BUILD_SECONDS, installed

pytestmark = pytest.mark.timeout(BUILD_SECONDS)

CHART = Path(__file__).parent / "charts" / "web"
_COMMAND_SECONDS = 100.0


@attrs.frozen
class Helm:
    program: Path
    kubectl: Kubectl

    def __call__(self, *arguments: str | Path) -> str:
        finished = self.run(*arguments)
        assert finished.code == 0, f"helm {' '.join(map(str, arguments))}: {finished}"
        return finished.stdout

    def fails(self, *arguments: str | Path) -> str:
        finished = self.run(*arguments)
        assert finished.code != 0, f"helm {' '.join(map(str, arguments))} succeeded: {finished}"
        return finished.stderr

    def run(self, *arguments: str | Path) -> Finished:
        home, kubeconfig = str(self.kubectl.home), str(self.kubectl.kubeconfig)
        finished = subprocess.run(
            [self.program, "--namespace", self.kubectl.namespace, *map(str, arguments)],
            env={
                **os.environ,
                "KUBECONFIG": kubeconfig,
                "HOME": home,
                "XDG_CACHE_HOME": home,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        return Finished(finished.returncode, finished.stdout, finished.stderr)

    def history(self, release: str) -> list[tuple[int, str]]:
        told: list[dict[str, Any]] = json.loads(self("history", release, "--output=json"))
        return [(each["revision"], each["status"]) for each in told]


@pytest.fixture
def helm(process_kubectl: Kubectl) -> Helm:
    """For a namespace of a cluster whose pods are processes."""
    return Helm(installed("helm.sh/helm/v3/cmd/helm", "v3.22.0"), process_kubectl)


def test_a_release_is_installed_upgraded_rolled_back_and_uninstalled(helm: Helm) -> None:
    kubectl = helm.kubectl
    said = helm("install", "site", CHART, "--wait", "--timeout=60s")
    assert "STATUS: deployed" in said
    assert "site says hello." in said
    # Waiting is for all that the chart has; and the hooks were run, one of them a Job.
    assert kubectl.value("deployment", "site", ".status.readyReplicas") == "1"
    assert kubectl("logs", "job/site-pre-install") == "pre-install\n"
    assert kubectl("logs", "site-post-install") == "post-install hello\n"
    message = json.loads(kubectl("get", "configmap", "site-message", "-o", "jsonpath={.data}"))
    assert message == {"message": "hello", "revision": "1", "namespace": "Active", "policy": "true"}
    assert kubectl.value("flavours", "site", ".spec.name") == "hello"
    labels = kubectl.value("deployment", "site", ".metadata.labels")
    assert '"app.kubernetes.io/managed-by":"Helm"' in labels

    helm("upgrade", "site", CHART, "--set", "replicas=2,message=again", "--wait", "--timeout=60s")
    assert kubectl.value("deployment", "site", ".status.readyReplicas") == "2"
    assert kubectl("logs", "site-pre-upgrade") == "pre-upgrade again\n"
    assert kubectl.value("flavours", "site", ".spec.name") == "again"
    assert json.loads(helm("get", "values", "site", "--output=json")) == {"replicas": 2, "message": "again"}
    assert "name: site-message" in helm("get", "manifest", "site")
    assert "post-delete" in helm("get", "hooks", "site")

    helm("rollback", "site", "1", "--wait", "--timeout=60s")
    assert kubectl.value("configmap", "site-message", ".data.message") == "hello"
    assert kubectl.value("deployment", "site", ".spec.replicas") == "1"
    assert helm.history("site") == [(1, "superseded"), (2, "superseded"), (3, "deployed")]
    assert json.loads(helm("list", "--output=json"))[0]["chart"] == "web-1.2.3"

    tested = helm("test", "site", "--logs", "--timeout=60s")
    assert "Phase:          Succeeded" in tested
    assert "test hello" in tested

    helm("uninstall", "site", "--wait", "--timeout=60s", "--cascade=foreground")
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/site-post-delete", "--timeout=20s")
    assert kubectl("get", "deployments,flavours", "-o", "name") == ""
    assert json.loads(helm("list", "--all", "--output=json")) == []
    assert kubectl("get", "secrets", "-o", "name") == ""
    # Definitions stay, as Helm never deletes those of crds/.
    kubectl("get", "crd", "flavours.charts.example.dev")


def test_an_atomic_upgrade_that_fails_is_rolled_back(helm: Helm) -> None:
    kubectl = helm.kubectl
    helm("install", "site", CHART, "--wait", "--timeout=60s")
    broken = ("--set", "command={false},message=broken", "--atomic", "--timeout=10s")
    assert "has been rolled back due to atomic being set" in helm.fails("upgrade", "site", CHART, *broken)
    assert helm.history("site") == [(1, "superseded"), (2, "failed"), (3, "deployed")]
    assert kubectl.value("configmap", "site-message", ".data.message") == "hello"
    kubectl("rollout", "status", "deployment/site", "--timeout=30s")


def test_an_atomic_install_that_fails_leaves_nothing(helm: Helm) -> None:
    broken = ("--set", "command={false}", "--atomic", "--timeout=10s")
    assert "has been uninstalled due to atomic being set" in helm.fails("install", "site", CHART, *broken)
    assert json.loads(helm("list", "--all", "--output=json")) == []
    assert helm.kubectl("get", "deployments", "-o", "name") == ""


def test_a_hook_that_fails_fails_the_release(helm: Helm) -> None:
    refused = helm.fails("install", "site", CHART, "--set", "message=sad", "--timeout=60s")
    assert "failed post-install" in refused
    assert helm.history("site") == [(1, "failed")]
    helm("upgrade", "site", CHART, "--install", "--reset-values", "--wait", "--timeout=60s")
    assert helm.history("site")[-1] == (2, "deployed")


def test_templates_may_look_at_the_cluster(helm: Helm) -> None:
    assert 'namespace: "unknown"' in helm("template", "site", CHART)
    assert 'namespace: "Active"' in helm("template", "site", CHART, "--dry-run=server", "--validate")

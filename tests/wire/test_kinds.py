"""Own kinds as kubectl sees them: installed from the command line, served by a program beside the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fakes import websites
from fakes.kubectl import Kubectl
from kube_core.cli.app import app
from kube_core.client.client import ApiClient
from kube_core.client.http import HttpTransport
from kube_core.client.kubeconfig import load_connection
from kube_core.kinds.webhooks import Webhooks

pytestmark = pytest.mark.anyio

SITE = """
apiVersion: example.dev/v1
kind: Website
metadata: {name: site}
spec: {repository: %s, replicas: 7}
"""


@pytest.fixture
async def served(simulated: Kubectl) -> AsyncIterator[None]:
    file = str(Path(websites.__file__))
    installed = await asyncio.to_thread(
        CliRunner().invoke, app, ["crds", file, "--install", "--kubeconfig", str(simulated.kubeconfig)]
    )
    assert (installed.exit_code, installed.stdout) == (0, "websites.example.dev is served\n"), installed.output
    client = ApiClient(HttpTransport(load_connection(simulated.kubeconfig)))
    try:
        async with Webhooks(client, [websites], name="websites", withdraw=True):
            yield
    finally:
        await client.close()


async def test_kubectl_is_warned_refused_and_shown_columns(kubectl: Kubectl, served: None, tmp_path: Path) -> None:
    manifest = tmp_path / "site.yaml"
    manifest.write_text(SITE % "git.example/a")
    applied = await asyncio.to_thread(kubectl.run, "apply", "-f", manifest)
    assert (applied.code, applied.stdout) == (0, "website.example.dev/site created\n"), applied.stderr
    assert "Warning: 7 are many" in applied.stderr
    lines = (await asyncio.to_thread(kubectl, "get", "site")).splitlines()
    assert lines[0].split() == ["NAME", "REPLICAS", "READY", "AGE"]
    assert lines[1].split()[:2] == ["site", "7"]
    old = await asyncio.to_thread(kubectl, "get", "websites.v1beta1.example.dev", "site", "-o", "jsonpath={.spec}")
    assert old == '{"count":7,"repo":"git.example/a"}'
    explained = await asyncio.to_thread(kubectl, "explain", "website.spec.repository", "--api-version=example.dev/v1")
    assert "Where it comes from." in explained
    manifest.write_text(SITE % "elsewhere")
    refused = await asyncio.to_thread(kubectl.run, "apply", "-f", manifest)
    assert 'admission webhook "known-host.websites.example.dev" denied the request: ' in refused.stderr

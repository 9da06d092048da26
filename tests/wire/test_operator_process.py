"""`kube-core run`: an operator as a process of its own, through a kubeconfig; and several, of which one works."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from fakes.kubectl import Kubectl, Running

PROGRAM = '''
import os

import attrs

import kube_core as kube
from kube_core.api import core


@kube.kind(group="wire.example.dev", version="v1")
@attrs.frozen
class Page:
    """A page."""

    text: str


@kube.controller(Page, owns=[core.ConfigMap])
async def page(ctx: kube.Context[Page]) -> None:
    await ctx.apply(core.ConfigMap(data={"text": ctx.object.text, "by": str(os.getpid())}))
    ctx.event("Applied", "the page is there")
'''
PAGE = """
apiVersion: wire.example.dev/v1
kind: Page
metadata: {name: %s}
spec: {text: hello}
"""
#: Long enough for a slow machine, short enough to wait for.
LEASE_SECONDS = 6
TIMES = ("--lease-duration", str(LEASE_SECONDS), "--renew-deadline", "5", "--retry-period", "0.5")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "pages.py"
    file.write_text(PROGRAM)
    return file


@contextlib.contextmanager
def operator(kubectl: Kubectl, program: Path, *options: str) -> Iterator[Running]:
    command = ["run", str(program), "--kubeconfig", str(kubectl.kubeconfig), "--namespace", kubectl.namespace]
    running = Running(
        subprocess.Popen(
            [sys.executable, "-m", "kube_core.cli", *command, "--install-kinds", *options],
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


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def make_page(kubectl: Kubectl, name: str) -> str:
    """Make one, and wait for its ConfigMap; who made that."""
    kubectl("apply", "-f", "-", stdin=PAGE % name)
    kubectl("wait", "--for=create", f"configmap/{name}", "--timeout=20s")
    return kubectl.value("configmap", name, ".data.by")


def test_an_operator_runs_beside_a_cluster_and_tells_how_it_is(kubectl: Kubectl, program: Path) -> None:
    with operator(kubectl, program, "--metrics-bind", "127.0.0.1:0") as running:
        found = re.search(r"http://\S+(?=/metrics)", running.line_with("metrics at", timeout=30))
        assert found is not None
        running.line_with("controllers run", timeout=30)
        assert make_page(kubectl, "one") == str(running.process.pid)
        assert fetch(f"{found[0]}/healthz") == fetch(f"{found[0]}/readyz") == "ok"
        metrics = fetch(f"{found[0]}/metrics")
        assert re.search(r'controller_runtime_reconcile_total\{controller="page",result="success"\} [1-9]', metrics)
        assert 'rest_client_requests_total{code="201",method="PATCH"}' in metrics
        kubectl("delete", "configmap", "one")
        kubectl("wait", "--for=create", "configmap/one", "--timeout=20s")
        assert kubectl("get", "events", "--field-selector=reason=Applied", "-o", "name")
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(timeout=20) == 0


def test_of_two_processes_one_leads_until_it_is_killed(kubectl: Kubectl, program: Path) -> None:
    with (
        operator(kubectl, program, "--leader-elect", "--identity", "one", *TIMES) as one,
        contextlib.ExitStack() as stack,
    ):
        one.line_with("leading as one", timeout=30)
        one.line_with("controllers run", timeout=30)
        other = stack.enter_context(operator(kubectl, program, "--leader-elect", "--identity", "other", *TIMES))
        other.line_with("standing by as other", timeout=30)
        assert make_page(kubectl, "first") == str(one.process.pid)
        assert kubectl.value("lease", "page", ".spec.holderIdentity") == "one"
        one.process.kill()
        one.process.wait()
        last_renewed = datetime.fromisoformat(kubectl.value("lease", "page", ".spec.renewTime"))
        other.line_with("leading as other", timeout=40)
        # Not before the lease ran out, by the clock of whoever looks.
        taken = datetime.fromisoformat(kubectl.value("lease", "page", ".spec.acquireTime"))
        assert taken - last_renewed > timedelta(seconds=LEASE_SECONDS)
        other.line_with("controllers run", timeout=30)
        assert make_page(kubectl, "second") == str(other.process.pid)
        assert kubectl.value("lease", "page", ".spec.leaseTransitions") == "1"
        # Who stops in good order is not waited for.
        other.process.send_signal(signal.SIGTERM)
        assert other.process.wait(timeout=20) == 0
        assert kubectl.value("lease", "page", ".spec.holderIdentity") == ""


def test_who_was_asleep_when_it_lost_the_lead_does_nothing_more(kubectl: Kubectl, program: Path) -> None:
    with (
        operator(kubectl, program, "--leader-elect", "--identity", "one", *TIMES) as one,
        contextlib.ExitStack() as stack,
    ):
        one.line_with("controllers run", timeout=30)
        other = stack.enter_context(operator(kubectl, program, "--leader-elect", "--identity", "other", *TIMES))
        other.line_with("standing by as other", timeout=30)
        assert make_page(kubectl, "first") == str(one.process.pid)
        one.process.send_signal(signal.SIGSTOP)
        other.line_with("controllers run", timeout=60)
        # What both have to do is done by one, also when the other wakes to it.
        kubectl("delete", "configmap", "first")
        one.process.send_signal(signal.SIGCONT)
        assert one.process.wait(timeout=30) != 0
        kubectl("wait", "--for=create", "configmap/first", "--timeout=20s")
        assert kubectl.value("configmap", "first", ".data.by") == str(other.process.pid)
        assert make_page(kubectl, "second") == str(other.process.pid)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing.py",), "there is no file nothing.py"),
        (("kube_core.meta.documents",), "no controller is declared there"),
        (("PROGRAM", "--controllers", "other"), "unknown controller other"),
        (("PROGRAM", "--context", "nobody"), 'context "nobody" does not exist'),
        (("PROGRAM", "--metrics-bind", "somewhere"), "is no address to listen on"),
        (("PROGRAM", "--renew-deadline", "20"), "the lease duration must be longer"),
    ],
)
def test_what_cannot_run_is_told_in_one_line(
    simulated: Kubectl, program: Path, arguments: tuple[str, ...], message: str
) -> None:
    given = [str(program) if each == "PROGRAM" else each for each in arguments]
    finished = subprocess.run(
        [sys.executable, "-m", "kube_core.cli", "run", *given, "--kubeconfig", str(simulated.kubeconfig)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert finished.returncode == 1
    (line,) = finished.stderr.strip().splitlines()
    assert message in line


CHECKS = """

@kube.validate(Page)
def polite(page: Page) -> str | None:
    return None if "please" in page.text else "say please"
"""


def test_an_operator_serves_the_functions_of_its_kinds_as_webhooks(kubectl: Kubectl, program: Path) -> None:
    program.write_text(program.read_text() + CHECKS)
    before = set(kubectl("get", "validatingwebhookconfigurations", "-o", "name").split())
    try:
        with operator(kubectl, program, "--webhooks-bind", "127.0.0.1:0") as running:
            running.line_with("controllers run", timeout=30)
            refused = kubectl.fails("apply", "-f", "-", stdin=PAGE % "rude")
            assert "denied the request" in refused
            assert "say please" in refused
            kubectl("apply", "-f", "-", stdin=(PAGE % "kind").replace("hello", "hello please"))
            kubectl("wait", "--for=create", "configmap/kind", "--timeout=20s")
    finally:
        # They stay when the operator ends, as its kinds do, and other tests have pages too.
        for name in set(kubectl("get", "validatingwebhookconfigurations", "-o", "name").split()) - before:
            kubectl("delete", name)

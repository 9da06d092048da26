"""kubectl against pods that are real containers: `exec -it`, `attach`, `cp`, `port-forward`, `debug`."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.containers import needs_containers, offline
from fakes.images import busybox_layer, make_image
from fakes.kubectl import Kubectl, running_cluster

pytestmark = needs_containers("crun")

POD = """
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: busybox:1
    command: [sh, -c, "mkdir /www; echo hello > /www/index.html; echo started; exec httpd -f -p 8080 -h /www"]
    readinessProbe: {httpGet: {port: 8080, path: /index.html}, periodSeconds: 1}
  - {name: shell, image: "busybox:1", command: [sh], stdin: true, tty: true}
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Kubectl]:
    folder = tmp_path_factory.mktemp("containers")
    archive = make_image(busybox_layer(), Env=["PATH=/bin"]).save_docker(folder / "busybox.tar", "busybox:1")
    options = ("--runtime", "oci", "--network", "bridge", "--images", archive)
    with offline(folder / "store"), running_cluster(folder, f"containers-{worker_id}", *options) as kubectl:
        yield kubectl


@pytest.fixture(scope="module")
def web(cluster: Kubectl) -> Kubectl:
    with cluster.started("get", "serviceaccounts", "--watch", "--output=name") as accounts:
        accounts.line_with("serviceaccount/default")
    cluster("apply", "-f", "-", stdin=POD)
    cluster("wait", "--for=condition=Ready", "pod/web", "--timeout=40s")
    return cluster


class Terminal:
    """A command of kubectl on a terminal."""

    def __init__(self, kubectl: Kubectl, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        command, environment = kubectl._command(arguments), kubectl._environment()
        self.process = subprocess.Popen(command, env=environment, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self.seen = b""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def shows(self, text: str) -> None:
        """Wait until it shows this."""
        limit = time.monotonic() + 20
        while text.encode() not in self.seen:
            assert time.monotonic() < limit, self.seen
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.master, 4096)
                except OSError:
                    assert text.encode() in self.seen, self.seen

    def ends(self) -> int:
        code = self.process.wait(timeout=20)
        os.close(self.master)
        return code


def test_its_log_is_shown(web: Kubectl) -> None:
    assert web("logs", "web", "-c", "web").splitlines()[0] == "started"


def test_a_shell_on_a_terminal(web: Kubectl) -> None:
    terminal = Terminal(web, "exec", "-it", "web", "-c", "web", "--", "sh")
    terminal.shows("#")
    terminal.type("tty; echo $((40 + 2)); hostname\n")
    terminal.shows("/dev/pts/0")
    terminal.shows("42")
    terminal.shows("web")
    terminal.type("exit 3\n")
    assert terminal.ends() == 3


def test_attaching_to_a_terminal_speaks_to_the_main_process(web: Kubectl) -> None:
    terminal = Terminal(web, "attach", "-it", "web", "-c", "shell")
    terminal.type("echo pid $$\n")
    terminal.shows("pid 1")
    terminal.process.terminate()
    terminal.ends()


def test_files_are_copied_both_ways(web: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("content\n")
    web("cp", tmp_path / "there", "web:/tmp/copied", "-c", "web")
    web("cp", "web:/tmp/copied", tmp_path / "back", "-c", "web")
    assert (tmp_path / "back").read_text() == "content\n"


def test_a_port_is_forwarded(web: Kubectl) -> None:
    with web.started("port-forward", "pod/web", ":8080") as forward:
        match = re.search(r"127\.0\.0\.1:(\d+) -> 8080", forward.line_with("Forwarding from 127.0.0.1"))
        assert match is not None
        with urllib.request.urlopen(f"http://127.0.0.1:{match[1]}/", timeout=10) as page:
            assert page.read() == b"hello\n"


def test_a_debugger_sees_the_processes_of_its_target(web: Kubectl) -> None:
    command = ("debug", "web", "--image=busybox:1", "--target=web", "--container=debugger", "--attach=false")
    web(*command, "--", "sh", "-c", "ps | grep -q '[h]ttpd' && echo seen; sleep 1000")
    web("wait", "--for=jsonpath={.status.ephemeralContainerStatuses[0].state.running}", "pod/web", "--timeout=30s")
    with web.started("logs", "web", "-c", "debugger", "-f") as logs:
        logs.line_with("seen")


def test_a_command_that_is_not_there_says_so(web: Kubectl) -> None:
    assert "not found" in web.fails("exec", "web", "-c", "web", "--", "no-such-program")

"""crictl, unmodified, against `kube-core cri`: what a person does on a node by hand."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import pytest

from fakes.containers import image_store, needs_containers
from fakes.criserver import ended, serving
from fakes.kubectl import Running
from fakes.programs import BUILD_SECONDS, installed
from fakes.terminal import on_terminal
from fakes.waiting import soon

pytest.importorskip("grpc")
pytestmark = [pytest.mark.clients, pytest.mark.timeout(BUILD_SECONDS), needs_containers()]

POD = {
    "metadata": {"name": "web", "namespace": "default", "uid": "u-1"},
    "hostname": "web-host",
    "labels": {"app": "web"},
    "linux": {"security_context": {"namespace_options": {"pid": 1}}},
}
CONTAINER = {
    "metadata": {"name": "main"},
    "image": {"image": "site:1"},
    "command": ["sh", "-c", "echo begun; exec httpd -f -p 8080 -h /etc"],
    "log_path": "main.log",
    "linux": {"security_context": {"namespace_options": {"pid": 1}}},
}


@attrs.frozen
class Crictl:
    """`crictl("ps") -> what it printed`. Files of JSON are written for the arguments that are objects."""

    program: Path
    folder: Path

    def command(self, arguments: Sequence[str]) -> list[str]:
        address = f"unix://{self.folder}/cri.sock"
        return [str(self.program), "--runtime-endpoint", address, "--image-endpoint", address, *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(arguments), capture_output=True, text=True, timeout=50, check=False)

    def __call__(self, *arguments: str) -> str:
        finished = self.run(*arguments)
        assert finished.returncode == 0, (arguments, finished.stderr)
        return finished.stdout.strip()

    def write(self, name: str, document: object) -> str:
        (self.folder / name).write_text(json.dumps(document))
        return str(self.folder / name)

    @contextlib.contextmanager
    def started(self, *arguments: str) -> Iterator[Running]:
        process = subprocess.Popen(
            self.command(arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        )
        running = Running(process)
        try:
            yield running
        finally:
            running.end()


@pytest.fixture(scope="module")
def crictl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crictl]:
    program = installed("sigs.k8s.io/cri-tools/cmd/crictl", "v1.37.0")
    folder = tmp_path_factory.mktemp("cri")
    store = image_store(tmp_path_factory, "site:1")
    with ended(folder), serving(folder, store):
        yield Crictl(program, folder)


@pytest.fixture(scope="module")
def pod(crictl: Crictl) -> str:
    return crictl("runp", crictl.write("pod.json", {**POD, "log_directory": f"{crictl.folder}/logs"}))


@pytest.fixture(scope="module")
def container(crictl: Crictl, pod: str) -> str:
    identity = crictl("create", pod, crictl.write("container.json", CONTAINER), f"{crictl.folder}/pod.json")
    crictl("start", identity)
    return identity


def test_it_says_what_there_is(crictl: Crictl, pod: str, container: str) -> None:
    assert json.loads(crictl("info"))["status"]["conditions"][0]["type"] == "RuntimeReady"
    assert "RuntimeName:  kube-core" in crictl("version")
    assert crictl("pods", "-q", "--label", "app=web") == pod
    assert crictl("ps", "-q", "--state", "running") == container
    assert "site" in crictl("images")
    assert json.loads(crictl("inspect", container))["status"]["state"] == "CONTAINER_RUNNING"
    assert json.loads(crictl("inspectp", pod))["status"]["metadata"]["name"] == "web"
    assert json.loads(crictl("inspecti", "site:1"))["status"]["repoTags"] == ["docker.io/library/site:1"]
    assert json.loads(crictl("imagefsinfo"))["status"]["imageFilesystems"]
    assert container[:13] in crictl("stats", container)
    assert pod[:13] in crictl("statsp")


def test_an_image_that_is_loaded_is_pulled(crictl: Crictl) -> None:
    assert "Image is up to date for sha256:" in crictl("pull", "site:1")
    assert crictl.run("pull", "site:2").returncode == 1


def test_commands_run_in_a_container(crictl: Crictl, container: str) -> None:
    assert crictl("exec", "-s", container, "hostname") == "web-host"
    assert crictl("exec", container, "hostname") == "web-host"
    assert crictl("exec", "--transport", "websocket", container, "hostname") == "web-host"
    failed = crictl.run("exec", container, "sh", "-c", "exit 3")
    assert "exit code 3" in failed.stderr
    late = crictl.run("exec", "-s", "--timeout", "1", container, "sleep", "100")
    assert "timed out" in late.stderr


def test_a_shell_has_a_terminal(crictl: Crictl, container: str) -> None:
    with on_terminal(crictl.command(["exec", "-it", container, "sh"]), os.environ) as terminal:
        terminal.shows("#")
        # Its size is told once the shell runs.
        terminal.press("echo on $((6 * 7)); until stty size | grep 45.160; do sleep 0.1; done\r")
        terminal.shows("on 42")
        terminal.shows("45 160")
        terminal.press("exit\r")


def test_its_log_is_read(crictl: Crictl, container: str) -> None:
    assert soon(lambda: crictl("logs", container)) == "begun"


def test_a_port_of_a_pod_is_had_on_this_host(crictl: Crictl, pod: str, container: str) -> None:
    with crictl.started("port-forward", pod, "0:8080") as forwarding:
        line = forwarding.line_with("Forwarding from 127.0.0.1:")
        [port] = re.findall(r"127\.0\.0\.1:(\d+)", line)

        def fetched() -> bytes:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/hostname", timeout=20) as answer:
                    content: bytes = answer.read()
                    return content
            except OSError:
                return b""

        assert soon(fetched) == b"web-host\n"


def test_a_pod_is_stopped_and_removed(crictl: Crictl) -> None:
    config = {**POD, "metadata": {"name": "other", "namespace": "default", "uid": "u-2"}}
    pod = crictl("runp", crictl.write("other.json", {**config, "log_directory": f"{crictl.folder}/logs"}))
    files = crictl.write("short.json", {**CONTAINER, "log_path": "short.log"}), f"{crictl.folder}/other.json"
    identity = crictl("create", pod, *files)
    crictl("start", identity)
    crictl("stop", "--timeout", "0", identity)
    assert json.loads(crictl("inspect", identity))["status"]["exitCode"] == 137
    crictl("rm", identity)
    assert identity not in crictl("ps", "-aq")
    crictl("stopp", pod)
    assert pod in crictl("pods", "-q", "--state", "NotReady")
    crictl("rmp", pod)
    assert pod not in crictl("pods", "-q")

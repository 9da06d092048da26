"""kubectl against pods that are real containers: `exec -it`, `attach`, `cp`, `port-forward`, `debug`.

Once with this project's own containers, and once with those of containerd.
"""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fakes import containerd
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


@pytest.fixture(scope="module", params=["oci", pytest.param("cri", marks=containerd.needs_containerd())])
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Iterator[Kubectl]:
    folder = tmp_path_factory.mktemp("containers")
    name = f"containers-{request.param}-{worker_id}"
    with ExitStack() as stack:
        if request.param == "cri":
            endpoint = stack.enter_context(containerd.running()).endpoint
            options = ["--runtime", f"cri:{endpoint}"]
        else:
            archive = make_image(busybox_layer(), Env=["PATH=/bin"]).save_docker(folder / "busybox.tar", "busybox:1")
            stack.enter_context(offline(folder / "store"))
            options = ["--runtime", "oci", "--network", "bridge", "--images", str(archive)]
        yield stack.enter_context(running_cluster(folder, name, *options))


@pytest.fixture(scope="module")
def web(cluster: Kubectl) -> Kubectl:
    with cluster.started("get", "serviceaccounts", "--watch", "--output=name") as accounts:
        accounts.line_with("serviceaccount/default")
    cluster("apply", "-f", "-", stdin=POD)
    cluster("wait", "--for=condition=Ready", "pod/web", "--timeout=40s")
    return cluster


def test_its_log_is_shown(web: Kubectl) -> None:
    assert web("logs", "web", "-c", "web").splitlines()[0] == "started"


def test_the_log_of_the_run_before_is_shown(web: Kubectl) -> None:
    command = ("--image=busybox:1", "--command", "--", "sh", "-c", "echo about to fail; exit 3")
    web("run", "crashing", *command)
    web("wait", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "pod/crashing", "--timeout=30s")
    assert web("logs", "crashing", "--previous", "--prefix") == "[pod/crashing/crashing] about to fail\n"
    web("delete", "pod", "crashing", "--wait=false")


def test_a_shell_on_a_terminal(web: Kubectl) -> None:
    with web.on_terminal("exec", "-it", "web", "-c", "web", "--", "sh") as terminal:
        terminal.shows("#")
        terminal.press("tty; stty size; echo $((40 + 2)); hostname\n")
        terminal.shows("/dev/pts/0")
        terminal.shows("45 160")
        terminal.shows("42")
        terminal.resize(100, 30)
        terminal.press("until [ \"$(stty size)\" = '30 100' ]; do sleep 0.1; done; echo re''sized; exit 3\n")
        terminal.shows("resized")
        terminal.shows("command terminated with exit code 3")


def test_attaching_to_a_terminal_speaks_to_the_main_process(web: Kubectl) -> None:
    with web.on_terminal("attach", "-it", "web", "-c", "shell") as terminal:
        terminal.press("echo pid $$\n")
        terminal.shows("pid 1")


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


def test_a_debugger_on_a_terminal(web: Kubectl) -> None:
    with web.on_terminal(
        "debug", "web", "-it", "--image=busybox:1", "--container=shell-beside", "--", "sh"
    ) as terminal:
        terminal.shows("try pressing enter")
        terminal.press("wget -qO- http://127.0.0.1:8080; ls /www\n")
        terminal.shows("hello")
        terminal.shows("No such file or directory")


def test_a_command_that_is_not_there_says_so(web: Kubectl) -> None:
    assert "not found" in web.fails("exec", "web", "-c", "web", "--", "no-such-program")

"""`kubectl logs`, `exec`, `attach`, `cp`, `port-forward`, and the guestbook: pods that are processes."""

from __future__ import annotations

import os
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.kubectl import Kubectl
from fakes.waiting import soon

GUESTBOOK = Path(__file__).parents[2] / "examples" / "guestbook" / "guestbook.yaml"


@pytest.fixture
def pods(process_kubectl: Kubectl, manifests: Path) -> Kubectl:
    """A namespace with the pods `talker` and `page`."""
    process_kubectl("apply", "-f", manifests / "pods.yaml")
    process_kubectl("wait", "--for=condition=Ready", "pods", "--all", "--timeout=30s")
    return process_kubectl


def test_logs_shows_what_was_written(pods: Kubectl) -> None:
    with pods.started("logs", "talker", "-f") as logs:
        logs.line_with("line 3")
    assert pods("logs", "talker").splitlines()[:3] == ["line 1", "line 2", "line 3"]
    assert len(pods("logs", "talker", "--tail=2").splitlines()) == 2
    assert pods("logs", "talker", "--limit-bytes=6") == "line 1"
    assert re.match(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z line 1\n", pods("logs", "talker", "--timestamps"))


def test_logs_follows(pods: Kubectl) -> None:
    with pods.started("logs", "-f", "talker", "--tail=1") as logs:
        first = int(logs.line_with("line").split()[1])
        for number in range(first + 1, first + 5):
            assert logs.line_with("line") == f"line {number}"


def test_logs_follows_until_the_container_ends(process_kubectl: Kubectl) -> None:
    command = ("--restart=Never", "--", "sh", "-c", "echo one; sleep 0.5; echo two")
    process_kubectl("run", "short", "--image=host", *command)
    process_kubectl("wait", "--for=jsonpath={.status.startTime}", "pod/short", "--timeout=15s")
    with process_kubectl.started("logs", "-f", "short", "--pod-running-timeout=15s") as logs:
        logs.line_with("two")
        assert logs.process.wait(timeout=15) == 0


def test_logs_of_a_container_that_crashed(process_kubectl: Kubectl) -> None:
    process_kubectl("run", "crashing", "--image=host", "--", "sh", "-c", "echo about to fail; exit 3")
    process_kubectl("wait", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "pod/crashing")
    assert process_kubectl("logs", "crashing", "--previous") == "about to fail\n"
    text = process_kubectl("describe", "pod", "crashing")
    for part in ("Last State:     Terminated", "Reason:       Error", "Exit Code:    3"):
        assert part in text


def test_logs_of_what_is_not_there_says_so(pods: Kubectl) -> None:
    assert 'pods "nobody" not found' in pods.fails("logs", "nobody")
    assert "container nobody is not valid for pod talker" in pods.fails("logs", "talker", "-c", "nobody")
    assert 'previous terminated container "talker" in pod "talker" not found' in pods.fails("logs", "talker", "-p")


PAIR = """
apiVersion: v1
kind: Pod
metadata: {name: pair}
spec:
  terminationGracePeriodSeconds: 1
  restartPolicy: Never
  initContainers:
  - {name: before, image: host, command: [sh, -c, "echo first of all"]}
  containers:
  - {name: left, image: host, command: [sh, -c, "echo early; sleep 2; echo late"]}
  - {name: right, image: host, command: [sh, -c, "echo from the right"]}
"""


def test_logs_of_several_containers_and_of_a_while(process_kubectl: Kubectl) -> None:
    process_kubectl("apply", "-f", "-", stdin=PAIR)
    process_kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/pair", "--timeout=30s")
    everything = process_kubectl("logs", "pair", "--all-containers", "--prefix")
    assert set(everything.splitlines()) == {
        "[pod/pair/before] first of all",
        "[pod/pair/left] early",
        "[pod/pair/left] late",
        "[pod/pair/right] from the right",
    }
    stamped = process_kubectl("logs", "pair", "-c", "left", "--timestamps").splitlines()
    late = stamped[1].split()[0]
    # What is given in whole seconds begins with that second, and the two lines are two of them apart.
    assert process_kubectl("logs", "pair", "-c", "left", f"--since-time={late[:19]}Z") == "late\n"
    assert process_kubectl("logs", "pair", "-c", "left", "--since=1h") == "early\nlate\n"
    assert process_kubectl("logs", "-l", "!app", "-c", "right", "--tail=1") == "from the right\n"


def test_a_shell_on_a_terminal_follows_its_size(pods: Kubectl) -> None:
    with pods.on_terminal("exec", "-it", "talker", "--", "sh") as terminal:
        terminal.shows("$" if os.geteuid() else "#")
        terminal.press("stty size; echo on $(tty)\n")
        terminal.shows("45 160")
        terminal.shows("on /dev/pts/")
        terminal.resize(100, 30)
        terminal.press("until [ \"$(stty size)\" = '30 100' ]; do sleep 0.1; done; echo re''sized\n")
        terminal.shows("resized")
        terminal.press("sh -c 'echo begun by $0; sleep 1000' me\n")
        terminal.shows("begun by me")
        terminal.press("\x03")
        terminal.press("echo inter''rupted; exit 3\n")
        terminal.shows("interrupted")
        terminal.shows("command terminated with exit code 3")


SHELL = """
apiVersion: v1
kind: Pod
metadata: {name: shell}
spec:
  terminationGracePeriodSeconds: 1
  restartPolicy: Never
  containers:
  - {name: shell, image: host, command: [sh], stdin: true, tty: true}
"""


def test_attaching_to_a_terminal_speaks_to_the_main_process(process_kubectl: Kubectl) -> None:
    process_kubectl("apply", "-f", "-", stdin=SHELL)
    process_kubectl("wait", "--for=condition=Ready", "pod/shell", "--timeout=30s")
    for keys, shown in (("NAME=kept; echo as''ked in $HOSTNAME", "asked in shell"), ("echo still $NAME", "still kept")):
        with process_kubectl.on_terminal("attach", "-it", "shell") as terminal:
            # The prompt was written before anyone was attached.
            terminal.shows("try pressing enter")
            terminal.press(f"{keys}\n")
            terminal.shows(shown)
    with process_kubectl.on_terminal("attach", "-it", "shell") as terminal:
        terminal.shows("try pressing enter")
        terminal.press("exit 4\n")
        process_kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "pod/shell", "--timeout=15s")


def test_run_on_a_terminal_ends_with_who_was_attached(process_kubectl: Kubectl) -> None:
    said = ("run", "shell", "-it", "--image=host", "--restart=Never", "--", "sh")
    with process_kubectl.on_terminal(*said) as terminal:
        terminal.shows("try pressing enter")
        terminal.press("echo as''ked in $HOSTNAME\n")
        terminal.shows("asked in shell")
    # Its stdin is for one: who left took it along.
    process_kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/shell", "--timeout=15s")


def test_a_debugger_runs_beside_the_containers(pods: Kubectl) -> None:
    command = ("debug", "talker", "--image=host", "--target=talker", "--container=debugger", "--attach=false")
    pods(*command, "--", "sh", "-c", "echo in $HOSTNAME; sleep 1000")
    with pods.started("logs", "talker", "-c", "debugger", "-f", "--pod-running-timeout=15s") as logs:
        assert logs.line_with("in ") == "in talker"


def test_a_debugger_runs_on_a_node(process_kubectl: Kubectl) -> None:
    with process_kubectl.on_terminal("debug", "node/node-1", "-it", "--image=host", "--", "sh") as terminal:
        terminal.shows("try pressing enter")
        terminal.press("echo h''ere; exit\n")
        terminal.shows("here")


def test_exec_carries_output_and_exit_code(pods: Kubectl) -> None:
    finished = pods.run("exec", "talker", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (finished.code, finished.stdout) == (7, "out\n")
    assert finished.stderr == "err\ncommand terminated with exit code 7\n"


def test_exec_carries_input(pods: Kubectl) -> None:
    assert pods("exec", "-i", "talker", "--", "tr", "a-z", "A-Z", stdin="shout\n") == "SHOUT\n"
    large = "0123456789" * 50_000
    assert pods("exec", "-i", "talker", "--", "cat", stdin=large) == large


def test_exec_runs_in_the_container(pods: Kubectl) -> None:
    assert pods("exec", "page", "--", "sh", "-c", "echo $HOSTNAME; cat page/index.html") == "page\nhello from page\n"
    assert "KUBERNETES_SERVICE_HOST" in pods("exec", "page", "--", "env")


def test_exec_of_what_is_not_there_says_so(pods: Kubectl) -> None:
    assert "executable file not found" in pods.fails("exec", "talker", "--", "no-such-program")
    assert "nobody" in pods.fails("exec", "talker", "-c", "nobody", "--", "true")


def test_exec_without_websockets(pods: Kubectl) -> None:
    """SPDY, which older versions of kubectl speak."""
    finished = pods.run("exec", "-i", "talker", "--", "cat", stdin="old\n", KUBECTL_REMOTE_COMMAND_WEBSOCKETS="false")
    assert (finished.code, finished.stdout) == (0, "old\n")


def test_attach_shows_what_is_written_from_now_on(pods: Kubectl) -> None:
    with pods.started("attach", "talker") as attached:
        first = int(attached.line_with("line ").split()[1])
        assert attached.line_with("line ") == f"line {first + 1}"


def test_cp_copies_both_ways(pods: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "file").write_text("contents\n")
    pods("cp", tmp_path / "here", "page:there")
    assert pods("exec", "page", "--", "cat", "there/file") == "contents\n"
    pods("cp", "page:there/file", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "contents\n"


@pytest.mark.parametrize("websockets", ["true", "false"])
def test_port_forward_reaches_the_pod(pods: Kubectl, websockets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets)
    with pods.started("port-forward", "pod/page", ":8080") as forward:
        match = re.search(r"127\.0\.0\.1:(\d+) -> 8080", forward.line_with("Forwarding from 127.0.0.1"))
        assert match is not None
        for _ in range(3):
            with urllib.request.urlopen(f"http://127.0.0.1:{match[1]}/", timeout=10) as page:
                assert page.read() == b"hello from page\n"


def test_a_port_nobody_listens_on_is_told(pods: Kubectl) -> None:
    with pods.started("port-forward", "pod/page", ":1") as forward:
        match = re.search(r"127\.0\.0\.1:(\d+) -> 1", forward.line_with("Forwarding from 127.0.0.1"))
        assert match is not None
        with pytest.raises(OSError, match=r"."):
            urllib.request.urlopen(f"http://127.0.0.1:{match[1]}/", timeout=10)
        forward.line_with("error forwarding port 1 to pod")


def test_run_shows_output_and_cleans_up(process_kubectl: Kubectl) -> None:
    arguments = (
        "run",
        "short",
        "-i",
        "--rm",
        "--restart=Never",
        "--image=host",
        "--",
        "sh",
        "-c",
        "echo hello; sleep 1",
    )
    said = process_kubectl(*arguments)
    assert 'pod "short" deleted' in said
    assert "NotFound" in process_kubectl.fails("get", "pod", "short")


def test_run_takes_input(process_kubectl: Kubectl) -> None:
    arguments = ("run", "shout", "-i", "--rm", "--restart=Never", "--image=host", "--", "tr", "a-z", "A-Z")
    assert "SHOUT" in process_kubectl(*arguments, stdin="shout\n")


def test_drain_moves_processes(process_kubectl: Kubectl) -> None:
    command = ("--", "sh", "-c", "exec sleep 1000")
    process_kubectl("create", "deployment", "sleeper", "--image=host", "--replicas=2", *command)
    process_kubectl("rollout", "status", "deployment/sleeper", "--timeout=30s")
    try:
        assert "node/node-1 drained" in process_kubectl("drain", "node-1", "--timeout=30s")
        process_kubectl("rollout", "status", "deployment/sleeper", "--timeout=30s")
        nodes = process_kubectl("get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}").split()
        assert nodes == ["node-2", "node-2"]
    finally:
        process_kubectl("uncordon", "node-1")


@pytest.fixture
def guestbook(processes: Kubectl) -> Iterator[Kubectl]:
    said = processes("apply", "-f", GUESTBOOK)
    assert "ingress.networking.k8s.io/guestbook created" in said
    yield processes.within("guestbook")
    processes("delete", "--ignore-not-found", "-f", GUESTBOOK, "--wait=false")


def test_the_guestbook_runs(guestbook: Kubectl) -> None:
    for deployment in ("guestbook-backend", "guestbook-frontend"):
        said = guestbook("rollout", "status", f"deployment/{deployment}", "--timeout=40s")
        assert f'deployment "{deployment}" successfully rolled out' in said
    assert guestbook("get", "pvc", "entries", "--no-headers").split()[1] == "Bound"
    pod = guestbook("get", "pods", "-l", "tier=frontend", "-o", "jsonpath={.items[0].metadata.name}")
    text = guestbook("describe", "pod", pod)
    assert "wait-for-backend:" in text
    assert "Reason:       Completed" in text
    assert guestbook("logs", pod, "-c", "frontend") != ""
    with guestbook.started("port-forward", "service/guestbook-frontend", ":7080") as forward:
        match = re.search(r"127\.0\.0\.1:(\d+) -> 7080", forward.line_with("Forwarding from 127.0.0.1"))
        assert match is not None
        with urllib.request.urlopen(f"http://127.0.0.1:{match[1]}/", timeout=10) as page:
            assert b"The kube_core guestbook" in page.read()
    guestbook("set", "image", "deployment/guestbook-frontend", "*=guestbook-frontend:v2")
    guestbook("rollout", "status", "deployment/guestbook-frontend", "--timeout=40s")
    guestbook("delete", "-f", GUESTBOOK, "--timeout=40s")
    assert "NotFound" in guestbook.fails("get", "namespace", "guestbook")


def test_a_load_balancer_answers_at_its_external_address(pods: Kubectl) -> None:
    pods("label", "pod", "page", "app=page")
    pods("create", "service", "loadbalancer", "page", "--tcp=18080:8080")
    address = soon(lambda: pods("get", "service", "page", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}"))
    [_, row] = pods("get", "service", "page").splitlines()
    assert row.split()[3] == address

    def answer() -> bytes:
        try:
            with urllib.request.urlopen(f"http://{address}:18080/", timeout=5) as page:
                return bytes(page.read())
        except OSError:
            return b""

    assert soon(answer)
    described = pods("describe", "service", "page")
    assert re.search(rf"LoadBalancer Ingress: +{re.escape(address)} \(VIP\)", described)
    assert "EnsuredLoadBalancer" in described
    pods("delete", "service", "page")
    assert soon(lambda: not answer())

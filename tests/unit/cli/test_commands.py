"""The command line, as a program: exit codes, single lines of error, resuming, the kubeconfig."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from kube_core.api import yaml

#: This process's own: the machine knows clusters in memory by their names, whoever runs them.
NAME = f"t{os.getpid()}"


class Shell:
    """Runs `kube-core` with state and kubeconfig of its own."""

    def __init__(self, directory: Path) -> None:
        self.kubeconfig = directory / "kubeconfig"
        self.state = directory / "state"
        self.environment = {**os.environ, "XDG_STATE_HOME": str(self.state), "KUBECONFIG": str(self.kubeconfig)}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kube_core.cli", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=40, check=False)

    def fails(self, *arguments: str) -> str:
        """The one line that a failing command says."""
        finished = self.run(*arguments)
        assert finished.returncode == 1, finished
        lines = finished.stderr.splitlines()
        assert len(lines) == 1, finished.stderr
        return lines[0]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    made.run("down", "--name", NAME)


UP = ("up", "--name", NAME, "--nodes", "0", "--controllers", "none", "--detach")


def test_up_down_and_up_again_resumes(shell: Shell) -> None:
    first = shell.run(*UP)
    assert first.returncode == 0, first.stderr
    assert "is ready at https://127.0.0.1:" in first.stdout
    assert "Running" in shell.run("status").stdout
    assert "is running already" in shell.fails(*UP)
    assert shell.run("down", "--name", NAME).returncode == 0
    assert "Stopped" in shell.run("status").stdout
    again = shell.run("up", "--name", NAME, "--detach")
    assert again.stdout == first.stdout


def test_the_kubeconfig_gains_a_context_and_loses_nothing(shell: Shell) -> None:
    shell.kubeconfig.write_text(
        "# mine\napiVersion: v1\nkind: Config\ncurrent-context: other\n"
        "contexts:\n- name: other\n  context: {cluster: c, user: u}\n"
    )
    assert shell.run(*UP).returncode == 0
    text = shell.kubeconfig.read_text()
    assert "# mine" in text
    config = yaml.load(text)
    assert [context["name"] for context in config["contexts"]] == ["other", f"kube-core-{NAME}"]
    assert config["current-context"] == "other"
    shell.run("down", "--name", NAME)
    assert shell.run("up", "--name", NAME, "--detach", "--use-context").returncode == 0
    assert yaml.load(shell.kubeconfig.read_text())["current-context"] == f"kube-core-{NAME}"


def test_a_file_of_options_counts_less_than_the_command_line(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    kubelet = "kubelet: {static_pod_path: ./manifests, eviction_hard: {memory.available: 5Mi}, pod_pids_limit: 9}"
    file.write_text(f"nodes: 2\nruntime: fake\nsecurity: {{audit_log_maxsize: 7}}\n{kubelet}\n")
    started = shell.run("up", "--name", NAME, "--detach", "--config", str(file), "--nodes", "1")
    assert started.returncode == 0, started.stderr
    [line] = [line for line in shell.run("status").stdout.splitlines() if line.startswith(f"{NAME} ")]
    assert line.partition(")")[2].split()[:2] == ["1", "fake"]
    saved = orjson.loads((shell.state / "kube-core" / NAME / "cluster.json").read_bytes())
    assert saved["security"] == {"audit_log_maxsize": 7}
    path = str(tmp_path / "manifests")
    kept = {"static_pod_path": path, "eviction_hard": {"memory.available": "5Mi"}, "pod_pids_limit": 9}
    assert saved["kubelet"] == kept
    # Without the file, too, the next time.
    assert shell.run("down", "--name", NAME).returncode == 0
    assert shell.run("up", "--name", NAME, "--detach").returncode == 0
    saved = orjson.loads((shell.state / "kube-core" / NAME / "cluster.json").read_bytes())
    assert saved["kubelet"] == kept


def test_a_mistake_in_a_file_of_options_is_told_with_its_line(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text("runtime: fake\nnode: 2\n")
    error = shell.fails("up", "--name", NAME, "--config", str(file))
    assert error == f"kube-core: {file}:2: node: there is no such field; did you mean nodes?"


def test_a_mistake_in_a_nodes_file_of_options_is_told_with_its_line(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    command = ("node", "--name", "n", "--state", str(tmp_path / "state"), "--config", str(file))
    for text, problem in (
        ("port: 0\nkubelet:\n  pod_pids_limt: 3\n", ":3: kubelet.pod_pids_limt: there is no such field; did you mean"),
        ("labels: {a: b}\nport: none\n", ":2: port: should be a whole number, not 'none'"),
        ("kubelet: {shutdown_grace_period: long}\n", ":1: kubelet.shutdown_grace_period: should be a number"),
        ("nonsense: 1\n", ":1: nonsense: there is no such field; there are runtime, "),
    ):
        file.write_text(text)
        assert shell.fails(*command).startswith(f"kube-core: {file}{problem}")
    file.write_text("taints: [nonsense]\n")
    assert "nonsense: give KEY[=VALUE]:EFFECT" in shell.fails(*command)


def test_a_port_in_use_is_one_clear_line(shell: Shell) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in shell.fails(*UP, "--port", str(port))


def test_an_unknown_driver_is_one_clear_line_that_names_those_there_are(shell: Shell) -> None:
    line = shell.fails("up", "--name", NAME, "--store", "bogus://x")
    assert "unknown store driver 'bogus'; available: memory, sqlite" in line


def test_an_unknown_controller_is_one_clear_line(shell: Shell) -> None:
    assert "unknown controller nonsense" in shell.fails(
        "up", "--name", NAME, "--controllers", "nonsense", "--nodes", "0"
    )


def test_a_damaged_store_is_one_clear_line_and_nothing_is_lost(shell: Shell) -> None:
    assert shell.run(*UP).returncode == 0
    shell.run("down", "--name", NAME)
    store = shell.state / "kube-core" / NAME / "store.db"
    for suffix in ("-wal", "-shm"):
        Path(f"{store}{suffix}").unlink(missing_ok=True)
    store.write_bytes(b"this is no database, but somebody may want it")
    shell.fails("up", "--name", NAME, "--detach")
    assert store.read_bytes() == b"this is no database, but somebody may want it"


def test_a_state_directory_that_cannot_be_written_is_one_clear_line(shell: Shell) -> None:
    shell.state.write_text("a file")
    assert "cannot keep state" in shell.fails(*UP)


def test_down_of_an_unknown_cluster_says_so(shell: Shell) -> None:
    assert "there is no cluster 'nobody'" in shell.fails("down", "--name", "nobody")


def test_an_in_memory_cluster_leaves_no_state(shell: Shell) -> None:
    command = [sys.executable, "-m", "kube_core.cli", *UP[:-1], "--in-memory"]
    process = subprocess.Popen(command, env=shell.environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "is ready" in process.stdout.readline()
    process.terminate()
    process.stdout.close()
    assert process.wait(timeout=20) == 0
    assert not shell.state.exists()


def test_a_detached_cluster_in_memory_is_found_and_stopped_by_name(shell: Shell) -> None:
    up = ("up", "--name", NAME, "--nodes", "0", "--controllers", "none", "--in-memory", "--detach")
    assert shell.run(*up).returncode == 0
    try:
        assert "Running in memory" in shell.run("status").stdout
        assert "is running already" in shell.fails(*up)
    finally:
        assert shell.run("down", "--name", NAME).returncode == 0
    assert f"there is no cluster '{NAME}'" in shell.fails("down", "--name", NAME)
    assert not shell.state.exists()


@pytest.mark.parametrize("options", [(), ("--in-memory",)])
def test_a_detached_cluster_that_breaks_says_how(shell: Shell, tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "sitecustomize.py").write_text('import sys; sys.modules["kube_core.cluster"] = None')
    shell.environment["PYTHONPATH"] = str(tmp_path)
    told = shell.fails("up", "--name", NAME, "--detach", *options)
    assert "ModuleNotFoundError: import of kube_core.cluster halted" in told
    log = shell.state / "kube-core" / NAME / "log"
    assert (f"; its log is {log}" in told) is not bool(options)
    assert options or "Traceback" in log.read_text()


def test_what_is_installed_is_listed(shell: Shell) -> None:
    assert "replicaset-controller" in shell.run("plugins").stdout
    assert "kube_drivers.store.sqlite" in shell.run("drivers").stdout
    assert "Kubernetes v1.37" in shell.run("version").stdout

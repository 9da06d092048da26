"""`kube-core node` of a cluster of its own program: started, killed, started again, ended."""

from __future__ import annotations

import subprocess
import sys

from fakes.kubectl import Kubectl, Running

__all__ = ["NodeProcess"]

_COMMAND = (sys.executable, "-m", "kube_core.cli")


class NodeProcess:
    """One node of the cluster, that may be killed and started again."""

    def __init__(self, cluster: Kubectl, name: str, runtime: str, *more: str) -> None:
        self.name = name
        self.url = ""
        self.kubeconfig = cluster.home / f"{name}.kubeconfig"
        self._state = cluster.home / name
        self._options = ("--name", name, "--runtime", runtime, "--state", str(self._state), *more)
        made = ("node-kubeconfig", name, "--output", str(self.kubeconfig), "--kubeconfig", str(cluster.kubeconfig))
        subprocess.run((*_COMMAND, *made), check=True, timeout=30)
        self.running: Running | None = None

    def start(self) -> None:
        more = ("--port", "0", "--kubeconfig", str(self.kubeconfig), "--labels", f"here={self.name}")
        self.running = Running(
            subprocess.Popen(
                (*_COMMAND, "node", *self._options, *more),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        self.url = self.running.line_with("is ready at", timeout=30).split()[-1]

    def kill(self) -> None:
        assert self.running is not None
        self.running.process.kill()
        self.running.end()

    def refusal(self) -> str:
        """What a second process of this node is told."""
        command = (*_COMMAND, "node", *self._options, "--kubeconfig", str(self.kubeconfig))
        finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert finished.returncode == 1
        return finished.stderr

    def end(self) -> None:
        """Stop it, and then what it has left running."""
        if self.running is not None:
            self.running.end()
            assert self.running.process.returncode == 0, self.running.seen
        subprocess.run((*_COMMAND, "node", *self._options, "--end"), check=True, timeout=30)

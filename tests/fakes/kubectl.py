"""The program `kubectl`, unmodified, and a server for it to talk to: `kube-core up` as a process of its own."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import attrs

from fakes.terminal import Terminal, on_terminal

__all__ = ["PROGRAM", "Finished", "Kubectl", "Running", "running_cluster"]

#: Another version may be tried by `KUBECTL=/path/to/it`.
PROGRAM = shutil.which(os.environ.get("KUBECTL", "kubectl"))

_START_SECONDS = 30.0
_COMMAND_SECONDS = 50.0


@attrs.frozen
class Finished:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


class Running:
    """A command that goes on: its lines as they come, standard error among them."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.seen: list[str] = []

    def line_with(self, text: str, *, timeout: float = 15.0) -> str:
        """The next line that holds `text`. Fails when the command ends, or says nothing for `timeout` seconds."""
        while True:
            try:
                line = self._lines.get(timeout=timeout)
            except queue.Empty:
                raise AssertionError(f"no line with {text!r} came; there were {self.seen}") from None
            if line is None:
                raise AssertionError(f"the command ended before a line with {text!r}; there were {self.seen}")
            self.seen.append(line)
            if text in line:
                return line

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=10)
        self._reader.join(timeout=10)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)


@attrs.frozen
class Kubectl:
    """kubectl with a kubeconfig, and perhaps a namespace, of its own: `kubectl("get", "pods") -> what it printed`."""

    kubeconfig: Path
    home: Path
    namespace: str = ""

    def __call__(self, *arguments: str | Path, stdin: str | None = None, **environment: str) -> str:
        """Standard output of a command that succeeds."""
        finished = self.run(*arguments, stdin=stdin, **environment)
        assert finished.code == 0, f"kubectl {' '.join(map(str, arguments))}: {finished}"
        return finished.stdout

    def fails(self, *arguments: str | Path, stdin: str | None = None, **environment: str) -> str:
        """Standard error of a command that fails."""
        finished = self.run(*arguments, stdin=stdin, **environment)
        assert finished.code != 0, f"kubectl {' '.join(map(str, arguments))} succeeded: {finished}"
        return finished.stderr

    def run(self, *arguments: str | Path, stdin: str | None = None, **environment: str) -> Finished:
        """How it ended. Other keywords are environment variables."""
        finished = subprocess.run(
            self._command(arguments),
            input=stdin if stdin is not None else "",
            env={**self._environment(), **environment},
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        return Finished(finished.returncode, finished.stdout, finished.stderr)

    @contextlib.contextmanager
    def started(self, *arguments: str | Path) -> Iterator[Running]:
        """A command that goes on until the block is left."""
        running = Running(
            subprocess.Popen(
                self._command(arguments),
                env=self._environment(),
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

    @contextlib.contextmanager
    def on_terminal(self, *arguments: str | Path) -> Iterator[Terminal]:
        """A command on a terminal of its own, until the block is left."""
        with on_terminal(self._command(arguments), self._environment()) as terminal:
            yield terminal

    def value(self, resource: str, name: str, path: str) -> str:
        """One field of an object, by JSONPath without its braces."""
        return self("get", resource, name, "-o", f"jsonpath={{{path}}}")

    def within(self, namespace: str) -> Kubectl:
        return attrs.evolve(self, namespace=namespace)

    def _command(self, arguments: tuple[str | Path, ...]) -> list[str]:
        assert PROGRAM is not None
        chosen = ["--namespace", self.namespace] if self.namespace else []
        return [PROGRAM, *chosen, *map(str, arguments)]

    def _environment(self) -> dict[str, str]:
        # kubectl keeps what it discovers below HOME; tests must not meet what other servers said.
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.home), "TZ": "UTC"}


@contextlib.contextmanager
def running_cluster(directory: Path, name: str, *options: str | Path) -> Iterator[Kubectl]:
    """`kube-core up --in-memory` until the block is left; then it must end in good order.

    The machine knows clusters in memory by their names: `name` is this process's own, whoever else runs the tests.
    """
    name = f"{name}-{os.getpid()}"
    kubeconfig = directory / "kubeconfig"
    command = ["-m", "kube_core.cli", "up", "--in-memory", "--name", name, "--kubeconfig", str(kubeconfig)]
    server = Running(
        subprocess.Popen(
            [sys.executable, *command, *map(str, options)],
            env={**os.environ, "XDG_STATE_HOME": str(directory / "state")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    )
    try:
        server.line_with("is ready at", timeout=_START_SECONDS)
        yield Kubectl(kubeconfig, directory)
    except BaseException:
        server.process.send_signal(signal.SIGTERM)
        raise
    finally:
        server.end()
    assert server.process.returncode == 0, server.seen
    assert not (directory / "state").exists(), "an in-memory cluster left state behind"

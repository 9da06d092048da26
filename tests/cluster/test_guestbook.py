"""The demonstration itself: every step of it, in a process of its own, as `make demo` runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "examples" / "guestbook" / "demo.py"
LIMIT = 150

pytestmark = pytest.mark.timeout(LIMIT + 30)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DEMO), *arguments], capture_output=True, text=True, timeout=LIMIT, check=False
    )


def test_every_step_goes_as_told_and_nothing_is_left() -> None:
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    for step in (
        "first page served",
        "posted an entry through the Ingress and read it back",
        "it was replaced",
        "there and back",
        "no process, no socket, no file is left",
    ):
        assert step in done.stdout
    assert done.stdout.count(" 0 failed") == 2


def test_kept_it_stays_up_after_the_command_and_ends_cleanly_when_told() -> None:
    done = run("--keep")
    assert done.returncode == 0, done.stdout + done.stderr
    kubeconfig = Path(next(line for line in done.stdout.splitlines() if "export KUBECONFIG=" in line).partition("=")[2])
    assert kubeconfig.exists()
    pid = int(next(line for line in done.stdout.splitlines() if "to stop it: kill" in line).split()[-1])
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
    assert not kubeconfig.parent.exists()

"""`kube-core cri` as a process of its own, with real containers on a range of addresses that no other test has."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["POD_CIDR", "ended", "serving"]

#: Of those tests that run beside each other each is in a process of its own.
POD_CIDR = f"10.{192 + os.getpid() % 16}.{os.getpid() // 16 % 256}.0/28"


@contextlib.contextmanager
def serving(folder: Path, store: Path) -> Iterator[subprocess.Popen[str]]:
    """It serves at `<folder>/cri.sock`, with the images of the store alone; containers go on when it ends."""
    (store / "registries.json").write_text('{"registries": {"*": {"offline": true}}}')
    process = subprocess.Popen(
        [*_command(folder), "--listen", f"unix://{folder}/cri.sock"],
        env={**os.environ, "KUBE_CORE_IMAGES": str(store)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert "serving CRI" in process.stdout.readline()
        yield process
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


@contextlib.contextmanager
def ended(folder: Path) -> Iterator[None]:
    """Afterwards nothing is left of what ran there."""
    try:
        yield
    finally:
        subprocess.run([*_command(folder), "--end"], check=True, timeout=50)


def _command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "kube_core.cli", "cri", "--state", f"{folder}/state", "--pod-cidr", POD_CIDR]

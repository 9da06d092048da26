"""What type checkers make of a program that uses the client."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("typing_program.py")
ROOT = Path(__file__).parents[3]


@pytest.mark.timeout(300)
def test_mypy_infers_what_the_client_gives(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "mypy", f"--cache-dir={tmp_path}", "--follow-imports=silent", str(PROGRAM)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr

"""The documentation's programs run as they stand: tutorials, guides, and the README's controller.

A page's Python blocks are one program, in order, and so are its bash blocks. pytest runs a page that has tests.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
GUIDES = sorted((ROOT / "docs" / "how-to").glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> str:
    return "\n".join(text for found, text in BLOCK.findall(page.read_text()) if found == language)


PYTHON_PAGES = [page for page in (ROOT / "README.md", *TUTORIALS, *GUIDES) if blocks(page, "python")]
BASH_PAGES = [page for page in (*TUTORIALS, *GUIDES) if blocks(page, "bash")]


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_shows_something_to_run(page: Path) -> None:
    assert page in PYTHON_PAGES or page in BASH_PAGES


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs_as_it_stands(page: Path, tmp_path: Path) -> None:
    text = blocks(page, "python")
    program = tmp_path / "test_page.py"
    program.write_text(text)
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull] if "import pytest" in text else []
    finished = subprocess.run(
        [sys.executable, "-W", "error", *command, str(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.clients
@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", BASH_PAGES, ids=lambda page: page.stem)
def test_the_shell_of_a_page_runs_as_it_stands(page: Path, tmp_path: Path) -> None:
    for program in ("bash", "kubectl", "curl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    stop = 'trap "kube-core down --name tutorial >/dev/null 2>&1 || true" EXIT\n'
    finished = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", stop + blocks(page, "bash")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr

"""The documentation keeps up with the program: generated pages are what the program says, and the site builds."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GENERATORS = ("generate_compatibility.py", "generate_grpc.py", "generate_reference.py")
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


@pytest.mark.parametrize("script", GENERATORS)
def test_a_generated_page_is_what_its_script_gives(script: str) -> None:
    finished = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), "--check"],
        env={**os.environ, "COLUMNS": "40"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    if importlib.util.find_spec("properdocs") is None:
        pytest.skip("properdocs is not installed")
    # Not quietly: a warning that is not logged does not count.
    command = [sys.executable, "-m", "properdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert (tmp_path / "site" / "compatibility" / "index.html").exists()


def test_every_decision_is_listed() -> None:
    listed = set(LINK.findall((DOCS / "decisions" / "README.md").read_text()))
    assert {path.name for path in (DOCS / "decisions").glob("0*.md")} == listed


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"])
def test_what_a_page_at_the_root_links_to_is_there(name: str) -> None:
    links = [link for link in LINK.findall((ROOT / name).read_text()) if "://" not in link]
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_target_of_the_readme_is_in_the_makefile() -> None:
    wanted = set(re.findall(r"`make ([a-z-]+)", (ROOT / "README.md").read_text()))
    there = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert wanted
    assert wanted <= there


def test_every_option_that_a_page_uses_exists() -> None:
    reference = (DOCS / "reference" / "command-line.md").read_text()
    there = {
        (section.partition("\n")[0], option)
        for section in reference.split("\n## kube-core ")[1:]
        for option in re.findall(r"^  (--[a-z-]+)", section, re.MULTILINE)
    }
    used = {
        (command, option)
        for page in (ROOT / "README.md", *DOCS.rglob("*.md"))
        for command, rest in re.findall(r"kube-core ([a-z]+(?:-[a-z]+)*)([^\n`#]*)", page.read_text())
        for option in re.findall(r"--[a-z-]+", rest)
    }
    assert ("up", "--detach") in used
    assert used - there == set()


def test_paths_that_the_architecture_names_exist() -> None:
    named = re.findall(r"`((?:kube_core|plugins|drivers|tests|docs|scripts|benchmarks)/[\w./]*)`", _architecture())
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def _architecture() -> str:
    return (ROOT / "ARCHITECTURE.md").read_text()

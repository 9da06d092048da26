"""Plugins as users have them: installed by pip, and tested by their own tests. The examples, and one that is new."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PLUGINS = sorted(each.parent for each in EXAMPLES.glob("*/pyproject.toml"))

pytestmark = pytest.mark.timeout(300)


def run(*command: str, directory: Path, site: Path | None = None) -> str:
    environment = {**os.environ, "PYTHONPATH": str(site) if site is not None else "", "PYTEST_ADDOPTS": ""}
    finished = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=directory, env=environment, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def install(project: Path, site: Path) -> None:
    # Into a folder of its own, so that the tests beside this one do not have it.
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--target", str(site))
    run("pip", "install", *options, str(project), directory=project.parent)


@pytest.mark.parametrize("project", PLUGINS, ids=lambda each: each.name)
def test_an_example_is_installed_and_passes_its_tests(project: Path, tmp_path: Path) -> None:
    install(project, tmp_path / "site")
    output = run("pytest", "-q", "-p", "no:cacheprovider", directory=project, site=tmp_path / "site")
    assert " passed" in output


def test_a_new_plugin_works_as_it_is_written(tmp_path: Path) -> None:
    run("kube_core.cli", "new", "plugin", "wise-words", directory=tmp_path)
    project, site = tmp_path / "wise-words", tmp_path / "site"
    install(project, site)
    assert "2 passed" in run("pytest", "-q", directory=project, site=site)
    assert "wise_words" in run("kube_core.cli", "plugins", directory=tmp_path, site=site)
    assert "kind: CustomResourceDefinition" in run("kube_core.cli", "crds", "wise_words", directory=tmp_path, site=site)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Words", "cannot be a plugin's name"),
        ("1st", "cannot be"),
        ("class", "Python has another use"),
        ("a--b", "cannot be"),
    ],
)
def test_a_name_that_cannot_be_a_plugins_is_refused(name: str, why: str, tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "kube_core.cli", "new", "plugin", name],
        cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert finished.returncode == 1
    assert why in finished.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    finished = subprocess.run(
        [sys.executable, "-m", "kube_core.cli", "new", "plugin", "words"],
        cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert finished.returncode == 1
    assert "is there already" in finished.stderr

"""`kube-core crds`: definitions as YAML."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from kube_core.api import yaml
from kube_core.cli.app import app

MODULE = '''
import attrs
import kube_core as kube

@kube.kind(group="cli.example.dev", version="v1")
@attrs.frozen
class Printed:
    """Something to print."""

    #: How much.
    size: int = 1
'''


def test_a_files_kinds_are_printed_the_same_every_time(tmp_path: Path) -> None:
    file = tmp_path / "printed_kinds.py"
    file.write_text(MODULE)
    first = CliRunner().invoke(app, ["crds", str(file)])
    assert first.exit_code == 0, first.output
    [definition] = yaml.load_all(first.stdout)
    assert definition["metadata"]["name"] == "printeds.cli.example.dev"
    [version] = definition["spec"]["versions"]
    assert (
        version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["size"]["description"] == "How much."
    )
    assert CliRunner().invoke(app, ["crds", str(file), "--print"]).stdout == first.stdout


def test_what_cannot_be_imported_and_what_has_no_kinds_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken_kinds.py").write_text("import attrs\n1 / 0\n")
    (tmp_path / "no_kinds.py").write_text("")
    for module, said in (
        ("broken_kinds", "kube-core: cannot import broken_kinds: ZeroDivisionError: division by zero\n"),
        ("no_kinds.py", "kube-core: there are no kinds in no_kinds.py\n"),
    ):
        finished = CliRunner().invoke(app, ["crds", module])
        assert (finished.exit_code, finished.stderr) == (1, said)

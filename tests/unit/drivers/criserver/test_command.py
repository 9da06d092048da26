"""`kube-core cri`: what a person is told who asks for what cannot be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from kube_core.cli.state import held_folder
from kube_drivers.runtime.criserver.plugin import kube_core_cli


def told(tmp_path: Path, *arguments: str) -> str:
    """The one line with which the command fails."""
    app = typer.Typer()
    kube_core_cli(app)
    app.command("other")(lambda: None)
    state = ["--state", str(tmp_path / "state"), "--runtime", "fake"]
    result = CliRunner().invoke(app, ["cri", *state, *arguments])
    assert result.exit_code == 1, result.output
    return result.output.strip()


def test_where_clients_come_has_to_be_said(tmp_path: Path) -> None:
    assert told(tmp_path) == "kube-core: --listen unix:///PATH says where clients come"
    assert told(tmp_path, "--listen", "tcp://127.0.0.1:1") == "kube-core: --listen tcp://127.0.0.1:1: give unix:///PATH"


def test_a_folder_is_of_one_program(tmp_path: Path) -> None:
    with held_folder(tmp_path / "state", "somebody"):
        said = told(tmp_path, "--listen", f"unix://{tmp_path}/cri.sock")
    assert said == f"kube-core: kube-core cri is running already, with its state in {tmp_path}/state"


def test_an_unknown_driver_is_named(tmp_path: Path) -> None:
    assert "unknown network driver 'nonsense'" in told(
        tmp_path, "--network", "nonsense", "--listen", f"unix://{tmp_path}/cri.sock"
    )


def test_grpc_is_asked_for_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("process", "server"):
        monkeypatch.delitem(sys.modules, f"kube_drivers.runtime.criserver.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "grpc", None)
    said = told(tmp_path, "--listen", f"unix://{tmp_path}/cri.sock")
    assert said == "kube-core: CRI needs the package grpc: pip install 'kube-core[cri]'"

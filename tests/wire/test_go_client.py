"""A client in Go that speaks protobuf and nothing else, as upstream's components do: client-go, typed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from fakes.kubectl import Kubectl

SOURCE = Path(__file__).parent / "goclient"
GO = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client, compiled; what Go has compiled before is taken from its own cache."""
    if GO is None:
        pytest.skip("the Go toolchain is not there")
    program = tmp_path_factory.mktemp("go") / "client"
    built = subprocess.run(
        [GO, "build", "-o", str(program), "."], cwd=SOURCE, capture_output=True, text=True, check=False
    )
    if built.returncode and ("dial tcp" in built.stderr or "module lookup disabled" in built.stderr):
        pytest.skip(f"client-go cannot be had: {built.stderr.strip().splitlines()[-1]}")
    assert built.returncode == 0, built.stderr
    return program


@pytest.mark.timeout(600)  # the first compilation on a machine takes minutes
def test_typed_clients_and_informers_work_in_protobuf(program: Path, kubectl: Kubectl) -> None:
    ran = subprocess.run(
        [program, kubectl.kubeconfig, kubectl.namespace], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stdout.splitlines()[-1:] == ["all"], ran.stdout + ran.stderr

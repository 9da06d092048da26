"""A client in Go that speaks protobuf and nothing else, as upstream's components do: client-go, typed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fakes.kubectl import Kubectl
from fakes.programs import BUILD_SECONDS, program

SOURCE = Path(__file__).parent / "goclient"


@pytest.mark.timeout(BUILD_SECONDS)
def test_typed_clients_and_informers_work_in_protobuf(kubectl: Kubectl) -> None:
    ran = subprocess.run(
        [program(SOURCE), kubectl.kubeconfig, kubectl.namespace],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout.splitlines()[-1:] == ["all"], ran.stdout + ran.stderr

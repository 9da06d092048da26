"""Loggers that import structlog when the first line is written."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)


def test_a_line_below_the_threshold_costs_no_import() -> None:
    program = (
        "import sys; from kube_core._kit.logs import get_logger\n"
        "get_logger('x').bind(node='n').debug('nothing', key='k')\n"
        "print('structlog' in sys.modules)"
    )
    assert run(program).stdout.strip() == "False"


@pytest.mark.parametrize("method", ["warning", "error"])
def test_a_warning_goes_to_standard_error_with_what_is_bound(method: str) -> None:
    program = (
        f"from kube_core._kit.logs import get_logger; get_logger('x').bind(node='n1').{method}('trouble', key='k')"
    )
    finished = run(program)
    assert finished.stdout == ""
    for part in ("trouble", "[x]", "node=n1", "key=k"):
        assert part in finished.stderr


def test_a_program_that_configures_structlog_gets_every_line() -> None:
    program = (
        "import structlog; from kube_core._kit.logs import get_logger\n"
        "structlog.configure(processors=[structlog.processors.JSONRenderer()])\n"
        "get_logger('x').debug('seen', key='k')"
    )
    assert json.loads(run(program).stdout) == {"event": "seen", "key": "k", "logger": "x"}

"""Programs in Go that tests drive: built once for a machine by the Go client, by whichever test comes first.

What was built is kept, under the version that it was built from, in the user's cache (`KUBE_CORE_PROGRAMS` names
another folder), beside Go's own caches. With `KUBE_CORE_REQUIRE_CLIENTS=1` a program that cannot be had is
a failure; elsewhere its tests are skipped with the reason.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["BUILD_SECONDS", "installed", "program"]

#: The limit of a test that may have to build a program.
BUILD_SECONDS = 900

_GO = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")


def installed(module: str, version: str) -> Path:
    """The program of a published module: `installed("helm.sh/helm/v3/cmd/helm", "v3.22.0")`."""
    name = module.rpartition("/")[2]
    directory = _cache() / f"{name}-{version}"
    return _built(directory / name, ["install", f"{module}@{version}"], Path.cwd(), {"GOBIN": str(directory)})


def program(source: Path) -> Path:
    """The program of a folder with a `go.mod`, by what is in it."""
    digest = hashlib.sha256()
    for file in sorted(source.iterdir()):
        if file.suffix in {".go", ".mod", ".sum"}:
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    built = _cache() / f"{source.name}-{digest.hexdigest()[:16]}" / source.name
    return _built(built, ["build", "-o", str(built), "."], source, {})


def _built(file: Path, command: Sequence[str], directory: Path, environment: dict[str, str]) -> Path:
    if file.exists():
        return file
    if _GO is None:
        _missing("the Go toolchain is not there")
    # One at a time: tests run in several processes, and a build takes all the processors anyway.
    with _locked():
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            built = subprocess.run(
                [str(_GO), *command],
                cwd=directory,
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                check=False,
            )
            if built.returncode and ("dial tcp" in built.stderr or "module lookup disabled" in built.stderr):
                _missing(f"{file.name} cannot be had: {built.stderr.strip().splitlines()[-1]}")
            assert built.returncode == 0, built.stderr
    return file


def _missing(reason: str) -> None:
    if os.environ.get("KUBE_CORE_REQUIRE_CLIENTS"):
        pytest.fail(reason)
    pytest.skip(reason)


def _cache() -> Path:
    chosen = os.environ.get("KUBE_CORE_PROGRAMS")
    directory = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "kube-core-programs"
    directory = directory.expanduser()
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@contextmanager
def _locked() -> Iterator[None]:
    with (_cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

"""Which Kubernetes this is: the version of the API that is served, and of the program that serves it.

`GIT_VERSION` is what upstream calls `gitVersion`: the API's version with the program's as build metadata, which is
semantic versioning, so that clients that compare versions see a server of v1.37.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

__all__ = ["KUBERNETES_VERSION", "MAJOR", "MINOR", "git_version", "version_info"]

MAJOR = "1"
MINOR = "37"
KUBERNETES_VERSION = "v1.37.2"
_OLDEST_COMPATIBLE_MINOR = "36"


@functools.cache
def git_version() -> str:
    return f"{KUBERNETES_VERSION}+kube-core-{_package_version()}"


def version_info() -> dict[str, Any]:
    """The document at `/version` (upstream's `version.Info`), told of Python where upstream tells of Go."""
    import platform  # only asked for here, and slow to import

    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return {
        "major": MAJOR,
        "minor": MINOR,
        "emulationMajor": MAJOR,
        "emulationMinor": MINOR,
        "minCompatibilityMajor": MAJOR,
        "minCompatibilityMinor": _OLDEST_COMPATIBLE_MINOR,
        "gitVersion": git_version(),
        "gitCommit": f"kube-core-{_package_version()}",
        "gitTreeState": "archive",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}",
        "compiler": sys.implementation.name,
        "platform": f"{sys.platform}/{machine}",
    }


@functools.cache
def _package_version() -> str:
    import importlib.metadata  # slow to import

    try:
        return importlib.metadata.version("kube-core")
    except importlib.metadata.PackageNotFoundError:  # run from a source tree that was never installed
        return "0.0.0"

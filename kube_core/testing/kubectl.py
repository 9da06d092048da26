"""kubectl for tests: what the fixture `kubectl` of `plugin.py` gives.

    await kubectl("create", "deployment", "web", "--image", "web:1")
    assert await kubectl("get", "deployment", "web", "-o", "name") == "deployment.apps/web\\n"

It holds the cluster's clock while it runs, so virtual time waits for it.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import orjson

if TYPE_CHECKING:
    from kube_core.cluster import Cluster

__all__ = ["Kubectl", "KubectlFailed"]


class KubectlFailed(RuntimeError):
    """kubectl ended with an error; the message is what it said."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(said.strip() or f"kubectl ended with {code}")
        self.code = code


class Kubectl:
    """Runs the kubectl on PATH as the administrator of a cluster that listens. Its files are in `directory`."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self._cluster = cluster
        self._home = directory
        self.kubeconfig = directory / "kubeconfig"
        self.kubeconfig.write_bytes(orjson.dumps(cluster.kubeconfig()))

    async def __call__(self, *arguments: str, stdin: str = "") -> str:
        """What `kubectl ARGUMENTS` prints. Raises `KubectlFailed`; `FileNotFoundError` without a kubectl."""
        environment = {**os.environ, "HOME": str(self._home), "KUBECONFIG": str(self.kubeconfig)}
        with self._cluster.clock.hold(f"kubectl {' '.join(arguments)}"):
            finished = await anyio.run_process(
                ["kubectl", *arguments], input=stdin.encode(), env=environment, stderr=subprocess.PIPE, check=False
            )
        if finished.returncode:
            raise KubectlFailed(finished.returncode, finished.stderr.decode("utf-8", "replace"))
        return finished.stdout.decode()

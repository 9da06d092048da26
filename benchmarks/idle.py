"""What a cluster costs that has nothing to do: the CPU time of `kube-core up`, of a core.

    python benchmarks/idle.py [--nodes 3] [--seconds 60]

All processes of the cluster are counted: server, controllers, scheduler, and the agents of its nodes. Prints the share
of a core over so many seconds, which begin when the start is over. It asserts nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

COMMAND = (sys.executable, "-m", "kube_core.cli")
#: Seconds after which what the start leaves behind is done.
CALM = 20.0


def used(directory: str) -> float:
    """Seconds of CPU of every process of the cluster whose state is in the directory."""
    total = 0.0
    for process in psutil.process_iter():
        try:
            if process.environ().get("XDG_STATE_HOME") == directory:
                times = process.cpu_times()
                total += times.user + times.system
        except (psutil.Error, OSError):
            continue
    return total


def measure(nodes: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="kube-core-bench-") as directory:
        environment = {**os.environ, "XDG_STATE_HOME": directory}
        name = ("--name", "idle-bench")
        config = str(Path(directory) / "kubeconfig")
        up = (*COMMAND, "up", *name, "--nodes", str(nodes), "--detach", "--kubeconfig", config)
        subprocess.run(up, env=environment, check=True, stdout=subprocess.DEVNULL)
        try:
            time.sleep(CALM)
            before, began = used(directory), time.monotonic()
            time.sleep(seconds)
            spent, took = used(directory) - before, time.monotonic() - began
        finally:
            subprocess.run((*COMMAND, "down", *name), env=environment, check=True, stdout=subprocess.DEVNULL)
    print(f"{nodes} nodes, nothing to do: {spent:.2f} s of CPU in {took:.0f} s: {spent / took:.2%} of a core")


def main() -> None:
    parser = argparse.ArgumentParser(description="The CPU time of an idle cluster.")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    measure(options.nodes, options.seconds)


if __name__ == "__main__":
    main()

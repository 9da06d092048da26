"""How long a cluster takes to start, and what it weighs when idle. Prints medians; asserts nothing.

    python benchmarks/startup.py [RUNS] [--upstream FOLDER]

Five figures, and with `--upstream` (see `upstream.py`) a sixth, in turns with the second:
  command to ready    `kube-core up --detach` (process runtime, SQLite, one node) until it returns
  API server alone    the same without nodes and controllers
  embedded start      `async with Cluster()` where everything is imported: HTTPS listening, one fake node Ready
  embedded stop       leaving it
  upstream alone      upstream's API server with its etcd, from the start of both until it says that it is ready
  idle memory         resident memory (proportional set size) of all processes of a detached cluster, some seconds later
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from upstream import upstream

KUBE_CORE = [sys.executable, "-m", "kube_core.cli"]
IDLE_SECONDS = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description="How long a start takes.")
    parser.add_argument("runs", nargs="?", type=int, default=5)
    parser.add_argument("--upstream", type=Path, help="a folder with kube-apiserver and etcd")
    options = parser.parse_args()
    runs = options.runs
    measure_command(1, weigh=False)  # as an installed program, it is compiled
    commands, memory = measure_command(runs)
    alone, peers = [], []
    for _ in range(runs):
        alone += measure_command(1, "--nodes", "0", "--controllers", "none", weigh=False)[0]
        if options.upstream is not None:
            with upstream(options.upstream, "bench") as peer:
                peers.append(peer.seconds)
    print(f"command to ready    {statistics.median(commands) * 1000:7.0f} ms  (min {min(commands) * 1000:.0f})")
    print(f"API server alone    {statistics.median(alone) * 1000:7.0f} ms  (min {min(alone) * 1000:.0f})")
    if peers:
        print(f"upstream alone      {statistics.median(peers) * 1000:7.0f} ms  (min {min(peers) * 1000:.0f})")
    print(f"idle memory         {statistics.median(memory) / 1e6:7.1f} MB")
    starts, stops = asyncio.run(measure_embedded(runs * 2))
    print(f"embedded start      {statistics.median(starts) * 1000:7.1f} ms  (min {min(starts) * 1000:.1f})")
    print(f"embedded stop       {statistics.median(stops) * 1000:7.1f} ms  (min {min(stops) * 1000:.1f})")


def measure_command(runs: int, *options: str, weigh: bool = True) -> tuple[list[float], list[float]]:
    times, memory = [], []
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for run in range(runs):
        with tempfile.TemporaryDirectory() as directory:
            environment = {**inherited, "XDG_STATE_HOME": directory}
            name = ["--name", f"bench-{run}"]
            up = [*KUBE_CORE, "up", *name, "--detach", "--kubeconfig", str(Path(directory) / "kubeconfig"), *options]
            started = time.perf_counter()
            subprocess.run(up, env=environment, check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - started)
            try:
                if weigh:
                    time.sleep(IDLE_SECONDS)
                    memory.append(weight(directory))
            finally:
                subprocess.run([*KUBE_CORE, "down", *name], env=environment, check=True, stdout=subprocess.DEVNULL)
    return times, memory


def weight(state: str) -> float:
    """Bytes of every process that belongs to the state directory: shared pages are divided among who shares them."""
    total = 0
    for process in psutil.process_iter():
        try:
            if process.environ().get("XDG_STATE_HOME") == state or state in " ".join(process.cmdline()):
                total += process.memory_full_info().pss
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
    return float(total)


async def measure_embedded(runs: int) -> tuple[list[float], list[float]]:
    from kube_core.api import resources
    from kube_core.cluster import Cluster

    starts, stops = [], []
    for run in range(runs + 1):
        started = time.perf_counter()
        async with Cluster(nodes=1) as cluster:
            ready = time.perf_counter()
            nodes = (await cluster.client.list(resources.NODES)).items
            conditions = {each["type"]: each["status"] for node in nodes for each in node["status"]["conditions"]}
            if conditions.get("Ready") != "True":
                raise SystemExit("the cluster says that it is started, and its node is not Ready")
        stopped = time.perf_counter()
        if run:  # the first one imports what the others have
            starts.append(ready - started)
            stops.append(stopped - ready)
    return starts, stops


if __name__ == "__main__":
    main()

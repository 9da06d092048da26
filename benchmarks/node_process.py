"""What a node costs that is a process of its own, and how fast its pods start.

    python benchmarks/node_process.py [--pods 50] [--seconds 30]

A control plane without nodes and one `kube-core node` with the runtime `process`. Pods are created all at once; the
time of each is from its creation to its condition Ready as a watch of pods sees them. Then nothing happens for a
while: the CPU time of the node's process and of its supervisor, of a core, and the memory that each holds (RSS, and
PSS, which divides what processes share). Prints; asserts nothing.
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

from kube_core.api import resources
from kube_core.client.client import ApiClient
from kube_core.client.http import HttpTransport
from kube_core.client.kubeconfig import load_connection
from kube_core.meta.documents import Document

COMMAND = (sys.executable, "-m", "kube_core.cli")
#: Seconds after which what the start leaves behind is done.
CALM = 10.0


def pod(number: int) -> Document:
    container = {"name": "main", "image": "host", "command": ["sleep", "100000"]}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"pod-{number}", "namespace": "default"},
        "spec": spec,
    }


def is_ready(document: Document) -> bool:
    conditions = (document.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


async def start_pods(kubeconfig: str, count: int) -> list[float]:
    """Seconds from creation to Ready of each."""
    began: dict[str, float] = {}
    took: dict[str, float] = {}
    async with ApiClient(HttpTransport(load_connection(kubeconfig))) as client:
        async with asyncio.timeout(30):
            while True:
                try:
                    await client.get(resources.SERVICE_ACCOUNTS, "default", "default")
                    break
                except Exception:
                    await asyncio.sleep(0.1)

        async def create(number: int) -> None:
            began[f"pod-{number}"] = time.monotonic()
            await client.create(resources.PODS, pod(number), "default")

        async def follow() -> None:
            async for event in client.watch(resources.PODS, "default"):
                name = event.object["metadata"]["name"]
                if name in began and name not in took and is_ready(event.object):
                    took[name] = time.monotonic() - began[name]
                    if len(took) == count:
                        return

        following = asyncio.create_task(follow())
        await asyncio.gather(*(create(number) for number in range(count)))
        await asyncio.wait_for(following, 120)
    return sorted(took.values())


def memory(process: psutil.Process) -> str:
    found = process.memory_full_info()
    return f"RSS {found.rss / 2**20:.1f} MB, PSS {found.pss / 2**20:.1f} MB"


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def measure(pods: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="kube-core-bench-") as directory:
        environment = {**os.environ, "XDG_STATE_HOME": f"{directory}/state"}
        config, own = f"{directory}/kubeconfig", f"{directory}/node.kubeconfig"
        cluster = ("--name", f"bench-{os.getpid()}")
        up = (*COMMAND, "up", *cluster, "--nodes", "0", "--detach", "--kubeconfig", config)
        subprocess.run(up, env=environment, check=True, stdout=subprocess.DEVNULL)
        node = ("node", "--name", "bench", "--state", f"{directory}/bench")
        try:
            made = ("node-kubeconfig", "bench", "--kubeconfig", config, "--output", own)
            subprocess.run((*COMMAND, *made), env=environment, check=True)
            with subprocess.Popen(
                (*COMMAND, *node, "--port", "0", "--kubeconfig", own), env=environment, stdout=subprocess.PIPE
            ) as running:
                assert running.stdout is not None
                running.stdout.readline()
                process = psutil.Process(running.pid)
                print(f"node without pods: {memory(process)}")
                spent = cpu(process)
                took = asyncio.run(start_pods(config, pods))
                spent = cpu(process) - spent
                p99 = took[min(len(took) - 1, round(len(took) * 0.99))]
                print(f"{pods} pods at once, created to Ready: p50 {statistics.median(took) * 1000:.0f} ms", end=", ")
                print(f"p99 {p99 * 1000:.0f} ms; {spent / pods * 1000:.1f} ms of the node's CPU for each")
                time.sleep(CALM)
                found = (each for each in psutil.process_iter(["cmdline"]) if _supervises(each, directory))
                watched = {"node": process, "supervisor": next(found)}
                before = {name: cpu(each) for name, each in watched.items()}
                time.sleep(seconds)
                for name, each in watched.items():
                    print(
                        f"{name} with {pods} pods: {memory(each)}, {(cpu(each) - before[name]) / seconds:.2%} of a core"
                    )
                running.terminate()
            subprocess.run((*COMMAND, *node, "--end"), env=environment, check=True)
        finally:
            subprocess.run((*COMMAND, "down", *cluster), env=environment, check=True, stdout=subprocess.DEVNULL)


def _supervises(process: psutil.Process, directory: str) -> bool:
    words = process.info["cmdline"] or []
    return any("supervisor" in word for word in words) and any(word.startswith(directory) for word in words)


def main() -> None:
    parser = argparse.ArgumentParser(description="What a node costs that is a process of its own.")
    parser.add_argument("--pods", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    assert Path("/proc").is_dir(), "this looks at /proc"
    measure(options.pods, options.seconds)


if __name__ == "__main__":
    main()

"""What a node costs that is a process of its own, and how fast its pods start.

    python benchmarks/node_process.py [--pods 50] [--nodes 1] [--seconds 30] [--stages]

A control plane without nodes and one `kube-core node` with the runtime `process`. One pod is created, then many at
once; the time of each is from its creation to its condition Ready as a watch of pods sees them. Then nothing happens
for a while: the CPU time of the node's process and of its supervisor, of a core, and the memory that each holds (RSS,
and PSS, which divides what processes share). Prints; asserts nothing.

`--stages` prints when pods pass each stage of their start, too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil
from pod_stages import CREATED, READY, Moments, Stages, follow_node, pod_seen, show

from kube_core.api import resources
from kube_core.client.client import ApiClient
from kube_core.client.http import HttpTransport
from kube_core.client.kubeconfig import load_connection
from kube_core.meta.documents import Document

COMMAND = (sys.executable, "-m", "kube_core.cli")
#: Seconds after which what the start leaves behind is done.
CALM = 10.0


def pod(name: str) -> Document:
    container = {"name": "main", "image": "host", "command": ["sleep", "100000"]}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


async def start_pods(kubeconfig: str, names: Sequence[str]) -> Stages:
    """Create pods all at once, and see them become Ready."""
    stages = Stages()
    async with ApiClient(HttpTransport(load_connection(kubeconfig))) as client:
        async with asyncio.timeout(30):
            while True:
                try:
                    await client.get(resources.SERVICE_ACCOUNTS, "default", "default")
                    break
                except Exception:
                    await asyncio.sleep(0.1)

        async def create(name: str) -> None:
            stages.note(name, CREATED)
            await client.create(resources.PODS, pod(name), "default")
            stages.note(name, "it is created")

        async def follow() -> None:
            async for event in client.watch(resources.PODS, "default"):
                if event.object["metadata"]["name"] in names:
                    pod_seen(stages, event.object)
                if all(READY in stages.moments.get(name, ()) for name in names):
                    return

        following = asyncio.create_task(follow())
        await asyncio.gather(*(create(name) for name in names))
        await asyncio.wait_for(following, 300)
    return stages


def memory(process: psutil.Process) -> str:
    found = process.memory_full_info()
    return f"RSS {found.rss / 2**20:.1f} MB, PSS {found.pss / 2**20:.1f} MB"


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


class Processes:
    """The API server's, the nodes', and their supervisors', as they spend CPU time."""

    def __init__(self, server: psutil.Process, nodes: Sequence[psutil.Process], directory: str) -> None:
        supervisors = [each for each in psutil.process_iter(["cmdline"]) if _supervises(each, directory)]
        self.each = {"API server": [server], "node": list(nodes), "supervisor": supervisors}
        self.spent = self._spent()

    def since(self) -> dict[str, float]:
        """Seconds of each kind since the last look."""
        before, self.spent = self.spent, self._spent()
        return {name: self.spent[name] - before[name] for name in self.each}

    def _spent(self) -> dict[str, float]:
        return {name: sum(map(cpu, each)) for name, each in self.each.items()}


def tell(stages: Stages, spent: Mapping[str, float]) -> None:
    took = sorted(each[READY] - each[CREATED] for each in stages.moments.values())
    p99 = took[min(len(took) - 1, round(len(took) * 0.99))]
    print(f"{len(took)} pods at once, created to Ready: p50 {statistics.median(took) * 1000:.0f} ms", end=", ")
    print(f"p99 {p99 * 1000:.0f} ms; CPU for each", end=": ")
    print(", ".join(f"{name} {seconds / len(took) * 1000:.1f} ms" for name, seconds in spent.items()))


def measure(pods: int, nodes: int, seconds: float, with_stages: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="kube-core-bench-") as directory:
        environment = {**os.environ, "XDG_STATE_HOME": f"{directory}/state"}
        config = f"{directory}/kubeconfig"
        cluster = ("--name", f"bench-{os.getpid()}")
        up = (*COMMAND, "up", *cluster, "--nodes", "0", "--detach", "--kubeconfig", config)
        subprocess.run(up, env=environment, check=True, stdout=subprocess.DEVNULL)
        lock = next(Path(directory, "state").rglob("lock"))
        server = psutil.Process(int(lock.read_text()))
        try:
            with contextlib.ExitStack() as stack:
                names = [f"bench-{number}" for number in range(nodes)]
                running = [
                    stack.enter_context(running_node(name, directory, environment, with_stages)) for name in names
                ]
                print(f"node without pods: {memory(running[0])}")
                processes = Processes(server, running, directory)
                alone = asyncio.run(start_pods(config, ["alone"]))
                tell(alone, processes.since())
                together = asyncio.run(start_pods(config, [f"pod-{number}" for number in range(pods)]))
                tell(together, processes.since())
                time.sleep(CALM)
                processes.since()
                time.sleep(seconds)
                for name, spent in processes.since().items():
                    each = processes.each[name]
                    used = memory(each[0])
                    print(f"{name} with {pods / nodes:g} pods: {used}, {spent / len(each) / seconds:.2%} of a core")
            if with_stages:
                of_nodes: Moments = {}
                for name in names:
                    of_nodes |= json.loads(Path(directory, f"{name}.stages").read_bytes())
                for seen, title in ((alone, "one pod"), (together, f"{pods} pods at once")):
                    show({name: {**of_nodes[name], **each} for name, each in seen.moments.items()}, title)
        finally:
            subprocess.run((*COMMAND, "down", *cluster), env=environment, check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def running_node(
    name: str, directory: str, environment: Mapping[str, str], with_stages: bool
) -> Iterator[psutil.Process]:
    """A node that is ready; what it has left running is ended afterwards."""
    own = f"{directory}/{name}.kubeconfig"
    made = ("node-kubeconfig", name, "--kubeconfig", f"{directory}/kubeconfig", "--output", own)
    subprocess.run((*COMMAND, *made), env=environment, check=True)
    node = ("node", "--name", name, "--state", f"{directory}/{name}")
    run = (sys.executable, __file__, "--be-the-node", f"{directory}/{name}.stages") if with_stages else COMMAND
    try:
        with subprocess.Popen(
            (*run, *node, "--port", "0", "--kubeconfig", own), env=environment, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                yield psutil.Process(process.pid)
            finally:
                process.terminate()
    finally:
        subprocess.run((*COMMAND, *node, "--end"), env=environment, check=True)


def be_the_node(noted: str, arguments: Sequence[str]) -> None:
    """`kube-core node`, which writes down at its end when its pods passed their stages."""
    from kube_core.cli.app import main as kube_core

    stages = follow_node()
    sys.argv[1:] = arguments
    try:
        kube_core()
    finally:
        Path(noted).write_text(json.dumps(stages.moments))


def _supervises(process: psutil.Process, directory: str) -> bool:
    words = process.info["cmdline"] or []
    return any("supervisor" in word for word in words) and any(word.startswith(directory) for word in words)


def main() -> None:
    if sys.argv[1:2] == ["--be-the-node"]:
        be_the_node(sys.argv[2], sys.argv[3:])
        return
    parser = argparse.ArgumentParser(description="What a node costs that is a process of its own.")
    parser.add_argument("--pods", type=int, default=50)
    parser.add_argument("--nodes", type=int, default=1, help="each takes 110 pods at most")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--stages", action="store_true", help="print when pods pass the stages of their start")
    options = parser.parse_args()
    assert Path("/proc").is_dir(), "this looks at /proc"
    measure(options.pods, options.nodes, options.seconds, options.stages)


if __name__ == "__main__":
    main()

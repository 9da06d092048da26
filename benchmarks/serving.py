"""How many requests the server answers over TLS, how late, and for how much CPU. Prints medians; asserts nothing.

    python benchmarks/serving.py [--clients 16] [--seconds 8] [--runs 3] [--store sqlite|memory]
                                 [--upstream FOLDER] [CASE ...]

The server is a process of its own, with nothing beside it (no controllers, no nodes), as upstream's was when it was
measured; the load comes from `wrk -t1` over kept connections, on the same cores. Cases:

  create-configmap    durable writes of a small ConfigMap, each with a name of its own
  create-pod          durable writes of a Pod with one container, defaulted and admitted
  get-configmap       reads of one object
  list-pods           lists of 500 Pods

Upstream's v1.37 with its etcd, same tool, 2 cores: creates 971/s and 1,659 µs CPU, Pods 568/s and 3,060 µs, gets
1,711/s and 936 µs, lists 27/s and 56 ms. With `--upstream` it is measured too, in turns with ours, its CPU together
with etcd's, and the ratios are printed, which say more than figures on a machine that others use: see `upstream.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import attrs
import psutil
import uvloop
from upstream import upstream

from kube_core.abc.transport import User
from kube_core.api import resources
from kube_core.client.client import ApiClient
from kube_core.client.connecting import connect
from kube_core.client.connection import Connection
from kube_core.cluster import Cluster

TOKEN = "bench"
LISTED = 500
POD = '{"metadata":{"name":"%s"},"spec":{"containers":[{"name":"main","image":"busybox:1.36"}]}}'
CONFIG_MAP = '{"metadata":{"name":"%s"},"data":{"key":"value","other":"another value"}}'
#: Where each case asks; a body has the place of its name as `%s`.
CASES: Mapping[str, tuple[str, str]] = {
    "create-configmap": ("/api/v1/namespaces/default/configmaps", CONFIG_MAP),
    "create-pod": ("/api/v1/namespaces/default/pods", POD),
    "get-configmap": ("/api/v1/namespaces/default/configmaps/read", ""),
    "list-pods": ("/api/v1/namespaces/listed/pods", ""),
}
_LATENCY = re.compile(r"\n +99% +([\d.]+)(us|ms|s)")
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@attrs.frozen
class Result:
    """`late` is the 99th percentile in milliseconds, `cpu` the server's microseconds for each request."""

    rate: float
    late: float
    cpu: float


def measure(server: Sequence[psutil.Process], url: str, case: str, run: int, options: argparse.Namespace) -> Result:
    path, body = CASES[case]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_script(path, body, f"{case}-{options.clients}-{run}"))
        script.flush()
        before = _seconds_used(server)
        command = ["wrk", "-t1", f"-c{options.clients}", f"-d{options.seconds}s", "--latency", "-s", script.name, url]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        used = _seconds_used(server) - before
    if "Non-2xx" in output or "Socket errors" in output:
        raise SystemExit(f"{case}: not every request was served\n{output}")
    total = re.search(r"(\d+) requests in", output)
    rate = re.search(r"Requests/sec: +([\d.]+)", output)
    late = _LATENCY.search(output)
    if total is None or rate is None or late is None:
        raise SystemExit(f"wrk did not say what was expected:\n{output}")
    return Result(float(rate[1]), float(late[1]) * _UNITS[late[2]], used / int(total[1]) * 1e6)


def _script(path: str, body: str, prefix: str) -> str:
    headers = f'{{["Authorization"] = "Bearer {TOKEN}", ["Content-Type"] = "application/json"}}'
    if not body:
        return f'wrk.path = "{path}"\nwrk.headers = {headers}\n'
    return (
        f"local n = 0\nlocal headers = {headers}\nfunction request()\n  n = n + 1\n"
        f"  return wrk.format('POST', '{path}', headers, string.format('{body}', '{prefix}-' .. n))\nend\n"
    )


def _seconds_used(processes: Sequence[psutil.Process]) -> float:
    return sum(float(times.user + times.system) for times in (process.cpu_times() for process in processes))


@contextmanager
def served(store: str) -> Iterator[tuple[Sequence[psutil.Process], str]]:
    """A server in a process of its own, and its address."""
    with tempfile.TemporaryDirectory(prefix="kube-core-bench-") as directory:
        url = f"sqlite://{directory}/store.db" if store == "sqlite" else "memory:"
        process = subprocess.Popen(
            [sys.executable, __file__, "--serve", url], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            if not address:
                raise SystemExit("the server did not start")
            yield [psutil.Process(process.pid)], address
        finally:
            process.communicate()


async def serve(store: str) -> None:
    """Serve until standard input ends."""
    tokens = {TOKEN: User("bench", ("system:masters",))}
    async with Cluster(nodes=0, controllers=(), store=store, tokens=tokens) as cluster:
        await prepare(cluster.client)
        gc.collect()
        gc.freeze()
        print(cluster.url, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def prepare(client: ApiClient) -> None:
    """What the cases find: no controller is there to make any of it."""
    await client.create(resources.NAMESPACES, {"metadata": {"name": "listed"}})
    for namespace in ("default", "listed"):
        await client.create(resources.SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": namespace}})
    read: dict[str, Any] = {"metadata": {"name": "read", "namespace": "default"}, "data": {"key": "value" * 20}}
    await client.create(resources.CONFIG_MAPS, read)
    for number in range(LISTED):
        metadata = {"name": f"pod-{number}", "namespace": "listed", "labels": {"app": "web"}}
        spec = {"containers": [{"name": "main", "image": "busybox:1.36"}]}
        await client.create(resources.PODS, {"metadata": metadata, "spec": spec})


@contextmanager
def peer(programs: Path) -> Iterator[tuple[Sequence[psutil.Process], str]]:
    async def fill(url: str) -> None:
        async with connect(Connection(url, token=TOKEN, skip_tls_verify=True)) as client:
            await prepare(client)

    with upstream(programs, TOKEN) as server:
        asyncio.run(fill(server.url))
        yield server.processes, server.url


def main() -> None:
    parser = argparse.ArgumentParser(description="Requests over TLS, by wrk.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all when none is named")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--store", choices=("sqlite", "memory"), default="sqlite")
    parser.add_argument("--upstream", type=Path, help="a folder with kube-apiserver and etcd, to be measured in turns")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(options.serve))
        return
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not on PATH (Debian's package wrk has it)")
    unknown = set(options.cases) - set(CASES)
    if unknown:
        raise SystemExit(f"there is no case {', '.join(sorted(unknown))}")
    for case in options.cases or CASES:
        with ExitStack() as exits:
            servers = {"kube_core": exits.enter_context(served(options.store))}
            if options.upstream is not None:
                servers["upstream"] = exits.enter_context(peer(options.upstream))
            results: dict[str, list[Result]] = {name: [] for name in servers}
            for run in range(options.runs):
                for name, (processes, url) in servers.items():
                    results[name].append(measure(processes, url, case, run, options))
        medians = {name: median(found) for name, found in results.items()}
        for name, found in medians.items():
            print(
                f"{case:17} {name:9} {found.rate:8,.0f}/s  p99 {found.late:7.1f} ms  CPU {found.cpu:8,.0f} µs"
                f"   ({options.clients} clients{f', {options.store}' if name == 'kube_core' else ''})"
            )
        if "upstream" in medians:
            ours, theirs = medians["kube_core"], medians["upstream"]
            print(f"{case:17} {'ratio':9} {ours.rate / theirs.rate:8.2f}  {'':15}  CPU {ours.cpu / theirs.cpu:8.2f}")


def median(results: Sequence[Result]) -> Result:
    return Result(*(statistics.median(figures) for figures in zip(*map(attrs.astuple, results), strict=True)))


if __name__ == "__main__":
    main()

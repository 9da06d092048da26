"""How long a day of virtual time takes: 20 CronJobs that run hourly on 3 nodes, one of which is cut off for good.

    python benchmarks/virtual_day.py [--hours 24] [--every-heartbeat] [--profile]

With `--every-heartbeat` each renewal of a node's lease is written, every 10 seconds; without it those are left out
that nobody can miss (`kube_core/cluster/renewals.py`). Python's garbage collector is set as `kube-core up` sets it.

What the day consists of is counted as well: who wants it faster looks first for what need not happen.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import pstats
import re
import time
from collections import Counter

from kube_core._kit import garbage
from kube_core._kit.clock import FakeClock
from kube_core.api import resources
from kube_core.cluster import Cluster
from kube_core.cluster.faults import Fault

CRON_JOBS = 20
NODES = 3
#: When the last node is cut off.
FAILS_AT_HOUR = 6
#: Rows that are printed of each table.
ROWS = 12
_REQUEST = re.compile(
    r'^apiserver_request_total{verb="(\w+)".*,resource="(.*?)",subresource="(.*?)".*} (\d+)$', re.MULTILINE
)
_RECONCILE = re.compile(r'^controller_runtime_reconcile_total{controller="(.+?)".*} (\d+)$', re.MULTILINE)
_BEHAVIOUR = {"fake.kube-core.dev/behaviour": json.dumps({"*": {"runs_for": 30.0}})}


def cron_job(number: int) -> dict[str, object]:
    """One that runs every hour, at a minute of its own, and takes half a minute."""
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "task:1"}]}
    template = {"metadata": {"annotations": _BEHAVIOUR}, "spec": pod}
    return {
        "metadata": {"name": f"hourly-{number}", "namespace": "default"},
        "spec": {"schedule": f"{number * 60 // CRON_JOBS} * * * *", "jobTemplate": {"spec": {"template": template}}},
    }


def counted(cluster: Cluster) -> tuple[Counter[str], Counter[str]]:
    """What the server was asked for so far, and what controllers looked at."""
    text = cluster.server.metrics.metrics.text()
    requests, reconciles = Counter[str](), Counter[str]()
    for verb, resource, subresource, times in _REQUEST.findall(text):
        requests[f"{verb} " + "/".join(filter(None, (resource, subresource.lstrip("/"))))] += int(times)
    for controller, times in _RECONCILE.findall(text):
        reconciles[controller] += int(times)
    return requests, reconciles


def print_table(title: str, counts: Counter[str]) -> None:
    print(f"  {counts.total():>7,}  {title}")
    for what, times in counts.most_common(ROWS):
        print(f"  {times:>7,}    {what}")


async def measure(hours: int, *, every_heartbeat: bool, profile: cProfile.Profile | None) -> None:
    async with Cluster(
        clock=FakeClock(), seed=1, nodes=NODES, listen=False, every_heartbeat=every_heartbeat
    ) as cluster:
        for number in range(CRON_JOBS):
            await cluster.client.create(resources.CRON_JOBS, cron_job(number))
        await cluster.settled()
        events = cluster.bus.subscribe(resources.EVENTS, limit=100_000)
        revision = cluster.server.store.revision
        before = counted(cluster)
        garbage.settle_in()
        if profile is not None:
            profile.enable()
        started, used = time.perf_counter(), time.process_time()
        for hour in range(hours):
            if hour == FAILS_AT_HOUR:
                cluster.faults.add(Fault.partitions(f"node-{NODES}"))
            await cluster.advance(hours=1)
        took, used = time.perf_counter() - started, time.process_time() - used
        if profile is not None:
            profile.disable()
        writes = cluster.server.store.revision - revision
        jobs = (await cluster.client.list(resources.JOBS, "default")).items
        print(
            f"{hours} hours of {CRON_JOBS} hourly CronJobs on {NODES} nodes, one failing: {took:.2f} s"
            f" ({used:.2f} s of CPU) for {writes:,} writes, {len(events.drain()):,} of them of events;"
            f" {len(jobs)} jobs are kept"
        )
        requests, reconciles = counted(cluster)
        print_table("requests", requests - before[0])
        print_table("looks of controllers", reconciles - before[1])


def main() -> None:
    parser = argparse.ArgumentParser(description="A day of virtual time.")
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--every-heartbeat", action="store_true")
    parser.add_argument("--profile", action="store_true", help="print where the time went")
    options = parser.parse_args()
    profile = cProfile.Profile() if options.profile else None
    asyncio.run(measure(options.hours, every_heartbeat=options.every_heartbeat, profile=profile))
    if profile is not None:
        pstats.Stats(profile).sort_stats("tottime").print_stats(60)


if __name__ == "__main__":
    main()

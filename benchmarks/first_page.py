"""From the start of a cluster to the guestbook's first page, read through the Ingress. Prints medians; asserts nothing.

    python benchmarks/first_page.py [RUNS]

The cluster is the demo's: SQLite store, process runtime, loopback network, user-space service proxy, HTTP ingress. The
containers are real processes, with an init container and readiness probes of one second.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from kube_core.api import yaml
from kube_core.api.descriptors import descriptor_of_kind
from kube_core.cluster import Cluster
from kube_core.meta.gvk import GroupVersion, GroupVersionKind

EXAMPLE = Path(__file__).parent.parent / "examples" / "guestbook"
LIMIT = 60.0


async def first_page() -> float:
    """Seconds."""
    with tempfile.TemporaryDirectory(prefix="kube-core-bench-") as directory:
        started = time.perf_counter()
        cluster = Cluster(
            name=f"bench-{Path(directory).name[-6:]}".lower().replace("_", "x"),
            store=f"sqlite://{directory}/store.db",
            runtime="process",
            state_directory=Path(directory),
            images=(EXAMPLE / "images",),
        )
        async with cluster, asyncio.timeout(LIMIT), aiohttp.ClientSession() as session:
            for document in yaml.load_all((EXAMPLE / "guestbook.yaml").read_text()):
                version = GroupVersion.parse(document["apiVersion"])
                descriptor = descriptor_of_kind(GroupVersionKind(version.group, version.version, document["kind"]))
                if descriptor is None:
                    raise SystemExit(f"{document['kind']} is not served")
                await cluster.client.apply(descriptor.type, document, field_manager="bench")
            if cluster.ingress is None:
                raise SystemExit("the cluster has no ingress")
            address = cluster.ingress.driver.addresses()[0]
            url = f"http://{address.ip}:{address.ports[0]}/"
            while True:
                async with session.get(url) as response:
                    if response.status == 200:
                        return time.perf_counter() - started
                await asyncio.sleep(0.02)


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = [asyncio.run(first_page()) for _ in range(runs)]
    print(f"first page          {statistics.median(seconds) * 1000:7.0f} ms  (min {min(seconds) * 1000:.0f})")


if __name__ == "__main__":
    main()

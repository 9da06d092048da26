"""What ten thousand idle watches over TLS cost the server in memory. Prints figures; asserts nothing.

    python benchmarks/idle_watches.py [--watches 10000]

Server and watchers are a process each. Each watch is a connection of its own to one resource; the memory is what the
server holds resident after all have begun, less what it held before the first, so TLS and sockets count too. Then one
write is timed until all have read it.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import ssl
import statistics
from urllib.parse import urlsplit

import aiohttp
import psutil
import uvloop
from serving import TOKEN, served
from watchers import Audience, Watcher

#: Connections that are opened at once.
AT_ONCE = 50


async def measure(process: psutil.Process, url: str, watches: int) -> None:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    where = urlsplit(url)
    audience = Audience()
    loop = asyncio.get_running_loop()

    async def open_one() -> None:
        _, watcher = await loop.create_connection(
            lambda: Watcher(where.netloc, audience.arrived), where.hostname or "", where.port or 0, ssl=trusting
        )
        audience.watchers.append(watcher)

    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(url, headers=headers, connector=aiohttp.TCPConnector(ssl=trusting)) as session:
        before = process.memory_info().rss
        for start in range(0, watches, AT_ONCE):
            await asyncio.gather(*(open_one() for _ in range(start, min(start + AT_ONCE, watches))))
        times: list[float] = []
        # The first write tells that all watches have begun.
        for name in ("first", "second"):
            audience.expect(name)
            async with session.post("/api/v1/namespaces/default/configmaps", json={"metadata": {"name": name}}) as made:
                made.raise_for_status()
            times = await audience.times()
        held = process.memory_info().rss - before
    print(
        f"{watches} idle watches: {held / watches / 1024:.1f} KiB each, {held / 2**20:.0f} MiB; a write reaches them"
        f" in {statistics.median(times) * 1000:.0f} ms, the last in {max(times) * 1000:.0f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="The memory of idle watches.")
    parser.add_argument("--watches", type=int, default=10_000)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with served("memory") as ([process], url):
        uvloop.run(measure(process, url, min(options.watches, most - 200)))


if __name__ == "__main__":
    main()

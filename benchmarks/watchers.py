"""How long a write takes to reach each of many watchers over TLS. Prints percentiles; asserts nothing.

    python benchmarks/watchers.py [--watchers 1000] [--writes 50]

Server and watchers are a process each, on the same cores. Each watcher is a connection of its own to one resource; the
time is from before a write is sent until a watcher has read its event, over all watchers and writes. Upstream's v1.37
with 1,000 watchers on 2 cores: p99 177 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import statistics
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import uvloop
from serving import TOKEN, served

WATCH = "/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=0"
LIMIT = 60.0


class Watcher(asyncio.Protocol):
    """Asks, and tells when something comes that names the write it waits for."""

    def __init__(self, host: str, arrived: Callable[[], None]) -> None:
        self._host = host
        self._arrived = arrived
        self._expected = b""
        self._seen = b""

    def connection_made(self, transport: Any) -> None:
        transport.write(f"GET {WATCH} HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())

    def expect(self, name: str) -> None:
        self._expected, self._seen = f'"name":"{name}"'.encode(), b""

    def data_received(self, data: bytes) -> None:
        if not self._expected:
            return
        self._seen += data
        if self._expected in self._seen:
            self._expected = b""
            self._arrived()


class Audience:
    """All watchers, and when each saw the write that is under way."""

    def __init__(self) -> None:
        self.watchers: list[Watcher] = []
        self._started = 0.0
        self._times: list[float] = []
        self._complete = asyncio.Event()

    def arrived(self) -> None:
        self._times.append(time.perf_counter() - self._started)
        if len(self._times) == len(self.watchers):
            self._complete.set()

    def expect(self, name: str) -> None:
        self._times.clear()
        self._complete.clear()
        for watcher in self.watchers:
            watcher.expect(name)
        self._started = time.perf_counter()

    async def times(self) -> list[float]:
        async with asyncio.timeout(LIMIT):
            await self._complete.wait()
        return list(self._times)


async def measure(url: str, options: argparse.Namespace) -> None:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    where = urlsplit(url)
    audience = Audience()
    loop = asyncio.get_running_loop()
    for _ in range(options.watchers):
        _, watcher = await loop.create_connection(
            lambda: Watcher(where.netloc, audience.arrived), where.hostname or "", where.port or 0, ssl=trusting
        )
        audience.watchers.append(watcher)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    times: list[float] = []
    async with aiohttp.ClientSession(url, headers=headers, connector=aiohttp.TCPConnector(ssl=trusting)) as session:
        # The first reaches those that were there before it, and so tells that all of them are.
        for number in range(options.writes + 1):
            name = f"write-{number}"
            audience.expect(name)
            body = {"metadata": {"name": name}, "data": {"key": "value"}}
            async with session.post("/api/v1/namespaces/default/configmaps", json=body) as response:
                response.raise_for_status()
            seen = await audience.times()
            times += seen if number else []
    at = statistics.quantiles(times, n=100)
    print(
        f"a write reaching {options.watchers} watchers: p50 {at[49] * 1000:.0f} ms, p99 {at[98] * 1000:.0f} ms,"
        f" the last {max(times) * 1000:.0f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="A write to many watchers.")
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--writes", type=int, default=50)
    options = parser.parse_args()
    with served("sqlite") as (_, url):
        uvloop.run(measure(url, options))


if __name__ == "__main__":
    main()

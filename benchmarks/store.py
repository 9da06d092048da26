"""How fast the stores are: `python benchmarks/store.py [--directory DIR] [--json]`.

Medians of several runs. The figures for SQLite are durable writes: each waits until its commit is synced to the disk
that `--directory` is on. The CPU time is that of the whole process, the writer's thread included. With `--busy` the
event loop does 50 µs of other work for each write, as an API server would.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from kube_core._kit.clock import SystemClock
from kube_core.abc.store import Compare, KeyRange, Put, Store, Transaction
from kube_drivers.store.memory import MemoryStore
from kube_drivers.store.sqlite import SqliteStore

#: A Pod as it is stored is about this long.
_VALUE = b"x" * 3000
_RUNS = 5


def create(number: int) -> Transaction:
    key = f"/registry/pods/default/pod-{number:07}"
    return Transaction([Compare(key, 0)], [Put(key, _VALUE)])


def burn(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


async def writes(store: Store, clients: int, count: int, busy: float) -> tuple[float, float]:
    """Writes a second, and microseconds of CPU a write."""
    numbers = iter(range(store.revision, store.revision + count))

    async def client() -> None:
        for number in numbers:
            if busy:
                burn(busy)
            await store.transact(create(number))

    cpu, start = time.process_time(), time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return count / (time.perf_counter() - start), (time.process_time() - cpu) / count * 1e6


async def measure_sqlite(directory: Path, figures: dict[str, float], busy: float) -> None:
    store = SqliteStore(clock=SystemClock(), url=f"sqlite://{directory}/bench.db")
    await store.open()
    for clients, count in ((1, 300), (16, 2000), (64, 4000)):
        runs = [await writes(store, clients, count, busy) for _ in range(_RUNS)]
        figures[f"sqlite, {clients} clients: durable writes/s"] = statistics.median(run[0] for run in runs)
        figures[f"sqlite, {clients} clients: CPU µs/write"] = statistics.median(run[1] for run in runs)
    figures["sqlite: get µs"] = await each(lambda number: store.get(f"/registry/pods/default/pod-{number + 1:07}"))
    revision = store.revision
    start = time.perf_counter()
    await store.close()
    store = SqliteStore(clock=SystemClock(), url=f"sqlite://{directory}/bench.db")
    await store.open()
    figures[f"sqlite: close, open and check {revision} objects, ms"] = (time.perf_counter() - start) * 1e3
    start = time.perf_counter()
    await store.compact(revision)
    figures[f"sqlite: compact {revision} revisions, ms"] = (time.perf_counter() - start) * 1e3
    await store.close()


async def measure_memory(figures: dict[str, float]) -> None:
    store = MemoryStore(clock=SystemClock())
    await store.open()
    figures["memory: put µs"] = await each(lambda number: store.transact(create(number)))
    figures["memory: get µs"] = await each(lambda number: store.get(f"/registry/pods/default/pod-{number:07}"))
    everything = KeyRange.prefix("/registry/pods/")
    size, revision = (await store.range(everything)).count, store.revision
    figures[f"memory: range of {size} µs"] = await each(lambda _: store.range(everything), 20)
    figures["memory: page of 500 µs"] = await each(lambda _: store.range(everything, limit=500), 50)
    figures["memory: page of 500, 1000 revisions ago, µs"] = await each(
        lambda _: store.range(everything, limit=500, revision=revision - 1000), 50
    )
    figures[f"memory: fork of {size} µs"] = await each(lambda _: store.fork(), 20)
    await store.close()


async def each(call: Callable[[int], Awaitable[object]], count: int = 5000) -> float:
    """Microseconds a call, the median of several runs."""
    runs = []
    for run in range(_RUNS):
        start = time.perf_counter()
        for number in range(count):
            await call(run * count + number)
        runs.append((time.perf_counter() - start) / count * 1e6)
    return statistics.median(runs)


async def measure(directory: Path, busy: float) -> dict[str, float]:
    figures: dict[str, float] = {}
    await measure_memory(figures)
    await measure_sqlite(directory, figures, busy)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, help="where the database goes (a temporary directory)")
    parser.add_argument("--busy", action="store_true", help="let the loop do 50 µs of other work for each write")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        figures = uvloop.run(measure(Path(directory), 50e-6 if options.busy else 0.0))
    if options.json:
        print(json.dumps(figures, indent=2, ensure_ascii=False))
        return
    for name, figure in figures.items():
        print(f"{name:<55}{figure:>12,.1f}")


if __name__ == "__main__":
    main()

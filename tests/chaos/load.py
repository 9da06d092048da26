"""A program that writes to a SQLite store as fast as it can, and tells what was acknowledged: something to kill.

Each acknowledged transaction becomes one line of JSON: its revision, and key and value of each change.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys

from kube_core._kit.clock import SystemClock
from kube_core._kit.random import Random
from kube_core.abc.store import Compare, Delete, Operation, Put, Store, StoreError, Transaction
from kube_drivers.store.sqlite import SqliteStore, database


class Load:
    """Writers over some keys of their own and one counter that they share."""

    def __init__(self, store: Store, random: Random, acks: int, writes: int) -> None:
        self.store = store
        self.random = random
        self.acks = acks
        self.left = writes
        self.lease = 0

    async def run(self, clients: int) -> None:
        self.lease = await self.store.grant_lease(1_000_000)
        await asyncio.gather(*(self.client(number) for number in range(clients)), self.compact())
        self.left = 0

    async def client(self, number: int) -> None:
        while self.left > 0:
            self.left -= 1
            await self.write(f"/client/{number}")

    async def write(self, prefix: str) -> None:
        random = self.random
        value = f"{self.left} {random.uid()} {'x' * random.below(3000)}".encode()
        key = f"{prefix}/{random.below(8)}"
        compares: list[Compare] = []
        operations: list[Operation]
        match random.below(6):
            case 0:
                operations = [Delete(key)]
            case 1:
                operations = [Put(f"{prefix}/{place}", value) for place in range(3)]
            case 2:
                entry = await self.store.get("/shared")
                compares = [Compare("/shared", entry.mod_revision if entry is not None else 0)]
                operations = [Put("/shared", value)]
            case 3:
                operations = [Put(key, value, self.lease)]
            case _:
                operations = [Put(key, value)]
        result = await self.store.transact(Transaction(compares, operations))
        if result.succeeded and result.written:
            changes = [
                (change.key, change.entry.value.decode() if change.entry is not None else None)
                for change in result.written
            ]
            os.write(self.acks, json.dumps([result.revision, changes]).encode() + b"\n")

    async def compact(self) -> None:
        while self.left > 0:
            before = self.store.revision
            while self.left > 0 and self.store.revision < before + 300:
                await self.write("/compactor")
            await self.store.compact(max(self.store.revision - 150, 1))


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--acks", default="/dev/stdout")
    parser.add_argument("--synchronous", default="FULL")
    parser.add_argument("--checkpoint", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--writes", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--largest-file", type=int, default=0)
    options = parser.parse_args()
    if options.largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.largest_file, options.largest_file))
    database.SYNCHRONOUS = options.synchronous
    database.CHECKPOINT_PAGES = options.checkpoint
    acks = 1 if options.acks == "/dev/stdout" else os.open(options.acks, os.O_WRONLY | os.O_CREAT, 0o600)
    store = SqliteStore(clock=SystemClock(), url=options.url)
    await store.open()
    try:
        await Load(store, Random(options.seed), acks, options.writes).run(options.clients)
    finally:
        await store.close()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except StoreError as error:
        sys.exit(f"{type(error).__name__}: {error}")

"""Kill -9 in the middle of a write load, and a disk that takes no more: what was acknowledged is there."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from chaos.acknowledged import Acknowledged
from kube_core._kit.clock import SystemClock
from kube_core._kit.random import Random
from kube_drivers.store.sqlite import SqliteStore

pytestmark = pytest.mark.anyio

_LOAD = [sys.executable, str(Path(__file__).with_name("load.py"))]


async def check(url: str, acknowledged: Acknowledged) -> None:
    store = SqliteStore(clock=SystemClock(), url=url)
    await store.open()
    try:
        await acknowledged.check(store)
    finally:
        await store.close()


async def kill_over_and_over(directory: Path, times: int, seed: int) -> None:
    random = Random(seed)
    url = f"sqlite://{directory}/store.db"
    acknowledged = Acknowledged()
    for life in range(times):
        enough = len(acknowledged.writes) + 1 + random.below(600)
        clients, pages = [1, 4, 32][random.below(3)], [10, 100, 1000][random.below(3)]
        options = ["--clients", str(clients), "--checkpoint", str(pages), "--seed", str(seed * 1000 + life)]
        process = await asyncio.create_subprocess_exec(
            *_LOAD, url, *options, stdout=asyncio.subprocess.PIPE, limit=1 << 24
        )
        assert process.stdout is not None
        async with asyncio.timeout(50):
            while len(acknowledged.writes) < enough:
                acknowledged.note([await process.stdout.readline()])
            process.kill()
            # What it managed to say before it died was acknowledged too; a last line without its end was not said.
            rest = await process.stdout.read()
            acknowledged.note(line for line in rest.splitlines(keepends=True) if line.endswith(b"\n"))
            await process.wait()
        await check(url, acknowledged)


async def test_a_killed_process_loses_nothing_acknowledged(tmp_path: Path) -> None:
    await kill_over_and_over(tmp_path, times=4, seed=1)


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(2, 8))
async def test_a_process_killed_many_times_loses_nothing_acknowledged(tmp_path: Path, seed: int) -> None:
    await kill_over_and_over(tmp_path, times=25, seed=seed)


@pytest.mark.parametrize("size", [40_000, 500_000])
async def test_a_disk_that_takes_no_more_loses_nothing_acknowledged(tmp_path: Path, size: int) -> None:
    url = f"sqlite://{tmp_path}/store.db"
    process = await asyncio.create_subprocess_exec(
        *_LOAD, url, "--largest-file", str(size),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(50):
        said, complaint = await process.communicate()
    assert process.returncode == 1
    # What the store logged comes before what the program says.
    line = complaint.decode().splitlines()[-1]
    assert line.startswith(f"StoreError: {tmp_path}/store.db: ")
    acknowledged = Acknowledged()
    acknowledged.note(said.splitlines())
    assert acknowledged.writes
    await check(url, acknowledged)


async def test_of_processes_that_want_one_store_at_once_exactly_one_gets_it(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/store.db"
    processes = [
        await asyncio.create_subprocess_exec(
            *_LOAD, url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        for _ in range(4)
    ]
    async with asyncio.timeout(50):
        ended = [asyncio.ensure_future(process.wait()) for process in processes]
        while sum(task.done() for task in ended) < 3:
            await asyncio.wait([task for task in ended if not task.done()], return_when=asyncio.FIRST_COMPLETED)
        (owner,) = [process for process, task in zip(processes, ended, strict=True) if not task.done()]
        for process in processes:
            assert process.stdout is not None
            assert process.stderr is not None
            if process is owner:
                assert await process.stdout.readline()
                process.kill()
                await process.stdout.read()
            else:
                complaint = (await process.stderr.read()).decode()
                assert complaint.startswith(f"StoreBusy: {tmp_path}/store.db is in use by process {owner.pid} ")
        await asyncio.gather(*ended)

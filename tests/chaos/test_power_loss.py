"""The power goes in the middle of a write load, unsynced writes are dropped, torn and reordered: nothing that was
acknowledged is lost. And with syncing switched off the same test notices what is lost, so it would notice.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from chaos.acknowledged import Acknowledged
from chaos.disk import OPENED, WRITTEN, Disk, Record, records
from kube_core._kit.clock import SystemClock
from kube_core._kit.random import Random
from kube_core.abc.store import StoreError
from kube_core.testing.store import put
from kube_drivers.store.sqlite import SqliteStore

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        not sys.platform.startswith("linux") or shutil.which("gcc") is None, reason="the recorder needs Linux and gcc"
    ),
]


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("recorder") / "recorder.so"
    source = Path(__file__).with_name("recorder.c")
    subprocess.run(["gcc", "-O1", "-Wall", "-shared", "-fPIC", "-o", library, source, "-ldl", "-pthread"], check=True)
    return library


@attrs.frozen
class Recording:
    """A write load: what happened to the files, and behind which record each line of acknowledgements came."""

    root: Path
    happened: list[Record]
    acks: list[tuple[int, bytes]]


async def record(recorder: Path, directory: Path, *, synchronous: str, writes: int, seed: int) -> Recording:
    root, log = directory / "data", directory / "log"
    root.mkdir()
    load = str(Path(__file__).with_name("load.py"))
    options = ["--synchronous", synchronous, "--checkpoint", "40", "--seed", str(seed), "--writes", str(writes)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, load, f"sqlite://{root}/store.db", "--acks", f"{root}/acks", *options,
        env={**os.environ, "LD_PRELOAD": str(recorder), "RECORD_ROOT": str(root), "RECORD_LOG": str(log)},
    )  # fmt: skip
    assert await process.wait() == 0
    happened: list[Record] = []
    acks: list[tuple[int, bytes]] = []
    # The acknowledgements are written to a file beside the store, so that they stand in the one order of all things;
    # they are what the world heard, and no matter of the disk. The load opens that file first and never closes it, so
    # its descriptor tells its records from those of pages, which may hold any bytes.
    heard = -1
    for record in records(log):
        if record.what == OPENED and record.data == f"{root}/acks".encode():
            heard = record.descriptor
        elif record.what == WRITTEN and record.descriptor == heard:
            acks.append((len(happened), record.data))
        else:
            happened.append(record)
    assert len(acks) > writes // 2
    return Recording(root, happened, acks)


async def losses(recording: Recording, directory: Path, *, cuts: int, seed: int) -> list[str]:
    """Cut the power at `cuts` moments; what was wrong with what was found, each time."""
    random = Random(seed)
    moments = sorted(random.below(len(recording.happened)) + 1 for _ in range(cuts))
    disk, acknowledged, acks = Disk(recording.root), Acknowledged(), iter([*recording.acks, (sys.maxsize, b"")])
    at, ack = 0, next(acks)
    wrong: list[str] = []
    for number, moment in enumerate(moments):
        while at < moment:
            disk.play(recording.happened[at])
            at += 1
            while ack[0] <= at:
                acknowledged.note([ack[1]])
                ack = next(acks)
        found = directory / f"found-{number}"
        disk.lose_power(random, found)
        try:
            await check(found, Acknowledged(dict(acknowledged.writes)))
        except (AssertionError, StoreError) as error:
            wrong.append(f"power lost after {moment} of {len(recording.happened)} records: {error}")
        shutil.rmtree(found)
    return wrong


async def check(found: Path, acknowledged: Acknowledged) -> None:
    """The store opens, has all that was acknowledged, and takes and keeps more."""
    for _ in range(2):
        store = SqliteStore(clock=SystemClock(), url=f"sqlite://{found}/store.db")
        await store.open()
        try:
            await acknowledged.check(store)
            await put(store, "/after")
        finally:
            await store.close()


async def test_a_power_loss_loses_nothing_acknowledged(tmp_path: Path, recorder: Path) -> None:
    recording = await record(recorder, tmp_path, synchronous="FULL", writes=500, seed=1)
    assert await losses(recording, tmp_path, cuts=40, seed=1) == []


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(2, 9))
async def test_many_power_losses_lose_nothing_acknowledged(tmp_path: Path, recorder: Path, seed: int) -> None:
    recording = await record(recorder, tmp_path, synchronous="FULL", writes=3000, seed=seed)
    assert await losses(recording, tmp_path, cuts=300, seed=seed) == []


@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
async def test_without_syncing_each_commit_a_power_loss_is_noticed(
    tmp_path: Path, recorder: Path, synchronous: str
) -> None:
    recording = await record(recorder, tmp_path, synchronous=synchronous, writes=500, seed=1)
    assert len(await losses(recording, tmp_path, cuts=40, seed=1)) > 3

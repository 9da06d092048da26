"""State that cannot be used, written or shared: one clear line, an exit code that says so, and nothing lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.site import Site, alive, program, site, until
from fakes.waiting import eventually
from kube_core.api import resources

pytestmark = [pytest.mark.anyio, pytest.mark.chaos, pytest.mark.timeout(120)]

_CONFIG = {"metadata": {"name": "kept", "namespace": "default"}, "data": {"a": "b"}}
_POD = {
    "metadata": {"name": "runs", "namespace": "default"},
    "spec": {"terminationGracePeriodSeconds": 1, "containers": [program("import time; time.sleep(1000)")]},
}


def can_mount() -> bool:
    return subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], check=False).returncode == 0


def fill(path: Path) -> None:
    """Write until the disk takes no more."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 512)


async def with_an_object(site: Site) -> None:
    """A cluster that has been up, and kept something, and has run a pod."""
    await site.up()
    async with site.client() as client:
        await client.create(resources.CONFIG_MAPS, _CONFIG)
        await client.create(resources.PODS, _POD)
        await until(site.containers)
    await site.down()


async def has_the_object(site: Site) -> None:
    await site.up()
    async with site.client() as client:
        assert (await client.get(resources.CONFIG_MAPS, "kept", "default"))["data"] == {"a": "b"}
        await eventually(lambda: site.agrees(client))
    await site.down()


@pytest.mark.parametrize(
    "name",
    ["cluster.json", "store.db", "ca.key", "service-account.key", "kubeconfig", "nodes/node-1/loopback-network.json"],
)
async def test_a_damaged_file_is_one_clear_line_and_stays_as_it_is(tmp_path: Path, name: str) -> None:
    async with site(tmp_path) as here:
        await with_an_object(here)
        path = here.kubeconfig if name == "kubeconfig" else here.state / name
        whole = path.read_bytes()
        for content, detach in ((b"{", ()), (b"\0" * 4096, ("--detach",)), (b"\xff\xfe\x00", ("--detach",))):
            path.write_bytes(content)
            line = (await here.kube_core("up", "--name", here.name, *detach)).line()
            assert str(path) in line
            assert path.read_bytes() == content
            assert here.processes() == {}
        path.write_bytes(whole)
        await has_the_object(here)


async def test_of_two_at_once_one_wins_and_the_other_says_so_in_one_line(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        for _ in range(3):
            command = ("-m", "kube_core.cli", "up", "--name", here.name, "--detach")
            first, second = await asyncio.gather(*(here.run(sys.executable, *command) for _ in range(2)))
            assert sorted((first.code, second.code)) == [0, 1]
            line = max(first, second, key=lambda done: done.code).line()
            assert f"cluster '{here.name}' is running already (process " in line
            assert "(process 0)" not in line
            await here.down()
        assert here.processes() == {}


async def test_a_taken_port_is_one_line_and_the_cluster_is_whole_when_it_is_free_again(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await with_an_object(here)
        port = here.saved()["port"]
        with socket.create_server(("127.0.0.1", port)):
            done = await here.kube_core("up", "--name", here.name, "--detach")
            assert f"cannot listen on 127.0.0.1:{port}" in done.line()
            assert here.processes() == {}
        await has_the_object(here)


async def test_a_pod_range_that_another_cluster_has_is_one_line(tmp_path: Path) -> None:
    async with site(tmp_path / "one") as one, site(tmp_path / "two") as two:
        await one.up()
        ranges = ("--pod-cidr", one.saved()["pod_cidr"])
        done = await two.kube_core("up", "--name", two.name, "--detach", *ranges)
        assert "is in use by another node on this machine" in done.line()
        assert two.processes() == {}
        await one.down()


async def test_state_that_was_moved_is_resumed_where_it_is(tmp_path: Path) -> None:
    async with site(tmp_path / "here") as here:
        await with_an_object(here)
        (tmp_path / "there" / "state").mkdir(parents=True)
        shutil.move(here.state.parent, tmp_path / "there" / "state")
        await has_the_object(Site(tmp_path / "there", here.name))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_told_to_stop_at_any_moment_of_its_start_it_stops_and_leaves_nothing(tmp_path: Path, number: int) -> None:
    async with site(tmp_path) as here:
        for tenth in range(9):
            process = await here.begin_up()
            await asyncio.sleep(tenth / 10)
            if process.returncode is None:
                process.send_signal(number)
            async with asyncio.timeout(20):
                _, complaint = await process.communicate()
            text = complaint.decode()
            assert "Traceback" not in text or tenth < 2, text  # before that, Python itself is still starting
            await until(lambda: not here.processes())
            assert here.sockets() == []
        await with_an_object(here)


@pytest.mark.skipif(not can_mount(), reason="needs to mount, in a namespace of its own")
@pytest.mark.parametrize("size", ["4k", "40k", "80k", "120k", "160k", "200k"])
async def test_a_full_disk_is_one_line_and_nothing_is_lost_when_there_is_room_again(tmp_path: Path, size: str) -> None:
    """In a mount namespace of its own: a start on a disk of that size, and another one when it has grown."""
    async with site(tmp_path) as here:
        (tmp_path / "state").mkdir()
        script = f"""
            mount -t tmpfs -o size={size} none {tmp_path}/state
            {sys.executable} -m kube_core.cli up --name {here.name} --detach >&2; echo $?
            {sys.executable} -m kube_core.cli down --name {here.name} >/dev/null; echo $?
            mount -o remount,size=20m {tmp_path}/state
            {sys.executable} -m kube_core.cli up --name {here.name} --detach >/dev/null; echo $?
            {sys.executable} -m kube_core.cli down --name {here.name} >/dev/null; echo $?
        """
        done = await here.run("unshare", "-m", "sh", "-c", script)
        codes = [int(line) for line in done.out.splitlines()]
        assert codes[1:] == [0, 0, 0], done
        assert len([line for line in done.complaint.splitlines() if line.startswith("kube-core: ")]) == codes[0]
        assert "Traceback" not in done.complaint
        assert here.processes() == {}


@pytest.mark.skipif(not can_mount(), reason="needs to mount, in a namespace of its own")
async def test_a_disk_that_fills_up_costs_no_container_its_life(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        (tmp_path / "state").mkdir()
        script = f"""
            mount -t tmpfs -o size=4m none {tmp_path}/state
            {sys.executable} -m kube_core.cli up --name {here.name} --detach
        """
        assert (await here.run("unshare", "-m", "sh", "-c", script)).code == 0
        (supervisor,) = here.supervisors()
        filler = Path(f"/proc/{supervisor}/root{tmp_path}/state/filler")  # in the cluster's own mount namespace
        async with here.client() as client:
            # So many that what is said of them does not fit into the room that the journal's last page still has.
            ending = [f"ends-{number}" for number in range(8)]
            for name in (*ending, "stays"):
                pod = {**_POD, "metadata": {"name": name, "namespace": "default"}}
                await client.create(resources.PODS, pod)
            before = await eventually(lambda: here.agrees(client))
        processes = {run.pod: here.containers()[run.container][0] for run in before}
        fill(filler)
        for name in ending:
            os.kill(processes[name], signal.SIGKILL)
        await until(lambda: not any(alive(processes[name]) for name in ending))
        # Twice the time in which the supervisor looks again whether there is room.
        await asyncio.sleep(2)
        assert here.supervisors() == [supervisor]
        assert alive(processes["stays"])
        os.unlink(filler)
        # The store takes no more writes after one that failed; the cluster has to start again.
        inside = ("nsenter", "-t", str(supervisor), "-m", sys.executable, "-m", "kube_core.cli")
        (cluster,) = (pid for pid, command in here.processes().items() if "kube_core.cli" in command)
        os.kill(cluster, signal.SIGKILL)
        await until(lambda: not alive(cluster))
        assert (await here.run(*inside, "up", "--name", here.name, "--detach")).code == 0
        async with here.client() as client:
            after = await eventually(lambda: here.agrees(client), seconds=40)
        assert [run.uid for run in after] == [run.uid for run in before]
        assert {run.pod: run.restarts for run in after} == {**dict.fromkeys(ending, 1), "stays": 0}
        assert alive(processes["stays"])
        await here.clear()


@pytest.mark.skipif(not can_mount(), reason="needs to mount, in a namespace of its own")
async def test_a_directory_that_becomes_read_only_is_one_line_and_nothing_is_lost(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await with_an_object(here)
        script = f"""
            mount --bind -o ro {here.state} {here.state}
            mount -o remount,ro,bind {here.state}
            exec {sys.executable} -m kube_core.cli up --name {here.name} --detach
        """
        done = await here.run("unshare", "-m", "sh", "-c", script)
        assert f"cannot keep state in {here.state}: Read-only file system" in done.line()
        await has_the_object(here)


async def test_a_process_that_is_told_twice_to_go_down_goes_down_once(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.up()
        pid = here.pid
        done = await asyncio.gather(*(here.kube_core("down", "--name", here.name) for _ in range(3)))
        assert [each.code for each in done] == [0, 0, 0]
        assert not alive(pid)
        assert here.processes() == {}

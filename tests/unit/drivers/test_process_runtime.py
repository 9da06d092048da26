"""What only containers have that are processes: images from layouts, limits and users by the machine's own means."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from fakes.containers import needs_cgroups
from fakes.images import entry, make_image, make_layer
from kube_core._kit.clock import SystemClock
from kube_core.abc.runtime import ContainerConfig, LogOptions, Resources, RuntimeFailure, SandboxConfig
from kube_core.abc.security import SecurityContext
from kube_drivers.runtime.oci.cgroups import Cgroups
from kube_drivers.runtime.process import ProcessRuntime
from kube_drivers.runtime.process.runtime import RLIMITS
from kube_drivers.runtime.supervised.table import Table, nanoseconds

pytestmark = pytest.mark.anyio

SWAPS = sys.platform == "linux" and len(Path("/proc/swaps").read_text().splitlines()) > 1


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[ProcessRuntime]:
    script = entry("app/run", b'#!/bin/sh\necho "$1 from $GREETER"\n', mode=0o755)
    image = make_image(make_layer(entry("app"), script), Entrypoint=["/app/run"], Env=["GREETER=layout"])
    layout = image.save_layout(tmp_path / "layout", "greeter:1")
    made = ProcessRuntime(
        clock=SystemClock(), node_name="node", state_directory=str(tmp_path / "state"), image_folders=[layout]
    )
    await made.start()
    yield made
    await made.end()
    assert not (tmp_path / "state" / "images").exists()


async def said(runtime: ProcessRuntime, config: ContainerConfig, annotations: dict[str, str] | None = None) -> str:
    """What a container wrote until it ended."""
    sandbox = await runtime.run_sandbox(SandboxConfig("default", "pod", "uid", annotations=annotations or {}))
    await runtime.pull_image(config.image)
    container = await runtime.create_container(sandbox.id, config)
    await runtime.start_container(container)
    lines = [line.content async for line in runtime.logs(container, LogOptions(follow=True))]
    return b"\n".join(lines).decode()


def shell(script: str, security: SecurityContext | None = None) -> ContainerConfig:
    return ContainerConfig("main", "host", command=("sh", "-c", script), security=security or SecurityContext())


async def test_an_image_of_a_layout_is_run(runtime: ProcessRuntime) -> None:
    assert await runtime.image_status("greeter:1") is None
    assert await said(runtime, ContainerConfig("main", "greeter:1", args=("hello",))) == "hello from layout"
    status = await runtime.image_status("greeter:1")
    assert status is not None
    assert status.id.startswith("sha256:")


async def test_limits_are_those_of_the_pods_annotation(runtime: ProcessRuntime) -> None:
    wanted = {RLIMITS: '{"*": {"nofile": 100, "core": 0}, "main": {"nofile": [64, 128]}, "other": {"nofile": 1}}'}
    shown = "ulimit -Sn; ulimit -Hn; ulimit -c"
    assert await said(runtime, shell(shown), wanted) == "64\n128\n0"


@pytest.mark.parametrize("text", ["[]", '{"*": {"wings": 2}}', '{"*": {"nofile": "many"}}', "{"])
async def test_limits_that_cannot_be_read_say_so(runtime: ProcessRuntime, text: str) -> None:
    with pytest.raises(RuntimeFailure, match="rlimits cannot be read"):
        await said(runtime, shell("true"), {RLIMITS: text})


async def test_a_limit_that_cannot_be_had_is_a_start_that_failed(runtime: ProcessRuntime) -> None:
    with pytest.raises(RuntimeFailure, match="the limit NOFILE cannot be"):
        await said(runtime, shell("true"), {RLIMITS: '{"main": {"nofile": [2, 1]}}'})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes others")
async def test_a_process_is_who_its_security_context_says(runtime: ProcessRuntime) -> None:
    who = SecurityContext(user=12345, group=54321, supplemental_groups=(7,))
    assert await said(runtime, shell("id -u; id -g; id -G; touch mine", who)) == "12345\n54321\n54321 7"
    [container] = runtime.list_containers()
    assert container.user is not None
    assert (container.user.user, container.user.group) == (12345, 54321)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")
async def test_a_process_can_be_held_from_more_privileges(runtime: ProcessRuntime) -> None:
    shown = "grep NoNewPrivs /proc/self/status | tr -d '[:space:]'"
    assert await said(runtime, shell(shown, SecurityContext(no_new_privileges=True))) == "NoNewPrivs:1"


@pytest.fixture
async def limited(tmp_path: Path) -> AsyncIterator[ProcessRuntime]:
    made = ProcessRuntime(
        clock=SystemClock(), node_name="node", state_directory=str(tmp_path / "state"), url="process:cgroups"
    )
    await made.start()
    yield made
    await made.end()


@needs_cgroups()
@pytest.mark.skipif(SWAPS, reason="a limit of memory only moves it to where this machine swaps")
async def test_a_cgroup_limits_a_container_and_goes_with_it(limited: ProcessRuntime) -> None:
    parent = f"/kube-core/test-{os.getpid()}"
    sandbox = await limited.run_sandbox(SandboxConfig("default", "pod", "uid", cgroup_parent=parent))
    places = [Path(file).parent for file in Cgroups.of_machine().doors(parent)]
    code = "x = bytearray(300 << 20); print(len(x))"
    command = (sys.executable, "-c", code)
    config = ContainerConfig("main", "host", command=command, resources=Resources(memory_bytes=64 << 20))
    container = await limited.create_container(sandbox.id, config)
    await limited.start_container(container)
    assert [line async for line in limited.logs(container, LogOptions(follow=True))] == []
    [status] = limited.list_containers()
    assert (status.exit_code, status.reason) == (137, "OOMKilled")
    assert all((place / container).is_dir() for place in places)
    await limited.remove_container(container)
    assert not any((place / container).exists() for place in places)
    await limited.remove_sandbox(sandbox.id)
    assert not any(place.exists() for place in places)


@needs_cgroups()
async def test_nothing_leaves_its_cgroup(limited: ProcessRuntime, tmp_path: Path) -> None:
    """Not even a daemon without its environment, which is nobody's without cgroups."""
    daemon = f"env -i setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 1000'"
    await said(limited, shell(f"({daemon} &); while [ ! -s {tmp_path}/pid ]; do sleep 0.01; done"))
    assert Table().one(int((tmp_path / "pid").read_text())) is None


async def test_another_option_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailure, match=r"process:wings"):
        ProcessRuntime(clock=SystemClock(), node_name="node", state_directory=str(tmp_path), url="process:wings")


@pytest.mark.parametrize("url", ["process", "process:portable"])
async def test_a_supervisor_is_reached_however_long_its_path_is_and_finds_orphans_by_their_mark(
    tmp_path: Path, url: str
) -> None:
    state = tmp_path / ("long" * 30)
    runtime = ProcessRuntime(clock=SystemClock(), node_name="n", state_directory=str(state), url=url)
    await runtime.start()
    try:
        sandbox = await runtime.run_sandbox(SandboxConfig("default", "pod", "uid", ips=("127.0.0.1",)))
        daemon = f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 1000' & sleep 1000"
        config = ContainerConfig("main", "host", command=("sh", "-c", daemon))
        identity = await runtime.create_container(sandbox.id, config)
        await runtime.start_container(identity)
        with anyio.fail_after(10):
            while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():  # noqa: ASYNC110
                await anyio.sleep(0.01)
        # Its parent ends with the container, and so leaves it an orphan.
        pid = int((tmp_path / "pid").read_text())
        assert Table().one(pid) is not None
        await runtime.stop_container(identity, 0)
        assert Table().one(pid) is None
    finally:
        await runtime.end()


def test_what_ps_says_of_time_is_read_as_every_machine_writes_it() -> None:
    texts = ["00:01:02", "1:02.50", "2-03:04:05", "0:00"]
    assert [nanoseconds(text) / 1e9 for text in texts] == [62, 62.5, 183_845, 0]

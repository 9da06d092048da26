"""Containers of the fake runtime that are functions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.abc.runtime import (
    ContainerConfig,
    ContainerStatus,
    ExecRequest,
    ExecResult,
    LogOptions,
    Mount,
    NetworkProbe,
    RuntimeFailure,
    SandboxConfig,
)
from kube_core.abc.snapshots import SnapshotRefused
from kube_core.drivers import DriverError
from kube_drivers.runtime.fake import BEHAVIOUR_ANNOTATION, FakeBehaviour, FakeRuntime, RunningContainer

pytestmark = pytest.mark.anyio

_PROBE = NetworkProbe("http", 80, "/")


@asynccontextmanager
async def runtime_with(behaviour: Any) -> AsyncIterator[FakeRuntime]:
    runtime = FakeRuntime(clock=FakeClock(), node_name="n", behaviours={"example.org/app": behaviour})
    await runtime.start()
    yield runtime
    await runtime.stop()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("main of n")]


async def start(runtime: FakeRuntime, **more: Any) -> str:
    sandbox = await runtime.run_sandbox(SandboxConfig("default", "web", "uid-1", ips=("10.244.0.7",)))
    config = ContainerConfig(name="main", image="example.org/app:1.2", **more)
    await runtime.pull_image(config.image)
    identity = await runtime.create_container(sandbox.id, config)
    await runtime.start_container(identity)
    return identity


def status(runtime: FakeRuntime, identity: str) -> ContainerStatus:
    return next(each for each in runtime.list_containers() if each.id == identity)


async def exited(runtime: FakeRuntime, identity: str) -> ContainerStatus:
    await until(lambda: status(runtime, identity).state == "exited")
    return status(runtime, identity)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 (a turn of the loop is all that is waited for)
            await asyncio.sleep(0)


async def logged(runtime: FakeRuntime, identity: str, **options: Any) -> str:
    return "\n".join([line.content.decode() async for line in runtime.logs(identity, LogOptions(**options))])


async def waits(container: RunningContainer) -> None:
    await container.stopping()


async def test_a_function_knows_its_container_and_what_it_returns_is_the_exit_code() -> None:
    async def app(container: RunningContainer) -> int:
        told = (container.namespace, container.pod, container.uid, container.name, container.ip)
        container.log(f"{told}\n{container.env['COLOUR']} {container.args} {container.volumes['/data']}")
        return 7

    async with runtime_with(app) as runtime:
        identity = await start(
            runtime, args=("-v",), env={"COLOUR": "blue"}, mounts=(Mount("data", "/data", "/on/the/host"),)
        )
        assert (await exited(runtime, identity)).exit_code == 7
        assert await logged(runtime, identity) == (
            "('default', 'web', 'uid-1', 'main', '10.244.0.7')\nblue ('-v',) /on/the/host"
        )


async def test_an_exception_is_exit_code_1_with_its_trace_in_the_log() -> None:
    async def app(container: RunningContainer) -> None:
        raise ValueError("no such site")

    async with runtime_with(app) as runtime:
        identity = await start(runtime)
        ended = await exited(runtime, identity)
        assert (ended.exit_code, ended.reason) == (1, "Error")
        lines = (await logged(runtime, identity)).splitlines()
        assert (lines[0], lines[-1]) == ("Traceback (most recent call last):", "ValueError: no such site")
        assert "run_function" not in "".join(lines)


async def test_what_is_no_exit_code_is_exit_code_1() -> None:
    async def app(container: RunningContainer) -> Any:
        return "done"

    async with runtime_with(app) as runtime:
        identity = await start(runtime)
        assert (await exited(runtime, identity)).exit_code == 1
        assert await logged(runtime, identity) == "'done' is no exit code"


async def test_a_function_ended_by_force_may_clean_up_in_peace() -> None:
    cleaned = asyncio.Event()

    async def app(container: RunningContainer) -> None:
        try:
            await container.sleep(1000)
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            cleaned.set()

    async with runtime_with(app) as runtime:
        identity = await start(runtime)
        await asyncio.sleep(0)
        runtime.crash(identity, 9)
        await asyncio.sleep(0)
        await runtime.remove_sandbox(status(runtime, identity).sandbox_id)
        assert cleaned.is_set()


@pytest.mark.parametrize(("said", "code"), [(None, 0), (4, 4), ("bad option", 1)])
async def test_sys_exit_ends_the_container_as_it_ends_a_program(said: Any, code: int) -> None:
    async def app(container: RunningContainer) -> None:
        raise SystemExit(said)

    async with runtime_with(app) as runtime:
        assert (await exited(runtime, await start(runtime))).exit_code == code


async def test_a_function_that_is_asked_to_end_does_so_by_itself() -> None:
    async with runtime_with(waits) as runtime:
        identity = await start(runtime)
        await runtime.stop_container(identity, 30)
        assert (status(runtime, identity).exit_code, status(runtime, identity).reason) == (0, "Completed")


async def test_a_function_that_does_not_end_is_cancelled_after_its_grace() -> None:
    cleaned = []

    async def stubborn(container: RunningContainer) -> None:
        try:
            await container.sleep(1000)
        finally:
            cleaned.append(container.stop_requested)

    async with runtime_with(stubborn) as runtime:
        identity = await start(runtime)
        stopping = asyncio.create_task(runtime.stop_container(identity, 30))
        assert isinstance(runtime.clock, FakeClock)
        await until(lambda: runtime.clock.next_timer() is not None)  # type: ignore[attr-defined]
        await runtime.clock.advance(29)
        assert status(runtime, identity).state == "running"
        await runtime.clock.advance(2)
        await stopping
        assert (status(runtime, identity).exit_code, cleaned) == (137, [True])


async def test_its_log_is_followed_as_it_is_written() -> None:
    async def app(container: RunningContainer) -> None:
        container.log("first")
        await container.sleep(10)
        container.log("second")

    async with runtime_with(app) as runtime:
        assert isinstance(runtime.clock, FakeClock)
        identity = await start(runtime)
        seen: list[bytes] = []

        async def follow() -> None:
            async for line in runtime.logs(identity, LogOptions(follow=True)):
                seen.append(line.content)

        following = asyncio.create_task(follow())
        await until(lambda: seen == [b"first"])
        await runtime.clock.advance(11)
        await following
        assert seen == [b"first", b"second"]


async def test_probes_find_whether_it_is_ready() -> None:
    async def app(container: RunningContainer) -> None:
        container.ready = False
        await container.sleep(5)
        container.ready = True
        await container.stopping()

    async with runtime_with(app) as runtime:
        assert isinstance(runtime.clock, FakeClock)
        identity = await start(runtime)
        await until(lambda: runtime.clock.next_timer() is not None)  # type: ignore[attr-defined]
        assert not (await runtime.probe(identity, _PROBE)).success
        await runtime.clock.advance(6)
        assert (await runtime.probe(identity, _PROBE)).success


async def test_functions_answer_probes_and_commands() -> None:
    async def probe(container: RunningContainer, request: NetworkProbe) -> bool:
        if request.path == "/broken":
            raise KeyError("broken")
        return request.path == "/"

    async def command(container: RunningContainer, words: tuple[str, ...]) -> ExecResult | str:
        return ExecResult(2, b"", b"no such program") if words[0] != "hostname" else container.pod

    async with runtime_with(FakeBehaviour(function=waits, probe=probe, exec=command)) as runtime:
        identity = await start(runtime)
        answers = [await runtime.probe(identity, NetworkProbe("http", 80, path)) for path in ("/", "/no", "/broken")]
        assert [each.success for each in answers] == [True, False, False]
        assert answers[2].output == "KeyError: 'broken'"
        assert await runtime.exec_sync(identity, ["hostname"]) == ExecResult(0, b"web")
        assert await runtime.exec_sync(identity, ["ls"]) == ExecResult(2, b"", b"no such program")


async def test_what_a_function_listens_at_is_reached_by_port_forward() -> None:
    serving = asyncio.Event()

    async def app(container: RunningContainer) -> None:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello from " + container.pod.encode())
            await writer.drain()
            writer.close()

        with container.listen(80) as listening:
            async with await asyncio.start_server(greet, sock=listening):
                serving.set()
                await container.stopping()

    async with runtime_with(app) as runtime:
        identity = await start(runtime)
        await serving.wait()
        sandbox = status(runtime, identity).sandbox_id
        with pytest.raises(RuntimeFailure, match="nothing listens at port 81"):
            await runtime.port_forward(sandbox, 81)
        stream = await runtime.port_forward(sandbox, 80)
        assert await stream.receive() == b"hello from web"
        await stream.close()


async def test_it_listens_at_the_address_of_its_pod_where_this_machine_has_that() -> None:
    def made(ip: str) -> RunningContainer:
        sandbox = SandboxConfig("default", "web", "uid-1", ips=(ip,))
        config = ContainerConfig(name="main", image="app")
        return RunningContainer(sandbox, config, clock=FakeClock(), write=lambda stream, text: None)

    here, elsewhere = made("127.0.0.1"), made("192.0.2.7")
    with here.listen(0) as listening, elsewhere.listen(80):
        port = listening.getsockname()[1]
        assert here.endpoints == {port: ("127.0.0.1", port)}
        host, noted = elsewhere.endpoints[80]
        assert (host, noted != 80) == ("127.0.0.1", True)
    assert here.endpoints == elsewhere.endpoints == {}


async def test_a_snapshot_is_refused_by_name_while_a_function_runs() -> None:
    async with runtime_with(waits) as runtime:
        identity = await start(runtime)
        with pytest.raises(SnapshotRefused, match="main of default/web"):
            runtime.snapshot()
        await runtime.stop_container(identity, 30)
        runtime.snapshot()


async def test_removing_the_sandbox_ends_the_function_first() -> None:
    ended = []

    async def app(container: RunningContainer) -> None:
        try:
            await container.sleep(1000)
        finally:
            ended.append(True)

    async with runtime_with(app) as runtime:
        identity = await start(runtime)
        await asyncio.sleep(0)
        await runtime.remove_sandbox(status(runtime, identity).sandbox_id)
        assert (ended, runtime.list_containers()) == ([True], [])


async def test_what_is_no_behaviour_is_refused() -> None:
    with pytest.raises(DriverError, match=r"the behaviour of app cannot be: .*callable"):
        FakeRuntime(clock=FakeClock(), node_name="n", behaviours={"app": "text"})  # type: ignore[dict-item]
    runtime = FakeRuntime(clock=FakeClock(), node_name="n")
    annotations = {BEHAVIOUR_ANNOTATION: '{"*": {"function": "os.abort"}}'}
    sandbox = await runtime.run_sandbox(SandboxConfig("default", "web", "uid-1", annotations=annotations))
    await runtime.pull_image("app")
    with pytest.raises(RuntimeFailure, match="callable"):
        await runtime.create_container(sandbox.id, ContainerConfig(name="main", image="app"))


async def echoes(container: RunningContainer) -> int:
    container.log("early")
    while data := await container.read():
        container.log(f"heard {data.decode().strip()}")
    return 4


async def test_who_is_attached_hears_and_speaks_to_the_function() -> None:
    async with runtime_with(echoes) as runtime:
        identity = await start(runtime, stdin=True, stdin_once=True)
        await until(lambda: bool(runtime._containers[identity].log))
        listener = await runtime.attach(identity, ExecRequest(()))
        session = await runtime.attach(identity, ExecRequest((), stdin=True))
        await session.write(b"this\n")
        assert await anext(aiter(session.output())) == ("stdout", b"heard this\n")
        await listener.write(b"not asked for\n")
        await session.close()  # and with it, by `stdin_once`, what the function can read
        assert [data async for _, data in listener.output()] == [b"heard this\n"]
        assert await listener.exit_code() == 4
        assert await logged(runtime, identity) == "early\nheard this"


async def test_stdin_that_nobody_asked_for_has_ended() -> None:
    async with runtime_with(echoes) as runtime:
        assert (await exited(runtime, await start(runtime))).exit_code == 4


async def test_who_writes_waits_for_who_reads() -> None:
    async with runtime_with(waits) as runtime:
        identity = await start(runtime, stdin=True)
        session = await runtime.attach(identity, ExecRequest((), stdin=True))
        await session.write(bytes(100_000))
        writing = asyncio.create_task(session.write(b"more"))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not writing.done()
        assert len(await runtime._containers[identity].handle.stdin.read()) == 100_000  # type: ignore[union-attr]
        await writing
        await session.close()


async def test_a_container_that_is_not_running_is_not_attached_to() -> None:
    async with runtime_with(echoes) as runtime:
        identity = await start(runtime)
        await exited(runtime, identity)
        with pytest.raises(RuntimeFailure, match="is not running"):
            await runtime.attach(identity, ExecRequest(()))

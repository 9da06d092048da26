"""What every runtime driver must do: the public contract suite.

class TestMyRuntime(RuntimeContract):
    def make(self, state_directory): return MyRuntime(clock=SystemClock(), node_name="node", ...)

The suite runs small POSIX shell commands where containers are processes (of the images `sleeps` and `fails`, which need
a shell and the usual small tools); elsewhere a driver's `make` gives behaviours for `sleeps` (runs until stopped) and
`fails` (ends with 3 at once, having written `hello`). Of every driver, `missing` is an image that cannot be pulled.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from kube_core.abc.runtime import (
    ContainerConfig,
    ContainerNotFound,
    ContainerStatus,
    ExecRequest,
    ExecSession,
    ImageFailure,
    LogOptions,
    Mount,
    Runtime,
    RuntimeFailure,
    SandboxConfig,
)
from kube_core.abc.snapshots import SnapshotRefused

__all__ = ["RuntimeContract"]

_COMMANDS = {
    "sleeps": ("sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"),
    "fails": ("sh", "-c", "echo hello; exit 3"),
}
#: Tells a terminal's size; to some runtimes that is sent on its own, and may come after what is read.
_SIZE = "until stty size 2>/dev/null | grep [1-9]; do sleep 0.05; done"


def sandbox(uid: str = "uid-1") -> SandboxConfig:
    return SandboxConfig(namespace="default", name="pod", uid=uid, ips=("127.0.0.1",))


def container(image: str, **more: object) -> ContainerConfig:
    fields: dict[str, object] = {"command": _COMMANDS.get(image, ())}
    return ContainerConfig(name="main", image=image, **{**fields, **more})  # type: ignore[arg-type]


@pytest.mark.anyio
class RuntimeContract:
    """Tests for one driver."""

    def make(self, state_directory: Path) -> Runtime:
        """A driver on this directory, not started."""
        raise NotImplementedError

    @asynccontextmanager
    async def started(self, state_directory: Path) -> AsyncIterator[Runtime]:
        runtime = self.make(state_directory)
        await runtime.start()
        try:
            yield runtime
        finally:
            await runtime.end()

    async def running(self, runtime: Runtime, image: str = "sleeps", **more: object) -> ContainerStatus:
        """A started container in a sandbox of its own. `shared`: a folder that is there at the same path."""
        if (shared := more.pop("shared", None)) is not None:
            more["mounts"] = (Mount("shared", str(shared), str(shared)),)
        made = await runtime.run_sandbox(sandbox())
        config = container(image, **more)
        await runtime.pull_image(config.image)
        identity = await runtime.create_container(made.id, config)
        await runtime.start_container(identity)
        return status_of(runtime, identity)

    async def test_a_container_is_created_started_and_stopped(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            made = await runtime.run_sandbox(sandbox())
            await runtime.pull_image("sleeps")
            identity = await runtime.create_container(made.id, container("sleeps"))
            assert status_of(runtime, identity).state == "created"
            await runtime.start_container(identity)
            status = status_of(runtime, identity)
            assert (status.state, status.pod_uid, status.sandbox_id) == ("running", "uid-1", made.id)
            assert status.started_at >= status.created_at
            await runtime.stop_container(identity, 5)
            status = status_of(runtime, identity)
            assert status.state == "exited"
            assert status.finished_at >= status.started_at

    async def test_a_container_that_ends_by_itself_has_its_exit_code_reason_and_log(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            status = await self.exited(runtime, (await self.running(runtime, "fails")).id)
            assert (status.exit_code, status.reason) == (3, "Error")
            lines = [line async for line in runtime.logs(status.id, LogOptions())]
            assert [(line.stream, line.content, line.partial) for line in lines] == [("stdout", b"hello", False)]

    async def test_following_the_log_of_a_container_ends_when_it_exits(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            identity = (await self.running(runtime, "fails")).id
            lines = [line.content async for line in runtime.logs(identity, LogOptions(follow=True))]
            assert lines == [b"hello"]

    async def test_what_a_running_container_used_only_grows(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            before = await runtime.usage()
            if before is None:
                pytest.skip(f"the runtime {runtime.name} does not measure what containers use")
            assert not before.containers
            identity = (await self.running(runtime)).id
            seen = []
            for _ in range(3):
                usage = await runtime.usage()
                assert usage is not None
                assert set(usage.containers) == {identity}
                seen.append(usage.containers[identity])
            assert [each.at for each in seen] == sorted(each.at for each in seen)
            assert [each.cpu_nanoseconds for each in seen] == sorted(each.cpu_nanoseconds for each in seen)
            await runtime.stop_container(identity, 5)
            after = await runtime.usage()
            assert after is not None
            assert not after.containers

    async def test_a_snapshot_is_gone_on_from_by_others_that_do_not_notice_each_other(self, tmp_path: Path) -> None:
        async with self.started(tmp_path / "first") as runtime:
            if not runtime.capabilities.snapshot:
                with pytest.raises(SnapshotRefused):
                    runtime.snapshot()
                with pytest.raises(SnapshotRefused):
                    self.make(tmp_path / "second").restore(None)
                return
            ended = await self.exited(runtime, (await self.running(runtime, "fails")).id)
            running = await self.running(runtime)
            try:
                state = runtime.snapshot()
            except SnapshotRefused as refused:
                pytest.skip(str(refused))
            await runtime.remove_container(ended.id)
            others = [self.make(tmp_path / name) for name in ("second", "third")]
            for other in others:
                other.restore(state)
                await other.start()
            second, third = others
            try:
                for other in others:
                    assert status_of(other, ended.id) == ended
                    assert [line.content async for line in other.logs(ended.id, LogOptions())] == [b"hello"]
                    assert status_of(other, running.id).state == "running"
                    made = await self.running(other)
                    assert made.id not in (ended.id, running.id)
                await second.stop_container(running.id, 5)
                assert status_of(second, running.id).state == "exited"
                assert status_of(third, running.id).state == status_of(runtime, running.id).state == "running"
            finally:
                for other in others:
                    await other.end()

    async def test_starting_twice_is_an_error(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            identity = (await self.running(runtime)).id
            with pytest.raises(RuntimeFailure, match="started already"):
                await runtime.start_container(identity)

    async def test_stopping_and_removing_again_does_nothing(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            status = await self.running(runtime)
            for _ in range(2):
                await runtime.stop_container(status.id, 1)
            for _ in range(2):
                await runtime.remove_container(status.id)
            for _ in range(2):
                await runtime.stop_sandbox(status.sandbox_id)
                await runtime.remove_sandbox(status.sandbox_id)
            assert not runtime.list_containers()
            assert not runtime.list_sandboxes()

    async def test_removing_a_sandbox_ends_and_removes_its_containers(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            status = await self.running(runtime)
            await runtime.remove_sandbox(status.sandbox_id)
            assert not runtime.list_containers()

    async def test_a_stopped_sandbox_takes_no_container(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            status = await self.running(runtime)
            await runtime.stop_sandbox(status.sandbox_id)
            assert [each.ready for each in runtime.list_sandboxes("uid-1")] == [False]
            with pytest.raises(ContainerNotFound):
                await runtime.create_container(status.sandbox_id, container("sleeps"))

    async def test_unknown_containers_are_said_to_be_unknown(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            with pytest.raises(ContainerNotFound):
                await runtime.start_container("nothing")
            with pytest.raises(ContainerNotFound):
                await runtime.exec("nothing", ExecRequest(("true",)))

    async def test_containers_are_listed_by_pod(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            status = await self.running(runtime)
            assert [each.id for each in runtime.list_containers("uid-1")] == [status.id]
            assert not runtime.list_containers("uid-2")

    async def test_every_change_is_an_event(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            status = await self.running(runtime, "fails")
            with anyio.fail_after(20):
                async for event in runtime.events():
                    assert event.pod_uid == "uid-1"
                    if status_of(runtime, status.id).state == "exited":
                        break

    async def test_an_image_that_cannot_be_had_fails_to_pull(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            with pytest.raises(ImageFailure):
                await runtime.pull_image("missing")

    async def test_a_command_in_a_container_gives_its_output_and_exit_code(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            needs(runtime, runtime.capabilities.exec and runtime.capabilities.processes, "runs commands")
            identity = (await self.running(runtime)).id
            result = await runtime.exec_sync(identity, ["sh", "-c", "echo out; echo error >&2; exit 4"])
            assert (result.exit_code, result.stdout, result.stderr) == (4, b"out\n", b"error\n")

    async def test_a_command_reads_its_stdin_to_the_end(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            needs(runtime, runtime.capabilities.exec and runtime.capabilities.processes, "runs commands")
            identity = (await self.running(runtime)).id
            session = await runtime.exec(identity, ExecRequest(("wc", "-c"), stdin=True))
            await session.write(b"x" * 100_000)
            await session.close_stdin()
            output = b"".join([data async for _, data in session.output()])
            assert (output.strip(), await session.exit_code()) == (b"100000", 0)
            await session.close()

    async def test_a_command_with_a_terminal_sees_its_size(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            needs(runtime, runtime.capabilities.exec and runtime.capabilities.processes, "runs commands")
            identity = (await self.running(runtime)).id
            session = await runtime.exec(
                identity, ExecRequest(("sh", "-c", f"read line; {_SIZE}"), stdin=True, tty=True)
            )
            await session.resize(100, 40)
            await session.write(b"go\n")
            output = b"".join([data async for _, data in session.output()])
            assert b"40 100" in output
            assert await session.exit_code() == 0
            await session.close()

    async def test_a_command_that_takes_too_long_is_ended(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            needs(runtime, runtime.capabilities.exec and runtime.capabilities.processes, "runs commands")
            identity = (await self.running(runtime)).id
            mark = unique()
            # Some runtimes end no more of a command than its first process.
            begins = "" if runtime.capabilities.ends_commands else "exec "
            with pytest.raises(TimeoutError):
                await runtime.exec_sync(identity, ["sh", "-c", f"{begins}sleep {mark}; true"], timeout=0.5)
            await until(lambda: not marked(mark))

    async def test_a_container_that_ignores_its_signal_is_ended_by_force(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            needs(runtime, runtime.capabilities.processes, "has processes")
            status = await self.stubborn(runtime)
            await runtime.stop_container(status.id, 0.3)
            assert status_of(runtime, status.id).exit_code == 137

    async def test_a_second_stop_with_less_grace_holds(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            needs(runtime, runtime.capabilities.processes, "has processes")
            status = await self.stubborn(runtime)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(runtime.stop_container, status.id, 600)
                await anyio.lowlevel.checkpoint()
                await runtime.stop_container(status.id, 0.1)
            assert status_of(runtime, status.id).exit_code == 137

    async def test_grandchildren_that_became_daemons_end_with_their_container(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            needs(runtime, runtime.capabilities.processes, "has processes")
            mark, shared = unique(), folder(tmp_path)
            script = f"(setsid sh -c 'sleep {mark}; true' &) ; while [ ! -e {shared}/go ]; do sleep 0.05; done"
            status = await self.running(runtime, "sleeps", command=("sh", "-c", f"{script}; exit 0"), shared=shared)
            await until(lambda: marked(mark))
            (shared / "go").touch()
            await self.exited(runtime, status.id)
            assert not marked(mark)

    async def test_a_program_that_cannot_be_started_says_why(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            needs(runtime, runtime.capabilities.processes, "has processes")
            with pytest.raises(RuntimeFailure, match="not found"):
                await self.running(runtime, "sleeps", command=("no-such-program",))
            status = runtime.list_containers()[0]
            assert (status.state, status.reason, status.exit_code) == ("exited", "StartError", 128)

    async def test_the_tail_of_a_log_and_lines_of_both_streams(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            needs(runtime, runtime.capabilities.processes, "has processes")
            script = "for n in 1 2 3 4 5; do echo line $n; done; sleep 0.2; printf 'no newline' >&2"
            status = await self.running(runtime, "sleeps", command=("sh", "-c", script))
            await self.exited(runtime, status.id)
            lines = [line async for line in runtime.logs(status.id, LogOptions(tail_lines=2))]
            assert [(line.stream, line.content) for line in lines] == [
                ("stdout", b"line 5"), ("stderr", b"no newline"),
            ]  # fmt: skip
            # What has no newline at the end of all is a line to some, and to others a part of one.
            assert not lines[0].partial

    async def test_a_long_line_comes_in_parts(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            needs(runtime, runtime.capabilities.processes, "has processes")
            script = "head -c 40000 /dev/zero | tr '\\0' x; echo"
            status = await self.running(runtime, "sleeps", command=("sh", "-c", script))
            await self.exited(runtime, status.id)
            lines = [line async for line in runtime.logs(status.id, LogOptions())]
            assert sum(len(line.content) for line in lines) == 40000
            assert [line.partial for line in lines] == [True] * (len(lines) - 1) + [False]

    async def test_containers_go_on_while_the_agent_is_away(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            needs(runtime, runtime.capabilities.persistent, "outlives its agent")
            status = await self.running(runtime)
            shared = folder(tmp_path)
            script = f"while [ ! -e {shared}/go ]; do sleep 0.05; done; echo while away; exit 7"
            ends = await self.running(runtime, "sleeps", command=("sh", "-c", script), shared=shared)
            await runtime.stop()
            (shared / "go").touch()
            again = self.make(tmp_path)
            await again.start()
            assert status_of(again, status.id) == status
            exited = await self.exited(again, ends.id)
            assert exited.exit_code == 7
            assert [line.content async for line in again.logs(ends.id, LogOptions())] == [b"while away"]
            assert [each.config.uid for each in again.list_sandboxes()] == ["uid-1", "uid-1"]
            await again.stop()

    async def test_end_leaves_nothing_even_when_never_started(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            needs(runtime, runtime.capabilities.persistent, "outlives its agent")
            mark = unique()
            await self.running(runtime, "sleeps", command=("sh", "-c", f"sleep {mark}; true"))
            await until(lambda: marked(mark))
            await runtime.stop()
            await self.make(tmp_path).end()
            assert not marked(mark)

    async def test_a_container_is_asked_to_end_by_its_own_signal(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            needs(runtime, runtime.capabilities.stop_signals, "ends containers by their own signals")
            script = "trap 'exit 9' USR1; trap '' TERM; echo ready; sleep 1000 & wait"
            status = await self.running(runtime, "sleeps", command=("sh", "-c", script), stop_signal="SIGUSR1")
            assert status.stop_signal == "SIGUSR1"
            await self.has_said(runtime, status, b"ready")
            await runtime.stop_container(status.id, 20)
            assert status_of(runtime, status.id).exit_code == 9

    async def test_who_is_attached_hears_and_speaks_to_the_main_process(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            needs(runtime, runtime.capabilities.attach and runtime.capabilities.processes, "attaches to processes")
            script = "echo early; read line; echo heard $line; read line; exit 4"
            status = await self.running(runtime, "sleeps", command=("sh", "-c", script), stdin=True, stdin_once=True)
            await self.has_said(runtime, status, b"early")
            listener = await runtime.attach(status.id, ExecRequest(()))
            session = await runtime.attach(status.id, ExecRequest((), stdin=True))
            await session.write(b"this\n")
            assert b"".join([data async for _, data in first(session, 1)]) == b"heard this\n"
            assert b"".join([data async for _, data in first(listener, 1)]) == b"heard this\n"
            await session.close()  # and with it, by `stdin_once`, what the process can read
            assert await listener.exit_code() == 4
            await listener.close()
            lines = [line.content async for line in runtime.logs(status.id, LogOptions())]
            assert lines == [b"early", b"heard this"]

    async def test_a_terminal_is_attached_to_and_has_a_size(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            needs(runtime, runtime.capabilities.attach and runtime.capabilities.processes, "attaches to processes")
            command = ("sh", "-c", f"read line; {_SIZE}; exit 2")
            status = await self.running(runtime, "sleeps", command=command, stdin=True, tty=True)
            session = await runtime.attach(status.id, ExecRequest((), stdin=True, tty=True))
            await session.resize(100, 40)
            await session.write(b"go\n")
            assert b"40 100" in b"".join([data async for _, data in session.output()])
            assert await session.exit_code() == 2
            await session.close()

    async def test_a_log_that_was_renamed_goes_on_in_a_new_file(self, tmp_path: Path) -> None:
        async with self.started(tmp_path) as runtime:
            needs(runtime, runtime.capabilities.log_rotation, "has logs that rotate")
            status = await self.running(
                runtime, "sleeps", command=("sh", "-c", "echo one; read x; echo two"), stdin=True
            )
            await self.has_said(runtime, status, b"one")
            log, old = status.log_path, f"{status.log_path}.1"
            os.rename(log, old)
            await runtime.reopen_log(status.id)
            session = await runtime.attach(status.id, ExecRequest((), stdin=True))
            await session.write(b"\n")
            await self.exited(runtime, status.id)
            await session.close()
            assert [words_of(path) for path in (old, log)] == [["one"], ["two"]]
            await runtime.remove_container(status.id)
            assert [words_of(path) for path in (old, log)] == [None, None]

    async def has_said(self, runtime: Runtime, status: ContainerStatus, line: bytes) -> None:
        """Wait until a container's log has a line."""
        async for each in runtime.logs(status.id, LogOptions(follow=True)):
            if each.content == line:
                return

    async def stubborn(self, runtime: Runtime) -> ContainerStatus:
        """A container that has begun to ignore SIGTERM."""
        script = "trap '' TERM; echo ready; while true; do sleep 1; done"
        status = await self.running(runtime, "sleeps", command=("sh", "-c", script))
        async for _ in runtime.logs(status.id, LogOptions(follow=True)):
            break
        return status

    async def exited(self, runtime: Runtime, container_id: str) -> ContainerStatus:
        await until(lambda: status_of(runtime, container_id).state == "exited")
        return status_of(runtime, container_id)


def status_of(runtime: Runtime, container_id: str) -> ContainerStatus:
    return next(each for each in runtime.list_containers() if each.id == container_id)


def needs(runtime: Runtime, capable: bool, what: str) -> None:
    if not capable:
        pytest.skip(f"{type(runtime).__name__} is not one that {what}")


def folder(tmp_path: Path) -> Path:
    """One that a container may be given."""
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o777)
    return shared


def unique() -> str:
    """Seconds to sleep, of which nobody else on this machine thinks."""
    return f"1{secrets.randbelow(10**9):09}"


def marked(mark: str) -> list[int]:
    """The processes of this machine that have this word, whatever namespace they are in; zombies do not."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                words = Path("/proc", name, "cmdline").read_bytes()
            except OSError:
                continue
            if mark.encode() in words:
                found.append(int(name))
    return found


def words_of(log: str) -> list[str] | None:
    """The last word of each line of a log; None where there is no such file."""
    try:
        return [line.split()[-1] for line in Path(log).read_text().splitlines()]
    except FileNotFoundError:
        return None


async def first(session: ExecSession, count: int) -> AsyncIterator[tuple[str, bytes]]:
    """So many pieces of a session's output."""
    output = session.output()
    for _ in range(count):
        yield await anext(output)


async def until(condition: Callable[[], object], limit: float = 20.0) -> None:
    """Wait for a condition, with a limit."""
    with anyio.fail_after(limit):
        while not condition():  # noqa: ASYNC110 (processes of the machine set no event)
            await anyio.sleep(0.02)  # noqa: TID251 (and know no clock)

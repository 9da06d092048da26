"""What drivers share whose containers a supervisor owns: everything but what a container is.

    <root>/runtime/          the supervisor's socket, journal and lock
    <root>/containers/<id>/  a container's files
    <root>/logs/…            its CRI log, where the sandbox names no directory of its own

The driver keeps a picture of what the supervisor holds, and follows its notifications, so `list_containers` is a look
into memory. When the supervisor dies, the driver starts another one, which ends what its predecessor left behind.

A driver says what the supervisor is to run and makes the files that takes (`_make_container`), removes them again
(`_discard_container`), and what else a sandbox of its kind is (`_make_sandbox`, `_unmake_sandbox`).
"""

from __future__ import annotations

import abc
import asyncio
import base64
import glob
import os
import secrets
import shutil
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import attrs

from kube_core._kit.clock import Clock
from kube_core.abc.runtime import (
    ContainerConfig,
    ContainerEvent,
    ContainerNotFound,
    ContainerStatus,
    ContainerUser,
    ExecRequest,
    ExecSession,
    LogLine,
    LogOptions,
    Resources,
    Runtime,
    RuntimeFailure,
    SandboxConfig,
    SandboxStatus,
    Stream,
)
from kube_core.abc.usage import RuntimeUsage, Usage
from kube_drivers.runtime.records import container_config, record_of, sandbox_config
from kube_drivers.runtime.supervised import link as links
from kube_drivers.runtime.supervised.logs import read_log
from kube_drivers.threads import to_the_end

__all__ = ["MadeContainer", "SupervisedRuntime", "signal_number"]


@attrs.frozen
class MadeContainer:
    """A container whose files are there. `spec`: what the supervisor runs, in the terms of `supervisor.py`."""

    spec: Mapping[str, Any]
    image_id: str
    user: ContainerUser | None = None
    stop_signal: str = ""


def signal_number(name: str) -> int:
    """The number of `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`. Raises `RuntimeFailure` for what is none."""
    bare, plus, further = name.upper().removeprefix("SIG").partition("+")
    try:
        if bare.isdigit():
            return int(signal.Signals(int(bare)))
        return int(signal.Signals[f"SIG{bare}"]) + (int(further) if plus else 0)
    except (KeyError, ValueError):
        raise RuntimeFailure(f"{name} is not a signal") from None


class SupervisedRuntime(Runtime):
    """A runtime with a supervisor, whose files are below `root`."""

    def __init__(self, *, clock: Clock, node_name: str, state_directory: str, root: Path) -> None:
        super().__init__(clock=clock, node_name=node_name, state_directory=state_directory)
        self._root = root.absolute()
        self._directory = self._root / "runtime"
        self._link: links.Link | None = None
        self._containers: dict[str, ContainerStatus] = {}
        self._sandboxes: dict[str, SandboxStatus] = {}
        self._exits: dict[str, asyncio.Event] = {}
        #: Main processes by container, and the processes that hold sandboxes' namespaces.
        self._pids: dict[str, int] = {}
        self._holders: dict[str, int] = {}
        self._events: asyncio.Queue[ContainerEvent | None] = asyncio.Queue()
        self._stopping = False
        #: Whether the supervisor does without what only Linux has.
        self._portable = False
        self._reviving: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    # -- what a driver says ------------------------------------------------------------------------------------------

    @abc.abstractmethod
    async def _make_container(self, identity: str, sandbox: SandboxStatus, config: ContainerConfig) -> MadeContainer:
        """Make its files. Raises `RuntimeFailure`, having left none."""

    async def _discard_container(self, container: ContainerStatus) -> None:
        """Remove its files, its log last."""
        # A log whose path the agent chose is the agent's to remove.
        log = "" if container.config.log_path else container.log_path
        await to_the_end(_discard, str(self._files_of(container.id)), log)

    async def _give_up_container(self, identity: str) -> None:
        """Remove the files of one that came to nothing."""
        await to_the_end(_discard, str(self._files_of(identity)), "")

    async def _make_sandbox(self, identity: str, config: SandboxConfig) -> None:
        """Make what it is besides a record. Raises `RuntimeFailure`, having left nothing."""

    async def _unmake_sandbox(self, sandbox: SandboxStatus) -> None:
        """Its containers have ended: remove what it is besides a record. May be asked for again."""

    async def _found(self) -> None:
        """The supervisor is reached, and what it holds is known: clear away what nobody knows of."""

    async def _found_again(self) -> None:
        """Another supervisor is reached: see what has gone with the one before."""

    def _exec_request(self, container: ContainerStatus, request: ExecRequest) -> dict[str, Any]:
        """What the supervisor is told to run in a container."""
        return {"argv": list(request.command)}

    def _log_path(self, sandbox: SandboxConfig, config: ContainerConfig) -> str:
        if sandbox.log_directory and config.log_path:
            return os.path.join(sandbox.log_directory, config.log_path)
        logs = sandbox.log_directory or str(self._root / "logs" / f"{sandbox.namespace}_{sandbox.name}_{sandbox.uid}")
        return os.path.join(logs, config.name, f"{config.attempt}.log")

    def _files_of(self, container_id: str) -> Path:
        return self._root / "containers" / container_id

    # -- the contract ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        async with self._starting:
            if self._link is not None:
                return
            self._stopping = False
            with self.clock.hold(f"{self.name} runtime: reach the supervisor"):
                await self._reach()
                await self._found()

    async def stop(self) -> None:
        self._stopping = True
        if self._reviving is not None:
            self._reviving.cancel()
            await asyncio.wait([self._reviving])
        if self._link is not None:
            await self._link.close()
            self._link = None
        self._events.put_nowait(None)

    async def end(self) -> None:
        self._stopping = True
        with self.clock.hold(f"{self.name} runtime: end"):
            link = self._link
            if link is None or link.closed.is_set():
                if not self._directory.exists():
                    return
                # Also where none runs: a fresh one knows from the journal what its predecessor left running.
                link = await self._reach()
            try:
                await link.call("end")
            except RuntimeFailure:
                pass
            await link.closed.wait()
            await self.stop()
            for sandbox in self._sandboxes.values():
                await self._unmake_sandbox(sandbox)
            for container in self._containers.values():
                await self._discard_container(container)
            self._containers.clear()
            self._sandboxes.clear()
            await to_the_end(self._clear)

    async def run_sandbox(self, config: SandboxConfig) -> SandboxStatus:
        if config.handler:
            raise RuntimeFailure(f'no runtime for "{config.handler}" is configured')
        status = SandboxStatus(secrets.token_hex(16), config, True, self.clock.now(), config.ips)
        # Known first: whatever is made of it afterwards is somebody's.
        await self._keep(status)
        try:
            await self._make_sandbox(status.id, config)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._unmake_sandbox(status)
                await self._forget_sandbox(status.id)
            raise
        return status

    async def stop_sandbox(self, sandbox_id: str) -> None:
        sandbox = self._sandboxes.get(sandbox_id)
        if sandbox is None:
            return
        running = [each.id for each in self._of_sandbox(sandbox_id) if each.state != "exited"]
        await asyncio.gather(*(self.stop_container(identity, 0) for identity in running))
        await self._unmake_sandbox(sandbox)
        if sandbox.ready:
            await self._keep(attrs.evolve(sandbox, ready=False))

    async def remove_sandbox(self, sandbox_id: str) -> None:
        if sandbox_id not in self._sandboxes:
            return
        await self.stop_sandbox(sandbox_id)
        for container in self._of_sandbox(sandbox_id):
            await self.remove_container(container.id)
        await self._forget_sandbox(sandbox_id)

    def list_sandboxes(self, pod_uid: str = "") -> Sequence[SandboxStatus]:
        return [each for each in self._sandboxes.values() if pod_uid in ("", each.config.uid)]

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        sandbox = self._sandboxes.get(sandbox_id)
        if sandbox is None or not sandbox.ready:
            raise ContainerNotFound(f"there is no running sandbox {sandbox_id}")
        identity = secrets.token_hex(16)
        with self.clock.hold(f"{self.name} runtime: prepare a container"):
            made = await self._make_container(identity, sandbox, config)
        meta = {
            "sandbox": sandbox_id,
            "pod": sandbox.config.uid,
            "image_id": made.image_id,
            "log": made.spec["log"],
            "user": attrs.astuple(made.user) if made.user is not None else None,
            "stop_signal": made.stop_signal,
            "config": record_of(config),
        }
        try:
            await self._call("create", container=identity, spec=made.spec, meta=meta)
        except RuntimeFailure:
            await self._give_up_container(identity)
            raise
        return identity

    async def start_container(self, container_id: str) -> None:
        self._known(container_id)
        await self._call("start", container=container_id)

    async def stop_container(self, container_id: str, grace: float) -> None:
        container = self._containers.get(container_id)
        if container is None or container.state == "exited":
            return
        ended = self._exits.setdefault(container_id, asyncio.Event())
        with self.clock.hold(f"{self.name} runtime: stop {container.config.name}"):
            try:
                await self._call("stop", container=container_id, grace=grace)
            except ContainerNotFound:
                return
            await ended.wait()

    async def remove_container(self, container_id: str) -> None:
        container = self._containers.get(container_id)
        if container is None:
            return
        await self.stop_container(container_id, 0)
        # Files first: who is killed in between finds the container again, and removes it again.
        await self._discard_container(container)
        await self._call("remove", container=container_id)
        self._forget(container_id)

    def list_containers(self, pod_uid: str = "") -> Sequence[ContainerStatus]:
        found = [each for each in self._containers.values() if pod_uid in ("", each.pod_uid)]
        return sorted(found, key=lambda each: each.created_at)

    async def events(self) -> AsyncIterator[ContainerEvent]:
        while (event := await self._events.get()) is not None:
            yield event

    async def exec(self, container_id: str, request: ExecRequest) -> ExecSession:
        container = self._known(container_id)
        if not request.command:
            raise RuntimeFailure("no command was given")
        told = self._exec_request(container, request)
        session = await self._session({"op": "exec", "container": container_id, "tty": request.tty, **told})
        if not request.stdin and not request.tty:
            await session.close_stdin()
        return session

    async def attach(self, container_id: str, request: ExecRequest) -> ExecSession:
        container = self._known(container_id)
        return await self._session({"op": "attach", "container": container.id, "stdin": request.stdin})

    async def reopen_log(self, container_id: str) -> None:
        self._known(container_id)
        await self._call("reopen_log", container=container_id)

    async def logs(self, container_id: str, options: LogOptions) -> AsyncIterator[LogLine]:
        path = self._known(container_id).log_path

        def ended() -> bool:
            container = self._containers.get(container_id)
            return container is None or container.state == "exited"

        async for line in read_log(path, options, clock=self.clock, ended=ended):
            yield line

    # -- the supervisor ----------------------------------------------------------------------------------------

    async def _reach(self) -> links.Link:
        """Connect, starting a supervisor where none listens, and take its picture of things."""
        self._link = link = await self._connect()
        picture = await link.call("watch")
        self._sandboxes = {key: _sandbox(key, value) for key, value in picture["records"].items()}
        self._holders = dict(picture["holders"])
        self._containers.clear()
        for document in picture["containers"]:
            self._see(document)
        return link

    async def _connect(self) -> links.Link:
        for attempt in range(20):
            try:
                streams = await links.open_connection(self._directory)
            except (FileNotFoundError, ConnectionRefusedError):
                if attempt:  # another agent's launch is under way, or a supervisor is just ending
                    await self.clock.sleep(0.05)
                await links.launch(self._directory, portable=self._portable)
            except OSError as error:
                raise RuntimeFailure(f"the container supervisor cannot be reached: {error.strerror}") from None
            else:
                return links.Link(*streams, notified=self._notified, lost=self._lost)
        raise RuntimeFailure(f"no container supervisor answers in {self._directory}")

    async def usage(self) -> RuntimeUsage | None:
        """By /proc, as the supervisor sees it."""
        found = await self._call("usage")
        at = float(found["at"])
        containers = {identity: Usage(at, *each) for identity, each in found["containers"].items()}
        return RuntimeUsage(containers, Usage(at, *found["node"]))

    async def _session(self, request: links.Frame) -> _Session:
        """A connection of its own for streams. Raises `RuntimeFailure`."""
        try:
            reader, writer = await links.open_connection(self._directory)
        except OSError as error:
            raise RuntimeFailure(f"the container supervisor cannot be reached: {error.strerror}") from None
        session = _Session(reader, writer)
        try:
            await session.begin({"id": 1, **request})
        except BaseException:
            await session.close()
            raise
        return session

    async def _call(self, operation: str, **arguments: Any) -> Any:
        if self._link is None:
            raise RuntimeFailure(f"the {self.name} runtime is not started")
        with self.clock.hold(f"{self.name} runtime: {operation}"):
            return await self._link.call(operation, **arguments)

    def _notified(self, frame: links.Frame) -> None:
        if "container" in frame:
            status = self._see(frame["container"])
            self._events.put_nowait(ContainerEvent(status.pod_uid, status.id))
        elif "removed" in frame:
            self._forget(frame["removed"])
        elif "holders" in frame:
            self._holders = dict(frame["holders"])

    def _lost(self) -> None:
        if not self._stopping:
            self._reviving = asyncio.create_task(self._revive(), name="reach the supervisor again")

    async def _revive(self) -> None:
        while True:
            try:
                await self._reach()
                await self._found_again()
            except RuntimeFailure:
                await self.clock.sleep(1.0)
            else:
                pods = {each.pod_uid for each in self._containers.values()}
                for uid in pods:
                    self._events.put_nowait(ContainerEvent(uid))
                return

    def _see(self, document: Mapping[str, Any]) -> ContainerStatus:
        meta = document["meta"]
        known = self._containers.get(document["id"])
        status = ContainerStatus(
            id=document["id"],
            sandbox_id=meta["sandbox"],
            pod_uid=meta["pod"],
            config=known.config if known is not None else container_config(meta["config"]),
            state=document["state"],
            created_at=document["created_at"],
            started_at=document["started_at"],
            finished_at=document["finished_at"],
            exit_code=document["exit_code"],
            reason=document["reason"],
            message=document["message"],
            image_id=meta["image_id"],
            user=_user(meta.get("user")),
            stop_signal=meta.get("stop_signal", ""),
            resources=Resources(**meta["resources"]) if meta.get("resources") else None,
            log_path=meta["log"],
        )
        self._containers[status.id] = status
        self._pids[status.id] = document["pid"] if status.state == "running" else 0
        if status.state == "exited" and (ended := self._exits.pop(status.id, None)) is not None:
            ended.set()
        return status

    def _forget(self, container_id: str) -> None:
        self._containers.pop(container_id, None)
        self._pids.pop(container_id, None)
        if (ended := self._exits.pop(container_id, None)) is not None:
            ended.set()

    async def _keep(self, status: SandboxStatus) -> None:
        await self._call("set", key=status.id, value=_record(status))
        self._sandboxes[status.id] = status

    async def _forget_sandbox(self, sandbox_id: str) -> None:
        await self._call("set", key=sandbox_id, value=None)
        self._sandboxes.pop(sandbox_id, None)

    def _known(self, container_id: str) -> ContainerStatus:
        container = self._containers.get(container_id)
        if container is None:
            raise ContainerNotFound(f"there is no container {container_id}")
        return container

    def _of_sandbox(self, sandbox_id: str) -> list[ContainerStatus]:
        return [each for each in self._containers.values() if each.sandbox_id == sandbox_id]

    def _clear(self) -> None:
        for name in ("runtime", "containers", "logs"):
            shutil.rmtree(self._root / name, ignore_errors=True)


class _Session(ExecSession):
    """A command, or a container's main process, over a connection of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._code: int | None = None

    async def begin(self, request: links.Frame) -> None:
        await links.send(self._writer, request)
        answer = await links.receive(self._reader)
        if answer is None:
            raise RuntimeFailure("the container supervisor is gone")
        if "error" in answer:
            raise RuntimeFailure(answer["error"], reason=answer.get("reason", ""))

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        while self._code is None and (frame := await links.receive(self._reader)) is not None:
            if "exit" in frame:
                self._code = int(frame["exit"])
                return
            yield ("stdout" if frame["out"] == 1 else "stderr"), base64.b64decode(frame["data"])

    async def write(self, data: bytes) -> None:
        await self._send({"in": base64.b64encode(data).decode()})

    async def close_stdin(self) -> None:
        await self._send({"eof": True})

    async def resize(self, width: int, height: int) -> None:
        await self._send({"resize": [width, height]})

    async def exit_code(self) -> int:
        async for _ in self.output():
            pass
        if self._code is None:
            raise RuntimeFailure("the container ended while the command ran")
        return self._code

    async def close(self) -> None:
        self._writer.close()

    async def _send(self, frame: links.Frame) -> None:
        try:
            await links.send(self._writer, frame)
        except ConnectionError:
            pass


def _record(status: SandboxStatus) -> dict[str, Any]:
    return {
        "config": record_of(status.config), "ready": status.ready, "created_at": status.created_at, "ips": status.ips
    }  # fmt: skip


def _sandbox(identity: str, fields: Mapping[str, Any]) -> SandboxStatus:
    config = sandbox_config(fields["config"])
    return SandboxStatus(identity, config, fields["ready"], fields["created_at"], tuple(fields["ips"]))


def _user(fields: Sequence[Any] | None) -> ContainerUser | None:
    return ContainerUser(fields[0], fields[1], tuple(fields[2])) if fields is not None else None


def _discard(files: str, log: str) -> None:
    shutil.rmtree(files, ignore_errors=True)  # links in it are removed, not followed
    if not log:
        return
    try:
        for path in (log, *glob.glob(f"{glob.escape(log)}.*")):  # those that were rotated away too
            os.unlink(path)
        os.rmdir(os.path.dirname(log))
        os.rmdir(os.path.dirname(os.path.dirname(log)))
    except OSError:
        pass

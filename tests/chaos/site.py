"""A cluster of `kube-core up` that may be killed: its commands, its client, and what of it lives on this machine.

Its processes are recognised by their state directory, which every one of them names: the cluster's process and its
supervisors in their command line or environment, containers in `KUBE_ROOT`. So whatever a test leaves is found, by id,
and `clear` ends it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs

from fakes.waiting import eventually
from kube_core.api import resources
from kube_core.client.client import ApiClient
from kube_core.client.http import HttpTransport
from kube_core.client.kubeconfig import load_connection
from kube_core.meta.documents import Document, MutableDocument, is_deleting, name_of, uid_of
from kube_drivers.network.loopback import LoopbackNetwork

__all__ = ["Finished", "Run", "Site", "program", "runs", "site"]

_COMMAND = (sys.executable, "-m", "kube_core.cli")


@attrs.frozen
class Finished:
    """A command that ended."""

    code: int
    out: str
    complaint: str

    def line(self) -> str:
        """The one line of a command that failed."""
        assert self.code == 1, self
        lines = self.complaint.splitlines()
        assert len(lines) == 1, self.complaint
        return lines[0]


@attrs.frozen
class Run:
    """A pod's only container, as the API has it."""

    pod: str
    uid: str
    container: str
    restarts: int
    running: bool


@attrs.frozen
class Site:
    """One named cluster with state and kubeconfig of its own."""

    root: Path
    name: str

    @property
    def state(self) -> Path:
        return self.root / "state" / "kube-core" / self.name

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def environment(self) -> Mapping[str, str]:
        return {**os.environ, "XDG_STATE_HOME": str(self.root / "state"), "KUBECONFIG": str(self.kubeconfig)}

    # -- commands ------------------------------------------------------------------------------------------------

    async def begin(self, *arguments: str) -> asyncio.subprocess.Process:
        """A command that is under way."""
        return await asyncio.create_subprocess_exec(
            *arguments, env=self.environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )

    async def run(self, *arguments: str) -> Finished:
        process = await self.begin(*arguments)
        async with asyncio.timeout(70):
            out, complaint = await process.communicate()
        assert process.returncode is not None
        return Finished(process.returncode, out.decode(), complaint.decode())

    async def kube_core(self, *arguments: str) -> Finished:
        return await self.run(*_COMMAND, *arguments)

    async def up(self, *arguments: str) -> None:
        done = await self.kube_core("up", "--name", self.name, "--detach", *arguments)
        assert done.code == 0, (done, self.log())

    async def begin_up(self, *arguments: str) -> asyncio.subprocess.Process:
        return await self.begin(*_COMMAND, "up", "--name", self.name, *arguments)

    async def down(self) -> None:
        done = await self.kube_core("down", "--name", self.name)
        assert done.code == 0, done

    async def kill(self) -> None:
        """End the cluster's process as a crash would; containers and supervisor go on."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not alive(pid))

    def log(self) -> str:
        path = self.state / "log"
        return path.read_text() if path.exists() else ""

    @property
    def pid(self) -> int:
        return int((self.state / "lock").read_text())

    def saved(self) -> Any:
        """What the cluster kept of its options."""
        return json.loads((self.state / "cluster.json").read_bytes())

    @asynccontextmanager
    async def client(self) -> AsyncIterator[ApiClient]:
        client = ApiClient(HttpTransport(load_connection(self.kubeconfig, f"kube-core-{self.name}")))
        try:
            yield client
        finally:
            await client.close()

    # -- what is there -------------------------------------------------------------------------------------------

    def processes(self) -> dict[int, str]:
        """Everything that belongs to the cluster, by process id, with its command line."""
        needle = os.fsencode(self.root)
        found = {}
        for pid in pids():
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                if needle in command or needle in Path(f"/proc/{pid}/environ").read_bytes():
                    found[pid] = command.replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
        return found

    def supervisors(self) -> list[int]:
        return [pid for pid, command in self.processes().items() if "supervisor.py" in command]

    def containers(self) -> dict[str, list[int]]:
        """Processes of containers, by the container's id."""
        found: dict[str, list[int]] = {}
        for pid in self.processes():
            variables = environment_of(pid)
            if identity := variables.get("KUBE_CORE_CONTAINER"):
                found.setdefault(identity, []).append(pid)
        return found

    def sockets(self) -> list[str]:
        """Listening TCP sockets in the cluster's own ranges, its server's, and claims of its ranges."""
        ranges = LoopbackNetwork.ranges_for(f"{self.name}@{self.state}")
        networks = [ipaddress.ip_network(each) for each in (ranges.pod_cidr, ranges.service_cidr)]
        found = [
            f"{address}:{port}"
            for address, port in listening()
            if any(ipaddress.ip_address(address) in network for network in networks)
        ]
        claim = f"@kube-core/loopback/{ranges.pod_cidr.partition('/')[0]}/"
        return found + [line for line in Path("/proc/net/unix").read_text().splitlines() if claim in line]

    async def agrees(self, client: ApiClient) -> Sequence[Run] | None:
        """The runs, once every pod runs exactly once, and nothing else runs."""
        pods = (await client.list(resources.PODS, "default")).items
        found = runs(pods)
        if any(is_deleting(pod) for pod in pods) or not all(run.running for run in found):
            return None
        processes = self.containers()
        if set(processes) != {run.container for run in found} or any(len(each) != 1 for each in processes.values()):
            return None
        return found

    async def clear(self) -> None:
        """End what is left, by its id."""
        for _ in range(50):
            for pid in (left := self.processes()):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            if not left:
                return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def site(root: Path) -> AsyncIterator[Site]:
    """A site in `root`, whose ranges no other cluster on this machine has."""
    made = Site(root, f"chaos-{secrets.token_hex(4)}")
    while made.sockets():
        made = Site(root, f"chaos-{secrets.token_hex(4)}")
    try:
        yield made
    finally:
        await made.clear()


def runs(pods: Sequence[Document]) -> list[Run]:
    found = []
    for pod in pods:
        statuses = (pod.get("status") or {}).get("containerStatuses") or [{}]
        found.append(
            Run(
                name_of(pod),
                uid_of(pod),
                str(statuses[0].get("containerID") or "").removeprefix("process://"),
                int(statuses[0].get("restartCount") or 0),
                "running" in (statuses[0].get("state") or {}),
            )
        )
    return sorted(found, key=lambda run: run.pod)


def program(code: str, *, name: str = "c", **fields: Any) -> MutableDocument:
    """A container that runs Python code."""
    return {"name": name, "image": "host", "command": [sys.executable, "-S", "-u", "-c", code], **fields}


async def until(condition: Callable[[], Any], *, seconds: float = 20) -> Any:
    async def look() -> Any:
        return condition()

    return await eventually(look, seconds=seconds)


def pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid())


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def environment_of(pid: int) -> dict[str, str]:
    try:
        content = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (entry.partition(b"=") for entry in content.split(b"\0"))
    return {name.decode(errors="replace"): value.decode(errors="replace") for name, _, value in pairs}


def listening() -> Iterator[tuple[str, int]]:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A":
            address, _, port = fields[1].partition(":")
            yield socket.inet_ntoa(bytes.fromhex(address)[::-1]), int(port, 16)

"""Handing out the addresses of one node's pod range, one for each sandbox.

What always holds: a sandbox has one address, asked twice it is the same; the first usable address is the node's own
and is never handed out; an address that was given back is the last to be used again, so that a connection meant for
a pod that is gone does not reach its successor.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import orjson

from kube_core._kit.clock import Clock
from kube_core.abc.network import NetworkError
from kube_drivers.threads import to_the_end

__all__ = ["AddressPool", "KeptAddresses"]

#: Lines after which a file of addresses is written anew.
_MOST_CHANGES = 4096


class AddressPool:
    """The addresses of a range and who has them. Nothing here is stored: the owner keeps `assigned` where it likes."""

    def __init__(self, cidr: str, assigned: Mapping[str, str] | None = None, *, cursor: int = 0) -> None:
        """`assigned`: addresses by sandbox from an earlier life; those outside the range are left out."""
        try:
            self.network = ipaddress.ip_network(cidr)
        except ValueError as error:
            raise NetworkError(f"the pod range {cidr!r} is not a CIDR: {error}") from None
        if self.network.num_addresses < 4:
            raise NetworkError(f"the pod range {cidr} has no room for a pod")
        self.assigned: dict[str, str] = {
            sandbox: ip for sandbox, ip in (assigned or {}).items() if ipaddress.ip_address(ip) in self.network
        }
        self._used = set(self.assigned.values())
        self.cursor = cursor

    @property
    def node_address(self) -> str:
        """The first usable address."""
        return str(self.network.network_address + 1)

    def take(self, sandbox_id: str) -> str:
        """The sandbox's address, a new one if it has none. Raises `NetworkError` when the range is used up."""
        if (known := self.assigned.get(sandbox_id)) is not None:
            return known
        for ip in self._candidates():
            if ip not in self._used:
                self.assigned[sandbox_id] = ip
                self._used.add(ip)
                return ip
        raise NetworkError(f"no address is left in {self.network}: {len(self._used)} pods have one")

    def give_back(self, sandbox_id: str) -> bool:
        """Whether the sandbox had one."""
        ip = self.assigned.pop(sandbox_id, None)
        if ip is None:
            return False
        self._used.discard(ip)
        return True

    def cursor_after(self, ip: str) -> int:
        """Where the next address is looked for, once this one has been handed out."""
        return int(ipaddress.ip_address(ip)) - int(self.network.network_address) - 1

    def _candidates(self) -> Iterable[str]:
        """Every pod address once, beginning after the one that was handed out last; moves the cursor along."""
        # Network address, the node's own, and the broadcast address are not for pods.
        count = self.network.num_addresses - 3
        for _ in range(count):
            offset = self.cursor % count
            self.cursor = offset + 1
            yield str(self.network.network_address + 2 + offset)


class KeptAddresses:
    """A pool that is kept in a file, so that a node agent that starts again finds its pods where they were.

    The file's first line is the whole of it, `{"cursor": …, "assigned": {sandbox: address}}`; each further line is what
    changed since, `[sandbox, address]`, or `[sandbox, null]` where an address was given back. Many pods that come at
    once are one write, at the end of the file, which costs next to nothing: a file system makes a file that takes
    another one's place wait for the disk.
    """

    def __init__(self, cidr: str, file: Path | None, *, clock: Clock) -> None:
        """`file`: None keeps nothing."""
        self._cidr = cidr
        self._file = file
        self._clock = clock
        self._pool = AddressPool(cidr)
        self._writing = asyncio.Lock()
        self._changes: list[tuple[str, str | None]] = []
        #: Lines that may still be added before the file is written anew; 0: what it ends with is not known.
        self._room = 0

    @property
    def node_address(self) -> str:
        return self._pool.node_address

    @property
    def assigned(self) -> Sequence[str]:
        """The sandboxes that have an address."""
        return tuple(self._pool.assigned)

    async def read(self) -> None:
        """Go on from the file. Raises `NetworkError`."""
        if self._file is not None:
            self._pool = await asyncio.to_thread(self._read, self._file)
            self._room = 0

    async def take(self, sandbox_id: str) -> str:
        known = sandbox_id in self._pool.assigned
        ip = self._pool.take(sandbox_id)
        if not known:
            try:
                await self._keep(sandbox_id, ip)
            except BaseException:
                # Not remembered is not given: after a crash another pod would get the same address.
                self._pool.give_back(sandbox_id)
                self._room = 0  # it may have been written all the same
                raise
        return ip

    async def give_back(self, sandbox_id: str) -> None:
        if self._pool.give_back(sandbox_id):
            await self._keep(sandbox_id, None)

    def _read(self, file: Path) -> AddressPool:
        try:
            content = file.read_bytes()
            if not content:
                return AddressPool(self._cidr)  # the power went, and with it every pod
            # What follows the last newline was not written whole, and so not given.
            first, *changes = content.rpartition(b"\n")[0].split(b"\n") if b"\n" in content else (content,)
            state = orjson.loads(first)
            assigned, cursor = dict(state["assigned"]), int(state["cursor"])
            pool = AddressPool(self._cidr)
            for sandbox, ip in map(orjson.loads, changes):
                if ip is None:
                    assigned.pop(sandbox, None)
                else:
                    assigned[sandbox] = ip
                    cursor = pool.cursor_after(ip)
            return AddressPool(self._cidr, assigned, cursor=cursor)
        except FileNotFoundError:
            return AddressPool(self._cidr)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise NetworkError(f"the addresses of the pods cannot be read from {file}: {error}") from None
        except OSError as error:
            raise NetworkError(f"the addresses of the pods cannot be read from {file}: {error.strerror}") from None

    async def _keep(self, sandbox_id: str, ip: str | None) -> None:
        """Have a change on disk, with all others that wait. Raises `NetworkError`."""
        if (file := self._file) is None:
            return
        self._changes.append((sandbox_id, ip))
        async with self._writing:
            changes, self._changes = self._changes, []
            if not changes and self._room:
                return  # whoever was here before wrote it, too
            try:
                with self._clock.hold("network: write addresses"):
                    await self._write(file, changes)
            except OSError as error:
                raise NetworkError(f"the addresses of the pods cannot be kept in {file}: {error.strerror}") from None

    async def _write(self, file: Path, changes: Sequence[tuple[str, str | None]]) -> None:
        room, self._room = self._room, 0  # until it is done
        if 0 < len(changes) <= room:
            lines = b"".join(orjson.dumps(change) + b"\n" for change in changes)
            if await to_the_end(_append, file, lines):
                self._room = room - len(changes)
                return
        content = orjson.dumps({"cursor": self._pool.cursor, "assigned": self._pool.assigned}) + b"\n"
        await to_the_end(_replace, file, content)
        self._room = _MOST_CHANGES


def _append(file: Path, lines: bytes) -> bool:
    """Whether they are at the end of the file now, all of them. It has to be there."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND)
    except FileNotFoundError:
        return False
    try:
        return os.write(descriptor, lines) == len(lines)
    finally:
        os.close(descriptor)


def _replace(file: Path, content: bytes) -> None:
    """Write a file so that a reader, and the agent's death, sees the old content or the new.

    That of the machine does not matter: no pod outlives it, and every one would wait for the disk.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.replace(file)

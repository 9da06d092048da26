"""Handing out the addresses of one node's pod range, one for each sandbox.

What always holds: a sandbox has one address, asked twice it is the same; the first usable address is the node's own
and is never handed out; an address that was given back is the last to be used again, so that a connection meant for
a pod that is gone does not reach its successor.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import orjson

from kube_core._kit.clock import Clock
from kube_core.abc.network import NetworkError

__all__ = ["AddressPool", "KeptAddresses"]


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

    def _candidates(self) -> Iterable[str]:
        """Every pod address once, beginning after the one that was handed out last; moves the cursor along."""
        # Network address, the node's own, and the broadcast address are not for pods.
        count = self.network.num_addresses - 3
        for _ in range(count):
            offset = self.cursor % count
            self.cursor = offset + 1
            yield str(self.network.network_address + 2 + offset)


class KeptAddresses:
    """A pool that is kept in a file, so that a node agent that starts again finds its pods where they were."""

    def __init__(self, cidr: str, file: Path | None, *, clock: Clock) -> None:
        """`file`: None keeps nothing."""
        self._cidr = cidr
        self._file = file
        self._clock = clock
        self._pool = AddressPool(cidr)
        self._writing = asyncio.Lock()

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

    async def take(self, sandbox_id: str) -> str:
        known = sandbox_id in self._pool.assigned
        ip = self._pool.take(sandbox_id)
        if not known:
            try:
                await self._save()
            except BaseException:
                # Not remembered is not given: after a crash another pod would get the same address.
                self._pool.give_back(sandbox_id)
                raise
        return ip

    async def give_back(self, sandbox_id: str) -> None:
        if self._pool.give_back(sandbox_id):
            await self._save()

    def _read(self, file: Path) -> AddressPool:
        try:
            content = file.read_bytes()
            if not content:
                return AddressPool(self._cidr)  # the power went, and with it every pod
            state = orjson.loads(content)
            return AddressPool(self._cidr, state["assigned"], cursor=int(state["cursor"]))
        except FileNotFoundError:
            return AddressPool(self._cidr)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise NetworkError(f"the addresses of the pods cannot be read from {file}: {error}") from None
        except OSError as error:
            raise NetworkError(f"the addresses of the pods cannot be read from {file}: {error.strerror}") from None

    async def _save(self) -> None:
        if (file := self._file) is None:
            return
        async with self._writing:
            content = orjson.dumps({"cursor": self._pool.cursor, "assigned": self._pool.assigned})
            try:
                with self._clock.hold("network: write addresses"):
                    await asyncio.to_thread(_replace, file, content)
            except OSError as error:
                raise NetworkError(f"the addresses of the pods cannot be kept in {file}: {error.strerror}") from None


def _replace(file: Path, content: bytes) -> None:
    """Write a file so that a reader, and the agent's death, sees the old content or the new.

    That of the machine does not matter: no pod outlives it, and every one would wait for the disk.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.replace(file)

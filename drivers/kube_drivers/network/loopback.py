"""Pod networking inside 127.0.0.0/8: every pod has an address of its own, and nothing needs root.

Linux answers on every address of 127/8, so a pod's address exists before the pod does. What the kernel does not do
is keep processes to their address: pods share the host's network namespace, so **a process has to bind to its pod's
own address**. It learns it as any container does:

    env:
      - name: POD_IP
        valueFrom: {fieldRef: {fieldPath: status.podIP}}

and the process runtime sets `POD_IP` where the pod does not. A program that binds to 0.0.0.0 still works as long as
no other pod on the machine wants its port; the second one fails with "address already in use", which its logs show.

Where clusters live: a cluster has one of 256 slots, by its name: a /18 of 127.64.0.0/10 for pods and the /18 with the
same number in 127.128.0.0/10 for services. A node claims its part of the pod range with an abstract unix socket: the
kernel takes it back when the node agent ends however it ends, and two clusters that came upon one slot get a clear
error instead of each other's traffic.

Assignments are kept in the state directory, so a node agent that starts again finds its pods where they were.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import anyio.to_thread
import orjson

from kube_core._kit.clock import Clock
from kube_core.abc.network import Attachment, Network, NetworkCapabilities, NetworkError, NetworkRanges, SandboxRequest
from kube_drivers.network.addresses import AddressPool

__all__ = ["LoopbackNetwork"]

_SLOTS = 256
_SLOT_SIZE = 1 << 14  # addresses in a /18
_PODS = 0x7F400000  # 127.64.0.0
_SERVICES = 0x7F800000  # 127.128.0.0


class LoopbackNetwork(Network):
    """Addresses in 127/8, one for each pod, remembered on disk."""

    capabilities: ClassVar[NetworkCapabilities] = NetworkCapabilities(reachable=True, persistent=True)
    ranges: ClassVar[NetworkRanges] = NetworkRanges(pod_cidr="127.64.0.0/18", service_cidr="127.128.0.0/18")

    def __init__(self, *, clock: Clock, node_name: str, pod_cidr: str, state_directory: str = "") -> None:
        super().__init__(clock=clock, node_name=node_name, pod_cidr=pod_cidr, state_directory=state_directory)
        self._pool = AddressPool(pod_cidr)
        if not pod_cidr.startswith("127."):
            raise NetworkError(f"the loopback network needs a pod range inside 127.0.0.0/8, not {pod_cidr}")
        self._file = Path(state_directory, "loopback-network.json") if state_directory else None
        self._claim: socket.socket | None = None
        self._writing = asyncio.Lock()

    @classmethod
    def ranges_for(cls, cluster: str) -> NetworkRanges:
        slot = int.from_bytes(hashlib.sha256(cluster.encode()).digest()[:4]) % _SLOTS
        return NetworkRanges(
            pod_cidr=f"{_dotted(_PODS + slot * _SLOT_SIZE)}/18",
            service_cidr=f"{_dotted(_SERVICES + slot * _SLOT_SIZE)}/18",
        )

    @classmethod
    def reserve(cls, ranges: NetworkRanges) -> Callable[[], None] | None:
        try:
            claim = _claim(f"cluster/{ranges.pod_cidr}")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return None
        return claim.close if claim is not None else super().reserve(ranges)

    async def start(self) -> None:
        if self._claim is None:
            self._claim = _claim_range(self.pod_cidr)
        try:
            if self._file is not None:
                self._pool = await anyio.to_thread.run_sync(self._read, self._file)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    async def node_addresses(self) -> Sequence[str]:
        return (self._pool.node_address,)

    async def attach(self, request: SandboxRequest) -> Attachment:
        known = request.sandbox_id in self._pool.assigned
        ip = self._pool.take(request.sandbox_id)
        if not known:
            try:
                await self._save()
            except BaseException:
                # Not remembered is not given: after a crash another pod would get the same address.
                self._pool.give_back(request.sandbox_id)
                raise
        return Attachment((ip,))

    async def detach(self, sandbox_id: str) -> None:
        if self._pool.give_back(sandbox_id):
            await self._save()

    def _read(self, file: Path) -> AddressPool:
        try:
            state = orjson.loads(file.read_bytes())
            return AddressPool(self.pod_cidr, state["assigned"], cursor=int(state["cursor"]))
        except FileNotFoundError:
            return AddressPool(self.pod_cidr)
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
                with self.clock.hold("loopback network: write addresses"):
                    await anyio.to_thread.run_sync(_replace, file, content)
            except OSError as error:
                raise NetworkError(f"the addresses of the pods cannot be kept in {file}: {error.strerror}") from None


def _dotted(number: int) -> str:
    return socket.inet_ntoa(number.to_bytes(4))


def _claim_range(pod_cidr: str) -> socket.socket | None:
    """Own a pod range on this machine for as long as the socket is open. Raises `NetworkError` when it is owned."""
    try:
        return _claim(pod_cidr)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise NetworkError(f"the pod range {pod_cidr} cannot be claimed: {error.strerror}") from None
        raise NetworkError(
            f"the pod range {pod_cidr} is in use by another node on this machine; "
            "give this cluster another name, or another --pod-cidr and --service-cidr"
        ) from None


def _claim(name: str) -> socket.socket | None:
    """Own a name on this machine for as long as the socket is open. Raises OSError (EADDRINUSE)."""
    if sys.platform != "linux":  # abstract sockets are Linux's own
        return None
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind(f"\0kube-core/loopback/{name}")
    except OSError:
        claim.close()
        raise
    return claim


def _replace(file: Path, content: bytes) -> None:
    """Write a file so that a reader, and a crash, sees the old content or the new."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    with fresh.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)

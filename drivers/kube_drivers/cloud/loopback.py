"""Load balancers on this machine: each Service of the type LoadBalancer gets an address of its own in 127/8.

Linux answers on every address of 127/8, so there is nothing to make: the cluster's service proxy serves the address, as
it serves every load balancer's of the mode "VIP". Addresses are of the /18 in 127.192.0.0/10 that has the number of the
cluster's place in the loopback network (`kube_drivers.network.loopback`), which no other cluster of this machine has.
They are kept in the state directory, so that a Service has the same one after a restart.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import anyio.to_thread
import orjson

from kube_core._kit.clock import Clock
from kube_core.abc.cloud import BalancerAddress, BalancerRequest, CloudCapabilities, CloudDriver, CloudError
from kube_core.abc.network import NetworkError, NetworkRanges
from kube_drivers.network.addresses import AddressPool

__all__ = ["LoopbackCloud", "balancer_range"]

_SLOTS = 256
_SLOT_SIZE = 1 << 14  # addresses in a /18
_PODS = ipaddress.IPv4Network("127.64.0.0/10")
_BALANCERS = 0x7FC00000  # 127.192.0.0


def balancer_range(cluster: str, ranges: NetworkRanges) -> str:
    """Where the load balancers of a cluster have their addresses."""
    pods = ipaddress.ip_network(ranges.pod_cidr)
    if isinstance(pods, ipaddress.IPv4Network) and pods.subnet_of(_PODS):
        slot = (int(pods.network_address) - int(_PODS.network_address)) // _SLOT_SIZE
    else:
        slot = int.from_bytes(hashlib.sha256(cluster.encode()).digest()[:4]) % _SLOTS
    return f"{ipaddress.ip_address(_BALANCERS + slot * _SLOT_SIZE)}/18"


class LoopbackCloud(CloudDriver):
    """See the module's docstring."""

    name: ClassVar[str] = "loopback"
    capabilities: ClassVar[CloudCapabilities] = CloudCapabilities(load_balancers=True, serves=True)

    def __init__(self, *, clock: Clock, cluster: str, ranges: NetworkRanges, state_directory: str = "") -> None:
        super().__init__(clock=clock, cluster=cluster, ranges=ranges, state_directory=state_directory)
        self._pool = AddressPool(balancer_range(cluster, ranges))
        self._file = Path(state_directory, "loopback-cloud.json") if state_directory else None

    async def start(self) -> None:
        if self._file is not None:
            self._pool = await anyio.to_thread.run_sync(self._read, self._file)

    async def stop(self) -> None:
        pass

    async def ensure_balancer(self, request: BalancerRequest) -> Sequence[BalancerAddress]:
        if "IPv4" not in request.families:
            raise CloudError("the loopback cloud has IPv4 addresses only")
        if request.wanted_address:
            return (BalancerAddress(self._wanted(request)),)
        known = request.name in self._pool.assigned
        try:
            address = self._pool.take(request.name)
        except NetworkError as error:
            raise CloudError(str(error)) from None
        if not known:
            await self._save()
        return (BalancerAddress(address),)

    async def balancer(self, name: str) -> Sequence[BalancerAddress] | None:
        address = self._pool.assigned.get(name)
        return (BalancerAddress(address),) if address is not None else None

    async def delete_balancer(self, name: str) -> None:
        if self._pool.give_back(name):
            await self._save()

    def _wanted(self, request: BalancerRequest) -> str:
        """An address that somebody asked for: any of loopback, which is this machine's to give."""
        try:
            address = ipaddress.ip_address(request.wanted_address)
        except ValueError as error:
            raise CloudError(str(error)) from None
        if not address.is_loopback or address.version != 4:
            raise CloudError(f"{address} is not an address of 127.0.0.0/8")
        return str(address)

    def _read(self, file: Path) -> AddressPool:
        cidr = str(self._pool.network)
        try:
            state = orjson.loads(file.read_bytes())
            return AddressPool(cidr, state["assigned"], cursor=int(state["cursor"]))
        except FileNotFoundError:
            return AddressPool(cidr)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CloudError(f"the addresses of load balancers cannot be read from {file}: {error}") from None

    async def _save(self) -> None:
        if (file := self._file) is None:
            return
        content = orjson.dumps({"cursor": self._pool.cursor, "assigned": self._pool.assigned})
        try:
            with self.clock.hold("loopback cloud: write addresses"):
                await anyio.to_thread.run_sync(_replace, file, content)
        except OSError as error:
            raise CloudError(f"the addresses of load balancers cannot be kept in {file}: {error.strerror}") from None


def _replace(file: Path, content: bytes) -> None:
    """Write a file so that a reader, and a crash, sees the old content or the new."""
    fresh = file.with_suffix(".new")
    with fresh.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)

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

import errno
import hashlib
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from kube_core._kit.clock import Clock
from kube_core.abc.network import Attachment, Network, NetworkCapabilities, NetworkError, NetworkRanges, SandboxRequest
from kube_drivers.network.addresses import KeptAddresses
from kube_drivers.network.claims import claim, claim_range

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
        file = Path(state_directory, "loopback-network.json") if state_directory else None
        self._addresses = KeptAddresses(pod_cidr, file, clock=clock)
        if not pod_cidr.startswith("127."):
            raise NetworkError(f"the loopback network needs a pod range inside 127.0.0.0/8, not {pod_cidr}")
        self._claim: socket.socket | None = None

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
            claimed = claim("loopback", f"cluster/{ranges.pod_cidr}")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return None
        return claimed.close if claimed is not None else super().reserve(ranges)

    async def start(self) -> None:
        if self._claim is None:
            self._claim = claim_range("loopback", self.pod_cidr)
        try:
            await self._addresses.read()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    async def node_addresses(self) -> Sequence[str]:
        return (self._addresses.node_address,)

    async def attach(self, request: SandboxRequest) -> Attachment:
        return Attachment((await self._addresses.take(request.sandbox_id),))

    async def detach(self, sandbox_id: str) -> None:
        await self._addresses.give_back(sandbox_id)

    def attached(self) -> Sequence[str]:
        return self._addresses.assigned


def _dotted(number: int) -> str:
    return socket.inet_ntoa(number.to_bytes(4))

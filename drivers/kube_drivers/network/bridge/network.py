"""The driver: a network namespace a pod, tied to a bridge of the node.

    <state directory>/bridge-network.json        who has which address
    <state directory>/namespaces/<id>/net        a pod's network namespace, held by being mounted there
    <state directory>/host-ports.json            which ports of the host lead to which pods (`hostports.py`)

A node's bridge has the first address of the node's range: it is the node's address, and its pods' way out. Packets of
pods go to other pods of this machine and to this host, where the API server and the addresses of services are; nowhere
else, and are told so at once. That takes no packet filter (only ports of the host do): every bridge has a route in one
table, and rules say that what comes from a bridge looks there.

The addresses of services are this host's own (a route of type `local`), so a proxy in user space can listen on them,
and pods reach it by their default route.

What always holds: whatever is on the machine can be told from its name and the state directory alone, so a driver that
starts again finds it, makes what is missing, and clears away what is nobody's.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import ipaddress
import shutil
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import anyio

from kube_core._kit import mounts
from kube_core._kit.clock import Clock
from kube_core.abc.network import Attachment, Network, NetworkCapabilities, NetworkError, NetworkRanges, SandboxRequest
from kube_drivers import kernel, usernamespaces
from kube_drivers.network.addresses import KeptAddresses
from kube_drivers.network.bridge.hostports import HostPorts
from kube_drivers.network.bridge.netlink import Netlink
from kube_drivers.network.claims import claim, claim_range
from kube_drivers.threads import to_the_end

__all__ = ["BridgeNetwork", "device_name"]

#: Of the routes to pods' bridges, and the first of two priorities of the rules that lead there.
_TABLE = 27491
_PRIORITY = 27490
_POD_DEVICE = "eth0"
#: The cluster that has upstream's usual ranges, and how many there are beside them.
_DEFAULT = "default"
_SLOTS = 30


class BridgeNetwork(Network):
    """Pods with addresses of their own, on a bridge. Linux, as root; IPv4."""

    capabilities: ClassVar[NetworkCapabilities] = NetworkCapabilities(
        reachable=True, namespaces=True, host_ports=True, persistent=True
    )

    def __init__(self, *, clock: Clock, node_name: str, pod_cidr: str, state_directory: str = "") -> None:
        super().__init__(clock=clock, node_name=node_name, pod_cidr=pod_cidr, state_directory=state_directory)
        if not state_directory:
            raise NetworkError("the bridge network needs a state directory")
        if ":" in pod_cidr:
            raise NetworkError(f"the bridge network needs a pod range of IPv4, not {pod_cidr}")
        self._state = Path(state_directory).absolute()
        self._addresses = KeptAddresses(pod_cidr, self._state / "bridge-network.json", clock=clock)
        self._range = ipaddress.ip_network(pod_cidr)
        self._gateway = ipaddress.ip_address(self._addresses.node_address)
        self._bridge = device_name("kcb", f"{self._state}")
        self._ports = HostPorts(self._bridge, str(self._gateway), self._state / "host-ports.json")
        self._changing_ports = asyncio.Lock()
        self._claim: socket.socket | None = None

    @classmethod
    def ranges_for(cls, cluster: str) -> NetworkRanges:
        """Upstream's usual ranges for the cluster `default`, and ranges beside them for those with other names.

        By the name, so that a cluster which does not run just now is likely to find its own ranges free.
        """
        if cluster.partition("@")[0] == _DEFAULT:
            return cls.ranges
        slot = int.from_bytes(hashlib.sha256(cluster.encode()).digest()[:4]) % _SLOTS
        return NetworkRanges(pod_cidr=f"10.{243 - slot}.0.0/16", service_cidr=f"10.{97 + slot}.0.0/16")

    @classmethod
    def reserve(cls, ranges: NetworkRanges) -> Callable[[], None] | None:
        """Also makes the addresses of services this host's own, until let go of."""
        services = ipaddress.ip_network(ranges.service_cidr)
        try:
            claimed = claim("bridge", f"cluster/{ranges.pod_cidr}")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise NetworkError(f"the pod range {ranges.pod_cidr} cannot be claimed: {error.strerror}") from None
            return None
        try:
            with Netlink() as netlink:
                netlink.add_local(services)
        except OSError as error:
            if claimed is not None:
                claimed.close()
            raise _failure("the addresses of services cannot be made this host's own", error) from None

        def let_go() -> None:
            with contextlib.suppress(OSError), Netlink() as netlink:
                netlink.remove_local(services)
            if claimed is not None:
                claimed.close()

        return let_go

    async def start(self) -> None:
        if self._claim is None:
            self._claim = claim_range("bridge", self.pod_cidr)
        try:
            await self._addresses.read()
            await self._do("make the bridge", self._make_bridge)
            known = set(self._addresses.assigned)
            await self._do("clear away what is nobody's", self._sweep, known)
            await self._do("lead the host's ports to pods", self._ports.read, known)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    async def end(self) -> None:
        await self.stop()
        await self._do("remove the bridge", self._remove_all)

    async def node_addresses(self) -> Sequence[str]:
        return (self._addresses.node_address,)

    async def attach(self, request: SandboxRequest) -> Attachment:
        ip = await self._addresses.take(request.sandbox_id)
        try:
            await self._do("make the pod's network", self._make_pod, request, ip)
            if request.ports:
                async with self._changing_ports:
                    await self._do("lead the host's ports", self._ports.lead, request.sandbox_id, ip, request.ports)
        except BaseException:
            with anyio.CancelScope(shield=True), contextlib.suppress(NetworkError):
                await self.detach(request.sandbox_id)
            raise
        return Attachment((ip,), str(self._namespace(request.sandbox_id)))

    async def detach(self, sandbox_id: str) -> None:
        # Off the machine before out of the book: nobody looks for what is in no book.
        async with self._changing_ports:
            await self._do("lead the host's ports elsewhere", self._ports.release, sandbox_id)
        await self._do("remove the pod's network", self._remove_pod, sandbox_id)
        await self._addresses.give_back(sandbox_id)

    def attached(self) -> Sequence[str]:
        return self._addresses.assigned

    async def _do(self, what: str, act: Callable[..., None], *arguments: object) -> None:
        with self.clock.hold(f"bridge network: {what}"):
            try:
                await to_the_end(act, *arguments)
            except OSError as error:
                raise _failure(f"cannot {what}", error) from None

    # -- the bridge --------------------------------------------------------------------------------------------------

    def _make_bridge(self) -> None:
        with Netlink() as netlink:
            netlink.add_bridge(self._bridge)
            index = netlink.index(self._bridge)
            netlink.add_address(index, ipaddress.ip_interface(f"{self._gateway}/{self._range.prefixlen}"))
            netlink.set_up(index)
            netlink.add_route(self._range, index, _TABLE)
            netlink.confine(self._bridge, _TABLE, _PRIORITY)
        # From this bridge to others; what comes from elsewhere is not handed on.
        Path(f"/proc/sys/net/ipv4/conf/{self._bridge}/forwarding").write_text("1")

    def _sweep(self, known: set[str]) -> None:
        ours = {device_name("kcv", f"{self._state}/{each}") for each in known}
        with Netlink() as netlink:
            index = netlink.index(self._bridge)
            for link in netlink.links():
                if link.master == index and link.name not in ours:
                    netlink.remove_link(link.name)
        for path in _entries(self._state / "namespaces"):
            if path.name not in known:
                self._let_go(path)

    def _remove_all(self) -> None:
        self._ports.end()
        for path in _entries(self._state / "namespaces"):
            self._let_go(path)
        with Netlink() as netlink:
            index = netlink.index(self._bridge)
            for link in netlink.links() if index else ():
                if link.master == index:
                    netlink.remove_link(link.name)
            netlink.remove_link(self._bridge)
            netlink.release(self._bridge, _TABLE, _PRIORITY)

    # -- pods --------------------------------------------------------------------------------------------------------

    def _namespace(self, sandbox_id: str) -> Path:
        return self._state / "namespaces" / sandbox_id / "net"

    def _make_pod(self, request: SandboxRequest, ip: str) -> None:
        sandbox_id, users = request.sandbox_id, request.users
        path, device = self._namespace(sandbox_id), device_name("kcv", f"{self._state}/{sandbox_id}")
        with Netlink() as netlink:
            first = str(users.host_id) if users is not None else ""
            if mounts.is_mount(path) and netlink.index(device) and _read(path.with_name("users")) == first:
                return
            self._remove_pod(sandbox_id)  # half of it
            path.parent.mkdir(parents=True, mode=0o711)
            if users is None:
                kernel.pin_namespaces(("net",), path.parent, lambda: None)
            else:
                # The runtime finds the user namespace by that of the network, and keeps it.
                usernamespaces.pin_namespaces_of_users(("net",), path.parent, users.host_id, users.length)
                mounts.unmount(path.with_name("user"))
                path.with_name("users").write_text(first)
            with open(path) as namespace:
                netlink.add_pair(device, _POD_DEVICE, namespace.fileno(), netlink.index(self._bridge))
            if request.ports:
                # It may reach itself by way of the host.
                netlink.set_hairpin(netlink.index(device))
        kernel.in_namespace(str(path), "net", lambda: self._settle_in(ip))

    def _settle_in(self, ip: str) -> None:
        """In the pod's namespace."""
        with Netlink() as netlink:
            netlink.set_up(netlink.index("lo"))
            index = netlink.index(_POD_DEVICE)
            netlink.add_address(index, ipaddress.ip_interface(f"{ip}/{self._range.prefixlen}"))
            netlink.set_up(index)
            netlink.add_default_route(self._gateway)

    def _remove_pod(self, sandbox_id: str) -> None:
        with Netlink() as netlink:
            netlink.remove_link(device_name("kcv", f"{self._state}/{sandbox_id}"))
        self._let_go(self._namespace(sandbox_id).parent)

    def _let_go(self, directory: Path) -> None:
        mounts.unmount(directory / "net")
        shutil.rmtree(directory, ignore_errors=True)


def device_name(prefix: str, what: str) -> str:
    """A name of a device, of 15 characters at most."""
    return f"{prefix}{hashlib.sha256(what.encode()).hexdigest()[:11]}"


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def _entries(directory: Path) -> Iterable[Path]:
    try:
        return list(directory.iterdir())
    except FileNotFoundError:
        return ()


def _failure(what: str, error: OSError) -> NetworkError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return NetworkError(f"{what}: the bridge network needs root")
    return NetworkError(f"{what}: {error.strerror or error}")

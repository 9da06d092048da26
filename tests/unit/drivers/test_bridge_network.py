"""Pods on a bridge reach each other, their host, and the addresses of services; nothing of it stays behind."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
import pytest

from fakes.containers import missing, needs_containers
from kube_core._kit import mounts
from kube_core._kit.clock import SystemClock
from kube_core.abc.network import Attachment, NetworkError, NetworkRanges, SandboxRequest
from kube_core.abc.runtime import PortMapping
from kube_drivers import kernel
from kube_drivers.network.bridge import BridgeNetwork
from kube_drivers.network.bridge.netlink import Netlink

pytestmark = [pytest.mark.anyio, needs_containers()]

#: A range of this process's own.
_BLOCK = f"10.{128 + os.getpid() % 64}.{os.getpid() // 64 % 256}"


@pytest.mark.parametrize(("cidr", "why"), [("fd00::/64", "of IPv4"), ("10.0.0.0/31", "no room"), ("x", "CIDR")])
def test_a_range_that_cannot_work_is_refused(tmp_path: Path, cidr: str, why: str) -> None:
    with pytest.raises(NetworkError, match=why):
        made(tmp_path, cidr)


def made(state: Path, cidr: str) -> BridgeNetwork:
    return BridgeNetwork(clock=SystemClock(), node_name="node", pod_cidr=cidr, state_directory=str(state))


@asynccontextmanager
async def started(state: Path, cidr: str = f"{_BLOCK}.0/28") -> AsyncIterator[BridgeNetwork]:
    network = made(state, cidr)
    try:
        await network.start()
        yield network
    finally:
        await network.end()


def pod(name: str, *ports: PortMapping) -> SandboxRequest:
    return SandboxRequest(name, namespace="default", name=name, uid=name, ports=ports)


def ours(network: BridgeNetwork) -> list[str]:
    """The devices in the bridge."""
    with Netlink() as netlink:
        index = netlink.index(network._bridge)
        return [link.name for link in netlink.links() if index and link.master == index]


async def within(namespace: str, act: Callable[[], str]) -> str:
    return await anyio.to_thread.run_sync(kernel.in_namespace, namespace, "net", act)


def asks(address: str, port: int) -> Callable[[], str]:
    """What a listener says to who connects; the error's name where none can be reached."""

    def ask() -> str:
        try:
            with socket.create_connection((address, port), timeout=10) as connection:
                return connection.recv(100).decode()
        except OSError as error:
            return errno.errorcode[error.errno or 0]

    return ask


def listens(address: str) -> socket.socket:
    return socket.create_server((address, 0))


async def answered(listener: socket.socket, ask: Callable[[], str], namespace: str = "") -> tuple[str, str]:
    """What a client in a namespace (or the host) hears, and who it is to the listener."""
    seen: list[str] = []

    def serve() -> None:
        connection, client = listener.accept()
        with connection:
            seen.append(client[0])
            connection.sendall(b"hello")

    listener.settimeout(10)
    heard: list[str] = []
    with listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, serve)
            heard.append(await within(namespace, ask) if namespace else await anyio.to_thread.run_sync(ask))
    return heard[0], seen[0]


async def test_pods_reach_each_other_and_the_host_reaches_them(tmp_path: Path) -> None:
    async with started(tmp_path) as network:
        a, b = await network.attach(pod("a")), await network.attach(pod("b"))
        for client, who in ((a.namespace_path, a.ips[0]), ("", (await network.node_addresses())[0])):
            listener = kernel.in_namespace(b.namespace_path, "net", lambda: listens("0.0.0.0"))
            heard = await answered(listener, asks(b.ips[0], listener.getsockname()[1]), client)
            assert heard == ("hello", who)


async def test_a_pod_reaches_its_host(tmp_path: Path) -> None:
    async with started(tmp_path) as network:
        a = await network.attach(pod("a"))
        node = (await network.node_addresses())[0]
        listener = listens(node)
        heard = await answered(listener, asks(node, listener.getsockname()[1]), a.namespace_path)
        assert heard == ("hello", a.ips[0])


async def test_pods_of_two_nodes_of_one_host_reach_each_other(tmp_path: Path) -> None:
    async with started(tmp_path / "1", f"{_BLOCK}.0/28") as one, started(tmp_path / "2", f"{_BLOCK}.16/28") as two:
        a, b = await one.attach(pod("a")), await two.attach(pod("b"))
        listener = kernel.in_namespace(b.namespace_path, "net", lambda: listens(b.ips[0]))
        heard = await answered(listener, asks(b.ips[0], listener.getsockname()[1]), a.namespace_path)
        assert heard == ("hello", a.ips[0])


async def test_pods_reach_nothing_else_and_hear_of_it_at_once(tmp_path: Path) -> None:
    async with started(tmp_path) as network:
        a = await network.attach(pod("a"))
        assert await within(a.namespace_path, asks("198.51.100.1", 80)) in ("EHOSTUNREACH", "EACCES")


async def test_the_addresses_of_services_are_the_hosts_while_the_cluster_has_them(tmp_path: Path) -> None:
    ranges = NetworkRanges(f"{_BLOCK}.0/24", f"{_BLOCK}.128/26")
    let_go = BridgeNetwork.reserve(ranges)
    assert let_go is not None
    try:
        assert BridgeNetwork.reserve(ranges) is None
        async with started(tmp_path) as network:
            a = await network.attach(pod("a"))
            listener = listens(f"{_BLOCK}.129")
            heard = await answered(listener, asks(f"{_BLOCK}.129", listener.getsockname()[1]), a.namespace_path)
            assert heard == ("hello", a.ips[0])
    finally:
        let_go()
    with pytest.raises(OSError, match="assign requested address"):
        listens(f"{_BLOCK}.129")


def test_clusters_on_one_machine_have_ranges_side_by_side() -> None:
    assert BridgeNetwork.ranges_for("default@/state") == NetworkRanges("10.244.0.0/16", "10.96.0.0/16")
    mine = BridgeNetwork.ranges_for("mine@/state")
    assert mine == BridgeNetwork.ranges_for("mine@/state")
    assert mine not in (BridgeNetwork.ranges, BridgeNetwork.ranges_for("mine@/state#1"))


async def test_a_detached_pod_leaves_nothing(tmp_path: Path) -> None:
    async with started(tmp_path) as network:
        await network.attach(pod("a"))
        assert len(ours(network)) == 1
        for _ in range(2):
            await network.detach("a")
        assert (ours(network), network.attached(), mounts.mounts_below(tmp_path)) == ([], (), [])


async def test_what_is_nobodys_is_cleared_away_at_the_start(tmp_path: Path) -> None:
    async with started(tmp_path) as network:
        await network.attach(pod("a"))
        # As if the driver had been killed between making a pod's network and noting it.
        network._make_pod(pod("half"), f"{_BLOCK}.9")
        assert len(ours(network)) == 2
        await network.stop()
        again = made(tmp_path, f"{_BLOCK}.0/28")
        await again.start()
        assert (len(ours(again)), again.attached()) == (1, ("a",))
        assert [path.name for path in (tmp_path / "namespaces").iterdir()] == ["a"]
        await again.stop()


async def test_a_pods_network_that_is_gone_is_made_again_at_its_address(tmp_path: Path) -> None:
    async with started(tmp_path) as network:
        before = await network.attach(pod("a"))
        # As after the machine was started anew.
        for path in mounts.mounts_below(tmp_path):
            mounts.unmount(path)
        with Netlink() as netlink:
            netlink.remove_link(network._bridge)
        await network.stop()
        again = made(tmp_path, f"{_BLOCK}.0/28")
        await again.start()
        assert await again.attach(pod("a")) == before
        assert len(ours(again)) == 1
        await again.stop()


async def test_the_end_leaves_nothing_also_without_a_start(tmp_path: Path) -> None:
    async with started(tmp_path) as network:
        await network.attach(pod("a"))
        await network.stop()
        await made(tmp_path, f"{_BLOCK}.0/28").end()
        assert mounts.mounts_below(tmp_path) == []
        assert network._bridge not in [name for _, name in socket.if_nameindex()]


# -- ports of the host -------------------------------------------------------------------------------------------------

_CHECK = "table ip kube-core-test { chain c { type nat hook output priority -100; tcp dport 1 dnat to 192.0.2.1:1; }; }"


def no_tables() -> str:
    """Why ports of the host cannot be tested here; "": they can."""
    if reason := missing("nft"):
        return reason
    done = subprocess.run(["nft", "-c", "-f", "-"], input=_CHECK, capture_output=True, text=True, check=False)
    return f"nftables translates no addresses here: {done.stderr.strip()}" if done.returncode else ""


needs_nft = pytest.mark.skipif(bool(no_tables()), reason=no_tables() or "-")
#: A port of this process's own.
_PORT = 20_000 + os.getpid() % 10_000


def rules(network: BridgeNetwork) -> str:
    listed = subprocess.run(
        ["nft", "list", "table", "ip", network._bridge], capture_output=True, text=True, check=False
    )
    return listed.stdout


def listens_in(attachment: Attachment) -> socket.socket:
    return kernel.in_namespace(attachment.namespace_path, "net", lambda: socket.create_server(("0.0.0.0", 80)))


@needs_nft
async def test_a_port_of_the_host_leads_to_its_pod_from_everywhere(tmp_path: Path) -> None:
    async with started(tmp_path) as network:
        a, b = await network.attach(pod("a", PortMapping(80, _PORT))), await network.attach(pod("b"))
        node = (await network.node_addresses())[0]
        for address, client in ((node, ""), ("127.0.0.1", ""), (node, b.namespace_path), (node, a.namespace_path)):
            heard, _ = await answered(listens_in(a), asks(address, _PORT), client)
            assert heard == "hello", (address, client)
        await network.detach("a")
        assert await anyio.to_thread.run_sync(asks(node, _PORT)) == "ECONNREFUSED"
        assert not rules(network)


@needs_nft
async def test_one_port_leads_to_several_pods_by_its_address_and_protocol(tmp_path: Path) -> None:
    async with started(tmp_path) as network:
        node = (await network.node_addresses())[0]
        a = await network.attach(pod("a", PortMapping(80, _PORT, host_ip="127.0.0.1")))
        b = await network.attach(pod("b", PortMapping(80, _PORT, host_ip=node)))
        c = await network.attach(pod("c", PortMapping(81, _PORT, "UDP", node), PortMapping(82, _PORT, "SCTP", node)))
        assert (await answered(listens_in(a), asks("127.0.0.1", _PORT)))[0] == "hello"
        assert (await answered(listens_in(b), asks(node, _PORT)))[0] == "hello"
        with (
            kernel.in_namespace(
                c.namespace_path, "net", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            ) as receiver,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            receiver.bind(("0.0.0.0", 81))
            receiver.settimeout(10)
            sender.settimeout(10)
            sender.sendto(b"hello", (node, _PORT))
            said, client = await anyio.to_thread.run_sync(receiver.recvfrom, 100)
            receiver.sendto(said + b" yourself", client)
            assert await anyio.to_thread.run_sync(sender.recvfrom, 100) == (b"hello yourself", (node, _PORT))
        assert f"sctp dport {_PORT} dnat to {c.ips[0]}:82" in rules(network)


@needs_nft
async def test_who_has_been_sending_all_along_reaches_the_pod_that_comes_and_the_next(tmp_path: Path) -> None:
    async with started(tmp_path) as network:
        node = (await network.node_addresses())[0]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"nobody there", (node, _PORT))
            for name in ("a", "b"):
                made = await network.attach(pod(name, PortMapping(81, _PORT, "UDP")))
                with kernel.in_namespace(
                    made.namespace_path, "net", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                ) as receiver:
                    receiver.bind(("0.0.0.0", 81))
                    receiver.settimeout(10)
                    sender.sendto(name.encode(), (node, _PORT))
                    said, client = await anyio.to_thread.run_sync(receiver.recvfrom, 100)
                    assert said.decode() == name
                    receiver.sendto(b"seen", client)
                await network.detach(name)


@needs_nft
async def test_ports_of_the_host_outlive_the_driver_and_go_with_their_pods(tmp_path: Path) -> None:
    async with started(tmp_path) as network:
        a = await network.attach(pod("a", PortMapping(80, _PORT)))
        await network.attach(pod("b", PortMapping(80, _PORT + 1)))
        await network.stop()
        # As if it had been killed before it told the kernel, and the book had been told that a pod is gone.
        await anyio.run_process(["nft", "delete", "table", "ip", network._bridge])
        await network._addresses.give_back("b")
        again = made(tmp_path, f"{_BLOCK}.0/28")
        await again.start()
        assert (await answered(listens_in(a), asks("127.0.0.1", _PORT)))[0] == "hello"
        assert f"dport {_PORT} " in rules(again)
        assert f"dport {_PORT + 1} " not in rules(again)
        await again.stop()
        await made(tmp_path, f"{_BLOCK}.0/28").end()
        assert not rules(again)
        assert not (tmp_path / "host-ports.json").exists()


async def test_without_nftables_a_port_of_the_host_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    async with started(tmp_path) as network:
        with pytest.raises(NetworkError, match="need the program nft"):
            await network.attach(pod("a", PortMapping(80, _PORT)))
        assert (ours(network), network.attached()) == ([], ())


def test_the_kernel_says_what_is_wrong() -> None:
    with Netlink() as netlink, pytest.raises(OSError, match="No such device"):
        netlink.add_address(1 << 20, ipaddress.ip_interface("192.0.2.1/24"))

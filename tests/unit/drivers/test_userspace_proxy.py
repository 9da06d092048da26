"""Where the user-space proxy's own promises go beyond the contract."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest

from kube_core._kit.clock import FakeClock, SystemClock
from kube_core.abc.proxy import Endpoint, PortName, ServicePort
from kube_core.testing.proxy import echo_server, fresh_ip, reply_of, service, table
from kube_drivers.proxy.balancer import Balancer
from kube_drivers.proxy.userspace import UserspaceProxy
from kube_drivers.proxy.userspace.udp import FLOW_IDLE

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Transports differ between the two loops in what they promise: both are used."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[UserspaceProxy]:
    proxy = UserspaceProxy(clock=SystemClock())
    try:
        yield proxy
    finally:
        await proxy.stop()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (what is waited for is counted, not announced)
            await asyncio.sleep(0.01)


async def test_a_backend_that_resets_is_a_reset_for_the_client_after_its_data() -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"partial")
        await writer.drain()
        await reader.read(1)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with running() as proxy, echo_server(handle=break_off) as endpoint:
        ip = fresh_ip()
        await proxy.apply(table(service("web", ip, endpoint)))
        reader, writer = await asyncio.open_connection(ip, 8080)
        assert await reader.readexactly(7) == b"partial"
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_a_client_that_does_not_read_stops_the_backend_instead_of_filling_memory() -> None:
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()
                sent += 65_536

    async with running() as proxy, echo_server(handle=pour) as endpoint:
        ip = fresh_ip()
        await proxy.apply(table(service("web", ip, endpoint)))
        with socket.create_connection((ip, 8080), timeout=5):
            before = -1
            async with asyncio.timeout(20):
                while sent != before:
                    before = sent
                    await asyncio.sleep(0.2)
            # Kernel buffers on four sockets hold some megabytes; without backpressure this would grow for ever.
            assert 0 < sent < 64 << 20
        await until(lambda: proxy.connections == 0)


async def test_connections_of_every_kind_end_without_a_trace() -> None:
    async with running() as proxy, echo_server(b"hello") as endpoint:
        ip = fresh_ip()
        await proxy.apply(table(service("web", ip, endpoint)))
        for _ in range(20):
            assert await reply_of(ip, say=b"data") == b"hellodata"
        reader, writer = await asyncio.open_connection(ip, 8080)
        await reader.readexactly(5)
        writer.transport.abort()
        await until(lambda: proxy.connections == 0)


async def test_when_no_endpoint_accepts_the_client_sees_a_reset() -> None:
    async with running() as proxy:
        ip = fresh_ip()
        await proxy.apply(table(service("web", ip, Endpoint(fresh_ip(), 1), Endpoint(fresh_ip(), 1))))
        with pytest.raises(ConnectionResetError):
            await reply_of(ip)


async def test_a_change_elsewhere_leaves_a_listener_as_it_is() -> None:
    async with running() as proxy, echo_server(b"a") as endpoint:
        steady, other = fresh_ip(), fresh_ip()
        await proxy.apply(table(service("steady", steady, endpoint)))
        before = dict(proxy._listeners)
        await proxy.apply(table(service("steady", steady, endpoint), service("other", other, endpoint)))
        await proxy.apply(table(service("steady", steady, endpoint)))
        assert proxy._listeners == before


async def test_a_port_that_becomes_free_is_served_without_being_asked_again() -> None:
    clock = FakeClock()
    proxy = UserspaceProxy(clock=clock)
    ip = fresh_ip()
    async with echo_server(b"one") as endpoint:
        with socket.create_server((ip, 8080)):
            await proxy.apply(table(service("web", ip, endpoint)))
            assert [problem.reason for problem in proxy.problems()] == ["the port is in use by another program"]
        await clock.advance(5)
        await until(lambda: not proxy.problems())
        assert await reply_of(ip) == b"one"
        await proxy.stop()


async def test_node_ports_and_external_addresses_use_the_external_endpoints() -> None:
    async with echo_server(b"inside") as inside, echo_server(b"outside") as outside:
        node, ip, external = fresh_ip(), fresh_ip(), fresh_ip()
        proxy = UserspaceProxy(clock=SystemClock(), node_addresses=[node])
        row = ServicePort(
            PortName("default", "web"),
            "TCP",
            8080,
            (ip,),
            (inside,),
            node_port=30080,
            external_ips=(external,),
            external_endpoints=(outside,),
        )
        await proxy.apply(table(row))
        assert await reply_of(ip) == b"inside"
        assert await reply_of(external) == b"outside"
        assert await reply_of(node, 30080) == b"outside"
        await proxy.stop()


class UdpEcho(asyncio.DatagramProtocol):
    def __init__(self, prefix: bytes) -> None:
        self.prefix = prefix
        self.peers: set[object] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.peers.add(addr)
        self.transport.sendto(self.prefix + data, addr)


@contextlib.asynccontextmanager
async def udp_server(prefix: bytes) -> AsyncIterator[Endpoint]:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: UdpEcho(prefix), local_addr=(fresh_ip(), 0)
    )
    ip, port = transport.get_extra_info("sockname")
    try:
        yield Endpoint(ip, port)
    finally:
        transport.close()


def udp_service(ip: str, *endpoints: Endpoint) -> ServicePort:
    return ServicePort(PortName("default", "dns"), "UDP", 5353, (ip,), endpoints)


async def ask(sock: socket.socket, data: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(5):
        await loop.sock_sendall(sock, data)
        return await loop.sock_recv(sock, 100)


def udp_client(ip: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.connect((ip, 5353))
    return sock


async def test_a_udp_client_keeps_its_endpoint_until_that_leaves_the_table() -> None:
    async with running() as proxy, udp_server(b"one:") as one, udp_server(b"two:") as two:
        ip = fresh_ip()
        await proxy.apply(table(udp_service(ip, one, two)))
        with udp_client(ip) as first, udp_client(ip) as second:
            answers = {await ask(first, b"a"), await ask(second, b"a")}
            assert answers == {b"one:a", b"two:a"}
            assert await ask(first, b"b") == await ask(first, b"b")
            await proxy.apply(table(udp_service(ip, two)))
            assert await ask(first, b"c") == b"two:c"
            assert await ask(second, b"c") == b"two:c"


async def test_an_idle_udp_flow_is_forgotten() -> None:
    clock = FakeClock()
    proxy = UserspaceProxy(clock=clock)
    async with udp_server(b"") as endpoint:
        ip = fresh_ip()
        await proxy.apply(table(udp_service(ip, endpoint)))
        with udp_client(ip) as client:
            assert await ask(client, b"a") == b"a"
            assert proxy.connections == 1
            await clock.advance(FLOW_IDLE + 1)
            assert proxy.connections == 0
            assert await ask(client, b"b") == b"b"
        await proxy.stop()


def test_affinity_ends_after_its_time_and_when_the_endpoint_has_gone() -> None:
    clock = FakeClock()
    balancer = Balancer(clock)
    one, two = Endpoint("10.0.0.1", 80), Endpoint("10.0.0.2", 80)
    balancer.update((one, two), 60)
    first = next(balancer.candidates("client"))
    balancer.chose("client", first)
    assert {next(balancer.candidates("client")) for _ in range(4)} == {first}
    balancer.update([item for item in (one, two) if item != first], 60)
    assert next(balancer.candidates("client")) != first


async def test_affinity_is_counted_from_the_last_connection() -> None:
    clock = FakeClock()
    balancer = Balancer(clock)
    endpoints = [Endpoint(f"10.0.0.{number}", 80) for number in range(5)]
    balancer.update(endpoints, 60)
    balancer.chose("client", endpoints[3])
    await clock.advance(59)
    balancer.chose("client", endpoints[3])
    await clock.advance(59)
    assert next(balancer.candidates("client")) == endpoints[3]
    await clock.advance(1)
    assert next(balancer.candidates("client")) == endpoints[0]


def test_every_endpoint_is_a_candidate_once() -> None:
    balancer = Balancer(FakeClock())
    endpoints = [Endpoint(f"10.0.0.{number}", 80) for number in range(3)]
    balancer.update(endpoints, 60)
    balancer.chose("client", endpoints[2])
    candidates = list(balancer.candidates("client"))
    assert candidates[0] == endpoints[2]
    assert sorted(candidates) == endpoints

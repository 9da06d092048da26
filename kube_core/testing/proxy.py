"""What every service proxy driver must do: the public contract suite.

class TestMyProxy(ProxyContract):
    def make(self): return MyProxy(clock=SystemClock(), node_addresses=["127.0.0.1"])
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import attrs
import pytest

from kube_core.abc.proxy import Endpoint, PortName, ProxyDriver, ServicePort, Table
from kube_core.abc.snapshots import SnapshotRefused

__all__ = ["ProxyContract", "echo_server", "fresh_ip", "reply_of", "service"]

_addresses = itertools.count(2)


def fresh_ip() -> str:
    """An address of this host that nobody else uses: tests run side by side."""
    number = next(_addresses)
    return f"127.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}.{number % 250}"


def service(name: str, ip: str, *endpoints: Endpoint, port: int = 8080, affinity: int = 0) -> ServicePort:
    return ServicePort(
        PortName("default", name), "TCP", port, (ip,), endpoints,
        external_endpoints=endpoints, affinity_seconds=affinity,
    )  # fmt: skip


def table(*services: ServicePort) -> Table:
    return {item.name: item for item in services}


Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def echo_server(greeting: bytes = b"", handle: Handle | None = None) -> AsyncIterator[Endpoint]:
    """A TCP endpoint that sends a greeting, then everything it gets back, then ends."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()

    ip = fresh_ip()
    server = await asyncio.start_server(handle or echo, ip, 0)
    try:
        yield Endpoint(ip, server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def reply_of(ip: str, port: int = 8080, *, say: bytes = b"") -> bytes:
    """Connect, say something, end, and return all that comes back."""
    reader, writer = await asyncio.open_connection(ip, port)
    try:
        writer.write(say)
        writer.write_eof()
        return await reader.read()
    finally:
        writer.close()


@pytest.mark.anyio
class ProxyContract:
    """Tests for one driver. Those of real connections are skipped where `capabilities.serves` is false."""

    def make(self) -> ProxyDriver:
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def proxy(self, *, serving: bool = True) -> AsyncIterator[ProxyDriver]:
        driver = self.make()
        if serving and not driver.capabilities.serves:
            pytest.skip("this driver carries no connections")
        await driver.start()
        try:
            yield driver
        finally:
            await driver.stop()

    async def test_a_snapshot_is_taken_by_another_or_refused(self) -> None:
        driver, other = self.make(), self.make()
        if not driver.capabilities.snapshot:
            with pytest.raises(SnapshotRefused):
                driver.snapshot()
            with pytest.raises(SnapshotRefused):
                other.restore(None)
            return
        await driver.start()
        other.restore(driver.snapshot())
        await other.start()
        assert other.snapshot() == driver.snapshot()
        await other.stop()
        await driver.stop()

    async def test_any_table_can_be_applied_twice_and_emptied(self) -> None:
        async with self.proxy(serving=False) as proxy:
            rows = table(service("web", fresh_ip(), Endpoint("127.0.0.1", 1)))
            await proxy.apply(rows)
            await proxy.apply(rows)
            assert proxy.problems() == () or list(proxy.problems()) == []
            await proxy.apply({})
            assert list(proxy.problems()) == []
            await proxy.stop()

    async def test_two_services_with_one_frontend_are_a_problem_of_the_second(self) -> None:
        async with self.proxy(serving=False) as proxy:
            ip, endpoint = fresh_ip(), Endpoint("127.0.0.1", 1)
            await proxy.apply(table(service("b", ip, endpoint), service("a", ip, endpoint)))
            assert [str(problem.name) for problem in proxy.problems()] == ["default/b"]

    async def test_connections_are_spread_over_the_endpoints(self) -> None:
        async with self.proxy() as proxy, echo_server(b"one") as one, echo_server(b"two") as two:
            ip = fresh_ip()
            await proxy.apply(table(service("web", ip, one, two)))
            replies = [await reply_of(ip) for _ in range(6)]
            assert sorted(replies) == [b"one"] * 3 + [b"two"] * 3

    async def test_a_client_keeps_its_endpoint_with_affinity(self) -> None:
        async with self.proxy() as proxy, echo_server(b"one") as one, echo_server(b"two") as two:
            ip = fresh_ip()
            await proxy.apply(table(service("web", ip, one, two, affinity=60)))
            assert len({await reply_of(ip) for _ in range(6)}) == 1

    async def test_an_endpoint_that_refuses_is_passed_over(self) -> None:
        async with self.proxy() as proxy, echo_server(b"alive") as alive:
            ip = fresh_ip()
            await proxy.apply(table(service("web", ip, Endpoint(fresh_ip(), 1), alive)))
            assert [await reply_of(ip) for _ in range(4)] == [b"alive"] * 4

    async def test_data_passes_whole_and_each_direction_ends_by_itself(self) -> None:
        async with self.proxy() as proxy, echo_server() as endpoint:
            ip = fresh_ip()
            await proxy.apply(table(service("web", ip, endpoint)))
            data = os.urandom(3 << 20)
            reader, writer = await asyncio.open_connection(ip, 8080)

            async def say() -> None:
                writer.write(data)
                await writer.drain()
                writer.write_eof()

            _, heard = await asyncio.gather(say(), reader.read())
            assert heard == data
            writer.close()

    async def test_a_service_without_endpoints_refuses(self) -> None:
        async with self.proxy() as proxy, echo_server(b"one") as endpoint:
            ip = fresh_ip()
            await proxy.apply(table(service("web", ip)))
            with pytest.raises(ConnectionRefusedError):
                await reply_of(ip)
            await proxy.apply(table(service("web", ip, endpoint)))
            assert await reply_of(ip) == b"one"
            await proxy.apply({})
            with pytest.raises(ConnectionRefusedError):
                await reply_of(ip)

    async def test_an_address_of_a_load_balancer_is_for_the_clients_that_may(self) -> None:
        async with self.proxy() as proxy, echo_server(b"in") as endpoint:
            if not proxy.capabilities.source_ranges:
                pytest.skip("this driver does not look at clients' addresses")
            inside, outside = fresh_ip(), fresh_ip()
            row = attrs.evolve(service("web", inside, endpoint), external_ips=(outside,), balancer_ips=(outside,))
            for allowed, answers in ((("127.0.0.0/8",), True), (("192.0.2.0/24",), False), ((), True)):
                await proxy.apply(table(attrs.evolve(row, allowed_sources=allowed)))
                assert await reply_of(inside) == b"in"
                if answers:
                    assert await reply_of(outside) == b"in"
                else:
                    with pytest.raises(ConnectionError):
                        await reply_of(outside)

    async def test_an_established_connection_outlives_its_endpoint_in_the_table(self) -> None:
        async with self.proxy() as proxy, echo_server() as old, echo_server(b"new") as new:
            ip = fresh_ip()
            await proxy.apply(table(service("web", ip, old)))
            reader, writer = await asyncio.open_connection(ip, 8080)
            writer.write(b"before ")
            assert await reader.readexactly(7) == b"before "
            await proxy.apply(table(service("web", ip, new)))
            assert await reply_of(ip) == b"new"
            await proxy.apply({})
            writer.write(b"after")
            writer.write_eof()
            assert await reader.read() == b"after"
            writer.close()

    async def test_a_port_in_use_is_named_and_does_not_stop_the_others(self) -> None:
        async with self.proxy() as proxy, echo_server(b"one") as endpoint:
            taken, free = fresh_ip(), fresh_ip()
            with socket.create_server((taken, 8080)):
                await proxy.apply(table(service("a", taken, endpoint), service("b", free, endpoint)))
                assert [str(problem.name) for problem in proxy.problems()] == ["default/a"]
                assert await reply_of(free) == b"one"
            await proxy.apply(table(service("a", taken, endpoint)))
            assert list(proxy.problems()) == []
            assert await reply_of(taken) == b"one"

    async def test_stop_leaves_nothing_open(self) -> None:
        async with self.proxy() as proxy, echo_server() as endpoint:
            ip = fresh_ip()
            await proxy.apply(table(service("web", ip, endpoint)))
            reader, writer = await asyncio.open_connection(ip, 8080)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            await proxy.stop()
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
            with socket.create_server((ip, 8080)):
                pass

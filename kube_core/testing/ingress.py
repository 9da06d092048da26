"""What every ingress driver must do: the public contract suite.

class TestMyIngress(IngressContract):
    def make(self): return MyIngress(clock=SystemClock())
    async def backend_of(self, ingress, host, path): ...   # how a request is made, and which service answered
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from kube_core.abc.ingress import Backend, IngressDriver, Route, RouteTable
from kube_core.abc.proxy import Endpoint
from kube_core.abc.snapshots import SnapshotRefused

__all__ = ["IngressContract"]


@pytest.mark.anyio
class IngressContract:
    """Tests for one driver: that requests reach the backend that upstream's rules say."""

    def make(self) -> IngressDriver:
        raise NotImplementedError

    async def endpoints_of(self, service: str) -> tuple[Endpoint, ...]:
        """Endpoints that answer for a service of this name; () for a driver that carries nothing."""
        return ()

    async def backend_of(self, ingress: IngressDriver, host: str, path: str) -> str | None:
        """The name of the service that a request reaches, None for 404."""
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def ingress(self, *rules: tuple[str, str, str, str], default: str = "") -> AsyncIterator[IngressDriver]:
        """A started driver with rules of host, path, path type and service."""
        driver = self.make()
        await driver.start()
        try:
            routes = [
                Route(host, path, path_type, await self._backend(service)) for host, path, path_type, service in rules
            ]
            await driver.apply(RouteTable(tuple(routes), await self._backend(default) if default else None))
            yield driver
        finally:
            await driver.stop()

    async def _backend(self, service: str) -> Backend:
        return Backend("default", service, "80", await self.endpoints_of(service))

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

    async def test_it_says_where_it_can_be_reached(self) -> None:
        async with self.ingress() as ingress:
            assert ingress.addresses()[0].ip
            assert ingress.addresses()[0].ports[0] > 0

    async def test_without_routes_nothing_is_found(self) -> None:
        async with self.ingress() as ingress:
            assert await self.backend_of(ingress, "example.org", "/") is None

    async def test_the_longest_path_wins_and_of_equal_ones_the_exact(self) -> None:
        rules = (
            ("", "/", "Prefix", "root"),
            ("", "/foo", "Prefix", "foo"),
            ("", "/foo", "Exact", "foo-exact"),
            ("", "/foo/bar", "Prefix", "foo-bar"),
        )
        async with self.ingress(*rules) as ingress:
            assert await self.backend_of(ingress, "a", "/") == "root"
            assert await self.backend_of(ingress, "a", "/foobar") == "root"
            assert await self.backend_of(ingress, "a", "/foo") == "foo-exact"
            assert await self.backend_of(ingress, "a", "/foo/") == "foo"
            assert await self.backend_of(ingress, "a", "/foo/bar/baz?q=/x") == "foo-bar"

    async def test_an_exact_host_is_before_a_wildcard_and_that_before_none(self) -> None:
        rules = (
            ("", "/", "Prefix", "any"),
            ("*.example.org", "/", "Prefix", "wildcard"),
            ("www.example.org", "/", "Prefix", "exact"),
        )
        async with self.ingress(*rules) as ingress:
            assert await self.backend_of(ingress, "www.example.org", "/") == "exact"
            assert await self.backend_of(ingress, "WWW.example.org:8080", "/") == "exact"
            assert await self.backend_of(ingress, "api.example.org", "/") == "wildcard"
            assert await self.backend_of(ingress, "a.b.example.org", "/") == "any"
            assert await self.backend_of(ingress, "example.org", "/") == "any"

    async def test_what_no_route_takes_goes_to_the_default_backend(self) -> None:
        async with self.ingress(("example.org", "/app", "Prefix", "app"), default="fallback") as ingress:
            assert await self.backend_of(ingress, "example.org", "/app/x") == "app"
            assert await self.backend_of(ingress, "example.org", "/other") == "fallback"
            assert await self.backend_of(ingress, "other.org", "/app") == "fallback"

    async def test_a_new_table_replaces_the_old_one(self) -> None:
        async with self.ingress(("", "/", "Prefix", "old")) as ingress:
            await ingress.apply(RouteTable((Route("", "/", "Prefix", await self._backend("new")),)))
            assert await self.backend_of(ingress, "a", "/") == "new"
            await ingress.apply(RouteTable())
            assert await self.backend_of(ingress, "a", "/") is None

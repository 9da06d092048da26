"""What every cloud driver must do: the public contract suite.

class TestMyCloud(CloudContract):
    def make(self, state_directory):
        return MyCloud(clock=SystemClock(), cluster="t", ranges=NetworkRanges(), state_directory=str(state_directory))
"""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path

import attrs
import pytest

from kube_core.abc.cloud import BalancerPort, BalancerRequest, CloudDriver, CloudError, Route

__all__ = ["CloudContract"]

ROUTE = Route("node-1", "10.244.1.0/24")


def request(name: str, *, port: int = 80) -> BalancerRequest:
    return BalancerRequest(name, "default", name, (BalancerPort("", "TCP", port, 30080),), nodes=("node-1",))


@pytest.mark.anyio
class CloudContract:
    """Tests for one driver."""

    def make(self, state_directory: Path) -> CloudDriver:
        raise NotImplementedError

    async def started(self, state_directory: Path) -> CloudDriver:
        driver = self.make(state_directory)
        await driver.start()
        return driver

    async def test_it_has_a_name_and_stopping_twice_does_nothing(self, tmp_path: Path) -> None:
        driver = await self.started(tmp_path)
        assert driver.name
        await driver.stop()
        await driver.stop()

    async def test_what_it_has_not_is_refused_by_name(self, tmp_path: Path) -> None:
        driver, has = await self.started(tmp_path), self.make(tmp_path).capabilities
        calls: list[Awaitable[object]] = []
        if not has.load_balancers:
            calls += [driver.balancer("a"), driver.ensure_balancer(request("a")), driver.delete_balancer("a")]
        if not has.instances:
            calls.append(driver.instance("node-1"))
        if not has.routes:
            calls += [driver.routes(), driver.create_route(ROUTE), driver.delete_route(ROUTE)]
        for call in calls:
            with pytest.raises(CloudError, match=driver.name):
                await call
        await driver.stop()

    async def test_every_load_balancer_has_an_address_of_its_own(self, tmp_path: Path) -> None:
        driver = await self._with_balancers(tmp_path)
        first, second = await driver.ensure_balancer(request("a")), await driver.ensure_balancer(request("b"))
        assert first
        assert second
        assert all(address.ip or address.hostname for address in (*first, *second))
        assert not set(first) & set(second)
        await driver.stop()

    async def test_a_load_balancer_keeps_its_address_through_changes_and_restarts(self, tmp_path: Path) -> None:
        driver = await self._with_balancers(tmp_path)
        before = list(await driver.ensure_balancer(request("a")))
        assert list(await driver.ensure_balancer(request("a"))) == before
        changed = attrs.evolve(request("a", port=443), nodes=("node-1", "node-2"), source_ranges=("127.0.0.0/8",))
        assert list(await driver.ensure_balancer(changed)) == before
        assert list(await driver.balancer("a") or ()) == before
        await driver.stop()
        if driver.capabilities.snapshot:
            return  # it keeps nothing by itself
        again = await self.started(tmp_path)
        assert list(await again.ensure_balancer(request("a"))) == before
        await again.stop()

    async def test_deleting_a_load_balancer_is_idempotent(self, tmp_path: Path) -> None:
        driver = await self._with_balancers(tmp_path)
        await driver.ensure_balancer(request("a"))
        await driver.delete_balancer("a")
        await driver.delete_balancer("a")
        assert await driver.balancer("a") is None
        await driver.stop()

    async def test_routes_are_made_and_deleted_once(self, tmp_path: Path) -> None:
        driver = await self.started(tmp_path)
        if not driver.capabilities.routes:
            await driver.stop()
            pytest.skip("this driver has no routes")
        for _ in range(2):
            await driver.create_route(ROUTE)
        assert list(await driver.routes()) == [ROUTE]
        for _ in range(2):
            await driver.delete_route(ROUTE)
        assert not await driver.routes()
        await driver.stop()

    async def _with_balancers(self, state_directory: Path) -> CloudDriver:
        driver = await self.started(state_directory)
        if not driver.capabilities.load_balancers:
            await driver.stop()
            pytest.skip("this driver has no load balancers")
        return driver

"""What every network driver must do: the public contract suite.

class TestMyNetwork(NetworkContract):
    pod_cidr = "10.244.7.0/28"
    def make(self, state_directory): return MyNetwork(clock=SystemClock(), ..., pod_cidr=self.pod_cidr, ...)
"""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import ClassVar

import pytest

from kube_core.abc.network import Network, NetworkError, SandboxRequest
from kube_core.abc.snapshots import SnapshotRefused

__all__ = ["NetworkContract"]


def sandbox(identity: str) -> SandboxRequest:
    return SandboxRequest(identity, namespace="default", name=f"pod-{identity}", uid=f"uid-{identity}")


@pytest.mark.anyio
class NetworkContract:
    """Tests for one driver; `pod_cidr` should be a /28, so that using it up is quick."""

    pod_cidr: ClassVar[str]

    def make(self, state_directory: Path) -> Network:
        """A driver for the node's range `pod_cidr`."""
        raise NotImplementedError

    async def started(self, state_directory: Path) -> Network:
        network = self.make(state_directory)
        await network.start()
        return network

    async def test_addresses_are_in_the_pod_range_and_differ(self, tmp_path: Path) -> None:
        network = await self.started(tmp_path)
        first = await network.attach(sandbox("a"))
        second = await network.attach(sandbox("b"))
        assert first.ips[0] != second.ips[0]
        assert ipaddress.ip_address(first.ips[0]) in ipaddress.ip_network(self.pod_cidr)
        await network.stop()

    async def test_attach_is_idempotent_for_a_sandbox(self, tmp_path: Path) -> None:
        network = await self.started(tmp_path)
        assert await network.attach(sandbox("a")) == await network.attach(sandbox("a"))
        await network.stop()

    async def test_a_snapshot_is_gone_on_from_by_others_that_do_not_notice_each_other(self, tmp_path: Path) -> None:
        network = await self.started(tmp_path / "first")
        if not network.capabilities.snapshot:
            with pytest.raises(SnapshotRefused):
                network.snapshot()
            with pytest.raises(SnapshotRefused):
                self.make(tmp_path / "second").restore(None)
            await network.stop()
            return
        attached = await network.attach(sandbox("a"))
        state = network.snapshot()
        await network.detach("a")
        for name in ("second", "third"):
            other = self.make(tmp_path / name)
            other.restore(state)
            await other.start()
            assert (await other.attach(sandbox("b"))).ips != attached.ips
            assert await other.attach(sandbox("a")) == attached
            await other.detach("a")
            await other.stop()
        await network.stop()

    async def test_the_node_has_an_address_that_no_pod_gets(self, tmp_path: Path) -> None:
        network = await self.started(tmp_path)
        node = (await network.node_addresses())[0]
        pods = {(await network.attach(sandbox(str(number)))).ips[0] for number in range(10)}
        assert node not in pods
        await network.stop()

    async def test_detach_of_an_unknown_sandbox_does_nothing(self, tmp_path: Path) -> None:
        network = await self.started(tmp_path)
        await network.detach("never seen")
        await network.stop()

    async def test_a_full_range_is_refused_and_a_detached_address_is_used_again(self, tmp_path: Path) -> None:
        network = await self.started(tmp_path)
        room = ipaddress.ip_network(self.pod_cidr).num_addresses - 3  # the network's, the node's, the broadcast one
        attached = [(await network.attach(sandbox(str(number)))).ips[0] for number in range(room)]
        with pytest.raises(NetworkError, match="no address is left"):
            await network.attach(sandbox("late"))
        await network.detach("3")
        assert (await network.attach(sandbox("late"))).ips[0] == attached[3]
        await network.stop()

    async def test_an_address_that_was_given_back_is_the_last_to_be_used(self, tmp_path: Path) -> None:
        network = await self.started(tmp_path)
        freed = (await network.attach(sandbox("a"))).ips[0]
        await network.detach("a")
        assert (await network.attach(sandbox("b"))).ips[0] != freed
        await network.stop()

    async def test_the_end_takes_everything_back(self, tmp_path: Path) -> None:
        network = await self.started(tmp_path)
        await network.attach(sandbox("a"))
        await network.end()
        await network.end()

    async def test_attachments_are_found_again_after_a_restart(self, tmp_path: Path) -> None:
        network = await self.started(tmp_path)
        if not network.capabilities.persistent:
            await network.stop()
            pytest.skip("this driver keeps nothing over a restart")
        before = await network.attach(sandbox("a"))
        await network.stop()
        again = await self.started(tmp_path)
        other = await again.attach(sandbox("b"))
        assert await again.attach(sandbox("a")) == before
        assert other != before
        assert set(again.attached()) == {"a", "b"}
        await again.detach("a")
        assert list(again.attached()) == ["b"]
        await again.stop()

    async def test_a_listener_on_a_pod_address_is_reached_from_the_host(self, tmp_path: Path) -> None:
        network = await self.started(tmp_path)
        if not network.capabilities.reachable or network.capabilities.namespaces:
            await network.stop()
            pytest.skip("nothing can listen on this driver's addresses from here")
        ip = (await network.attach(sandbox("a"))).ips[0]
        with socket.create_server((ip, 0)) as server, socket.create_connection(server.getsockname(), timeout=5):
            pass
        await network.stop()

"""What every volume driver must do: the public contract suite.

class TestMyVolumes(VolumeContract):
    def make(self, state_directory): return MyVolumes(clock=SystemClock(), state_directory=str(state_directory))
"""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from kube_core.abc.snapshots import SnapshotRefused
from kube_core.abc.volume import VolumeDriver, VolumeError, VolumeRequest

__all__ = ["VolumeContract"]

_MIB = 1 << 20


def request(name: str, capacity: int = _MIB) -> VolumeRequest:
    return VolumeRequest(name, capacity, ("ReadWriteOnce",), claim_namespace="default", claim_name="claim")


@pytest.mark.anyio
class VolumeContract:
    """Tests for one driver."""

    def make(self, state_directory: Path) -> VolumeDriver:
        raise NotImplementedError

    async def started(self, state_directory: Path) -> VolumeDriver:
        driver = self.make(state_directory)
        await driver.start()
        return driver

    async def test_a_volume_is_at_least_as_large_as_asked_and_names_its_source(self, tmp_path: Path) -> None:
        driver = await self.started(tmp_path)
        source = await driver.provision(request("pvc-1"))
        assert source.capacity >= _MIB
        assert source.handle
        assert len(source.spec) == 1
        await driver.stop()

    async def test_provisioning_again_answers_the_same(self, tmp_path: Path) -> None:
        driver = await self.started(tmp_path)
        assert await driver.provision(request("pvc-1")) == await driver.provision(request("pvc-1"))
        await driver.stop()

    async def test_a_snapshot_is_gone_on_from_by_others_that_do_not_notice_each_other(self, tmp_path: Path) -> None:
        driver = await self.started(tmp_path / "first")
        if not driver.capabilities.snapshot:
            with pytest.raises(SnapshotRefused):
                driver.snapshot()
            with pytest.raises(SnapshotRefused):
                self.make(tmp_path / "second").restore(None)
            await driver.stop()
            return
        source = await driver.provision(request("pvc-1"))
        state = driver.snapshot()
        await driver.delete(source.handle)
        for name in ("second", "third"):
            other = self.make(tmp_path / name)
            other.restore(state)
            await other.start()
            assert await other.provision(request("pvc-1")) == source
            with pytest.raises(VolumeError, match="pvc-1"):
                await other.provision(request("pvc-1", 2 * _MIB))
            await other.delete(source.handle)
            await other.stop()
        await driver.stop()

    async def test_provisioning_again_with_more_capacity_is_refused(self, tmp_path: Path) -> None:
        driver = await self.started(tmp_path)
        await driver.provision(request("pvc-1"))
        with pytest.raises(VolumeError, match="pvc-1"):
            await driver.provision(request("pvc-1", 2 * _MIB))
        await driver.stop()

    async def test_a_volume_that_grew_holds_what_was_asked_and_never_shrinks(self, tmp_path: Path) -> None:
        driver = await self.started(tmp_path)
        handle = (await driver.provision(request("pvc-1"))).handle
        if not driver.capabilities.expansion:
            with pytest.raises(VolumeError, match="cannot grow"):
                await driver.expand(handle, 2 * _MIB)
            await driver.stop()
            return
        grown = await driver.expand(handle, 2 * _MIB)
        assert grown >= 2 * _MIB
        assert await driver.expand(handle, 2 * _MIB) == grown
        assert await driver.expand(handle, _MIB) == grown
        assert (await driver.provision(request("pvc-1", 2 * _MIB))).capacity == grown
        with pytest.raises(VolumeError, match="does not exist"):
            await driver.expand("pvc-unknown", _MIB)
        await driver.stop()

    async def test_attributes_of_a_volume_change_or_are_refused(self, tmp_path: Path) -> None:
        driver = await self.started(tmp_path)
        handle = (await driver.provision(request("pvc-1"))).handle
        if not driver.capabilities.modification:
            with pytest.raises(VolumeError, match="no attributes"):
                await driver.modify(handle, {"tier": "gold"})
            await driver.stop()
            return
        for attributes in ({"tier": "gold"}, {"tier": "gold"}, {}):
            await driver.modify(handle, attributes)
        with pytest.raises(VolumeError, match="does not exist"):
            await driver.modify("pvc-unknown", {})
        await driver.stop()

    async def test_publishing_is_idempotent_and_the_same_for_every_pod(self, tmp_path: Path) -> None:
        driver = await self.started(tmp_path)
        handle = (await driver.provision(request("pvc-1"))).handle
        first = await driver.publish(handle, pod_uid="a", read_only=False)
        assert first.path.startswith("/")
        assert await driver.publish(handle, pod_uid="a", read_only=False) == first
        await driver.unpublish(handle, pod_uid="a")
        await driver.unpublish(handle, pod_uid="a")
        await driver.stop()

    async def test_an_unknown_volume_cannot_be_published(self, tmp_path: Path) -> None:
        driver = await self.started(tmp_path)
        with pytest.raises(VolumeError, match="does not exist"):
            await driver.publish("pvc-unknown", pod_uid="a", read_only=False)
        await driver.stop()

    async def test_deleting_is_idempotent_and_ends_the_volume(self, tmp_path: Path) -> None:
        driver = await self.started(tmp_path)
        handle = (await driver.provision(request("pvc-1"))).handle
        await driver.delete(handle)
        await driver.delete(handle)
        with pytest.raises(VolumeError):
            await driver.publish(handle, pod_uid="a", read_only=False)
        await driver.stop()

    async def test_content_is_kept_between_pods_and_over_a_restart_and_goes_with_the_volume(
        self, tmp_path: Path
    ) -> None:
        driver = await self.started(tmp_path)
        if not driver.capabilities.persistent:
            await driver.stop()
            pytest.skip("this driver keeps no content")
        handle = (await driver.provision(request("pvc-1"))).handle
        path = anyio.Path((await driver.publish(handle, pod_uid="a", read_only=False)).path)
        await (path / "kept").write_text("yes")
        await driver.unpublish(handle, pod_uid="a")
        await driver.stop()
        again = await self.started(tmp_path)
        path = anyio.Path((await again.publish(handle, pod_uid="b", read_only=False)).path)
        assert await (path / "kept").read_text() == "yes"
        await again.unpublish(handle, pod_uid="b")
        await again.delete(handle)
        handle = (await again.provision(request("pvc-1"))).handle
        path = anyio.Path((await again.publish(handle, pod_uid="c", read_only=False)).path)
        assert [item async for item in path.iterdir()] == []
        await again.stop()

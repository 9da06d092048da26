from __future__ import annotations

from pathlib import Path

import pytest

from kube_core._kit.clock import SystemClock
from kube_core.abc.volume import VolumeError, VolumeRequest
from kube_drivers.volume.hostdir import HostDirectoryVolumes

pytestmark = pytest.mark.anyio


async def volumes(directory: Path) -> HostDirectoryVolumes:
    driver = HostDirectoryVolumes(clock=SystemClock(), state_directory=str(directory))
    await driver.start()
    return driver


@pytest.mark.parametrize("handle", ["..", "../x", "a/b", "", ".", ".new-a", "a..b", "/etc", "a\0b", "A", "a\n"])
async def test_only_a_name_directly_below_the_root_is_a_handle(tmp_path: Path, handle: str) -> None:
    driver = await volumes(tmp_path)
    with pytest.raises(VolumeError, match="not the name of a volume"):
        await driver.delete(handle)
    with pytest.raises(VolumeError, match="not the name of a volume"):
        await driver.provision(VolumeRequest(handle, 1, ()))
    with pytest.raises(VolumeError, match="not the name of a volume"):
        await driver.publish(handle, pod_uid="a", read_only=False)


async def test_a_link_in_a_volumes_place_is_refused_and_its_target_kept(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("kept")
    driver = await volumes(tmp_path)
    (tmp_path / "volumes" / "pvc-1").symlink_to(outside)
    with pytest.raises(VolumeError, match="symbolic link"):
        await driver.delete("pvc-1")
    assert (outside / "precious").read_text() == "kept"


async def test_deleting_removes_links_inside_and_not_what_they_name(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("kept")
    driver = await volumes(tmp_path)
    handle = (await driver.provision(VolumeRequest("pvc-1", 1, ()))).handle
    content = Path((await driver.publish(handle, pod_uid="a", read_only=False)).path)
    (content / "link").symlink_to(outside)
    closed = content / "closed"
    closed.mkdir()
    (closed / "file").write_text("x")
    closed.chmod(0o500)
    await driver.delete(handle)
    assert list((tmp_path / "volumes").iterdir()) == []
    assert (outside / "precious").read_text() == "kept"


async def test_what_a_crash_left_half_is_cleared_at_start(tmp_path: Path) -> None:
    await volumes(tmp_path)
    root = tmp_path / "volumes"
    (root / ".new-pvc-1" / "content").mkdir(parents=True)
    (root / ".old-pvc-2" / "content").mkdir(parents=True)
    driver = await volumes(tmp_path)
    assert list(root.iterdir()) == []
    await driver.provision(VolumeRequest("pvc-1", 1, ()))
    assert sorted(path.name for path in (root / "pvc-1").iterdir()) == ["content", "volume.json"]


def test_without_a_state_directory_there_is_no_place_for_volumes() -> None:
    with pytest.raises(VolumeError, match="state directory"):
        HostDirectoryVolumes(clock=SystemClock(), state_directory="")

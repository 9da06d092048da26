"""What a mix of runtimes is made of, and what it can do."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from kube_core._kit.clock import FakeClock
from kube_core.abc.runtime import ImageFailure, RuntimeFailure, SandboxConfig
from kube_core.abc.snapshots import SnapshotRefused
from kube_core.drivers import DriverError
from kube_drivers.runtime.fake import FakeRuntime
from kube_drivers.runtime.mixed import MixedRuntime

pytestmark = pytest.mark.anyio


def made(url: str, directory: Path | str = "", **options: object) -> MixedRuntime:
    return MixedRuntime(clock=FakeClock(), node_name="n", state_directory=str(directory), url=url, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["mixed", "mixed:", "mixed:fake+fake", "mixed:fake+mixed", "mixed:fake+nothing"])
def test_a_mix_names_drivers_each_once(url: str) -> None:
    with pytest.raises(DriverError):
        made(url)


def test_capabilities_are_what_holds_of_all_and_what_the_class_says(tmp_path: Path) -> None:
    mixed = made("mixed:fake+process", tmp_path)
    assert mixed.capabilities == MixedRuntime.capabilities
    assert made("mixed:fake").capabilities == FakeRuntime.capabilities


def test_runtimes_that_give_addresses_mix_only_with_their_like() -> None:
    class Networked(FakeRuntime):
        capabilities = attrs.evolve(FakeRuntime.capabilities, networked=True)

    clock = FakeClock()
    runtimes = {"fake": FakeRuntime(clock=clock, node_name="n"), "other": Networked(clock=clock, node_name="n")}
    with pytest.raises(DriverError, match="addresses"):
        made("", runtimes=runtimes)


def test_what_is_prepared_for_containers_is_prepared_where_one_runtime_needs_it() -> None:
    class Confined(FakeRuntime):
        capabilities = attrs.evolve(FakeRuntime.capabilities, own_root=True, confinement=True, persistent=True)

    clock = FakeClock()
    runtimes = {"fake": FakeRuntime(clock=clock, node_name="n"), "other": Confined(clock=clock, node_name="n")}
    found = made("", runtimes=runtimes).capabilities
    assert (found.own_root, found.confinement, found.persistent) == (True, True, False)


async def test_each_pod_has_the_images_of_its_own_runtime() -> None:
    clock = FakeClock()
    refusing = FakeRuntime(clock=clock, node_name="n", behaviours={"app": {"pull_error": "gone"}})
    other = FakeRuntime(clock=clock, node_name="m")
    mixed = made("", runtimes={"refusing": refusing, "other": other})
    first = await mixed.run_sandbox(SandboxConfig("default", "first", "uid-1"))
    second = await mixed.run_sandbox(SandboxConfig("default", "second", "uid-2", handler="other"))
    with pytest.raises(ImageFailure):
        await mixed.pull_image("app", sandbox_id=first.id)
    await mixed.pull_image("app", sandbox_id=second.id)
    assert await mixed.image_status("app", sandbox_id=first.id) is None
    assert await mixed.image_status("app", sandbox_id=second.id) is not None
    with pytest.raises(RuntimeFailure, match='no runtime for "third" is configured'):
        await mixed.run_sandbox(SandboxConfig("default", "third", "uid-3", handler="third"))


async def test_a_snapshot_is_that_of_every_runtime_or_refused_by_name(tmp_path: Path) -> None:
    mixed = made("mixed:fake")
    await mixed.run_sandbox(SandboxConfig("default", "first", "uid-1"))
    again = made("mixed:fake")
    again.restore(mixed.snapshot())
    assert again.list_sandboxes() == mixed.list_sandboxes()
    with pytest.raises(SnapshotRefused, match="process"):
        made("mixed:fake+process", tmp_path).snapshot()

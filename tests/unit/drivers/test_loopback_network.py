from __future__ import annotations

import asyncio
import ipaddress
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from kube_core._kit.clock import SystemClock
from kube_core.abc.network import Attachment, NetworkError, SandboxRequest
from kube_drivers.network.loopback import LoopbackNetwork

pytestmark = pytest.mark.anyio

CIDR = f"127.{48 + os.getpid() % 16}.{os.getpid() // 16 % 256}.0/28"


def network(directory: Path, cidr: str = CIDR) -> LoopbackNetwork:
    return LoopbackNetwork(clock=SystemClock(), node_name="node", pod_cidr=cidr, state_directory=str(directory))


def request(sandbox: str) -> SandboxRequest:
    return SandboxRequest(sandbox, "default", "pod", "uid")


async def attach(driver: LoopbackNetwork, sandboxes: Iterable[str]) -> list[Attachment]:
    """All at once."""
    return await asyncio.gather(*(driver.attach(request(each)) for each in sandboxes))


def test_ranges_depend_on_the_name_alone_and_lie_in_loopback() -> None:
    names = [f"cluster-{number}" for number in range(50)]
    ranges = {LoopbackNetwork.ranges_for(name) for name in names}
    assert len(ranges) > 40
    assert LoopbackNetwork.ranges_for("dev") == LoopbackNetwork.ranges_for("dev")
    for item in ranges:
        pods, services = ipaddress.ip_network(item.pod_cidr), ipaddress.ip_network(item.service_cidr)
        assert pods.is_loopback
        assert services.is_loopback
        assert not pods.overlaps(services)


async def test_two_nodes_on_one_range_are_refused_until_the_first_has_stopped(tmp_path: Path) -> None:
    first, second = network(tmp_path / "a"), network(tmp_path / "b")
    await first.start()
    with pytest.raises(NetworkError, match="in use by another node"):
        await second.start()
    await first.stop()
    await second.start()
    await second.stop()


async def test_an_address_is_on_disk_before_it_is_given(tmp_path: Path) -> None:
    driver = network(tmp_path)
    await driver.start()
    ip = (await driver.attach(request("s"))).ips[0]
    assert ip in (tmp_path / "loopback-network.json").read_text()
    await driver.stop()


async def test_addresses_that_are_asked_for_together_are_found_again_and_stay_whose_they_are(tmp_path: Path) -> None:
    driver = network(tmp_path)
    await driver.start()
    await driver.attach(request("first"))
    names = [f"pod-{number}" for number in range(8)]
    given = {name: each.ips for name, each in zip(names, await attach(driver, names), strict=True)}
    assert len(set(given.values())) == 8
    await driver.detach("pod-3")
    await driver.stop()
    del given["pod-3"]

    again = network(tmp_path)
    await again.start()
    assert set(again.attached()) == {"first", *given}
    assert {name: (await again.attach(request(name))).ips for name in given} == given
    fresh = (await again.attach(request("fresh"))).ips
    assert fresh not in given.values()
    await again.stop()


async def test_an_address_that_was_given_back_is_the_last_to_be_used_again_after_a_restart_too(tmp_path: Path) -> None:
    driver = network(tmp_path)
    await driver.start()
    (one, two) = await attach(driver, ["one", "two"])
    await driver.detach("two")
    await driver.stop()
    again = network(tmp_path)
    await again.start()
    assert (await again.attach(request("three"))).ips not in (one.ips, two.ips)
    await again.stop()


async def test_a_line_that_was_not_written_whole_was_not_given(tmp_path: Path) -> None:
    driver = network(tmp_path)
    await driver.start()
    await attach(driver, ["one", "two"])
    await driver.stop()
    with (tmp_path / "loopback-network.json").open("ab") as file:
        file.write(b'["three", "127')
    again = network(tmp_path)
    await again.start()
    assert sorted(again.attached()) == ["one", "two"]
    await attach(again, ["four"])
    await again.stop()
    last = network(tmp_path)
    await last.start()
    assert sorted(last.attached()) == ["four", "one", "two"]
    await last.stop()


async def test_what_cannot_be_kept_is_not_given_and_is_kept_once_it_can(tmp_path: Path) -> None:
    driver = network(tmp_path / "state")
    await driver.start()
    await driver.attach(request("one"))
    (tmp_path / "state").rename(tmp_path / "elsewhere")
    (tmp_path / "state").write_text("in the way")
    both = (driver.attach(request(name)) for name in ("two", "three"))
    outcomes = await asyncio.gather(*both, return_exceptions=True)
    assert all(isinstance(each, NetworkError) for each in outcomes)
    assert driver.attached() == ("one",)
    (tmp_path / "state").unlink()
    await driver.attach(request("four"))
    await driver.stop()
    again = network(tmp_path / "state")
    await again.start()
    assert sorted(again.attached()) == ["four", "one"]
    await again.stop()


async def test_a_damaged_state_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "loopback-network.json").write_text("{")
    driver = network(tmp_path)
    with pytest.raises(NetworkError, match=r"loopback-network\.json"):
        await driver.start()
    (tmp_path / "loopback-network.json").unlink()
    await driver.start()  # the range was let go again
    await driver.stop()


@pytest.mark.parametrize(("cidr", "why"), [("10.0.0.0/24", "inside 127"), ("127.1.0.0/31", "no room"), ("x", "CIDR")])
def test_a_range_that_cannot_work_is_refused(tmp_path: Path, cidr: str, why: str) -> None:
    with pytest.raises(NetworkError, match=why):
        network(tmp_path, cidr)

from __future__ import annotations

import ipaddress
import json
import os
from pathlib import Path

import pytest

from kube_core._kit.clock import SystemClock
from kube_core.abc.network import NetworkError, SandboxRequest
from kube_drivers.network.loopback import LoopbackNetwork

pytestmark = pytest.mark.anyio

CIDR = f"127.{48 + os.getpid() % 16}.{os.getpid() // 16 % 256}.0/28"


def network(directory: Path, cidr: str = CIDR) -> LoopbackNetwork:
    return LoopbackNetwork(clock=SystemClock(), node_name="node", pod_cidr=cidr, state_directory=str(directory))


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
    ip = (await driver.attach(SandboxRequest("s", "default", "pod", "uid"))).ips[0]
    assert json.loads((tmp_path / "loopback-network.json").read_text())["assigned"] == {"s": ip}
    await driver.stop()


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

"""`kube-core up` with real containers is killed at any moment, many times: every pod runs once, and nothing is leaked.

What a container is on the machine is told from outside: processes by the mark in their command, mounts and namespaces
by the state directory, devices by the bridges of the nodes, cgroups by the pods' uids.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from chaos.site import Site, alive, site, until
from fakes.containers import needs_containers, offline
from fakes.images import busybox_layer, make_image
from fakes.waiting import eventually
from kube_core._kit import mounts
from kube_core._kit.clock import SystemClock
from kube_core._kit.random import Random
from kube_core.api import resources
from kube_core.client.client import ApiClient
from kube_core.meta.documents import MutableDocument, is_deleting, metadata_of, uid_of
from kube_core.testing.runtime import marked, unique
from kube_drivers.network.bridge import BridgeNetwork
from kube_drivers.network.bridge.netlink import Netlink
from kube_drivers.network.bridge.network import device_name
from kube_drivers.runtime.oci import OciRuntime
from kube_drivers.runtime.oci.cgroups import Cgroups

pytestmark = [pytest.mark.anyio, pytest.mark.chaos, needs_containers("crun"), pytest.mark.timeout(900)]

#: Starts of each seed, of which every second one is killed, too: 21 kills, more than a hundred in all.
LIVES = 14
SEEDS = 5


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("machine")
    make_image(busybox_layer(), Env=["PATH=/bin"]).save_docker(folder / "busybox.tar", "busybox:1")
    with offline(folder / "store"):
        yield folder / "busybox.tar"


@attrs.frozen
class Place:
    """A site whose nodes run containers. `mark`: what the command of each of them says."""

    site: Site
    archive: Path
    mark: str

    @property
    def options(self) -> list[str]:
        # Ranges of this process's own: a cluster that is dead for a moment must find them free.
        number = os.getpid() % 256
        pods, services = f"100.{65 + number // 16}.{number % 16 * 16}.0/20", f"100.64.{number}.0/24"
        ranges = ["--pod-cidr", pods, "--service-cidr", services]
        return ["--runtime", "oci", "--network", "bridge", "--images", str(self.archive), *ranges]

    async def up(self) -> None:
        await self.site.up(*self.options)

    def deployment(self, replicas: int) -> MutableDocument:
        # A line for each start, in the pod's own log; and a process that is told from others.
        command = ["sh", "-c", f"echo begun $HOSTNAME; trap 'exit 0' TERM; sleep {self.mark} & wait"]
        container = {"name": "c", "image": "busybox:1", "command": command}
        return {
            "metadata": {"name": "ticks", "namespace": "default"},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": "ticks"}},
                "template": {
                    "metadata": {"labels": {"app": "ticks"}},
                    "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
                },
            },
        }

    def sleepers(self) -> list[int]:
        """The containers' processes, of which each has one besides its shell."""
        return [pid for pid in marked(self.mark) if b"sleep\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    async def agrees(self, client: ApiClient) -> Any:
        """The pods, once each runs exactly once and the machine has nothing of any other."""
        pods = (await client.list(resources.PODS, "default")).items
        if any(is_deleting(pod) for pod in pods) or not all(_runs(pod) for pod in pods):
            return None
        found: Any = await client.get(resources.DEPLOYMENTS, "ticks", "default")
        if len(pods) != found["spec"]["replicas"] or len(self.sleepers()) != len(pods):
            return None
        uids = {uid_of(pod) for pod in pods}
        return pods if self.leaks(uids) == [] else None

    async def at_rest(self, client: ApiClient) -> Any:
        """The same, with what is wrong where it never comes to be."""
        try:
            return await eventually(lambda: self.agrees(client), seconds=60)
        except TimeoutError:
            pods: Any = (await client.list(resources.PODS, "default")).items
            shown = [(metadata_of(pod), pod.get("status")) for pod in pods]
            left = self.leaks({uid_of(pod) for pod in pods})
            raise AssertionError(f"pods {shown}; processes {self.sleepers()}; left {left}") from None

    def leaks(self, uids: set[str]) -> list[str]:
        """What of the machine belongs to this cluster, and to none of these pods."""
        state = self.site.state
        found = [
            str(path)
            for path in mounts.mounts_below(state)
            if "namespaces" in path.parts and path.parent.name not in uids
        ]
        for name in ("sandboxes", "containers"):
            folder = state / "nodes/node-1/oci" / name
            entries = os.listdir(folder) if folder.exists() else []
            if len(entries) != len(uids):
                found.append(f"{folder} has {len(entries)} entries for {len(uids)} pods")
        pairs = [link for link in _links() if link.startswith("kcv") and link in self.devices()]
        if len(pairs) != len(uids):
            found.append(f"{len(pairs)} devices for {len(uids)} pods")
        return found

    def devices(self) -> list[str]:
        with Netlink() as netlink:
            links = netlink.links()
        bridges = {link.index for link in links if link.name == self.bridge}
        return [link.name for link in links if link.master in bridges]

    @property
    def bridge(self) -> str:
        return device_name("kcb", str(self.site.state / "nodes/node-1"))


@asynccontextmanager
async def place(root: Path, archive: Path) -> AsyncIterator[Place]:
    async with site(root) as here:
        made = Place(here, archive, unique())
        try:
            yield made
        finally:
            await here.clear()
            for pid in marked(made.mark):
                _kill(pid)
            node = here.state / "nodes/node-1"
            if node.exists():
                where: dict[str, Any] = {"clock": SystemClock(), "node_name": "node-1", "state_directory": str(node)}
                await OciRuntime(**where).end()
                await BridgeNetwork(**where, pod_cidr="100.64.0.0/24").end()


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_a_cluster_of_containers_killed_at_any_moment_runs_every_pod_once(
    tmp_path: Path, machine: Path, seed: int
) -> None:
    random = Random(seed)
    async with place(tmp_path, machine) as here:
        await here.up()
        async with here.site.client() as client:
            await client.create(resources.DEPLOYMENTS, here.deployment(3))
        for life in range(LIVES):
            await disturb(here.site, random, life)
            await here.site.kill()
            if life % 2:
                process = await here.site.begin_up(*here.options)
                await asyncio.sleep(random.below(1000) / 1000)
                process.kill()
                await asyncio.wait_for(process.communicate(), 20)
            await here.up()
        async with here.site.client() as client:
            await client.patch(resources.DEPLOYMENTS, "ticks", {"spec": {"replicas": 3}}, "default")
            pods = await here.at_rest(client)
            uids = [uid_of(pod) for pod in pods]
            for pod in pods:
                # It never ended by itself, so it was started once.
                assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
                name = metadata_of(pod)["name"]
                log = [part async for part in client.stream(f"/api/v1/namespaces/default/pods/{name}/log")]
                assert b"".join(log).decode() == f"begun {name}\n"
        assert "Traceback" not in here.site.log()
        await here.site.down()
        assert here.sleepers() == []
        assert here.site.processes() == {}
        assert mounts.mounts_below(here.site.state) == []
        assert here.bridge not in _links()
        assert not _cgroups_of(uids)


async def test_a_killed_supervisor_takes_its_containers_along_and_leaves_nothing(tmp_path: Path, machine: Path) -> None:
    async with place(tmp_path, machine) as here:
        await here.up()
        async with here.site.client() as client:
            await client.create(resources.DEPLOYMENTS, here.deployment(2))
            await eventually(lambda: here.agrees(client), seconds=40)
            before = here.sleepers()
            (supervisor,) = here.site.supervisors()
            os.kill(supervisor, signal.SIGKILL)

            async def again() -> Any:
                pods = (await client.list(resources.PODS, "default")).items
                restarted = [pod["status"]["containerStatuses"][0]["restartCount"] == 1 for pod in pods if _runs(pod)]
                return pods if restarted == [True, True] else None

            pods = await eventually(again, seconds=40)
            last = pods[0]["status"]["containerStatuses"][0]["lastState"]["terminated"]
            assert (last["exitCode"], last["reason"]) == (137, "ContainerStatusUnknown")
            await until(lambda: len(here.sleepers()) == 2)
            assert [pid for pid in before if alive(pid)] == []
        await here.site.down()
        assert here.site.processes() == {}
        assert mounts.mounts_below(here.site.state) == []


async def disturb(site: Site, random: Random, life: int) -> None:
    """Something goes on in the cluster; how far it gets is chance."""
    async with site.client() as client:
        match random.below(4):
            case 0:
                await client.patch(resources.DEPLOYMENTS, "ticks", {"spec": {"replicas": random.below(4)}}, "default")
            case 1:
                template = {"metadata": {"annotations": {"life": str(life)}}}
                await client.patch(resources.DEPLOYMENTS, "ticks", {"spec": {"template": template}}, "default")
            case _:
                pods = (await client.list(resources.PODS, "default")).items
                for pod in pods[: random.below(3)]:
                    await client.delete(resources.PODS, metadata_of(pod)["name"], "default")
        await asyncio.sleep(random.below(1000) / 1000)


def _runs(pod: Any) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or [{}]
    return "running" in (statuses[0].get("state") or {})


def _links() -> set[str]:
    with Netlink() as netlink:
        return {link.name for link in netlink.links()}


def _cgroups_of(uids: list[str]) -> list[str]:
    cgroups = Cgroups.of_machine()
    trees = [*cgroups.trees.values(), *([cgroups.unified] if cgroups.unified is not None else [])]
    return [
        str(path)
        for tree in trees
        for path in (tree / "kubepods").rglob("pod*")
        if any(uid in path.name for uid in uids)
    ]


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass

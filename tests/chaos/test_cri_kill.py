"""A node at a CRI endpoint, and the endpoint, are killed at any moment: every pod runs once, and nothing is leaked."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from chaos.site import Site, site
from fakes import containerd
from fakes.containerd import Containerd
from fakes.waiting import eventually
from kube_core._kit.random import Random
from kube_core.api import resources
from kube_core.client.client import ApiClient
from kube_core.meta.documents import MutableDocument, is_deleting, name_of, uid_of
from kube_core.testing.runtime import marked, unique

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.chaos,
    containerd.needs_containerd(),
    pytest.mark.timeout(400),
]

#: How often something is killed.
LIVES = 6


@pytest.fixture
def endpoint() -> Iterator[Containerd]:
    with containerd.running() as made:
        yield made


@attrs.frozen
class Place:
    """`mark`: what the command of each container says."""

    site: Site
    endpoint: Containerd
    mark: str

    async def up(self) -> None:
        # Ranges of this process's own: a cluster that is dead for a moment must find them free.
        number = os.getpid() % 256
        pods, services = f"100.{81 + number // 16}.{number % 16 * 16}.0/20", f"100.80.{number}.0/24"
        ranges = ["--pod-cidr", pods, "--service-cidr", services]
        await self.site.up("--runtime", f"cri:{self.endpoint.endpoint}", *ranges)

    def deployment(self) -> MutableDocument:
        # A line for each start, in the pod's own volume (what was on its way into a log dies with the endpoint); and a
        # process that is told from others.
        command = ["sh", "-c", f"echo begun >> /data/starts; trap 'exit 0' TERM; sleep {self.mark} & wait"]
        mounts = [{"name": "data", "mountPath": "/data"}]
        container = {"name": "c", "image": "busybox:1", "command": command, "volumeMounts": mounts}
        return {
            "metadata": {"name": "ticks", "namespace": "default"},
            "spec": {
                "replicas": 3,
                "selector": {"matchLabels": {"app": "ticks"}},
                "template": {
                    "metadata": {"labels": {"app": "ticks"}},
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        "containers": [container],
                        "volumes": [{"name": "data", "emptyDir": {}}],
                    },
                },
            },
        }

    def sleepers(self) -> list[int]:
        return [pid for pid in marked(self.mark) if b"sleep\0" in _command(pid)]

    def starts(self, uid: str) -> int:
        """How often a pod's container was begun."""
        (told,) = (self.site.state / "nodes/node-1/pods" / uid).rglob("starts")
        return told.read_text().count("begun")

    async def disturb(self, random: Random) -> None:
        async with self.site.client() as client:
            if random.below(2):
                await client.patch(resources.DEPLOYMENTS, "ticks", _scale(random.below(4)), "default")
            else:
                pods = (await client.list(resources.PODS, "default")).items
                for pod in pods[: random.below(3)]:
                    await client.delete(resources.PODS, name_of(pod), "default")
        await asyncio.sleep(random.below(1000) / 1000)

    async def strike(self, what: int) -> None:
        """Kill the node, the endpoint, or both, and bring them back."""
        if what != 0:
            await asyncio.to_thread(self.endpoint.kill)
        if what != 1:
            await self.site.kill()
        if what != 0:
            await asyncio.to_thread(self.endpoint.start)
        if what != 1:
            await self.up()

    async def at_rest(self, client: ApiClient) -> Any:
        """The pods, once each runs, exactly once, and nothing of any other is left."""

        async def agrees() -> Any:
            pods = (await client.list(resources.PODS, "default")).items
            if len(pods) != 3 or any(is_deleting(pod) for pod in pods) or not all(_runs(pod) for pod in pods):
                return None
            held = [each.split() for each in await asyncio.to_thread(self.endpoint.held)]
            # Of a pod that is there, sandboxes that came to nothing go with it, and its last run before is kept.
            ready = sorted(pod for kind, pod, *_, state in held if kind == "sandbox" and state == "0")
            names = sorted(name_of(pod) for pod in pods)
            alone = {pod for _, pod, *_ in held} == set(names)
            return pods if len(self.sleepers()) == 3 and ready == names and alone else None

        try:
            return await eventually(agrees, seconds=60)
        except TimeoutError:
            pods: Any = (await client.list(resources.PODS, "default")).items
            shown = [(name_of(pod), is_deleting(pod), pod["status"].get("containerStatuses")) for pod in pods]
            log = self.site.log()[-5000:]
            raise AssertionError(f"{shown}; processes {self.sleepers()}; {self.endpoint.held()}; {log}") from None


async def test_nodes_and_endpoints_that_are_killed_run_every_pod_once(tmp_path: Path, endpoint: Containerd) -> None:
    random = Random(1)
    async with site(tmp_path) as here:
        place = Place(here, endpoint, unique())
        try:
            await place.up()
            async with here.client() as client:
                await client.create(resources.DEPLOYMENTS, place.deployment())
            for life in range(LIVES):
                await place.disturb(random)
                await place.strike(life % 3)
            async with here.client() as client:
                await client.patch(resources.DEPLOYMENTS, "ticks", _scale(3), "default")
                for pod in await place.at_rest(client):
                    # It never ended by itself, so it was started once; but for one of which the endpoint, which was
                    # killed as it started it, does not know whether it did: that one has to end first.
                    assert place.starts(uid_of(pod)) <= 1 + _restarts(pod)
                    if _restarts(pod):
                        last = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
                        assert (last["reason"], last["exitCode"]) == ("Unknown", 255)
            assert "Traceback" not in here.log()
            await here.down()
            assert place.sleepers() == []
            assert endpoint.held() == []
            assert os.listdir(endpoint.folder / "state/io.containerd.grpc.v1.cri/sandboxes") == []
        finally:
            await here.clear()


async def test_a_node_whose_endpoint_is_away_is_not_ready_and_comes_back(tmp_path: Path, endpoint: Containerd) -> None:
    async with site(tmp_path) as here:
        place = Place(here, endpoint, unique())

        async def condition(client: ApiClient, wanted: str) -> Any:
            node: Any = await client.get(resources.NODES, "node-1")
            ready = next(each for each in node["status"]["conditions"] if each["type"] == "Ready")
            return ready if ready["status"] == wanted else None

        try:
            await place.up()
            async with here.client() as client:
                await client.create(resources.DEPLOYMENTS, place.deployment())
                before = {uid_of(pod) for pod in await place.at_rest(client)}
                endpoint.kill()
                ready = await eventually(lambda: condition(client, "False"), seconds=120)
                assert (ready["reason"], ready["message"]) == ("KubeletNotReady", "container runtime is down")
                assert len(place.sleepers()) == 3
                await asyncio.to_thread(endpoint.start)
                await eventually(lambda: condition(client, "True"), seconds=120)
                # They ran on meanwhile.
                assert {uid_of(pod) for pod in await place.at_rest(client)} == before
                assert [place.starts(uid) for uid in before] == [1, 1, 1]
            await here.down()
            assert endpoint.held() == []
        finally:
            await here.clear()


def _scale(replicas: int) -> MutableDocument:
    return {"spec": {"replicas": replicas}}


def _runs(pod: Any) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or [{}]
    return "running" in (statuses[0].get("state") or {})


def _restarts(pod: Any) -> int:
    return int(pod["status"]["containerStatuses"][0]["restartCount"])


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""

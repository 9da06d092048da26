"""`kube-core up` is killed, again and again: its containers go on, and the next `up` finds them as they are.

Pods keep their uids, their containers and their processes; none runs twice, none is forgotten; what ended meanwhile is
reported with its exit code and restarted by policy.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from chaos.site import Run, Site, program, runs, site, until
from fakes.waiting import eventually
from kube_core._kit.random import Random
from kube_core.api import resources
from kube_core.client.client import ApiClient
from kube_core.meta.documents import Document, MutableDocument

pytestmark = pytest.mark.anyio

#: Says its process id again and again, after a line in the file of starts.
_TICKS = """
import os, time
with open({starts!r}, "a") as file:
    file.write(os.environ["HOSTNAME"] + "\\n")
number = 0
while True:
    print("tick", number, os.getpid())
    number += 1
    time.sleep(0.1)
"""
#: Ends with 7 once there is a file.
_ENDS = """
import os, sys, time
print("begun")
while not os.path.exists({flag!r}):
    time.sleep(0.02)
os.unlink({flag!r})
sys.exit(7)
"""


def ticking(site: Site, replicas: int) -> MutableDocument:
    code = _TICKS.format(starts=str(site.root / "starts"))
    return {
        "metadata": {"name": "ticks", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "ticks"}},
            "template": {
                "metadata": {"labels": {"app": "ticks"}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [program(code)]},
            },
        },
    }


def ending(site: Site, name: str, policy: str) -> MutableDocument:
    code = _ENDS.format(flag=str(site.root / name))
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"restartPolicy": policy, "terminationGracePeriodSeconds": 1, "containers": [program(code)]},
    }


async def rolled_out(client: ApiClient) -> Document | None:
    found: Any = await client.get(resources.DEPLOYMENTS, "ticks", "default")
    spec, status = found["spec"], found.get("status") or {}
    counts = [status.get(each, 0) for each in ("replicas", "updatedReplicas", "availableReplicas")]
    done = status.get("observedGeneration") == found["metadata"]["generation"]
    return found if done and counts == [spec["replicas"]] * 3 else None


async def status_of(client: ApiClient, name: str) -> Any:
    pod: Any = await client.get(resources.PODS, name, "default")
    return (pod.get("status") or {}).get("containerStatuses", [{}])[0]


async def logs(site: Site, pod: str) -> list[str]:
    async with site.client() as client:
        chunks = [chunk async for chunk in client.stream(f"/api/v1/namespaces/default/pods/{pod}/log")]
    return b"".join(chunks).decode().splitlines()


async def test_a_killed_cluster_finds_its_pods_as_they_were(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.up()
        async with here.client() as client:
            await client.create(resources.DEPLOYMENTS, ticking(here, 3))
            await client.create(resources.PODS, ending(here, "never", "Never"))
            await client.create(resources.PODS, ending(here, "onfailure", "OnFailure"))
            await eventually(lambda: rolled_out(client))
            before = await eventually(lambda: here.agrees(client))
            assert len(before) == 5
        processes = here.containers()
        await here.kill()
        assert here.containers() == processes
        for name in ("never", "onfailure"):
            (here.root / name).touch()
        await until(lambda: len(here.containers()) == 3)
        await here.up()
        async with here.client() as client:
            await eventually(lambda: ended(client, "never", 7))
            await eventually(lambda: restarted(client, "onfailure", 7))
            after = runs((await client.list(resources.PODS, "default")).items)
            assert [(run.pod, run.uid) for run in after] == [(run.pod, run.uid) for run in before]
            assert after[2:] == before[2:]
            assert {run.container: here.containers()[run.container] for run in after[2:]} == {
                run.container: processes[run.container] for run in before[2:]
            }
            for run in after[2:]:
                await eventually(lambda run=run: ticks_on(here, run))  # type: ignore[misc]
        await here.down()
        assert here.processes() == {}


async def ended(client: ApiClient, name: str, code: int) -> bool:
    pod: Any = await client.get(resources.PODS, name, "default")
    state = (await status_of(client, name)).get("state") or {}
    return pod["status"]["phase"] == "Failed" and (state.get("terminated") or {}).get("exitCode") == code


async def restarted(client: ApiClient, name: str, code: int) -> bool:
    status = await status_of(client, name)
    last = (status.get("lastState") or {}).get("terminated") or {}
    return status.get("restartCount") == 1 and last.get("exitCode") == code and "running" in status["state"]


async def ticks_on(site: Site, run: Run) -> bool:
    """Its log has every line since its start, all from one process, and goes on."""
    first = await logs(site, run.pod)
    (pid,) = site.containers()[run.container]
    assert first == [f"tick {number} {pid}" for number in range(len(first))]
    return len(await logs(site, run.pod)) > len(first)


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(5))
async def test_a_cluster_killed_many_times_at_any_moment_runs_every_pod_once(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    async with site(tmp_path) as here:
        await here.up()
        async with here.client() as client:
            await client.create(resources.DEPLOYMENTS, ticking(here, 3))
        for life in range(14):  # 21 kills, with those of every second start
            await disturb(here, random, life)
            await here.kill()
            if life % 2:
                await die_while_starting(here, random)
            await here.up()
        async with here.client() as client:
            # However many there were at last: with some there is more to look at.
            await client.patch(resources.DEPLOYMENTS, "ticks", {"spec": {"replicas": 3}}, "default")
            await eventually(lambda: rolled_out(client), seconds=40)
            found = await eventually(lambda: here.agrees(client), seconds=40)
        # Nothing of it ever ended by itself, so no container was ever started again.
        assert {run.restarts for run in found} == {0}
        starts = (here.root / "starts").read_text().splitlines()
        assert len(starts) == len(set(starts))
        assert {run.pod for run in found} <= set(starts)
        assert "Traceback" not in here.log()
        await here.down()
        assert here.processes() == {}
        assert here.sockets() == []


async def disturb(site: Site, random: Random, life: int) -> None:
    """Something goes on in the cluster; how far it gets is chance."""
    async with site.client() as client:
        match random.below(4):
            case 0:
                await client.patch(resources.DEPLOYMENTS, "ticks", {"spec": {"replicas": random.below(5)}}, "default")
            case 1:
                template = {"metadata": {"annotations": {"life": str(life)}}}
                await client.patch(resources.DEPLOYMENTS, "ticks", {"spec": {"template": template}}, "default")
            case 2:
                pods = (await client.list(resources.PODS, "default")).items
                for run in runs(pods)[:2]:
                    await client.delete(resources.PODS, run.pod, "default")
            case _:
                await eventually(lambda: rolled_out(client), seconds=40)
        await asyncio.sleep(random.below(1500) / 1000)


async def die_while_starting(site: Site, random: Random) -> None:
    process = await site.begin_up()
    await asyncio.sleep(random.below(1200) / 1000)
    process.kill()
    async with asyncio.timeout(20):
        await process.communicate()

"""A supervisor is killed, or a container: everything of it ends, and is started again by policy, with back-off."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from chaos.site import Site, alive, program, runs, site, until
from fakes.waiting import eventually
from kube_core.api import resources
from kube_core.client.client import ApiClient
from kube_core.meta.documents import MutableDocument

pytestmark = [pytest.mark.anyio, pytest.mark.chaos, pytest.mark.timeout(120)]

#: A daemon in a session of its own, and a plain child; all of them write their ids.
_FAMILY = """
import os, time
def note():
    with open({members!r}, "a") as file:
        file.write(f"{{os.getpid()}}\\n")
note()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        note()
        time.sleep(1000)
    os._exit(0)
if os.fork() == 0:
    note()
    time.sleep(1000)
time.sleep(1000)
"""


def family(site: Site, name: str, policy: str = "Always") -> MutableDocument:
    code = _FAMILY.format(members=str(site.root / f"members-{name}"))
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"restartPolicy": policy, "terminationGracePeriodSeconds": 1, "containers": [program(code)]},
    }


async def members(site: Site, name: str, count: int) -> list[int]:
    """The processes of a family, once `count` have come to be in all its lives."""
    path = site.root / f"members-{name}"

    def look() -> list[int] | None:
        found = [int(line) for line in path.read_text().splitlines()] if path.exists() else []
        return found if len(found) >= count else None

    found: list[int] = await until(look)
    return found


async def status(client: ApiClient, name: str) -> Any:
    pod: Any = await client.get(resources.PODS, name, "default")
    return {"phase": pod["status"]["phase"], **(pod["status"].get("containerStatuses") or [{}])[0]}


async def has_restarted(client: ApiClient, name: str, count: int) -> Any:
    found = await status(client, name)
    return found if found.get("restartCount") == count and "running" in found["state"] else None


async def has_failed(client: ApiClient, name: str) -> Any:
    found = await status(client, name)
    return found if found["phase"] == "Failed" else None


@pytest.mark.parametrize("agent", ["alive", "dead"])
async def test_a_killed_supervisor_takes_its_containers_along_and_a_new_one_starts_them_again(
    tmp_path: Path, agent: str
) -> None:
    async with site(tmp_path) as here:
        await here.up()
        async with here.client() as client:
            await client.create(resources.PODS, family(here, "always"))
            await client.create(resources.PODS, family(here, "never", "Never"))
            first = [*await members(here, "always", 3), *await members(here, "never", 3)]
            before = await eventually(lambda: all_run(here, client))
        (supervisor,) = here.supervisors()
        if agent == "dead":
            await here.kill()
        os.kill(supervisor, signal.SIGKILL)
        await until(lambda: not alive(supervisor))
        if agent == "dead":
            await here.up()
        async with here.client() as client:
            again = await eventually(lambda: has_restarted(client, "always", 1))
            assert again["lastState"]["terminated"]["exitCode"] == 137
            assert again["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
            failed = await eventually(lambda: has_failed(client, "never"))
            assert failed["state"]["terminated"]["exitCode"] == 137
            second = await members(here, "always", 6)
            assert [pid for pid in first if alive(pid)] == []
            assert all(alive(pid) for pid in second[3:])
            assert [run.uid for run in runs((await client.list(resources.PODS, "default")).items)] == before
            (successor,) = here.supervisors()
            assert successor != supervisor
        await here.down()
        assert here.processes() == {}
        assert [pid for pid in second if alive(pid)] == []


async def all_run(site: Site, client: ApiClient) -> list[str] | None:
    found = runs((await client.list(resources.PODS, "default")).items)
    return [run.uid for run in found] if all(run.running for run in found) else None


async def test_a_killed_container_ends_with_all_its_processes_and_comes_back_later_each_time(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.up()
        async with here.client() as client:
            await client.create(resources.PODS, family(here, "a"))
            first = await members(here, "a", 3)
            await eventually(lambda: all_run(here, client))
            os.kill(first[0], signal.SIGKILL)
            second = (await members(here, "a", 6))[3:]
            assert [pid for pid in first if alive(pid)] == []
            await eventually(lambda: has_restarted(client, "a", 1))
            os.kill(second[0], signal.SIGSEGV)
            found = await eventually(lambda: backs_off(client, "a"))
            assert found["lastState"]["terminated"]["exitCode"] == 139
            assert "back-off 10s restarting failed container=c pod=a_default" in found["state"]["waiting"]["message"]
            assert [pid for pid in second if alive(pid)] == []
            await eventually(lambda: has_restarted(client, "a", 2))
            third = (await members(here, "a", 9))[6:]
            await client.delete(resources.PODS, "a", "default")
            await until(lambda: not any(alive(pid) for pid in third))
            assert here.containers() == {}
        await here.down()


async def backs_off(client: ApiClient, name: str) -> Any:
    found = await status(client, name)
    return found if (found["state"].get("waiting") or {}).get("reason") == "CrashLoopBackOff" else None

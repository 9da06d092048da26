"""Pods of processes on a node of a real server: their last words, files, hooks, order of ending, probes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from fakes.waiting import eventually
from kube_core.api import pods, resources
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document

pytestmark = pytest.mark.anyio

FOREVER = "while true; do sleep 1; done"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    made = Cluster(nodes=1, listen=False, runtime="process", state_directory=tmp_path / "state")
    async with made as cluster:
        yield cluster


def shell(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "host", "command": ["sh", "-c", script], **more}


async def create(cluster: Cluster, name: str, *containers: Document, **spec: Any) -> None:
    await eventually(lambda: accounts(cluster))
    more = {"terminationGracePeriodSeconds": 10, "automountServiceAccountToken": False, **spec}
    document = {"metadata": {"name": name}, "spec": {"containers": list(containers), **more}}
    await cluster.client.create(resources.PODS, document, "default")


async def accounts(cluster: Cluster) -> bool:
    return bool((await cluster.client.list(resources.SERVICE_ACCOUNTS, "default")).items)


async def pod_that(cluster: Cluster, name: str, holds: Callable[[Document], Any]) -> Document:
    async def look() -> Document | None:
        found = await cluster.client.get(resources.PODS, name, "default")
        return found if holds(found) else None

    return await eventually(look, seconds=40)


def status(pod: Document, position: int = 0, field: str = "containerStatuses") -> dict[str, Any]:
    statuses = (pod.get("status") or {}).get(field) or ()
    return dict(statuses[position]) if len(statuses) > position else {"state": {}}


async def test_last_words_come_from_the_file_or_from_the_end_of_the_log(cluster: Cluster) -> None:
    falls_back = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    told = "printf from-the-file > /dev/termination-log; exit 1"
    await create(
        cluster,
        "p",
        shell("file", told),
        shell("path", "printf elsewhere > /tmp/last", terminationMessagePath="/tmp/last"),
        shell("log", "for n in $(seq 100); do echo $n; done; printf end; exit 1", **falls_back),
        shell("well", "echo nothing of note", **falls_back),
        shell("both", told, **falls_back),
        restartPolicy="Never",
    )
    pod = await pod_that(cluster, "p", pods.is_terminal)
    messages = {
        each["name"]: each["state"]["terminated"].get("message", "") for each in pod["status"]["containerStatuses"]
    }
    tail = "".join(f"{number}\n" for number in range(22, 101)) + "end"
    assert messages == {"file": "from-the-file", "path": "elsewhere", "log": tail, "well": "", "both": "from-the-file"}


async def test_variables_come_from_a_file_that_an_init_container_made(cluster: Cluster) -> None:
    mounts = [{"name": "config", "mountPath": "/config"}]
    reference = {"volumeName": "config", "path": "app.env", "key": "GREETING"}
    await create(
        cluster,
        "p",
        shell(
            "c", "printf '%s' \"$GREETING\" > /dev/termination-log",
            env=[{"name": "GREETING", "valueFrom": {"fileKeyRef": reference}}],
        ),
        initContainers=[shell("init", "echo \"GREETING='hello there'\" > /config/app.env", volumeMounts=mounts)],
        volumes=[{"name": "config", "emptyDir": {}}],
        restartPolicy="Never",
    )  # fmt: skip
    pod = await pod_that(cluster, "p", pods.is_terminal)
    assert status(pod)["state"]["terminated"]["message"] == "hello there"


async def test_a_sub_path_that_leads_out_of_its_volume_keeps_a_container_from_starting(cluster: Cluster) -> None:
    volume = {"name": "v", "mountPath": "/v"}
    await create(
        cluster,
        "p",
        shell("c", FOREVER, volumeMounts=[{**volume, "subPath": "out"}]),
        shell("good", FOREVER, volumeMounts=[{**volume, "subPath": "in/side"}]),
        initContainers=[shell("init", "ln -s /etc /v/out", volumeMounts=[volume])],
        volumes=[{"name": "v", "emptyDir": {}}],
    )
    pod = await pod_that(cluster, "p", lambda pod: status(pod)["state"].get("waiting", {}).get("message"))
    message = 'failed to prepare subPath for volumeMount "v" of container "c"'
    assert status(pod)["state"]["waiting"] == {"reason": "CreateContainerConfigError", "message": message}
    await pod_that(cluster, "p", lambda pod: "running" in status(pod, 1)["state"])


async def test_hooks_run_first_and_sidecars_end_last(cluster: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "order"
    log.mkdir()
    mounts = [{"name": "log", "mountPath": "/order"}]

    def traps(name: str) -> str:
        return f"trap 'echo {name} >> /order/log; exit 0' TERM; touch /order/{name}; {FOREVER.replace('1', '0.05')}"

    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook >> /order/log"]}}}
    started = {"startupProbe": {"exec": {"command": ["test", "-e", "/order/log"]}, "periodSeconds": 1}}
    sides = [
        shell(name, traps(name), volumeMounts=mounts, restartPolicy="Always", lifecycle=life)
        for name, life in (("one", {}), ("two", hook))
    ]
    sides[1] |= {"lifecycle": hook}
    (log / "log").touch()
    await create(
        cluster, "p", shell("app", traps("app"), volumeMounts=mounts, **started), initContainers=sides,
        volumes=[{"name": "log", "hostPath": {"path": str(log), "type": "Directory"}}],
    )  # fmt: skip
    await pod_that(cluster, "p", pods.is_ready)
    await eventually(lambda: all_there(log, "app", "one", "two"))
    await cluster.client.delete(resources.PODS, "p", "default")
    await eventually(lambda: gone(cluster), seconds=40)
    lines = (log / "log").read_text().split()
    assert sorted(lines[:2]) == ["app", "hook"]
    assert lines[2:] == ["two", "one"]


async def all_there(directory: Path, *names: str) -> bool:
    return all((directory / name).exists() for name in names)


async def gone(cluster: Cluster) -> bool:
    return not (await cluster.client.list(resources.PODS, "default")).items


async def test_a_process_whose_command_says_that_it_is_dead_is_restarted(cluster: Cluster) -> None:
    probe = {"exec": {"command": ["test", "!", "-e", "$(MARK)/dead"]}, "periodSeconds": 1, "failureThreshold": 1}
    volume = {"name": "v", "mountPath": "/v"}
    script = f"test -e /v/again || touch /v/dead; touch /v/again; {FOREVER}"
    await create(
        cluster,
        "p",
        shell("c", f"rm -f /v/dead; {script}", volumeMounts=[volume], env=[{"name": "MARK", "value": "/v"}],
              livenessProbe={**probe, "terminationGracePeriodSeconds": 1}),
        volumes=[{"name": "v", "emptyDir": {}}],
    )  # fmt: skip
    pod = await pod_that(
        cluster, "p", lambda pod: status(pod).get("restartCount") == 1 and "running" in status(pod)["state"]
    )
    assert "terminated" in status(pod)["lastState"]


async def test_a_crash_is_told_with_its_code_and_forced_deletion_ends_everything(cluster: Cluster) -> None:
    await create(cluster, "crashes", shell("c", "exit 7"))
    pod = await pod_that(
        cluster, "crashes", lambda pod: status(pod)["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"
    )
    assert status(pod)["lastState"]["terminated"]["exitCode"] == 7
    await create(cluster, "stubborn", shell("c", f"trap '' TERM; {FOREVER}"), terminationGracePeriodSeconds=600)
    await pod_that(cluster, "stubborn", pods.is_ready)
    for name in ("crashes", "stubborn"):
        await cluster.client.delete(resources.PODS, name, "default", grace_period=0)
    await eventually(lambda: nothing_runs(cluster))


async def nothing_runs(cluster: Cluster) -> bool:
    runtime = cluster.nodes["node-1"].runtime
    await asyncio.sleep(0)
    return not runtime.list_containers()

"""What a verb of the client costs on objects of a class, without a socket and over HTTPS: microseconds each.

python benchmarks/client.py
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from ruamel.yaml import YAML

import kube_core as kube
from kube_core.api import core, meta, resources
from kube_core.client.client import ApiClient

ROUNDS = 500
LISTED = 100


def pod(name: str) -> core.Pod:
    container = core.Container(name="main", image="web", env=(core.EnvVar(name="A", value="b"),))
    spec = core.PodSpec(containers=(container,), automount_service_account_token=False)
    return core.Pod(metadata=meta.ObjectMeta(name=name, labels={"app": "web"}), spec=spec)


async def timed(title: str, action: Callable[[int], Awaitable[object]], rounds: int = ROUNDS) -> None:
    await action(-1)
    started = time.perf_counter()
    for number in range(rounds):
        await action(number)
    print(f"  {title:<34}{(time.perf_counter() - started) / rounds * 1e6:9.1f} µs")


async def whole(client: ApiClient) -> object:
    return await client.list(core.Pod, limit=LISTED)


async def measure(way: str, client: ApiClient) -> None:
    print(way)
    name = way.lower()
    await timed("create a Pod", lambda number: client.create(pod(f"{name}{number}")))
    await timed("get a Pod", lambda _: client.get(core.Pod, f"{name}0"))
    await timed("get its document", lambda _: client.get(resources.PODS, f"{name}0", "default"))
    await timed(f"list {LISTED} Pods", lambda _: whole(client), 50)
    await timed(
        "patch a Pod", lambda number: client.patch(core.Pod, f"{name}0", {"metadata": {"labels": {"n": f"n{number}"}}})
    )


async def main() -> None:
    async with kube.Cluster(nodes=0, controllers=("serviceaccount-controller",)) as cluster:
        await cluster.client.wait(core.ServiceAccount, "default", condition=lambda _: True)
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "config"
            with path.open("w") as file:
                YAML().dump(dict(cluster.kubeconfig()), file)
            await measure("local", cluster.client)
            async with kube.connect(kubeconfig=path) as client:
                await measure("HTTPS", client)


if __name__ == "__main__":
    asyncio.run(main())

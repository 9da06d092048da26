"""Containers: pods created → Ready with the oci runtime, against a bare run of the same image by the same program.

python benchmarks/containers.py [PODS] [TOGETHER]

Needs root, crun and Debian's busybox-static; says so where it has them not. One pod at a time, then some at once. Times
are of the clock on the wall, in milliseconds, as somebody waits for them; medians, since the machine does other things.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fakes.containers import missing
from fakes.images import busybox_layer, make_image
from kube_core.api import resources
from kube_core.cluster import Cluster
from kube_drivers.runtime.oci.cgroups import Cgroups
from kube_drivers.runtime.oci.images.archives import load_archive
from kube_drivers.runtime.oci.images.store import ImageStore
from kube_drivers.runtime.oci.rootfs import discard_root, make_root


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def show(what: str, times: list[float]) -> None:
    print(f"{what:38} p50 {statistics.median(times):7.1f} ms   p99 {percentile(times, 0.99):7.1f} ms")


def bare(store: ImageStore, folder: Path, count: int) -> list[float]:
    """`crun run` of a container that is over at once, from a root that is mounted already."""
    image = store.find("busybox:1")
    assert image is not None
    (folder / "bare").mkdir()
    root = make_root(store, image, folder / "bare")
    subprocess.run(["crun", "spec"], cwd=folder, check=True)
    spec = json.loads((folder / "config.json").read_bytes())
    spec["process"] |= {"terminal": False, "args": ["true"]}
    spec["root"] = {"path": str(root), "readonly": False}
    (folder / "config.json").write_text(json.dumps(spec))
    command = ["crun", "--root", str(folder / "state"), "run", "--bundle", str(folder), "bare"]
    if hidden := Cgroups.of_machine().hidden:
        # As the supervisor does it: crun refuses machines whose cgroups are mixed.
        script = f'mount --make-private {Path(hidden[0]).parent} && umount -l {hidden[0]} && exec "$@"'
        command = ["unshare", "-m", "--propagation", "unchanged", "sh", "-c", script, "sh", *command]
    times = []
    for _ in range(count):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        times.append((time.perf_counter() - began) * 1000)
    discard_root(folder / "bare")
    return times


async def create(cluster: Cluster, name: str) -> None:
    container = {"name": "c", "image": "busybox:1", "command": ["sleep", "1000000"]}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    await cluster.client.create(resources.PODS, {"metadata": {"name": name}, "spec": spec}, "default")


class Ready:
    """When pods become Ready, by their names."""

    def __init__(self) -> None:
        self.moments: dict[str, float] = {}
        self.changed = asyncio.Event()

    def see(self, _before: Any, after: Any) -> None:
        conditions = ((after or {}).get("status") or {}).get("conditions") or ()
        if any(each["type"] == "Ready" and each["status"] == "True" for each in conditions):
            self.moments.setdefault(after["metadata"]["name"], time.perf_counter())
            self.changed.set()

    async def of(self, names: set[str]) -> list[float]:
        while not self.moments.keys() >= names:
            self.changed.clear()
            await self.changed.wait()
        return [self.moments[name] for name in names]


async def measure(cluster: Cluster, pods: int, together: int) -> tuple[list[float], list[float]]:
    ready = Ready()
    cluster.informers.informer(resources.PODS).add_handler(ready.see)
    alone = []
    for number in range(pods):
        began = time.perf_counter()
        await create(cluster, f"alone-{number}")
        (moment,) = await ready.of({f"alone-{number}"})
        alone.append((moment - began) * 1000)
    names = {f"together-{number}" for number in range(together)}
    began = time.perf_counter()
    await asyncio.gather(*(create(cluster, name) for name in names))
    return alone, [(moment - began) * 1000 for moment in await ready.of(names)]


async def main(pods: int, together: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KUBE_CORE_IMAGES"] = f"{folder}/store"
        archive = make_image(busybox_layer(), Env=["PATH=/bin"]).save_docker(Path(folder, "image.tar"), "busybox:1")
        store = ImageStore(Path(folder, "store"))
        load_archive(store, archive)
        plain = bare(store, Path(folder), pods)
        async with Cluster(name="bench", runtime="oci", network="bridge", proxy="userspace", listen=False) as cluster:
            alone, at_once = await measure(cluster, pods, together)
    show("crun run, bare", plain)
    show("pod created → Ready, one at a time", alone)
    print(f"  above the bare run{statistics.median(alone) - statistics.median(plain):31.1f} ms")
    show(f"pod created → Ready, {together} at once", at_once)


if __name__ == "__main__":
    if reason := missing("crun"):
        print(f"not measured: {reason}")
    else:
        asyncio.run(main(*(int(each) for each in sys.argv[1:3] or ("20", "20"))))

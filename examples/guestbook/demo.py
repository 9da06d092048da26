"""The demonstration: a whole cluster, a real application on it, and what happens when things go wrong.

    make demo            or: python examples/guestbook/demo.py
    make demo KEEP=1     or: … --keep: leave the cluster up, and say how kubectl reaches it

Everything happens in this one program and its children, in a temporary directory, on loopback addresses. Every wait has
a limit, and says what it waited for when it gives up. The exit code is 0 only if every step went as told.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import structlog
from leftovers import Leftovers
from narration import Narrator
from observation import Observer, StepFailed
from standing import stand_apart
from traffic import Traffic

from kube_core.api import resources, yaml
from kube_core.api.descriptors import descriptor_of_kind
from kube_core.api.types import ResourceType
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document, name_of, thaw
from kube_core.meta.gvk import GroupVersion, GroupVersionKind

HERE = Path(__file__).parent
NAMESPACE = "guestbook"
FRONTEND = "guestbook-frontend"
BACKEND = "guestbook-backend"
GREETING = "It runs: from a fresh clone to this page."


async def demonstrate(narrator: Narrator, *, keep: bool) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    directory = Path(tempfile.mkdtemp(prefix="kube-core-demo-"))
    leftovers = Leftovers(directory)
    try:
        stopping = await run_cluster(narrator, directory, leftovers, keep=keep)
    finally:
        leftovers.remove_directory()
    left = leftovers.find()
    if left:
        raise StepFailed("something is left after the cluster has stopped:\n  " + "\n  ".join(left))
    narrator.done("stopped: no process, no socket, no file is left", since=stopping)


async def run_cluster(narrator: Narrator, directory: Path, leftovers: Leftovers, *, keep: bool) -> float:
    """Start a cluster, tell the story, stop the cluster; returns when stopping began."""
    started = time.perf_counter()
    narrator.title("A cluster: SQLite store, process runtime, loopback network, user-space proxy, HTTP ingress")
    cluster = Cluster(
        name=f"demo-{os.getpid()}",
        store=f"sqlite://{directory}/store.db",
        runtime="process",
        state_directory=directory,
        images=(HERE / "images",),
    )
    async with cluster:
        narrator.done(f"the cluster is ready at {cluster.url}", since=started)
        story = Story(cluster, narrator, started)
        await story.tell()
        leftovers.note(cluster)
        if keep:
            kubeconfig = directory / "kubeconfig"
            kubeconfig.write_text(json.dumps(cluster.kubeconfig()))  # JSON is YAML
            kubeconfig.chmod(0o600)
            await stay(narrator, kubeconfig, story.url)
        narrator.title("Stopping")
        return time.perf_counter()


async def stay(narrator: Narrator, kubeconfig: Path, url: str) -> None:
    """Leave the cluster up until this program is told to end."""
    narrator.title("The cluster stays up")
    narrator.say(f"export KUBECONFIG={kubeconfig}")
    narrator.say(f"kubectl -n {NAMESPACE} get pods -o wide")
    narrator.say(f"the guestbook: {url}")
    narrator.say(f"to stop it: kill {os.getpid()}")
    end = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end.set)
    narrator.stand_apart()
    await end.wait()


class Story:
    """The steps, in order. Each leaves the application running."""

    def __init__(self, cluster: Cluster, narrator: Narrator, started: float) -> None:
        self.client = cluster.client
        self.narrator = narrator
        self.observer = Observer(cluster.client, narrator, NAMESPACE)
        self.started = started
        self.url = ""

    async def tell(self) -> None:
        await self.apply()
        await self.serve_the_first_page()
        await self.show()
        await self.sign()
        await self.lose_a_process()
        await self.roll_out_and_back()

    async def apply(self) -> None:
        self.narrator.title("Applying guestbook.yaml")
        for document in yaml.load_all((HERE / "guestbook.yaml").read_text()):
            resource = resource_of(document)
            await self.client.apply(resource, document, field_manager="demo")
            self.narrator.say(f"{resource.plural}/{name_of(document)} applied")

    async def serve_the_first_page(self) -> None:
        began = time.perf_counter()
        await self.observer.bound("entries")
        self.url = await self.observer.ingress_url("guestbook")
        await self.observer.rolled_out(BACKEND)
        async with aiohttp.ClientSession() as session:

            async def page() -> bool:
                async with session.get(self.url) as response:
                    return response.status == 200 and "Nobody has written yet" in await response.text()

            await self.observer.until("the first page through the Ingress", page)
        self.narrator.done(f"first page served at {self.url}", since=self.started)
        await self.observer.rolled_out(FRONTEND)
        self.narrator.done("all replicas are available", since=began)

    async def show(self) -> None:
        for resource, wide in (
            (resources.PODS, True),
            (resources.SERVICES, False),
            (resources.INGRESSES, False),
            (resources.PERSISTENT_VOLUME_CLAIMS, False),
        ):
            option = " -o wide" if wide else ""
            self.narrator.title(f"kubectl -n {NAMESPACE} get {resource.plural}{option}")
            self.narrator.table(await self.observer.table(resource, wide=wide))

    async def sign(self) -> None:
        self.narrator.title("Signing the guestbook")
        async with aiohttp.ClientSession() as session:
            form = {"name": "demo", "message": GREETING}
            async with session.post(self.url, data=form, allow_redirects=False) as response:
                if response.status != 303:
                    raise StepFailed(f"POST {self.url} was answered with {response.status}: {await response.text()}")
            async with session.get(self.url) as response:
                if GREETING not in await response.text():
                    raise StepFailed("the entry that was posted is not on the page")
        self.narrator.done("posted an entry through the Ingress and read it back")

    async def lose_a_process(self) -> None:
        self.narrator.title("Killing a front-end process while requests go on")
        victim = next(iter(await self.observer.pods(FRONTEND)))
        before = restarts_of(victim)
        began = time.perf_counter()
        async with Traffic(self.url) as traffic:
            pid = await self.observer.kill(name_of(victim))
            self.narrator.say(f"process {pid} of pod {name_of(victim)} was killed")

            async def replaced() -> bool:
                now = await self.client.get(resources.PODS, name_of(victim), NAMESPACE)
                return restarts_of(now) > before and is_ready(now)

            await self.observer.until("the container's process to be replaced", replaced)
        self.narrator.done(f"it was replaced; {traffic.report()}", since=began)
        traffic.check()

    async def roll_out_and_back(self) -> None:
        self.narrator.title("Rolling the Deployment to a new version, and back")
        template = (await self.client.get(resources.DEPLOYMENTS, FRONTEND, NAMESPACE))["spec"]["template"]
        newer = thaw(template)
        for container in newer["spec"]["containers"]:
            container["image"] = "guestbook-frontend:v2"
        async with Traffic(self.url) as traffic:
            await self.roll(newer, "v2")
            await self.roll(await self.observer.previous_template(FRONTEND), "v1")
        self.narrator.done(f"there and back; {traffic.report()}")
        traffic.check()
        async with aiohttp.ClientSession() as session, session.get(self.url) as response:
            if GREETING not in await response.text():
                raise StepFailed("the entry is no longer on the page")
        self.narrator.done("the entry is still there")

    async def roll(self, template: Document, version: str) -> None:
        began = time.perf_counter()
        # As `kubectl rollout undo` does it: the whole template is replaced.
        patch = [{"op": "replace", "path": "/spec/template", "value": thaw(template)}]
        await self.client.patch(resources.DEPLOYMENTS, FRONTEND, patch, NAMESPACE, patch_type="json")
        await self.observer.rolled_out(FRONTEND)
        async with aiohttp.ClientSession() as session, session.get(self.url) as response:
            if response.headers.get("X-Guestbook-Version") != version:
                raise StepFailed(f"the page is not {version}: {response.headers.get('X-Guestbook-Version')}")
        self.narrator.done(f"every page is {version}", since=began)


def resource_of(document: Document) -> ResourceType:
    version = GroupVersion.parse(document["apiVersion"])
    found = descriptor_of_kind(GroupVersionKind(version.group, version.version, document["kind"]))
    if found is None:
        raise StepFailed(f"{document['apiVersion']} {document['kind']} is not served")
    return found.type


def restarts_of(pod: Document) -> int:
    return sum(
        int(status.get("restartCount") or 0) for status in (pod.get("status") or {}).get("containerStatuses") or ()
    )


def is_ready(pod: Document) -> bool:
    conditions: Sequence[Document] = (pod.get("status") or {}).get("conditions") or ()
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the guestbook on a cluster of its own.")
    parser.add_argument("--keep", action="store_true", default=os.environ.get("KEEP", "") not in ("", "0"))
    arguments = parser.parse_args()
    if arguments.keep and (code := stand_apart()) is not None:
        return code
    # The guestbook's containers run `python3`: this one, rather than whichever comes first on the machine.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    # The story is told by the narrator; what the cluster's parts log is for when something is wrong.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger("error"),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    narrator = Narrator()
    try:
        asyncio.run(demonstrate(narrator, keep=arguments.keep))
    except StepFailed as error:
        narrator.failed(str(error))
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        narrator.failed("interrupted")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

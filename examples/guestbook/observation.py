"""Watching the application: waiting for it with limits, saying why when one is reached, and showing tables."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import aiohttp
from narration import Narrator

from kube_core.abc.transport import Request
from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.client.client import ApiClient
from kube_core.meta.documents import Document, controller_of, metadata_of, name_of, thaw
from kube_core.meta.status import StatusError

__all__ = ["Observer", "StepFailed"]

#: Seconds that anything may take.
LIMIT = 60.0

_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
_REVISION = "deployment.kubernetes.io/revision"
_TEMPLATE_HASH = "pod-template-hash"


class StepFailed(Exception):
    """Something did not come about; the message says what, and what there is instead."""


class Observer:
    """Reads one namespace."""

    def __init__(self, client: ApiClient, narrator: Narrator, namespace: str) -> None:
        self.client = client
        self.narrator = narrator
        self.namespace = namespace

    async def until(self, what: str, condition: Callable[[], Awaitable[bool]]) -> None:
        """Wait for something to become true. Raises `StepFailed` with the state of things after `LIMIT` seconds."""
        deadline = time.monotonic() + LIMIT
        last = ""
        with self.narrator.waiting(what):
            while True:
                try:
                    if await condition():
                        return
                except (StatusError, aiohttp.ClientError) as error:
                    last = f" (last error: {error})"
                if time.monotonic() > deadline:
                    raise StepFailed(f"waited {LIMIT:.0f} s for {what}{last}\n{await self.explain()}")
                await asyncio.sleep(0.05)

    async def bound(self, claim: str) -> None:
        async def is_bound() -> bool:
            found = await self.client.get(resources.PERSISTENT_VOLUME_CLAIMS, claim, self.namespace)
            return (found.get("status") or {}).get("phase") == "Bound"

        await self.until(f"claim {claim} to be bound", is_bound)

    async def ingress_url(self, name: str) -> str:
        address: list[str] = []

        async def has_address() -> bool:
            found = await self.client.get(resources.INGRESSES, name, self.namespace)
            for item in ((found.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ():
                address.append(f"http://{item.get('ip') or item.get('hostname')}:{item['ports'][0]['port']}/")
            return bool(address)

        await self.until(f"ingress {name} to have an address", has_address)
        return address[0]

    async def rolled_out(self, deployment: str) -> None:
        async def complete() -> bool:
            found = await self.client.get(resources.DEPLOYMENTS, deployment, self.namespace)
            wanted, status = found["spec"]["replicas"], found.get("status") or {}
            return bool(
                status.get("observedGeneration") == metadata_of(found).get("generation")
                and status.get("updatedReplicas") == wanted
                and status.get("replicas") == wanted
                and status.get("availableReplicas") == wanted
            )

        await self.until(f"deployment {deployment} to be rolled out", complete)

    async def pods(self, deployment: str) -> Sequence[Document]:
        tier = deployment.rpartition("-")[2]
        listing = await self.client.list(resources.PODS, self.namespace, label_selector=f"tier={tier}")
        return listing.items

    async def previous_template(self, deployment: str) -> Document:
        """The pod template of the revision before the present one, from its ReplicaSet."""
        owned = [
            item
            for item in (await self.client.list(resources.REPLICA_SETS, self.namespace)).items
            if (controller_of(item) or {}).get("name") == deployment
        ]
        by_revision = sorted(owned, key=lambda item: int(metadata_of(item)["annotations"][_REVISION]))
        if len(by_revision) < 2:
            raise StepFailed(f"deployment {deployment} has no revision to go back to")
        template = thaw(by_revision[-2]["spec"]["template"])
        template["metadata"]["labels"].pop(_TEMPLATE_HASH, None)
        return dict(template)

    async def kill(self, pod: str) -> int:
        """Kill the process of a pod's container, as the machine might; returns its pid."""
        pid = process_of(pod)
        if pid is None:
            raise StepFailed(f"no process of pod {pod} was found")
        os.kill(pid, signal.SIGKILL)
        return pid

    async def table(self, resource: ResourceType, *, wide: bool) -> Sequence[Sequence[str]]:
        """What `kubectl get` shows: the server's own table."""
        response = await self.client.transport.request(
            Request("GET", resource.path(self.namespace), headers={"accept": _TABLE})
        )
        document = response.decoded()
        shown = [
            number for number, column in enumerate(document["columnDefinitions"]) if wide or not column.get("priority")
        ]
        header = [document["columnDefinitions"][number]["name"].upper() for number in shown]
        rows = [[str(row["cells"][number]) for number in shown] for row in document["rows"]]
        return [header, *rows]

    async def explain(self) -> str:
        """The pods that are not ready, and the last events."""
        lines = []
        for pod in (await self.client.list(resources.PODS, self.namespace)).items:
            status = pod.get("status") or {}
            lines.append(f"  pod {name_of(pod)}: {status.get('phase', 'no phase')}")
            for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
                for state, detail in (container.get("state") or {}).items():
                    why = " ".join(str(detail[key]) for key in ("reason", "message", "exitCode") if key in detail)
                    lines.append(f"    {container['name']}: {state} {why}".rstrip())
        events = (await self.client.list(resources.EVENTS, self.namespace)).items
        recent = sorted(events, key=lambda item: str(item.get("lastTimestamp") or item.get("eventTime") or ""))[-12:]
        for event in recent:
            about = event.get("involvedObject") or {}
            lines.append(
                f"  event {event.get('type')} {about.get('kind')}/{about.get('name')} "
                f"{event.get('reason')}: {event.get('message')}"
            )
        return "\n".join(lines) or "  there is nothing in the namespace"


def process_of(pod: str) -> int | None:
    """The process of this machine that was told to be a container of this pod."""
    marker = f"POD_NAME={pod}\0".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if marker in (entry / "environ").read_bytes():
                    return int(entry.name)
            except OSError:
                continue  # ended meanwhile, or somebody else's
    return None

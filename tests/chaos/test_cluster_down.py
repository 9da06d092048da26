"""`kube-core down` with pods running leaves nothing of them but their data, and `up` brings all of it back."""

from __future__ import annotations

import asyncio
import shutil
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from chaos.site import program, runs, site
from fakes.waiting import eventually
from kube_core.api import resources
from kube_core.client.client import ApiClient
from kube_core.meta.documents import MutableDocument

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

#: Counts its lives in a file of its volume, and tells.
_COUNTS = """
import http.server, os
path = os.environ["KUBE_MOUNT_DATA"] + "/lives"
lives = (int(open(path).read()) if os.path.exists(path) else 0) + 1
with open(path, "w") as file:
    file.write(str(lives))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"lives {lives}".encode())
http.server.HTTPServer((os.environ["POD_IP"], 8080), Handler).serve_forever()
"""


def counting() -> MutableDocument:
    container = program(
        _COUNTS,
        volumeMounts=[{"name": "data", "mountPath": "/data"}],
        ports=[{"containerPort": 8080}],
        readinessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    )
    return {
        "metadata": {"name": "counts", "namespace": "default", "labels": {"app": "counts"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        },
    }


async def set_up(client: ApiClient) -> str:
    """A pod with a volume behind a Service; the Service's address."""
    claim = {
        "metadata": {"name": "data", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    await client.create(resources.PERSISTENT_VOLUME_CLAIMS, claim)
    await client.create(resources.PODS, counting())
    service: Any = await client.create(
        resources.SERVICES,
        {
            "metadata": {"name": "counts", "namespace": "default"},
            "spec": {"selector": {"app": "counts"}, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    )
    return str(service["spec"]["clusterIP"])


async def answers(address: str, expected: str) -> None:
    def ask() -> bool:
        try:
            with urllib.request.urlopen(f"http://{address}/", timeout=2) as response:
                return bool(response.read().decode() == expected)
        except OSError:
            return False

    await eventually(lambda: asyncio.to_thread(ask), seconds=30)


async def test_down_leaves_nothing_and_up_brings_pods_volumes_and_services_back(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.up()
        async with here.client() as client:
            address = await set_up(client)
            await answers(address, "lives 1")
            before = runs((await client.list(resources.PODS, "default")).items)
        assert here.sockets()
        await here.down()
        assert here.processes() == {}
        assert here.sockets() == []
        await here.up()
        await answers(address, "lives 2")
        async with here.client() as client:
            after = runs((await client.list(resources.PODS, "default")).items)
        assert [run.uid for run in after] == [run.uid for run in before]
        assert after[0].container != before[0].container
        await here.down()
        assert here.processes() == {}
        assert here.sockets() == []


@pytest.mark.chaos
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
async def test_kubectl_watches_and_logs_end_when_the_cluster_goes_down(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.up()
        async with here.client() as client:
            await client.create(
                resources.PODS,
                {
                    "metadata": {"name": "talks", "namespace": "default"},
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        "containers": [program("import time; print('hello'); time.sleep(1000)")],
                    },
                },
            )
            await eventually(lambda: running(client))
        watch = await here.begin("kubectl", "get", "pods", "-w", "-o", "name")
        logs = await here.begin("kubectl", "logs", "-f", "talks")
        for process, first in ((watch, b"pod/talks\n"), (logs, b"hello\n")):
            assert process.stdout is not None
            async with asyncio.timeout(20):
                assert await process.stdout.readline() == first
        await here.down()
        async with asyncio.timeout(20):
            ended = [await process.communicate() for process in (watch, logs)]
        # The watch is over; the log is cut off, and says so.
        assert (watch.returncode, ended[0][1]) == (0, b"")
        assert len(ended[1][1].splitlines()) <= 1


async def running(client: ApiClient) -> bool:
    return all(run.running for run in runs((await client.list(resources.PODS, "default")).items))

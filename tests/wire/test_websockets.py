"""Streams that browsers read: watches and logs over a WebSocket of a real socket."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from kube_core.api import resources
from kube_core.cluster import Cluster

pytestmark = pytest.mark.anyio

LOGS = '{"*": {"log": "hello\\nworld\\n"}}'
POD: dict[str, Any] = {
    "metadata": {"name": "web", "annotations": {"fake.kube-core.dev/behaviour": LOGS}},
    "spec": {"containers": [{"name": "main", "image": "web:1"}]},
}


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster() as cluster:
        yield cluster


@pytest.fixture
async def browser(cluster: Cluster, tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    file = tmp_path / "pair.pem"
    file.write_bytes(cluster.admin.certificate + cluster.admin.key)
    context = ssl.create_default_context(cadata=cluster.authority.certificate.decode())
    context.load_cert_chain(file)
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(f"https://localhost:{cluster.port}", connector=connector) as session:
        yield session


async def test_each_event_of_a_watch_is_a_message_of_text(cluster: Cluster, browser: aiohttp.ClientSession) -> None:
    path = "/api/v1/namespaces/default/configmaps?watch=true&fieldSelector=metadata.name%3Dnote"
    async with browser.ws_connect(path) as socket:
        note: dict[str, Any] = {"metadata": {"name": "note", "namespace": "default"}}
        await cluster.client.create(resources.CONFIG_MAPS, note)
        await cluster.client.patch(resources.CONFIG_MAPS, "note", {"data": {"a": "1"}}, "default")
        await cluster.client.delete(resources.CONFIG_MAPS, "note", "default")
        seen = [orjson.loads(await socket.receive_str(timeout=20)) for _ in range(3)]
    assert [each["type"] for each in seen] == ["ADDED", "MODIFIED", "DELETED"]


@pytest.mark.parametrize("protocol", ["", "binary.k8s.io", "base64.binary.k8s.io"])
async def test_logs_come_as_bytes_or_in_base64(cluster: Cluster, browser: aiohttp.ClientSession, protocol: str) -> None:
    await cluster.client.create(resources.PODS, POD, "default")
    await cluster.settled()
    protocols = [protocol] if protocol else []
    path = "/api/v1/namespaces/default/pods/web/log?container=main"
    async with browser.ws_connect(path, protocols=protocols) as socket:
        assert socket.protocol == (protocol or None)
        pieces = [message.data async for message in socket]
    read = [base64.b64decode(each) if isinstance(each, str) else each for each in pieces]
    assert b"".join(read) == b"hello\nworld\n"
    assert {type(each) for each in pieces} == {str if protocol.startswith("base64") else bytes}

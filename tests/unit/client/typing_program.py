"""What a person's program looks like: type checkers read it (`test_typing.py`), nobody runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, assert_type

import kube_core as kube
from kube_core.api import apps, core, meta, resources
from kube_core.api.types import ResourceType
from kube_core.client.pages import Listing
from kube_core.client.watching import Event
from kube_core.meta.documents import Document


async def program() -> None:
    async with kube.connect(context="staging", namespace="site") as client:
        assert_type(await client.get(apps.Deployment, "web"), apps.Deployment)
        assert_type(await client.get(resources.DEPLOYMENTS, "web", "site"), Document)
        assert_type((await client.get(apps.Deployment, "web")).spec.replicas, int | None)

        async for pod in client.list(core.Pod, labels={"app": "web"}):
            assert_type(pod, core.Pod)
        async for document in client.list(resources.PODS, "site", label_selector="app=web"):
            assert_type(document, Document)
        listing = await client.list(core.Pod, kube.ALL_NAMESPACES)
        assert_type(listing, Listing[core.Pod])
        assert_type(await client.list(resources.PODS), Listing[Document])

        async for event in client.watch(core.Pod, after=listing):
            assert_type(event, Event[core.Pod])
            if event.type == "DELETED":
                assert_type(event.object.status.phase, str | None)

        made = await client.create(core.ConfigMap(metadata=meta.ObjectMeta(name="a"), data={"x": "1"}))
        assert_type(made, core.ConfigMap)
        assert_type(await client.create(resources.CONFIG_MAPS, {"metadata": {"name": "b"}}), Document)
        assert_type(await client.create({"apiVersion": "v1", "kind": "ConfigMap"}, namespace="site"), Document)
        assert_type(await client.apply({"apiVersion": "v1", "kind": "ConfigMap"}, force=True), Document)
        assert_type(await client.update(made), core.ConfigMap)
        assert_type(await client.update_status(made), core.ConfigMap)
        assert_type(await client.apply(made, name="a", namespace="site", force=True), core.ConfigMap)
        assert_type(await client.patch(core.ConfigMap, "a", {"data": {"x": "2"}}), core.ConfigMap)
        assert_type(await client.patch_status(apps.Deployment, "web", {"status": {}}), apps.Deployment)
        assert_type(await client.delete(core.ConfigMap, "a"), core.ConfigMap | None)
        assert_type(await client.delete(made), core.ConfigMap | None)
        assert_type(await client.delete(resources.CONFIG_MAPS, "a", "site"), Document)

        ready = await client.wait(apps.Deployment, "web", condition="Available", timeout=60)
        assert_type(ready, apps.Deployment)
        assert_type(await client.wait(ready, condition=lambda each: each.spec.replicas == 3), apps.Deployment)
        await client.wait(ready, condition="deleted")
        assert_type(await client.scale(apps.Deployment, "web", 3), int)
        assert_type(await client.resource("gadgets.example.dev"), ResourceType)
        assert_type(await client.create_token("robot"), str)
        assert_type((await client.version()).git_version, str)

        assert_type(await client.logs("web", tail=10), str)
        async for line in client.logs("web", follow=True):
            assert_type(line, str)
        assert_type((await client.exec("web", ["date"])).check().text, str)
        async with client.exec("web", ["sh"], tty=True) as session:
            chunks: AsyncIterator[bytes] = session.stdout
            assert_type(await session.wait(), int)
            del chunks
        async with client.port_forward("web", 80) as connection:
            assert_type(await connection.receive(), bytes)
        async with client.port_forward("web", 80).listen() as address:
            assert_type(address, tuple[str, int])


def mistakes(client: kube.ApiClient) -> Any:
    """Each of these lines is an error to a type checker, and the test fails where one is not."""
    client.get(apps.Deployment)  # type: ignore[call-overload]  # pyright: ignore
    client.list(core.Pod, label_selector="app=web")  # type: ignore[call-overload]  # pyright: ignore

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakes.api import CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS, FakeApi, quiet, until
from kube_core._kit.random import Random
from kube_core.control.runtime import ControllerRuntime
from kube_plugins.controllers import rootca, serviceaccount

pytestmark = pytest.mark.anyio


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
async def running(api: FakeApi) -> AsyncIterator[ControllerRuntime]:
    specs = [*serviceaccount.kube_core_controllers(), *rootca.kube_core_controllers()]
    runtime = ControllerRuntime(
        specs, api.client, clock=api.clock, random=Random(1), drivers={"cluster_ca": b"the authority"}
    )
    async with runtime as running:
        await running.started()
        yield running


def namespace(name: str, phase: str = "Active") -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"phase": phase}}


@pytest.mark.usefixtures("running")
async def test_new_namespace_gets_its_service_account_and_authority(api: FakeApi) -> None:
    api.put(NAMESPACES, namespace("web"))
    await until(lambda: api.get(SERVICE_ACCOUNTS, "default", "web") and api.get(CONFIG_MAPS, "kube-root-ca.crt", "web"))
    published = api.get(CONFIG_MAPS, "kube-root-ca.crt", "web")
    assert published is not None
    assert published["data"] == {"ca.crt": "the authority"}


async def test_terminating_namespace_gets_none(api: FakeApi, running: ControllerRuntime) -> None:
    api.put(NAMESPACES, namespace("web", "Terminating"))
    await quiet(lambda: running.idle)
    assert api.objects(SERVICE_ACCOUNTS) == {}
    assert api.objects(CONFIG_MAPS) == {}


async def test_what_is_deleted_or_changed_is_put_right(api: FakeApi, running: ControllerRuntime) -> None:
    api.put(NAMESPACES, namespace("web"))
    await until(lambda: running.idle and api.get(SERVICE_ACCOUNTS, "default", "web"))
    api.remove(SERVICE_ACCOUNTS, "default", "web")
    api.put(CONFIG_MAPS, {"metadata": {"name": "kube-root-ca.crt", "namespace": "web"}, "data": {"ca.crt": "forged"}})
    await until(lambda: api.get(SERVICE_ACCOUNTS, "default", "web"))
    await quiet(lambda: running.idle)
    published = api.get(CONFIG_MAPS, "kube-root-ca.crt", "web")
    assert published is not None
    assert published["data"] == {"ca.crt": "the authority"}


async def test_authority_is_found_where_the_server_publishes_it(api: FakeApi) -> None:
    api.put(NAMESPACES, namespace("web"))
    specs = rootca.kube_core_controllers()
    async with ControllerRuntime(specs, api.client, clock=api.clock, random=Random(1)) as running:
        await running.started()
        await quiet(lambda: running.idle)
        assert api.get(CONFIG_MAPS, "kube-root-ca.crt", "web") is None
        metadata = {"name": "extension-apiserver-authentication", "namespace": "kube-system"}
        api.put(CONFIG_MAPS, {"metadata": metadata, "data": {"client-ca-file": "published"}})
        await until(lambda: api.get(CONFIG_MAPS, "kube-root-ca.crt", "web"))

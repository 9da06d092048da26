"""What a server puts there by itself, once."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.server import Caller, running
from kube_core._kit.clock import FakeClock
from kube_drivers.store.memory import MemoryStore

pytestmark = pytest.mark.anyio


async def test_a_new_server_has_the_first_namespaces_and_its_own_service(api: Caller) -> None:
    names = [each["metadata"]["name"] for each in (await api.get("/api/v1/namespaces"))["items"]]
    assert names == ["default", "kube-node-lease", "kube-public", "kube-system"]
    service = await api.get("/api/v1/namespaces/default/services/kubernetes")
    assert (service["spec"]["clusterIP"], service["spec"]["ports"][0]["port"]) == ("10.96.0.1", 443)
    classes = (await api.get("/apis/scheduling.k8s.io/v1/priorityclasses"))["items"]
    assert {each["metadata"]["name"]: each["value"] for each in classes} == {
        "system-cluster-critical": 2_000_000_000,
        "system-node-critical": 2_000_001_000,
    }


async def test_the_service_leads_to_where_the_server_listens_now(api: Caller) -> None:
    for port in (6443, 7443):
        await api.server.publish_address("127.0.0.1", port)
        subset = (await api.get("/api/v1/namespaces/default/endpoints/kubernetes"))["subsets"][0]
        assert (subset["addresses"], subset["ports"][0]["port"]) == ([{"ip": "127.0.0.1"}], port)
        slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
        assert (await api.get(slices))["ports"][0]["port"] == port
        service = await api.get("/api/v1/namespaces/default/services/kubernetes")
        assert service["spec"]["ports"][0]["targetPort"] == port


async def test_what_is_there_is_left_as_it_is() -> None:
    class Lasting(MemoryStore):
        async def close(self) -> None:
            """Outlives its servers."""

    store = Lasting(clock=FakeClock())
    await store.open()
    async with running(store=store) as first:
        changed = await first.patch("/api/v1/namespaces/default", {"metadata": {"labels": {"mine": "yes"}}})
        service = await first.get("/api/v1/namespaces/default/services/kubernetes")
    async with running(store=store) as again:
        assert await again.get("/api/v1/namespaces/default") == changed
        assert await again.get("/api/v1/namespaces/default/services/kubernetes") == service
        # Its address is still taken.
        other: Any = {"metadata": {"name": "s"}, "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 80}]}}
        assert (await again.ask("POST", "/api/v1/namespaces/default/services", other)).status == 422
    await MemoryStore.close(store)

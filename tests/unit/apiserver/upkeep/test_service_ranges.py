"""ServiceCIDRs and IPAddresses, as the server keeps them beside its Services."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakes.server import Caller, running
from fakes.waiting import eventually

pytestmark = pytest.mark.anyio

NETWORKING = "/apis/networking.k8s.io/v1"
RANGES, ADDRESSES, SERVICES = (
    f"{NETWORKING}/servicecidrs",
    f"{NETWORKING}/ipaddresses",
    "/api/v1/namespaces/ns/services",
)
IN_USE = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"


@pytest.fixture
async def api() -> AsyncIterator[Caller]:
    async with running(upkeep=True) as caller:
        await eventually(lambda: ready(caller, "kubernetes"))
        await caller.post("/api/v1/namespaces", {"metadata": {"name": "ns"}})
        yield caller


async def found(api: Caller, path: str) -> Any:
    response = await api.ask("GET", path)
    return response.decoded() if response.status == 200 else None


async def gone(api: Caller, path: str) -> bool:
    return (await api.ask("GET", path)).status == 404


async def ready(api: Caller, name: str, status: str = "True") -> Any:
    document = await found(api, f"{RANGES}/{name}")
    conditions = ((document or {}).get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == "Ready" and each["status"] == status), None)


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


def a_range(name: str, *cidrs: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"cidrs": list(cidrs)}}


async def test_the_ranges_of_the_server_are_a_service_cidr_that_is_made_again(api: Caller) -> None:
    default = await api.get(f"{RANGES}/kubernetes")
    assert default["spec"] == {"cidrs": ["10.96.0.0/16"]}
    assert default["metadata"]["finalizers"] == ["networking.k8s.io/service-cidr-finalizer"]
    told = await ready(api, "kubernetes")
    assert (told["reason"], told["message"]) == ("", "Kubernetes default Service CIDR is ready")
    # Its own Service holds it; only who takes the finalizer off gets rid of it.
    await api.delete(f"{RANGES}/kubernetes")
    await api.patch(f"{RANGES}/kubernetes", {"metadata": {"finalizers": None}})

    async def another() -> Any:
        document = await found(api, f"{RANGES}/kubernetes")
        return document is not None and document["metadata"]["uid"] != default["metadata"]["uid"]

    await eventually(another)


async def test_the_address_of_a_service_is_an_object_that_comes_back_and_goes_with_it(api: Caller) -> None:
    address = (await api.post(SERVICES, service("web")))["spec"]["clusterIP"]
    held = await eventually(lambda: found(api, f"{ADDRESSES}/{address}"))
    assert held["spec"] == {"parentRef": {"group": "", "resource": "services", "namespace": "ns", "name": "web"}}
    assert held["metadata"]["labels"] == {
        "ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }
    await api.delete(f"{ADDRESSES}/{address}")
    await eventually(lambda: found(api, f"{ADDRESSES}/{address}"))
    await api.delete(f"{SERVICES}/web")
    await eventually(lambda: gone(api, f"{ADDRESSES}/{address}"))


async def test_services_get_addresses_of_a_range_that_was_added(api: Caller) -> None:
    there = service("there", clusterIP="203.0.113.23")
    assert (await api.ask("POST", SERVICES, there)).status == 422
    await api.post(RANGES, a_range("more", "203.0.113.0/24"))
    told = await eventually(lambda: ready(api, "more"))
    assert told["message"] == "Kubernetes Service CIDR is ready"
    await api.post(SERVICES, there)
    await eventually(lambda: found(api, f"{ADDRESSES}/203.0.113.23"))


async def test_a_range_goes_when_the_last_service_with_an_address_of_it_is_gone(api: Caller) -> None:
    await api.post(RANGES, a_range("more", "203.0.113.0/24"))
    await eventually(lambda: ready(api, "more"))
    await api.post(SERVICES, service("there", clusterIP="203.0.113.23"))
    await eventually(lambda: found(api, f"{ADDRESSES}/203.0.113.23"))
    await api.delete(f"{RANGES}/more")
    told = await eventually(lambda: ready(api, "more", "False"))
    assert (told["reason"], told["message"]) == ("Terminating", IN_USE)
    assert (await api.ask("POST", SERVICES, service("late", clusterIP="203.0.113.24"))).status == 422
    await api.delete(f"{SERVICES}/there")
    await eventually(lambda: gone(api, f"{RANGES}/more"))


async def test_a_range_within_another_goes_at_once(api: Caller) -> None:
    await api.post(RANGES, a_range("inner", "10.96.7.0/24"))
    await eventually(lambda: ready(api, "inner"))
    await api.post(SERVICES, service("there", clusterIP="10.96.7.7"))
    await eventually(lambda: found(api, f"{ADDRESSES}/10.96.7.7"))
    await api.delete(f"{RANGES}/inner")
    await eventually(lambda: gone(api, f"{RANGES}/inner"))


async def test_an_address_that_somebody_holds_is_given_to_no_service(api: Caller) -> None:
    holder = {"group": "example.com", "resource": "gateways", "namespace": "ns", "name": "edge"}
    await api.post(ADDRESSES, {"metadata": {"name": "10.96.7.7"}, "spec": {"parentRef": holder}})

    async def refused() -> bool:
        there = service("there", clusterIP="10.96.7.7")
        return (await api.ask("POST", SERVICES, there, query=[("dryRun", "All")])).status == 422

    await eventually(refused)
    await api.delete(f"{ADDRESSES}/10.96.7.7")

    async def taken() -> bool:
        return (await api.ask("POST", SERVICES, service("there", clusterIP="10.96.7.7"))).status == 201

    await eventually(taken)

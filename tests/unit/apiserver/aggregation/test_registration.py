"""The APIServices of what this server serves itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakes.server import Caller, running
from fakes.waiting import eventually

pytestmark = pytest.mark.anyio

SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
LABEL = "kube-aggregator.kubernetes.io/automanaged"


@pytest.fixture
async def api() -> AsyncIterator[Caller]:
    async with running(upkeep=True) as caller:
        await eventually(lambda: found(caller, "v1.storagemigration.k8s.io"))
        yield caller


async def found(api: Caller, name: str) -> Any:
    response = await api.ask("GET", f"{SERVICES}/{name}")
    return response.decoded() if response.status == 200 else None


def definition(*versions: str) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object"}}
    listed = [{"name": each, "served": True, "storage": each == versions[0], "schema": schema} for each in versions]
    return {
        "metadata": {"name": "gadgets.example.dev"},
        "spec": {
            "group": "example.dev",
            "scope": "Namespaced",
            "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"},
            "versions": listed,
        },
    }


async def test_every_built_in_version_has_one_with_upstreams_priorities(api: Caller) -> None:
    specs = {each["metadata"]["name"]: each["spec"] for each in (await api.get(SERVICES))["items"]}
    chosen = {
        name: (specs[name]["groupPriorityMinimum"], specs[name]["versionPriority"])
        for name in ("v1.", "v1.apps", "v1.autoscaling", "v2.autoscaling")
    }
    assert chosen == {"v1.": (18000, 1), "v1.apps": (17800, 15), "v1.autoscaling": (17500, 15),
                      "v2.autoscaling": (17500, 30)}  # fmt: skip
    assert "v1.apiregistration.k8s.io" not in specs
    local = await found(api, "v1.apps")
    assert local["metadata"]["labels"] == {LABEL: "onstart"}
    condition = local["status"]["conditions"][0]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Available", "True", "Local")


async def test_a_custom_resources_one_comes_and_goes_with_it_and_is_put_right(api: Caller) -> None:
    await api.post(DEFINITIONS, definition("v1", "v1beta1"))
    made = await eventually(lambda: found(api, "v1beta1.example.dev"))
    assert (made["metadata"]["labels"], made["spec"]["groupPriorityMinimum"]) == ({LABEL: "true"}, 1000)
    await api.patch(f"{SERVICES}/v1.example.dev", {"spec": {"versionPriority": 7}})

    async def right() -> bool:
        return bool((await found(api, "v1.example.dev"))["spec"]["versionPriority"] == 100)

    await eventually(right)
    await api.delete(f"{SERVICES}/v1.example.dev")
    await eventually(lambda: found(api, "v1.example.dev"))
    await api.patch(f"{DEFINITIONS}/gadgets.example.dev", {"spec": {"versions": definition("v1")["spec"]["versions"]}})

    async def gone() -> bool:
        return await found(api, "v1beta1.example.dev") is None

    await eventually(gone)


async def test_a_built_in_one_is_the_users_after_the_start_and_one_without_the_label_always(api: Caller) -> None:
    await api.delete(f"{SERVICES}/v1.batch")
    await api.patch(f"{SERVICES}/v1.apps", {"spec": {"versionPriority": 7}})
    mine = {
        "metadata": {"name": "v1.example.dev"},
        "spec": {"group": "example.dev", "version": "v1", "groupPriorityMinimum": 5, "versionPriority": 5},
    }
    await api.post(SERVICES, mine)
    await api.post(DEFINITIONS, definition("v1", "v2"))
    # What is kept is settled in order, so the others have been looked at when this is there.
    await eventually(lambda: found(api, "v2.example.dev"))
    assert (await found(api, "v1.example.dev"))["spec"]["versionPriority"] == 5
    assert (await found(api, "v1.apps"))["spec"]["versionPriority"] == 7
    assert await found(api, "v1.batch") is None

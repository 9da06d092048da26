"""Namespaces that are being deleted: what goes, in which order, and what the namespace says meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakes.api import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS, FakeApi, quiet, until
from kube_core._kit.random import Random
from kube_core.control.conditions import condition_of
from kube_core.control.runtime import ControllerRuntime
from kube_core.meta.status import InternalError
from kube_plugins.controllers.namespace import kube_core_controllers
from kube_plugins.controllers.namespace.conditions import Outcome, deletion_conditions

pytestmark = pytest.mark.anyio


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    api.put(NAMESPACES, {"metadata": {"name": "web"}, "spec": {"finalizers": ["kubernetes"]}})
    api.put(NAMESPACES, {"metadata": {"name": "other"}, "spec": {"finalizers": ["kubernetes"]}})
    return api


@pytest.fixture
async def running(api: FakeApi) -> AsyncIterator[ControllerRuntime]:
    async with ControllerRuntime(kube_core_controllers(), api.client, clock=api.clock, random=Random(1)) as running:
        await running.started()
        yield running


def held(name: str, *finalizers: str, namespace: str = "web") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace, "finalizers": list(finalizers)}}


async def delete(api: FakeApi, running: ControllerRuntime) -> None:
    await api.client().delete(NAMESPACES, "web")
    await quiet(lambda: running.idle)


async def settle(api: FakeApi, running: ControllerRuntime, seconds: float = 0) -> None:
    async def idle() -> None:
        await quiet(lambda: running.idle)

    await api.clock.advance(seconds, settle=idle)


@pytest.mark.usefixtures("running")
async def test_namespace_goes_with_everything_in_it_and_nothing_else(api: FakeApi) -> None:
    for resource in (PODS, CONFIG_MAPS, DEPLOYMENTS):
        api.put(resource, held("a"))
        api.put(resource, held("a", namespace="other"))
    await api.client().delete(NAMESPACES, "web")
    await until(lambda: api.get(NAMESPACES, "web") is None)
    for resource in (PODS, CONFIG_MAPS, DEPLOYMENTS):
        assert api.get(resource, "a", "web") is None
        assert api.get(resource, "a", "other") is not None
    assert api.get(NAMESPACES, "other") is not None


async def test_active_namespace_is_left_alone(api: FakeApi, running: ControllerRuntime) -> None:
    api.put(NAMESPACES, {"metadata": {"name": "other", "labels": {"x": "1"}}, "spec": {"finalizers": ["kubernetes"]}})
    await quiet(lambda: running.idle)
    assert not [request for request in api.requests if request.startswith(("DELETE", "PUT"))]


async def test_pods_go_before_everything_else(api: FakeApi, running: ControllerRuntime) -> None:
    api.put(PODS, held("a", "example.dev/hold"))
    api.put(CONFIG_MAPS, held("a"))
    await delete(api, running)
    assert api.get(CONFIG_MAPS, "a", "web") is not None
    namespace = api.get(NAMESPACES, "web")
    assert namespace is not None
    remaining = condition_of(namespace, "NamespaceContentRemaining")
    assert remaining is not None
    assert remaining["message"] == "Some resources are remaining: pods. has 1 resource instances"
    api.remove(PODS, "a", "web")
    await until(lambda: api.get(NAMESPACES, "web") is None)
    assert api.get(CONFIG_MAPS, "a", "web") is None


async def test_finalizers_are_waited_for_and_named(api: FakeApi, running: ControllerRuntime) -> None:
    api.put(DEPLOYMENTS, held("a", "example.dev/hold"))
    api.put(CONFIG_MAPS, held("a"))
    await delete(api, running)
    namespace = api.get(NAMESPACES, "web")
    assert namespace is not None
    assert namespace["status"]["phase"] == "Terminating"
    finalizers = condition_of(namespace, "NamespaceFinalizersRemaining")
    assert finalizers is not None
    assert (finalizers["status"], finalizers["reason"]) == ("True", "SomeFinalizersRemain")
    assert finalizers["message"].endswith("finalizers remaining: example.dev/hold in 1 resource instances")
    assert api.get(CONFIG_MAPS, "a", "web") is None
    await api.client().patch(DEPLOYMENTS, "a", {"metadata": {"finalizers": []}}, "web")
    await settle(api, running, 10)
    assert api.get(NAMESPACES, "web") is None


async def test_group_that_does_not_answer_holds_the_namespace_up_and_is_named(
    api: FakeApi, running: ControllerRuntime
) -> None:
    api.broken_groups.add("metrics.k8s.io/v1")
    api.put(PODS, held("a"))
    await delete(api, running)
    namespace = api.get(NAMESPACES, "web")
    assert namespace is not None
    failure = condition_of(namespace, "NamespaceDeletionDiscoveryFailure")
    assert failure is not None
    assert (failure["status"], failure["reason"]) == ("True", "DiscoveryFailed")
    assert "metrics.k8s.io/v1" in failure["message"]
    assert api.get(PODS, "a", "web") is None
    api.broken_groups.clear()
    await settle(api, running, 10)
    assert api.get(NAMESPACES, "web") is None


async def test_resource_that_fails_does_not_keep_others_from_going(api: FakeApi, running: ControllerRuntime) -> None:
    api.put(CONFIG_MAPS, held("a"))
    api.put(DEPLOYMENTS, held("a"))
    path = CONFIG_MAPS.path("web")
    api.refuse = lambda request: InternalError("disk on fire") if request.path == path else None
    await delete(api, running)
    assert api.get(DEPLOYMENTS, "a", "web") is None
    namespace = api.get(NAMESPACES, "web")
    assert namespace is not None
    failure = condition_of(namespace, "NamespaceDeletionContentFailure")
    assert failure is not None
    assert failure["message"] == "Failed to delete all resource types, 1 remaining: disk on fire"
    api.refuse = None
    await settle(api, running, 10)
    assert api.get(NAMESPACES, "web") is None


async def test_other_finalizers_of_the_namespace_are_kept(api: FakeApi, running: ControllerRuntime) -> None:
    api.put(NAMESPACES, {"metadata": {"name": "web"}, "spec": {"finalizers": ["kubernetes", "example.dev/mine"]}})
    await delete(api, running)
    namespace = api.get(NAMESPACES, "web")
    assert namespace is not None
    assert namespace["spec"]["finalizers"] == ["example.dev/mine"]


async def test_looking_again_does_not_get_rarer_than_eight_seconds(api: FakeApi, running: ControllerRuntime) -> None:
    api.put(DEPLOYMENTS, held("a", "example.dev/hold"))
    await delete(api, running)
    await settle(api, running, 3600)
    before = api.requests.count("GET /apis")
    await settle(api, running, 80)
    assert api.requests.count("GET /apis") == before + 10


def test_conditions_move_only_when_they_change() -> None:
    first = deletion_conditions((), Outcome(remaining={PODS: 2}), 1_767_225_600.0)
    again = deletion_conditions(first, Outcome(remaining={PODS: 1}), 1_767_229_200.0)
    over = deletion_conditions(again, Outcome(), 1_767_229_200.0)
    times = [{each["type"]: each["lastTransitionTime"] for each in each_round} for each_round in (first, again, over)]
    assert times[0] == times[1]
    assert times[2]["NamespaceContentRemaining"] == "2026-01-01T01:00:00Z"
    assert [each["status"] for each in over] == ["False"] * 5

"""What the server keeps by itself: default roles, flow control, the first namespaces, its Service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakes.server import Caller, running
from fakes.waiting import eventually
from kube_core._kit.clock import FakeClock
from kube_drivers.store.memory import MemoryStore

pytestmark = pytest.mark.anyio

ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
FLOW = "/apis/flowcontrol.apiserver.k8s.io/v1"
AUTOUPDATE = "apf.kubernetes.io/autoupdate-spec"


class Lasting(MemoryStore):
    """Outlives its servers."""

    async def close(self) -> None:
        pass


@pytest.fixture
async def kept() -> AsyncIterator[Caller]:
    async with running(upkeep=True) as caller:
        await everything_is_there(caller)
        yield caller


async def everything_is_there(api: Caller) -> None:
    """Return when the loops have looked at everything once."""
    await api.server.until_ready()
    assert (await api.ask("GET", "/readyz")).status == 200
    await eventually(lambda: found(api, "/apis/apiregistration.k8s.io/v1/apiservices/v2.autoscaling"))
    await eventually(lambda: found(api, f"{FLOW}/flowschemas/catch-all"))
    path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"

    async def configuration() -> bool:
        return "requestheader-allowed-names" in (await api.get(path))["data"]

    await eventually(configuration)
    await api.server.clock.unheld()


async def found(api: Caller, path: str) -> Any:
    response = await api.ask("GET", path)
    return response.decoded() if response.status == 200 else None


async def gone(api: Caller, path: str) -> bool:
    return (await api.ask("GET", path)).status == 404


async def test_changed_and_deleted_default_roles_are_put_right_at_the_next_start() -> None:
    store = Lasting(clock=FakeClock())
    await store.open()
    async with running(store=store, upkeep=True) as first:
        await everything_is_there(first)
        await first.patch(f"{ROLES}/system:kube-dns", {"rules": []})
        await first.delete(f"{ROLES}/system:discovery")
        await first.delete(f"{BINDINGS}/system:kube-dns")
        other = {
            "metadata": {"name": "system:kube-dns"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        }
        await first.post(BINDINGS, other)
        protected = {
            "metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}},
            "rules": [],
        }
        await first.patch(f"{ROLES}/system:node", protected)
    async with running(store=store, upkeep=True) as again:
        await everything_is_there(again)
        rules = (await again.get(f"{ROLES}/system:kube-dns"))["rules"]
        assert {resource for rule in rules for resource in rule["resources"]} == {"endpoints", "services"}
        assert (await again.get(f"{ROLES}/system:discovery"))["rules"]
        assert (await again.get(f"{BINDINGS}/system:kube-dns"))["roleRef"]["name"] == "system:kube-dns"
        assert not (await again.get(f"{ROLES}/system:node")).get("rules")
    await MemoryStore.close(store)


async def test_flow_control_has_upstreams_defaults(kept: Caller) -> None:
    schemas = {each["metadata"]["name"]: each["spec"] for each in (await kept.get(f"{FLOW}/flowschemas"))["items"]}
    assert {name: spec["matchingPrecedence"] for name, spec in schemas.items()} == {
        "catch-all": 10000,
        "endpoint-controller": 150,
        "exempt": 1,
        "global-default": 9900,
        "kube-controller-manager": 800,
        "kube-scheduler": 800,
        "kube-system-service-accounts": 900,
        "probes": 2,
        "service-accounts": 9000,
        "system-leader-election": 100,
        "system-node-high": 400,
        "system-nodes": 500,
        "workload-leader-election": 200,
    }
    levels = (await kept.get(f"{FLOW}/prioritylevelconfigurations"))["items"]
    shares = {
        each["metadata"]["name"]: each["spec"].get("limited", {}).get("nominalConcurrencyShares") for each in levels
    }
    assert shares == {
        "catch-all": 5,
        "exempt": None,
        "global-default": 20,
        "leader-election": 10,
        "node-high": 40,
        "system": 30,
        "workload-high": 40,
        "workload-low": 100,
    }
    assert {spec["priorityLevelConfiguration"]["name"] for spec in schemas.values()} <= set(shares)


async def test_flow_control_is_put_right_unless_somebody_took_it_over(kept: Caller) -> None:
    await kept.delete(f"{FLOW}/flowschemas/probes")
    await eventually(lambda: found(kept, f"{FLOW}/flowschemas/probes"))
    await kept.patch(f"{FLOW}/prioritylevelconfigurations/system", {"spec": {"limited": {"lendablePercent": 1}}})

    async def lendable(level: str, percent: int) -> bool:
        spec = (await kept.get(f"{FLOW}/prioritylevelconfigurations/{level}"))["spec"]
        return bool(spec["limited"]["lendablePercent"] == percent)

    await eventually(lambda: lendable("system", 33))
    taken: Any = {"metadata": {"annotations": {AUTOUPDATE: "false"}}, "spec": {"limited": {"lendablePercent": 1}}}
    await kept.patch(f"{FLOW}/prioritylevelconfigurations/workload-low", taken)
    # The two without which nothing works are nobody's to take over.
    await kept.patch(f"{FLOW}/prioritylevelconfigurations/catch-all", taken)
    await eventually(lambda: lendable("catch-all", 0))
    assert await lendable("workload-low", 1)


async def test_what_was_kept_once_and_is_no_more_is_deleted(kept: Caller) -> None:
    spec = {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}
    path = f"{FLOW}/prioritylevelconfigurations"
    await kept.post(path, {"metadata": {"name": "mine"}, "spec": spec})
    await kept.post(path, {"metadata": {"name": "old", "annotations": {AUTOUPDATE: "true"}}, "spec": spec})
    await eventually(lambda: gone(kept, f"{path}/old"))
    assert await found(kept, f"{path}/mine")


async def test_a_namespace_and_the_service_of_the_server_come_back(kept: Caller) -> None:
    await kept.server.publish_address("127.0.0.1", 6443)
    for path in ("services/kubernetes", "endpoints/kubernetes"):
        before = await kept.get(f"/api/v1/namespaces/default/{path}")
        await kept.delete(f"/api/v1/namespaces/default/{path}")

        async def back(path: str = path, uid: str = before["metadata"]["uid"]) -> Any:
            now = await found(kept, f"/api/v1/namespaces/default/{path}")
            return now if now and now["metadata"]["uid"] != uid else None

        assert await eventually(back)
    namespace = "/api/v1/namespaces/kube-node-lease"
    before = await kept.get(namespace)
    await kept.delete(namespace)
    terminating = await kept.get(namespace)
    await kept.put(f"{namespace}/finalize", {**terminating, "spec": {"finalizers": []}})

    async def another() -> Any:
        now = await found(kept, namespace)
        return now if now and now["metadata"]["uid"] != before["metadata"]["uid"] else None

    assert (await eventually(another))["status"]["phase"] == "Active"


async def test_other_servers_are_told_how_requests_are_authenticated(kept: Caller) -> None:
    path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
    data = (await kept.get(path))["data"]
    assert data["requestheader-allowed-names"] == '["front-proxy-client"]'
    assert data["requestheader-username-headers"] == '["X-Remote-User"]'
    assert data["requestheader-extra-headers-prefix"] == '["X-Remote-Extra-"]'
    assert "BEGIN CERTIFICATE" in data["requestheader-client-ca-file"]
    assert "client-ca-file" in data


async def test_who_is_answered_once_the_server_is_ready_is_told_of_a_schema_and_level_that_are_there() -> None:
    async with running(upkeep=True) as api:
        await api.server.until_ready()
        told = (await api.ask("GET", "/api")).headers
        schema = await api.get(f"{FLOW}/flowschemas/exempt")
        level = await api.get(f"{FLOW}/prioritylevelconfigurations/exempt")
        assert told["X-Kubernetes-PF-FlowSchema-UID"] == schema["metadata"]["uid"]
        assert told["X-Kubernetes-PF-PriorityLevel-UID"] == level["metadata"]["uid"]

"""Roles, bindings and impersonation in a running server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakes.waiting import eventually
from kube_core.abc.transport import User
from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.cluster import Cluster
from kube_core.meta.status import Forbidden, NotFound

pytestmark = pytest.mark.anyio

RBAC = "rbac.authorization.k8s.io"
ROLES = ResourceType(RBAC, "v1", "Role", "roles", True)
BINDINGS = ResourceType(RBAC, "v1", "RoleBinding", "rolebindings", True)
CLUSTER_BINDINGS = ResourceType(RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", False)
ANN = User("ann", ("system:authenticated",))


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(nodes=0, controllers=(), listen=False) as cluster:
        await default_roles(cluster)
        yield cluster


async def default_roles(cluster: Cluster) -> None:
    """Return when they are in the store."""

    async def ready() -> bool:
        return cluster.server.authorizer.rules_ready

    await eventually(ready)


def role(name: str, verbs: list[str], *resources: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "rules": [{"verbs": verbs, "apiGroups": ["", RBAC], "resources": list(resources)}],
    }


def binding(name: str, to: str, *, kind: str = "Role") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": to},
        "subjects": [{"kind": "User", "apiGroup": RBAC, "name": "ann"}],
    }


async def test_a_role_counts_once_it_is_bound_and_no_longer_when_it_is_gone(cluster: Cluster) -> None:
    ann = cluster.client_for(ANN)
    await cluster.client.create(ROLES, role("reader", ["get"], "configmaps"))
    with pytest.raises(Forbidden, match='User "ann" cannot get resource "configmaps"'):
        await ann.get(resources.CONFIG_MAPS, "none", namespace="default")
    await cluster.client.create(BINDINGS, binding("ann", "reader"))
    with pytest.raises(NotFound):
        await ann.get(resources.CONFIG_MAPS, "none", namespace="default")
    with pytest.raises(Forbidden):
        await ann.get(resources.CONFIG_MAPS, "none", namespace="kube-system")
    await cluster.client.delete(BINDINGS, "ann", namespace="default")
    with pytest.raises(Forbidden):
        await ann.get(resources.CONFIG_MAPS, "none", namespace="default")


async def test_nobody_binds_more_than_they_have(cluster: Cluster) -> None:
    ann = cluster.client_for(ANN)
    await cluster.client.create(ROLES, role("binder", ["create"], "rolebindings"))
    await cluster.client.create(ROLES, role("strong", ["delete"], "secrets"))
    await cluster.client.create(BINDINGS, binding("binder", "binder"))
    with pytest.raises(Forbidden, match=r'Resources:\["secrets"\], Verbs:\["delete"\]'):
        await ann.create(BINDINGS, binding("try", "strong"))
    with pytest.raises(NotFound):
        await ann.create(BINDINGS, binding("ghost", "ghost"))
    # What one has already, one may bind.
    await ann.create(BINDINGS, binding("again", "binder"))


async def test_bind_allows_to_bind_a_role_by_name(cluster: Cluster) -> None:
    ann = cluster.client_for(ANN)
    may = role("may", ["bind"], "roles")
    may["rules"][0]["resourceNames"] = ["strong"]
    may["rules"] += role("", ["create"], "rolebindings")["rules"]
    await cluster.client.create(ROLES, may)
    await cluster.client.create(ROLES, role("strong", ["delete"], "secrets"))
    await cluster.client.create(BINDINGS, binding("may", "may"))
    await ann.create(BINDINGS, binding("try", "strong"))
    with pytest.raises(Forbidden, match="attempting to grant RBAC permissions"):
        await ann.create(BINDINGS, binding("all", "cluster-admin", kind="ClusterRole"))


async def test_the_default_bindings_are_there(cluster: Cluster) -> None:
    found = await cluster.client.get(CLUSTER_BINDINGS, "cluster-admin")
    assert found["subjects"] == [{"kind": "Group", "apiGroup": RBAC, "name": "system:masters"}]


async def test_edit_has_the_rules_of_its_parts_where_its_controller_runs() -> None:
    async with Cluster(nodes=0, controllers=("clusterrole-aggregation-controller",), listen=False) as cluster:
        await default_roles(cluster)

        async def joined() -> Any:
            rules = (await cluster.client.get(resources.CLUSTER_ROLES, "admin")).get("rules") or []
            return [rule for rule in rules if "deployments" in rule.get("resources", ())]

        granted = await eventually(joined)
        assert any("create" in rule["verbs"] for rule in granted)
        part: dict[str, Any] = {
            "metadata": {"name": "gadgets", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
            "rules": [{"verbs": ["get"], "apiGroups": ["example.dev"], "resources": ["gadgets"]}],
        }
        await cluster.client.create(resources.CLUSTER_ROLES, part)

        async def seen() -> bool:
            rules = (await cluster.client.get(resources.CLUSTER_ROLES, "edit")).get("rules") or []
            return part["rules"][0] in rules

        await eventually(seen)
        await cluster.client.delete(resources.CLUSTER_ROLES, "gadgets")

        async def gone() -> bool:
            return not await seen()

        await eventually(gone)

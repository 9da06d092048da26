"""What a node may do: its own objects, and what its pods need, while they are there."""

from __future__ import annotations

from typing import Any

import pytest

from kube_core.abc.transport import User
from kube_core.auth.attributes import AccessAttributes
from kube_core.auth.node import NodeAuthorizer
from kube_core.bus.bus import Bus
from kube_core.bus.changes import Stored, encode
from kube_core.meta.documents import Key
from kube_core.meta.gvk import GroupResource
from kube_core.storage.cache import WatchCache

pytestmark = pytest.mark.anyio

NODE = User("system:node:n1", ("system:nodes", "system:authenticated"))
STORAGE, LEASES = "storage.k8s.io", "coordination.k8s.io"


class World:
    """A cache that a test fills, and the authorizer over it."""

    def __init__(self) -> None:
        unused: Any = None
        self.cache = WatchCache(unused, Bus())
        self.authorizer = NodeAuthorizer(self.cache)
        self.revision = 0

    def put(self, group: str, plural: str, name: str, namespace: str = "", **fields: Any) -> None:
        self._apply(group, plural, Key(namespace, name), fields)

    def remove(self, group: str, plural: str, name: str, namespace: str = "") -> None:
        self._apply(group, plural, Key(namespace, name), None)

    def pod(self, name: str, node: str | None, **spec: Any) -> None:
        self.put("", "pods", name, "shop", spec={"nodeName": node, "serviceAccountName": "robot", **spec})

    def _apply(self, group: str, plural: str, key: Key, fields: dict[str, Any] | None) -> None:
        self.revision += 1
        after = None
        if fields is not None:
            metadata = {"name": key.name, "namespace": key.namespace, "uid": "u"}
            data = encode({"kind": "X", "apiVersion": "v1", "metadata": metadata, **fields})
            after = Stored(key, self.revision, data)
        self.cache.resource(GroupResource(group, plural)).apply(key, self.revision, after)

    async def may(
        self, verb: str, resource: str, name: str = "", *, group: str = "", namespace: str = "shop", fields: str = ""
    ) -> bool:
        plural, _, subresource = resource.partition("/")
        asked = AccessAttributes(NODE, verb, group, "v1", plural, subresource, namespace, name, field_selector=fields)
        return (await self.authorizer.authorize(asked)).allowed


VOLUMES = [
    {"name": "a", "secret": {"secretName": "by-volume"}},
    {"name": "b", "configMap": {"name": "by-volume"}},
    {"name": "c", "projected": {"sources": [{"secret": {"name": "projected"}}]}},
    {"name": "d", "persistentVolumeClaim": {"claimName": "claim"}},
]
CONTAINERS = [
    {
        "name": "main",
        "envFrom": [{"configMapRef": {"name": "all-of-it"}}],
        "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "one-key", "key": "k"}}}],
    }
]


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        ("secrets", "by-volume"),
        ("secrets", "projected"),
        ("secrets", "one-key"),
        ("secrets", "pull"),
        ("configmaps", "by-volume"),
        ("configmaps", "all-of-it"),
        ("persistentvolumeclaims", "claim"),
    ],
)
async def test_a_node_reads_what_its_pods_refer_to_while_they_are_there(resource: str, name: str) -> None:
    world = World()
    spec = {"volumes": VOLUMES, "containers": CONTAINERS, "imagePullSecrets": [{"name": "pull"}]}
    assert not await world.may("get", resource, name)
    world.pod("web", None, **spec)
    assert not await world.may("get", resource, name)
    world.pod("web", "n2", **spec)
    assert not await world.may("get", resource, name)
    world.remove("", "pods", "web", "shop")
    world.pod("web", "n1", **spec)
    assert await world.may("get", resource, name)
    assert not await world.may("get", resource, "another")
    assert not await world.may("get", resource, name, namespace="elsewhere")
    assert not await world.may("update", resource, name)
    world.remove("", "pods", "web", "shop")
    assert not await world.may("get", resource, name)


async def test_what_two_pods_refer_to_may_be_read_until_both_are_gone() -> None:
    world = World()
    for name in ("one", "two"):
        world.pod(name, "n1", volumes=VOLUMES)
    world.remove("", "pods", "one", "shop")
    assert await world.may("get", "secrets", "by-volume")
    world.remove("", "pods", "two", "shop")
    assert not await world.may("get", "secrets", "by-volume")


async def test_an_ephemeral_container_counts_when_it_comes() -> None:
    world = World()
    world.pod("web", "n1")
    assert not await world.may("get", "secrets", "one-key")
    world.pod("web", "n1", ephemeralContainers=CONTAINERS)
    assert await world.may("get", "secrets", "one-key")


async def test_a_node_reads_the_volumes_of_its_pods_and_their_secrets() -> None:
    world = World()
    world.pod("web", "n1", volumes=VOLUMES)
    world.put("", "persistentvolumeclaims", "claim", "shop", spec={"volumeName": "disk"})
    assert not await world.may("get", "persistentvolumes", "disk", namespace="")
    reference = {"name": "key", "namespace": "vault"}
    world.put("", "persistentvolumes", "disk", spec={"csi": {"nodePublishSecretRef": reference}})
    assert await world.may("get", "persistentvolumes", "disk", namespace="")
    assert await world.may("get", "secrets", "key", namespace="vault")
    assert not await world.may("list", "persistentvolumes", namespace="")


async def test_a_node_gets_tokens_for_the_accounts_of_its_pods() -> None:
    world = World()
    world.pod("web", "n1")
    assert await world.may("create", "serviceaccounts/token", "robot")
    assert not await world.may("create", "serviceaccounts/token", "boss")
    assert not await world.may("update", "serviceaccounts", "robot")


async def test_a_node_has_its_own_objects_and_nobody_elses() -> None:
    world = World()
    for group, plural, namespace in ((STORAGE, "csinodes", ""), (LEASES, "leases", "kube-node-lease")):
        for verb in ("get", "update", "patch", "delete"):
            assert await world.may(verb, plural, "n1", group=group, namespace=namespace)
            assert not await world.may(verb, plural, "n2", group=group, namespace=namespace)
        assert await world.may("create", plural, group=group, namespace=namespace)
        assert not await world.may("list", plural, group=group, namespace=namespace)
    assert not await world.may("get", "leases", "n1", group=LEASES, namespace="default")
    assert await world.may("get", "nodes", "n1", namespace="")
    assert not await world.may("get", "nodes", "n2", namespace="")
    assert not await world.may("list", "nodes", namespace="")


async def test_a_node_lists_its_own_pods_only() -> None:
    world = World()
    world.pod("web", "n1")
    world.pod("db", "n2")
    assert await world.may("list", "pods", fields="spec.nodeName=n1")
    assert await world.may("watch", "pods", fields="spec.nodeName=n1,status.phase!=Failed", namespace="")
    for selector in ("", "spec.nodeName=n2", "spec.nodeName!=n1", "rubbish("):
        assert not await world.may("list", "pods", fields=selector)
    assert await world.may("get", "pods", "web")
    assert not await world.may("get", "pods", "db")


async def test_the_rest_is_what_the_nodes_role_says() -> None:
    world = World()
    assert await world.may("list", "services")
    assert await world.may("create", "events")
    assert await world.may("patch", "pods/status", "web")
    assert not await world.may("create", "deployments", group="apps")


async def test_of_others_the_node_authorizer_has_no_opinion() -> None:
    for user in (User("system:node:n1"), User("n1", ("system:nodes",))):
        asked = AccessAttributes(user, "list", "", "v1", "services")
        assert not (await World().authorizer.authorize(asked)).allowed

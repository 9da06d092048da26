"""The default policy: a new store has all of it at once, and as the registry would have made it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from fakes.server import Caller, running
from kube_core.api.resources import CLUSTER_ROLES
from kube_core.apiserver.upkeep import policy
from kube_core.meta.documents import thaw

pytestmark = pytest.mark.anyio

GROUP = "/apis/rbac.authorization.k8s.io/v1"
PLURALS = ("clusterroles", "clusterrolebindings", "roles", "rolebindings")


def nobody_waits() -> None:
    """Called when the policy is stored."""


async def everything(api: Caller) -> dict[tuple[str, str, str], dict[str, Any]]:
    """What is there, by plural, namespace and name, without what no two objects share."""
    found = {}
    for plural in PLURALS:
        for item in (await api.get(f"{GROUP}/{plural}"))["items"]:
            document = {name: value for name, value in item.items() if name not in ("kind", "apiVersion")}
            metadata = thaw(item["metadata"])
            assert metadata.pop("uid")
            assert metadata.pop("resourceVersion")
            document["metadata"] = metadata
            found[plural, metadata.get("namespace", ""), metadata["name"]] = document
    return found


async def test_a_new_store_gets_what_the_registry_would_make_of_each_object() -> None:
    async with running() as at_once, running() as one_by_one:
        assert await policy.write_at_once(at_once.server.catalogue, nobody_waits)
        await policy.put_right(one_by_one.server.catalogue)
        wanted = await everything(one_by_one)
        assert len(wanted) > 100
        assert await everything(at_once) == wanted


async def test_each_object_has_a_uid_of_its_own() -> None:
    async with running() as api:
        assert await policy.write_at_once(api.server.catalogue, nobody_waits)
        uids = [item["metadata"]["uid"] for plural in PLURALS for item in (await api.get(f"{GROUP}/{plural}"))["items"]]
        assert len(set(uids)) == len(uids)


async def test_a_new_store_has_the_policy_when_its_server_has_started() -> None:
    async with running(upkeep=True) as api:
        assert (await api.get(f"{GROUP}/clusterroles/cluster-admin"))["rules"]
        assert len(await everything(api)) > 100
        await api.server.until_ready()
        assert (await api.ask("GET", "/readyz")).status == 200


async def test_a_store_that_has_some_of_it_is_looked_at_one_by_one() -> None:
    async with running() as api:
        await api.post(f"{GROUP}/clusterroles", {"metadata": {"name": "view"}, "rules": []})
        assert not await policy.write_at_once(api.server.catalogue, nobody_waits)
        assert [name for _, _, name in await everything(api)] == ["view"]


async def test_a_server_that_another_one_comes_before_leaves_it_to_the_other_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as api:
        catalogue = api.server.catalogue
        first, *_ = [each for registry, wanted in _registries(api).items() for each in policy._made(registry, wanted)]
        create_all = api.server.objects.create_all

        async def late(*batches: Any) -> bool:
            resource, key, document = first
            if catalogue.of(CLUSTER_ROLES).cache.get(key) is None:
                await api.server.objects.create(resource, key, dict(document))
            return await create_all(*batches)

        monkeypatch.setattr(api.server.objects, "create_all", late)
        assert not await policy.write_at_once(catalogue, nobody_waits)
        await policy.put_right(catalogue)
        assert len(await everything(api)) > 100


def _registries(api: Caller) -> Mapping[Any, Any]:
    return {api.registry(resource): wanted for resource, wanted in policy._policy().items()}

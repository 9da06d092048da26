"""Objects in the store: compare and swap, pages at a revision, and what is too old."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kube_core.meta.documents import Key
from kube_core.meta.gvk import GroupResource
from kube_core.meta.status import Expired
from kube_core.storage.objects import Superseded

pytestmark = pytest.mark.anyio

MAPS = GroupResource("", "configmaps")


def config_map(name: str, namespace: str = "a", **data: str) -> dict[str, Any]:
    return {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": namespace, "resourceVersion": "7"},
        "data": data,
    }


async def test_a_write_is_read_back_with_the_revision_of_its_write(storage: Any) -> None:
    stored = await storage.objects.create(MAPS, Key("a", "x"), config_map("x", n="1"))
    assert stored is storage.cache.resource(MAPS).get(Key("a", "x"))
    assert stored.document["metadata"]["resourceVersion"] == str(storage.store.revision)
    replaced = await storage.objects.replace(MAPS, stored.key, config_map("x", n="2"), stored.revision)
    assert replaced.revision > stored.revision
    assert storage.cache.resource(MAPS).get(stored.key).document["data"] == {"n": "2"}


async def test_what_is_there_is_not_created_again(storage: Any) -> None:
    await storage.objects.create(MAPS, Key("a", "x"), config_map("x", n="1"))
    with pytest.raises(Superseded) as refused:
        await storage.objects.create(MAPS, Key("a", "x"), config_map("x", n="2"))
    current = refused.value.current
    assert current is not None
    assert current.document["data"] == {"n": "1"}


async def test_several_objects_are_written_at_one_revision_or_not_at_all(storage: Any) -> None:
    maps = storage.cache.resource(MAPS)
    revisions: list[int] = []

    def stored() -> None:
        revisions.append(storage.store.revision)

    assert await storage.objects.create_all([[(MAPS, Key("a", name), config_map(name)) for name in "xy"]], stored)
    assert revisions == [storage.store.revision]
    assert {maps.get(Key("a", name)).revision for name in "xy"} == {storage.store.revision}
    assert maps.get(Key("a", "y")).document["metadata"]["name"] == "y"
    batches = [[(MAPS, Key("a", name), config_map(name)) for name in names] for names in ("v", "zy", "w")]
    assert not await storage.objects.create_all(batches, stored)
    assert len(revisions) == 1
    assert [name for name in "vwz" if maps.get(Key("a", name)) is not None] == ["v"]


async def test_a_stale_write_is_told_what_is_there_now(storage: Any) -> None:
    first = await storage.objects.create(MAPS, Key("a", "x"), config_map("x", n="1"))
    await storage.objects.replace(MAPS, first.key, config_map("x", n="2"), first.revision)
    with pytest.raises(Superseded) as refused:
        await storage.objects.replace(MAPS, first.key, config_map("x", n="3"), first.revision)
    current = refused.value.current
    assert current is not None
    assert current.document["data"] == {"n": "2"}
    with pytest.raises(Superseded):
        await storage.objects.delete(MAPS, first.key, first.revision)


async def test_a_write_to_what_is_gone_is_told_so(storage: Any) -> None:
    first = await storage.objects.create(MAPS, Key("a", "x"), config_map("x"))
    deleted = await storage.objects.delete(MAPS, first.key, first.revision)
    assert deleted == storage.store.revision
    for write in (
        storage.objects.replace(MAPS, first.key, config_map("x"), first.revision),
        storage.objects.delete(MAPS, first.key, first.revision),
    ):
        with pytest.raises(Superseded) as refused:
            await write
        assert refused.value.current is None


async def test_of_many_writers_with_one_revision_one_wins(storage: Any) -> None:
    first = await storage.objects.create(MAPS, Key("a", "x"), config_map("x"))
    writes = [
        storage.objects.replace(MAPS, first.key, config_map("x", n=str(number)), first.revision) for number in range(10)
    ]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    won = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert len(won) == 1
    assert all(isinstance(outcome, Superseded) for outcome in outcomes if outcome is not won[0])
    assert storage.cache.resource(MAPS).get(first.key).document == won[0].document


async def test_pages_are_of_one_revision_however_much_is_written_between(storage: Any) -> None:
    for number in range(5):
        await storage.objects.create(MAPS, Key("a", f"m{number}"), config_map(f"m{number}"))
    page = await storage.objects.page(MAPS, "a", revision=0, limit=2)
    assert (page.revision, page.remaining) == (storage.store.revision, 3)
    await storage.objects.create(MAPS, Key("a", "m2a"), config_map("m2a"))
    doomed = storage.cache.resource(MAPS).get(Key("a", "m4"))
    await storage.objects.delete(MAPS, doomed.key, doomed.revision)
    names = [stored.key.name for stored in page.items]
    while page.next_key is not None:
        page = await storage.objects.page(MAPS, "a", revision=page.revision, limit=2, start=page.next_key)
        names += [stored.key.name for stored in page.items]
    assert names == [f"m{number}" for number in range(5)]


async def test_a_page_begins_no_earlier_than_its_own_resource(storage: Any) -> None:
    await storage.objects.create(GroupResource("", "aaa"), Key("a", "secret"), config_map("secret"))
    await storage.objects.create(MAPS, Key("a", "x"), config_map("x"))
    page = await storage.objects.page(MAPS, "a", revision=0, start="/registry/")
    assert [stored.key.name for stored in page.items] == ["x"]
    beyond = await storage.objects.page(MAPS, "a", revision=0, start="\U0010ffff")
    assert (beyond.items, beyond.next_key) == ([], None)


async def test_a_page_of_a_revision_that_was_compacted_is_expired(storage: Any) -> None:
    first = await storage.objects.create(MAPS, Key("a", "x"), config_map("x"))
    second = await storage.objects.replace(MAPS, first.key, config_map("x", n="2"), first.revision)
    await storage.objects.replace(MAPS, first.key, config_map("x", n="3"), second.revision)
    await storage.store.compact(storage.store.revision)
    with pytest.raises(Expired, match="too old"):
        await storage.objects.page(MAPS, "a", revision=first.revision)

"""The generic registry through its own methods: races, no-ops, dry runs, finalizers, preconditions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakes.server import ADMIN, Caller, running
from kube_core.admission.chain import Chain
from kube_core.api import resources
from kube_core.meta.documents import Document, Key, MutableDocument, thaw
from kube_core.meta.status import AlreadyExists, BadRequest, Conflict, Invalid, NotFound
from kube_core.registry.context import Context, DeleteOptions, WriteOptions
from kube_core.registry.generic import Registry, Update

pytestmark = pytest.mark.anyio

A = Key("default", "a")


@pytest.fixture
async def api() -> AsyncIterator[Caller]:
    async with running(admission=()) as caller:
        yield caller


@pytest.fixture
def maps(api: Caller) -> Registry:
    return api.registry(resources.CONFIG_MAPS)


def context() -> Context:
    return Context(ADMIN, Chain())


def config_map(name: str = "", **metadata: Any) -> MutableDocument:
    about = {"name": name, **metadata} if name else metadata
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": about, "data": {"n": "0"}}


async def create(registry: Registry, document: MutableDocument, options: WriteOptions | None = None) -> Document:
    key = Key("default", "")
    return (await registry.create(context(), key, document, options or WriteOptions())).document


def setting(**data: str) -> Any:
    async def transform(current: Document | None) -> MutableDocument:
        document: MutableDocument = thaw(current)
        document["data"] = {**document.get("data", {}), **data}
        return document

    return transform


# -- create --------------------------------------------------------------------------------------------------------


async def test_a_new_object_gets_what_the_server_gives(maps: Registry, api: Caller) -> None:
    sent = config_map("a", uid="mine", creationTimestamp="1999-01-01T00:00:00Z", resourceVersion="5", selfLink="/x")
    created = await create(maps, sent, WriteOptions(field_manager="me"))
    metadata = created["metadata"]
    assert (metadata["namespace"], metadata["creationTimestamp"]) == ("default", "2026-01-01T00:00:00Z")
    assert metadata["uid"] not in ("", "mine")
    assert metadata["resourceVersion"] == str(api.server.store.revision)
    assert "selfLink" not in metadata
    assert metadata["managedFields"][0]["manager"] == "me"


async def test_what_exists_is_not_created_again(maps: Registry) -> None:
    await create(maps, config_map("a", finalizers=["a.example/b"]))
    with pytest.raises(AlreadyExists, match=r'^configmaps "a" already exists$'):
        await create(maps, config_map("a"))
    await maps.delete(context(), A, DeleteOptions())
    with pytest.raises(AlreadyExists, match=r'^object is being deleted: configmaps "a" already exists$'):
        await create(maps, config_map("a"))


async def test_a_generated_name_that_is_taken_is_made_anew(maps: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    suffixes = iter(["aaaaa", "aaaaa", "aaaaa", "bbbbb"])
    monkeypatch.setattr(maps.random, "suffix", lambda length=5: next(suffixes))
    names = [(await create(maps, config_map(generateName="x-")))["metadata"]["name"] for _ in range(2)]
    assert names == ["x-aaaaa", "x-bbbbb"]


async def test_generating_names_is_given_up_in_the_end(maps: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps.random, "suffix", lambda length=5: "aaaaa")
    await create(maps, config_map(generateName="x-"))
    with pytest.raises(AlreadyExists, match='"x-aaaaa" already exists'):
        await create(maps, config_map(generateName="x-"))


async def test_the_longest_generated_name_has_room_for_its_suffix(maps: Registry) -> None:
    created = await create(maps, config_map(generateName="x" * 80))
    assert len(created["metadata"]["name"]) == 63


@pytest.mark.parametrize(
    ("key", "document", "why"),
    [
        (Key("default", ""), config_map("a", namespace="other"), "the namespace of the provided object does not match"),
        (
            Key("default", "b"),
            config_map("a"),
            r"the name of the object \(a\) does not match the name on the URL \(b\)",
        ),
    ],
)
async def test_what_contradicts_the_url_is_refused(maps: Registry, key: Key, document: Any, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        await maps.create(context(), key, thaw(document), WriteOptions())


async def test_an_invalid_object_is_not_written(maps: Registry, api: Caller) -> None:
    before = api.server.store.revision
    with pytest.raises(Invalid, match=r'ConfigMap "Upper" is invalid: metadata.name: Invalid value: "Upper"'):
        await create(maps, config_map("Upper"))
    with pytest.raises(Invalid, match="name or generateName is required"):
        await create(maps, config_map())
    assert api.server.store.revision == before


# -- update --------------------------------------------------------------------------------------------------------


async def test_an_update_that_changes_nothing_keeps_the_resource_version(maps: Registry, api: Caller) -> None:
    created = await create(maps, config_map("a"))
    await api.clock.advance(60)
    stored, was_created = await maps.update(context(), A, Update(WriteOptions()), setting(n="0"))
    assert (stored.document, was_created) == (created, False)
    assert (await maps.find(A)).document == created


async def test_an_update_of_an_old_version_conflicts(maps: Registry) -> None:
    first = await create(maps, config_map("a"))
    await maps.update(context(), A, Update(WriteOptions()), setting(n="1"))

    async def stale(current: Document | None) -> MutableDocument:
        document: MutableDocument = thaw(first)
        return document

    with pytest.raises(Conflict, match='cannot be fulfilled on configmaps "a": the object has been modified'):
        await maps.update(context(), A, Update(WriteOptions(), once=True), stale)


@pytest.mark.parametrize("version", ["x", "²", "-1", "9" * 5000])
async def test_a_resource_version_that_is_no_number_is_invalid(maps: Registry, version: str) -> None:
    await create(maps, config_map("a"))

    async def odd(current: Document | None) -> MutableDocument:
        document: MutableDocument = thaw(current)
        document["metadata"]["resourceVersion"] = version
        return document

    with pytest.raises(Invalid, match=r"metadata\.resourceVersion"):
        await maps.update(context(), A, Update(WriteOptions()), odd)


async def test_many_updates_at_once_all_count(maps: Registry) -> None:
    await create(maps, config_map("a"))

    async def count(current: Document | None) -> MutableDocument:
        document: MutableDocument = thaw(current)
        document["data"]["n"] = str(int(document["data"]["n"]) + 1)
        return document

    writes = [maps.update(context(), A, Update(WriteOptions()), count) for _ in range(20)]
    await asyncio.gather(*writes)
    assert (await maps.find(A)).document["data"]["n"] == "20"


async def test_a_lost_race_of_a_put_with_a_version_is_a_conflict(maps: Registry) -> None:
    first = await create(maps, config_map("a"))
    theirs: MutableDocument = {**thaw(first), "data": {"n": "theirs"}}

    async def put(current: Document | None) -> MutableDocument:
        await maps.objects.replace(maps.resource, A, theirs, int(first["metadata"]["resourceVersion"]))
        return {**thaw(first), "data": {"n": "mine"}}

    with pytest.raises(Conflict):
        await maps.update(context(), A, Update(WriteOptions(), once=True), put)
    assert (await maps.find(A)).document["data"] == {"n": "theirs"}


async def test_an_update_of_nothing_is_not_found_and_creates_only_where_it_may(maps: Registry) -> None:
    async def new(current: Document | None) -> MutableDocument:
        assert current is None
        return config_map("a")

    with pytest.raises(NotFound, match=r'configmaps "a" not found'):
        await maps.update(context(), A, Update(WriteOptions()), new)
    stored, created = await maps.update(context(), A, Update(WriteOptions(), may_create=True), new)
    assert (stored.key, created) == (A, True)
    with pytest.raises(Conflict, match="Precondition failed: UID in precondition: other, UID in object meta: "):
        await maps.update(context(), A, Update(WriteOptions(), uid="other"), setting(n="1"))


async def test_system_metadata_is_not_the_clients_to_change(maps: Registry) -> None:
    created = await create(maps, config_map("a"))

    async def meddle(current: Document | None) -> MutableDocument:
        document: MutableDocument = thaw(current)
        document["metadata"]["selfLink"] = "/x"
        for name in ("uid", "creationTimestamp"):
            del document["metadata"][name]
        return document

    stored, _ = await maps.update(context(), A, Update(WriteOptions()), meddle)
    assert stored.document == created


# -- dry run -------------------------------------------------------------------------------------------------------


async def test_a_dry_run_of_any_verb_changes_nothing(maps: Registry, api: Caller) -> None:
    dry = WriteOptions(dry_run=True)
    before = api.server.store.revision
    shown = await maps.create(context(), A, config_map("a"), dry)
    assert (shown.document["data"], maps.cache.get(A)) == ({"n": "0"}, None)
    await create(maps, config_map("a"))
    before = api.server.store.revision
    with pytest.raises(AlreadyExists):
        await maps.create(context(), A, config_map("a"), dry)
    updated, _ = await maps.update(context(), A, Update(dry), setting(n="1"))
    assert updated.document["data"] == {"n": "1"}
    deleted, gone = await maps.delete(context(), A, DeleteOptions(dry_run=True))
    assert (deleted.key, gone) == (A, True)
    assert api.server.store.revision == before
    assert (await maps.find(A)).document["data"] == {"n": "0"}


def service(name: str, address: str = "", port: int = 0) -> MutableDocument:
    spec: MutableDocument = {"ports": [{"port": 80}], "type": "NodePort" if port else "ClusterIP"}
    if address:
        spec |= {"clusterIP": address}
    if port:
        spec["ports"][0]["nodePort"] = port
    return {"metadata": {"name": name}, "spec": spec}


async def test_what_a_failed_or_dry_write_took_is_free_again(api: Caller) -> None:
    where = "/api/v1/namespaces/default/services"
    dry = await api.ask("POST", f"{where}?dryRun=All", service("s", "10.96.0.77", 30077))
    assert dry.status == 201
    refused = await api.ask("POST", where, service("Not-A-Name", "10.96.0.77", 30077))
    assert refused.status == 422
    taken = await api.post(where, service("s", "10.96.0.77", 30077))
    assert taken["spec"]["clusterIP"] == "10.96.0.77"
    again = await api.ask("POST", where, service("t", "10.96.0.77"))
    assert (again.status, "provided IP is already allocated" in again.decoded()["message"]) == (422, True)
    exists = await api.ask("POST", where, service("s", "10.96.0.78"))
    assert exists.status == 409
    await api.delete(f"{where}/s")
    assert (await api.post(where, service("u", "10.96.0.77", 30077)))["spec"]["ports"][0]["nodePort"] == 30077
    assert (await api.post(where, service("v", "10.96.0.78")))["spec"]["clusterIP"] == "10.96.0.78"


# -- delete --------------------------------------------------------------------------------------------------------


async def test_an_object_with_finalizers_goes_with_the_last_of_them(maps: Registry) -> None:
    await create(maps, config_map("a", finalizers=["a.example/x", "a.example/y"]))
    marked, gone = await maps.delete(context(), A, DeleteOptions())
    assert (marked.document["metadata"]["deletionTimestamp"], gone) == ("2026-01-01T00:00:00Z", False)
    again, gone = await maps.delete(context(), A, DeleteOptions())
    assert (again.document, gone) == (marked.document, False)

    def without(name: str) -> Any:
        async def transform(current: Document | None) -> MutableDocument:
            document: MutableDocument = thaw(current)
            document["metadata"]["finalizers"].remove(name)
            return document

        return transform

    await maps.update(context(), A, Update(WriteOptions()), without("a.example/x"))
    assert (await maps.find(A)).document["metadata"]["finalizers"] == ["a.example/y"]
    last, _ = await maps.update(context(), A, Update(WriteOptions()), without("a.example/y"))
    assert "finalizers" not in last.document["metadata"] or last.document["metadata"]["finalizers"] == []
    with pytest.raises(NotFound):
        await maps.find(A)


async def test_nothing_new_holds_what_is_being_deleted(maps: Registry) -> None:
    await create(maps, config_map("a", finalizers=["a.example/x"]))
    await maps.delete(context(), A, DeleteOptions())

    async def more(current: Document | None) -> MutableDocument:
        document: MutableDocument = thaw(current)
        document["metadata"]["finalizers"].append("a.example/z")
        return document

    with pytest.raises(Invalid, match="no new finalizers can be added if the object is being deleted"):
        await maps.update(context(), A, Update(WriteOptions()), more)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (DeleteOptions(uid="other"), r"the UID in the precondition \(other\) does not match the UID in record"),
        (DeleteOptions(resource_version="1"), r"the ResourceVersion in the precondition \(1\) does not match"),
    ],
)
async def test_a_deletion_whose_preconditions_fail_conflicts(maps: Registry, options: DeleteOptions, why: str) -> None:
    created = await create(maps, config_map("a"))
    with pytest.raises(Conflict, match=why):
        await maps.delete(context(), A, options)
    right = DeleteOptions(uid=created["metadata"]["uid"], resource_version=created["metadata"]["resourceVersion"])
    assert (await maps.delete(context(), A, right))[1]
    with pytest.raises(NotFound):
        await maps.delete(context(), A, right)


async def test_of_many_deletions_at_once_one_deletes(maps: Registry) -> None:
    await create(maps, config_map("a"))
    outcomes = await asyncio.gather(
        *(maps.delete(context(), A, DeleteOptions()) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(outcome, NotFound) for outcome in outcomes) == 4


# -- lists ---------------------------------------------------------------------------------------------------------


async def test_pages_across_namespaces_give_every_object_once(api: Caller) -> None:
    wanted = []
    for namespace in ("a", "a-b", "ab"):
        await api.post("/api/v1/namespaces", {"metadata": {"name": namespace}})
        for name in ("x", "x-1", "y"):
            await api.post(f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": name}})
            wanted.append((namespace, name))
    for limit in (1, 2, 4):
        found, token = [], ""
        while True:
            page = await api.get("/api/v1/secrets", query=[("limit", str(limit)), ("continue", token)])
            found += [(each["metadata"]["namespace"], each["metadata"]["name"]) for each in page["items"]]
            token = page["metadata"].get("continue", "")
            if not token:
                break
            assert page["metadata"]["remainingItemCount"] == len(wanted) - len(found)
        assert sorted(found) == sorted(wanted)


async def test_a_continued_list_is_of_its_first_pages_moment(api: Caller) -> None:
    where = "/api/v1/namespaces/default/secrets"
    for number in range(4):
        await api.post(where, {"metadata": {"name": f"s{number}"}})
    page = await api.get(f"{where}?limit=2")
    await api.delete(f"{where}/s3")
    await api.post(where, {"metadata": {"name": "s2a"}})
    rest = await api.get(where, query=[("limit", "2"), ("continue", page["metadata"]["continue"])])
    assert [each["metadata"]["name"] for each in rest["items"]] == ["s2", "s3"]
    assert rest["metadata"]["resourceVersion"] == page["metadata"]["resourceVersion"]
    await api.server.store.compact(api.server.store.revision)
    late = await api.ask("GET", where, query=[("limit", "2"), ("continue", page["metadata"]["continue"])])
    assert (late.status, late.decoded()["reason"]) == (410, "Expired")
    assert "continue parameter is too old" in late.decoded()["message"]

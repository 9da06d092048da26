"""Declared controllers in a whole cluster, in virtual time: what they are called for, and what becomes of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import kube_core as kube
from fakes.sites import SITES, Site, cluster_with, create_site, program
from kube_core.api import apps, core, meta, resources
from kube_core.client.client import ApiClient
from kube_core.meta.documents import Document, Key, resource_version_of, thaw
from kube_core.meta.status import NotFound

pytestmark = pytest.mark.anyio

CONFIG_MAPS = resources.CONFIG_MAPS


def deployment(replicas: int) -> apps.Deployment:
    labels = {"site": "yes"}
    pod = core.PodTemplateSpec(
        metadata=meta.ObjectMeta(labels=labels),
        spec=core.PodSpec(containers=(core.Container(name="web", image="nginx"),)),
    )
    return apps.Deployment(
        spec=apps.DeploymentSpec(replicas=replicas, selector=meta.LabelSelector(match_labels=labels), template=pod)
    )


async def get_or_none(client: ApiClient, name: str, namespace: str = "default") -> Document | None:
    try:
        return await client.get(CONFIG_MAPS, name, namespace)
    except NotFound:
        return None


async def update_site(client: ApiClient, name: str = "a", **spec: Any) -> None:
    await client.patch(SITES, name, {"spec": spec}, "default")


@kube.controller(Site, owns=[core.ConfigMap])
async def pages(ctx: kube.Context[Site]) -> None:
    await ctx.apply(core.ConfigMap(data={"pages": str(ctx.object.pages)}))


async def test_an_operator_in_ten_lines() -> None:
    @kube.controller(Site, owns=[apps.Deployment])
    async def site(ctx: kube.Context[Site]) -> kube.Action:
        await ctx.apply(deployment(ctx.object.pages))
        return kube.await_change()

    async with cluster_with(program(site=site), nodes=1) as cluster:
        await create_site(cluster.client, pages=3)
        await cluster.advance(minutes=1)
        made = await cluster.client.get(resources.DEPLOYMENTS, "a", "default")
        assert made["status"]["readyReplicas"] == 3
        owner = made["metadata"]["ownerReferences"][0]
        assert (owner["kind"], owner["name"], owner["controller"]) == ("Site", "a", True)
        assert {each["manager"] for each in made["metadata"]["managedFields"] if each["operation"] == "Apply"} == {
            "site"
        }


async def test_a_child_that_somebody_deletes_or_changes_is_put_right() -> None:
    async with cluster_with(pages) as cluster:
        await create_site(cluster.client, pages=2)
        await cluster.settled()
        await cluster.client.delete(CONFIG_MAPS, "a", "default")
        await cluster.settled()
        assert (await cluster.client.get(CONFIG_MAPS, "a", "default"))["data"] == {"pages": "2"}
        await cluster.client.patch(CONFIG_MAPS, "a", {"data": {"pages": "9", "more": "kept"}}, "default")
        await cluster.settled()
        assert (await cluster.client.get(CONFIG_MAPS, "a", "default"))["data"] == {"pages": "2", "more": "kept"}


async def test_what_has_not_changed_is_not_applied_again(monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[str] = []
    apply = ApiClient.apply

    async def counted(self: ApiClient, *given: Any, **options: Any) -> Any:
        if self.field_manager == "pages":
            applied.append(self.field_manager)
        return await apply(self, *given, **options)

    monkeypatch.setattr(ApiClient, "apply", counted)
    async with cluster_with(pages) as cluster:
        await create_site(cluster.client)
        await cluster.settled()
        assert applied == ["pages"]
        await cluster.client.patch(SITES, "a", {"metadata": {"labels": {"some": "label"}}}, "default")
        await cluster.settled()
        assert applied == ["pages"]
        await update_site(cluster.client, pages=5)
        await cluster.settled()
        assert applied == ["pages", "pages"]


async def test_status_and_conditions_follow_upstreams_rules() -> None:
    @kube.controller(Site)
    async def site(ctx: kube.Context[Site]) -> None:
        ctx.update_status(pages=ctx.object.pages)
        enough = ctx.object.pages > 1
        ctx.set_condition("Ready", enough, "Enough" if enough else "TooFew", f"{ctx.object.pages} pages")

    async with cluster_with(program(site=site)) as cluster:
        await create_site(cluster.client, pages=1)
        await cluster.settled()

        async def status() -> Any:
            return thaw(await cluster.client.get(SITES, "a", "default"))["status"]

        first = await status()
        assert first["pages"] == 1
        (condition,) = first["conditions"]
        moment = condition.pop("lastTransitionTime")
        assert condition == {
            "type": "Ready",
            "status": "False",
            "reason": "TooFew",
            "message": "1 pages",
            "observedGeneration": 1,
        }
        await cluster.advance(seconds=10)
        await update_site(cluster.client, pages=0)
        await cluster.settled()
        (condition,) = (await status())["conditions"]
        assert (condition["message"], condition["lastTransitionTime"]) == ("0 pages", moment)
        await update_site(cluster.client, pages=2)
        await cluster.settled()
        (condition,) = (await status())["conditions"]
        assert condition["status"] == "True"
        assert condition["lastTransitionTime"] > moment
        version = resource_version_of(await cluster.client.get(SITES, "a", "default"))
        await cluster.advance(hours=1)
        assert resource_version_of(await cluster.client.get(SITES, "a", "default")) == version


async def test_a_status_that_is_awaited_is_written_at_once_and_others_even_by_who_fails() -> None:
    seen: list[Any] = []

    @kube.controller(Site)
    async def site(ctx: kube.Context[Site]) -> None:
        await ctx.update_status(pages=7)
        seen.append((await ctx.client.get(SITES, "a", "default"))["status"]["pages"])
        ctx.set_condition("Ready", False, "Broken")
        raise RuntimeError("broken")

    async with cluster_with(program(site=site)) as cluster:
        await create_site(cluster.client)
        await cluster.advance(seconds=2)
        document = await cluster.client.get(SITES, "a", "default")
        assert seen[0] == 7
        assert document["status"]["conditions"][0]["reason"] == "Broken"


async def test_whose_kind_has_no_status_is_told_so_when_it_writes_one() -> None:
    told: list[str] = []

    @kube.controller(core.ConfigMap, predicate=lambda _, after: after.metadata.name == "a")
    async def site(ctx: kube.Context[core.ConfigMap]) -> None:
        try:
            await ctx.set_condition("Ready", True, "Serving")
        except kube.KindError as error:
            told.append(str(error))

    async with cluster_with(program(site=site)) as cluster:
        await cluster.client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "default")
        await cluster.settled()
        assert told == ["ConfigMap has no status that could be written: its kind declares none"]


async def test_finalizers_are_there_before_the_first_reconcile_and_go_when_they_are_done() -> None:
    calls: list[str] = []

    @kube.controller(Site)
    async def site(ctx: kube.Context[Site]) -> None:
        calls.append(f"reconcile with {','.join(ctx.metadata.finalizers)}")

    @site.finalizer("example.dev/first")
    async def first(ctx: kube.Context[Site]) -> kube.Action | None:
        calls.append("first")
        return kube.requeue(60) if calls.count("first") == 1 else None

    @site.finalizer("example.dev/second")
    async def second(ctx: kube.Context[Site]) -> None:
        calls.append("second")

    async with cluster_with(program(site=site)) as cluster:
        await create_site(cluster.client)
        await cluster.settled()
        assert set(calls) == {"reconcile with example.dev/first,example.dev/second"}
        calls.clear()
        await cluster.client.delete(SITES, "a", "default")
        await cluster.settled()
        assert calls == ["first"]
        await cluster.advance(minutes=2)
        assert calls == ["first", "first", "second"]
        with pytest.raises(NotFound):
            await cluster.client.get(SITES, "a", "default")


def test_a_finalizer_has_a_qualified_name() -> None:
    with pytest.raises(ValueError, match="qualified by a domain"):
        pages.finalizer("cleanup")


async def test_children_that_are_not_applied_any_more_are_pruned_and_nobody_elses() -> None:
    @kube.controller(Site, owns=[core.ConfigMap], prune=True)
    async def site(ctx: kube.Context[Site]) -> None:
        for number in range(ctx.object.pages):
            await ctx.apply(core.ConfigMap(metadata=meta.ObjectMeta(name=f"page-{number}")))

    async with cluster_with(program(site=site)) as cluster:
        created = await create_site(cluster.client, pages=3)
        await cluster.settled()
        owner = {"apiVersion": "tests.example.dev/v1", "kind": "Site", "name": "a", "uid": created["metadata"]["uid"]}
        foreign = {"name": "foreign", "namespace": "default", "ownerReferences": [{**owner, "controller": True}]}
        await cluster.client.create(CONFIG_MAPS, {"metadata": foreign})
        await update_site(cluster.client, pages=1)
        await cluster.settled()
        listed = await cluster.client.list(CONFIG_MAPS, "default")
        names = {each["metadata"]["name"] for each in listed.items} - {"kube-root-ca.crt"}
        assert names == {"page-0", "foreign"}


async def test_watches_lead_to_the_objects_that_they_name_by_an_index() -> None:
    reconciled: list[str] = []

    def sites_of(secret: core.Secret) -> list[Key]:
        return [Key("default", str(secret.metadata.name).removesuffix("-secret"))]

    @kube.controller(
        Site,
        predicate=kube.generation_changed,
        watches=[kube.Watch(core.Secret, map=sites_of, predicate=kube.labels_changed)],
        indexes=[kube.Index(Site, "secret", lambda site: [site.secret])],
    )
    async def site(ctx: kube.Context[Site]) -> None:
        reconciled.append(ctx.name)
        assert [each.secret for each in ctx.lister(Site).by_index("secret", ctx.object.secret)] == [ctx.object.secret]
        assert ctx.lister(core.Secret).get("nothing") is None
        with pytest.raises(LookupError, match="reads"):
            ctx.lister(core.Node)

    async with cluster_with(program(site=site)) as cluster:
        await create_site(cluster.client, secret="a-secret")
        await create_site(cluster.client, "b", secret="b-secret")
        await cluster.settled()
        assert reconciled == ["a", "b"]
        secret = {"metadata": {"name": "b-secret", "namespace": "default"}}
        await cluster.client.create(resources.SECRETS, secret)
        await cluster.settled()
        assert reconciled == ["a", "b", "b"]
        await cluster.client.patch(resources.SECRETS, "b-secret", {"stringData": {"a": "b"}}, "default")
        await cluster.client.patch(SITES, "a", {"metadata": {"labels": {"a": "b"}}}, "default")
        await cluster.settled()
        assert reconciled == ["a", "b", "b"]


async def test_who_wants_to_hears_of_what_is_gone() -> None:
    gone: list[str] = []

    @kube.controller(Site)
    async def site(ctx: kube.Context[Site]) -> None: ...

    @site.on_absent
    async def absent(ctx: kube.Context[Site]) -> None:
        assert not ctx.exists
        with pytest.raises(LookupError):
            _ = ctx.object
        gone.append(str(ctx.key))

    async with cluster_with(program(site=site)) as cluster:
        await create_site(cluster.client)
        await cluster.settled()
        await cluster.client.delete(SITES, "a", "default")
        await cluster.settled()
        assert gone == ["default/a"]


async def test_one_that_crashes_is_tried_again_and_others_go_on() -> None:
    @kube.controller(Site)
    async def broken(ctx: kube.Context[Site]) -> None:
        raise SystemExit("not in my house")

    async with cluster_with(program(broken=broken, pages=pages)) as cluster:
        await create_site(cluster.client, pages=4)
        await cluster.advance(minutes=5)
        assert (await cluster.client.get(CONFIG_MAPS, "a", "default"))["data"] == {"pages": "4"}
        assert cluster.controllers is not None
        assert cluster.controllers.next_retry is not None


async def test_requeue_brings_a_key_back_and_so_does_resync() -> None:
    calls: list[float] = []

    @kube.controller(Site, resync=600)
    async def site(ctx: kube.Context[Site]) -> kube.Action | None:
        calls.append(ctx.clock.monotonic())
        if len(calls) == 1:
            ctx.requeue(30)
            return kube.requeue(60)
        return None

    async with cluster_with(program(site=site)) as cluster:
        await create_site(cluster.client)
        await cluster.settled()
        await cluster.advance(minutes=11)
        assert [round(each - calls[0]) for each in calls] == [0, 30, 630]


async def test_a_class_can_stand_for_the_function() -> None:
    log: list[str] = []

    @kube.controller(Site, name="by-class")
    class Sites:
        def start(self) -> None:
            log.append("start")

        async def stop(self) -> None:
            log.append("stop")

        async def reconcile(self, ctx: kube.Context[Site]) -> None:
            log.append(ctx.name)
            ctx.event("Seen", "somebody saw it")

    async with cluster_with(program(Sites=Sites)) as cluster:
        await create_site(cluster.client)
        await cluster.settled()
        events = await cluster.client.list(resources.EVENTS, "default")
        assert [(each["reason"], each["source"]["component"]) for each in events.items] == [("Seen", "by-class")]
    assert log == ["start", "a", "stop"]


async def test_a_controller_waits_for_its_kind_to_be_served() -> None:
    from kube_core.kinds.bundle import gather
    from kube_core.kinds.install import wanted_definitions

    async with cluster_with(program(pages=pages), kinds=[]) as cluster:
        for definition in wanted_definitions(gather([Site])):
            await cluster.client.create(resources.CUSTOM_RESOURCE_DEFINITIONS, definition)
        await cluster.settled()
        await create_site(cluster.client, pages=2)
        await cluster.settled()
        assert (await get_or_none(cluster.client, "a")) is not None


async def test_a_controller_that_is_a_plugin_by_itself_brings_its_kind() -> None:
    async with cluster_with(pages, kinds=[]) as cluster:
        await create_site(cluster.client, pages=2)
        await cluster.settled()
        assert (await get_or_none(cluster.client, "a")) is not None


async def test_one_declaration_works_in_two_clusters_at_once() -> None:
    async with cluster_with(pages) as one, cluster_with(pages) as other:
        await create_site(one.client, pages=1)
        await create_site(other.client, pages=2)
        await one.settled()
        await other.settled()
        answers = [(await cluster.client.get(CONFIG_MAPS, "a", "default"))["data"] for cluster in (one, other)]
        assert answers == [{"pages": "1"}, {"pages": "2"}]


async def test_an_owner_owns_only_what_is_in_its_namespace() -> None:
    errors: list[str] = []

    @kube.controller(Site)
    async def site(ctx: kube.Context[Site]) -> None:
        elsewhere = core.ConfigMap(metadata=meta.ObjectMeta(name="x", namespace="kube-system"))
        try:
            await ctx.apply(elsewhere)
        except ValueError as error:
            errors.append(str(error))
        await ctx.apply(elsewhere, owned=False)

    async with cluster_with(program(site=site)) as cluster:
        await create_site(cluster.client)
        await cluster.settled()
        assert "cannot be owned from namespace 'default'" in errors[0]
        made = await get_or_none(cluster.client, "x", "kube-system")
        assert made is not None
        assert "ownerReferences" not in made["metadata"]


async def test_what_is_under_way_is_cancelled_when_the_cluster_stops() -> None:
    begun, ended = asyncio.Event(), list[str]()

    @kube.controller(Site)
    async def site(ctx: kube.Context[Site]) -> None:
        begun.set()
        try:
            await ctx.clock.sleep(1000)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async with cluster_with(program(site=site)) as cluster:
        await create_site(cluster.client)
        await begun.wait()
    assert ended == ["cancelled"]


async def test_a_controllers_functions_can_be_called_as_they_are() -> None:
    class Fake:
        object = Site(pages=3)
        applied: Any = None

        async def apply(self, child: Any) -> None:
            self.applied = child

    fake = Fake()
    await pages(fake)  # type: ignore[arg-type]
    assert fake.applied.data == {"pages": "3"}

"""Own kinds, and functions of admission and conversion: in process, and as webhooks. Each test runs each way."""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest

import kube_core as kube
from fakes import websites
from fakes.kubectl import running_cluster
from fakes.websites import (
    OldWebsite,
    Port,
    Tier,
    Website,
    WebsiteStatus,
    from_v1,
    known_host,
    to_v1,
    two_if_paid,
)
from kube_core._kit.clock import FakeClock, SystemClock
from kube_core.abc.transport import Request
from kube_core.api import resources
from kube_core.api.models import from_document, metadata_of, resource_of, to_document
from kube_core.client.client import ApiClient
from kube_core.client.http import HttpTransport
from kube_core.client.kubeconfig import load_connection
from kube_core.cluster import Cluster
from kube_core.config import ConfigError
from kube_core.kinds.certificates import SecretKeeper
from kube_core.kinds.webhooks import Webhooks
from kube_core.meta.documents import Document, Key, thaw
from kube_core.meta.status import Conflict, Forbidden, InternalError, Invalid, StatusError

pytestmark = pytest.mark.anyio

#: What the cluster of the fixture finds here, besides the classes.
FUNCTIONS = (known_host, to_v1, from_v1, two_if_paid)
SITES, OLD_SITES = resource_of(Website), resource_of(OldWebsite)
OPTIONS: dict[str, Any] = {"nodes": 0, "store": "memory:", "controllers": ()}


@pytest.fixture(scope="module", params=["in process", "webhooks", "beside another process"])
async def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiClient]:
    async with contextlib.AsyncExitStack() as stack:
        if request.param == "in process":
            cluster = await stack.enter_async_context(Cluster(listen=False, kinds=[websites], **OPTIONS))
            client = cluster.client
        elif request.param == "webhooks":
            client = (await stack.enter_async_context(Cluster(listen=False, **OPTIONS))).client
        else:
            directory = tmp_path_factory.mktemp("beside")
            options = ("--nodes", "0", "--controllers", "none")
            kubectl = stack.enter_context(running_cluster(directory, f"beside-{os.getpid()}", *options))
            client = ApiClient(HttpTransport(load_connection(kubectl.kubeconfig)))
            stack.push_async_callback(client.close)
        if request.param != "in process":
            await stack.enter_async_context(Webhooks(client, [websites], name="websites"))
        yield client


async def write(client: ApiClient, value: object, name: str, **metadata: Any) -> Document:
    document = to_document(value)
    document["metadata"] = {"name": name, "namespace": "default", **metadata}
    return await client.apply(resource_of(type(value)), document, force=True)


async def test_an_object_comes_back_as_it_was_written_with_the_servers_metadata(client: ApiClient) -> None:
    site = Website(
        "git.example/round",
        replicas=3,
        tier=Tier.PAID,
        weight=1.5,
        ports=(Port("http", 80), Port("https", 443)),
        hosts=frozenset(["b.example", "a.example"]),
        listen="any",
        secret=b"\x00\xff",
    )
    read = from_document(Website, await write(client, site, "round", labels={"a": "b"}))
    assert attrs.evolve(read, metadata=site.metadata) == site
    assert (read.metadata.name, read.metadata.labels, read.metadata.generation) == ("round", {"a": "b"}, 1)


async def test_defaults_are_filled_in_by_the_server(client: ApiClient) -> None:
    document = {"metadata": {"name": "bare", "namespace": "default"}, "spec": {"repository": "git.example/bare"}}
    created = await client.create(SITES, document)
    assert created["spec"] == {
        "repository": "git.example/bare",
        "replicas": 1,
        "most": 10,
        "tier": "free",
        "mode": "static",
    }
    assert from_document(Website, created).mode == "static"


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("repository", "Git.Example", "spec.repository"),
        ("repository", "git." + "a" * 40, "spec.repository"),
        ("replicas", -1, "spec.replicas"),
        ("replicas", 100, "spec.replicas"),
        ("tier", "dear", "spec.tier"),
        ("mode", "other", "spec.mode"),
        ("color", "green", "spec.color"),
        ("weight", 0, "spec.weight"),
        ("ports", [{"name": "", "number": 1}], "spec.ports[0].name"),
        ("ports", [{"name": "a", "number": 70000}], "spec.ports[0].number"),
        ("ports", [{"name": each, "number": 1} for each in "abcd"], "spec.ports"),
        ("hosts", ["a", "a"], "spec.hosts[1]"),
        ("paths", ["/a", "b"], "spec.paths[1]"),
        ("listen", True, "spec.listen"),
        ("most", 0, "spec.replicas"),
    ],
)
async def test_what_a_validator_refuses_the_server_refuses_with_the_fields_path(
    client: ApiClient, field: str, value: Any, path: str
) -> None:
    spec = {"repository": "git.example/a", "replicas": 1, field: value}
    with pytest.raises(Invalid) as refused:
        await client.create(SITES, {"metadata": {"name": "wrong", "namespace": "default"}, "spec": spec})
    assert path in [cause["field"] for cause in refused.value.causes]


async def test_a_field_that_is_immutable_can_neither_change_nor_go(client: ApiClient) -> None:
    await write(client, Website("git.example/a", owner="me"), "owned")
    for owner in ("you", None):
        with pytest.raises(Invalid, match="immutable"):
            await write(client, Website("git.example/a", owner=owner), "owned")


async def test_a_function_refuses_and_warns(client: ApiClient) -> None:
    with pytest.raises(Forbidden) as refused:
        await write(client, Website("other.example"), "refused")
    assert refused.value.message == (
        'admission webhook "known-host.websites.example.dev" denied the request: '
        "kubernetes-admin may not serve other.example"
    )
    document = {**to_document(Website("git.example/a", replicas=7)), "metadata": {"name": "warned"}}
    headers = {"content-type": "application/json", "accept": "application/json"}
    answer = await client.transport.request(Request("POST", SITES.path("default"), [], headers, document=document))
    # Without a socket they are not yet headers.
    assert [*answer.warnings, *answer.headers.values()].count('299 - "7 are many"') == 1


async def test_a_function_may_refuse_a_deletion(client: ApiClient) -> None:
    await write(client, Website("git.example/a", tier=Tier.PAID), "paid")
    with pytest.raises(Conflict, match="it is paid for"):
        await client.delete(SITES, "paid", "default")
    await write(client, Website("git.example/a"), "unpaid")
    await client.delete(SITES, "unpaid", "default")


async def test_a_function_changes_what_is_written(client: ApiClient) -> None:
    written = await write(client, Website("git.example/a", tier=Tier.PAID), "raised")
    assert written["spec"]["replicas"] == 2


async def test_a_function_changes_built_in_kinds_and_leaves_what_its_class_does_not_have(client: ApiClient) -> None:
    document = {
        "metadata": {"name": "stamped", "namespace": "default", "labels": {"stamped": "yes"}},
        "data": {"a": "1"},
    }
    created = await client.create(resources.CONFIG_MAPS, document)
    assert created["data"] == {"a": "1", "by": "kubernetes-admin"}
    assert created["metadata"]["labels"] == {"stamped": "yes"}


async def test_a_function_that_fails_is_a_webhook_that_fails(client: ApiClient) -> None:
    document = {"metadata": {"name": "broken", "namespace": "default", "labels": {"broken": "yes"}}}
    with pytest.raises(InternalError) as refused:
        await client.create(resources.CONFIG_MAPS, document)
    assert refused.value.message == (
        'Internal error occurred: failed calling webhook "broken.configmaps.core": failed to call webhook: an error on '
        'the server ("RuntimeError: this was not foreseen") has prevented the request from succeeding'
    )


async def test_versions_are_converted_both_ways(client: ApiClient) -> None:
    old = await write(client, OldWebsite("git.example/old", 4), "old", labels={"a": "b"})
    assert old["spec"] == {"repo": "git.example/old", "count": 4}
    new = from_document(Website, await client.get(SITES, "old", "default"))
    assert (new.repository, new.replicas, new.metadata.labels) == ("git.example/old", 4, {"a": "b"})
    listed = await client.list(OLD_SITES, "default")
    found = {each["metadata"]["name"]: from_document(OldWebsite, each) for each in listed.items}
    assert found["old"] == OldWebsite("git.example/old", 4)
    assert metadata_of(found["old"]).name == "old"


async def test_functions_of_one_version_see_objects_written_in_another(client: ApiClient) -> None:
    with pytest.raises(Forbidden, match="may not serve nowhere"):
        await write(client, OldWebsite("nowhere"), "elsewhere")


async def test_status_and_scale_are_subresources(client: ApiClient) -> None:
    created = thaw(await write(client, Website("git.example/a", replicas=2), "scaled"))
    created["status"] = to_document(Website("git.example/a", status=WebsiteStatus(ready=2)))["status"]
    shown = from_document(Website, await client.update_status(SITES, created))
    assert shown.status == WebsiteStatus(ready=2)
    scale = await client.get(SITES, "scaled", "default", subresource="scale")
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (2, 2)


async def test_kinds_are_selected_by_fields_and_shown_in_columns(client: ApiClient) -> None:
    await write(client, Website("git.example/a", tier=Tier.PAID), "selected")
    listed = await client.list(SITES, "default", field_selector="spec.tier=paid,metadata.name=selected")
    assert [each["metadata"]["name"] for each in listed.items] == ["selected"]
    table = await client.get_path(
        SITES.path("default", "selected"), accept="application/json;as=Table;v=v1;g=meta.k8s.io"
    )
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Replicas", "Ready", "Age"]


async def test_the_words_of_a_class_are_in_its_definition(client: ApiClient) -> None:
    definition = await client.get(resources.CUSTOM_RESOURCE_DEFINITIONS, "websites.example.dev")
    [version] = [each for each in definition["spec"]["versions"] if each["name"] == "v1"]
    schema = version["schema"]["openAPIV3Schema"]
    fields = schema["properties"]["spec"]["properties"]
    assert schema["description"] == "A site served from a repository."
    assert [fields[name]["description"] for name in ("repository", "replicas", "most")] == [
        "Where it comes from.",
        "How many copies are served.",
        "What may never be exceeded.",
    ]


async def test_stale_configurations_of_a_program_that_is_gone_are_removed(tmp_path: Any) -> None:
    options = {**OPTIONS, "listen": False, "store": f"sqlite://{tmp_path}/state.db", "state_directory": tmp_path}
    async with Cluster(kinds=[websites], **options) as cluster:
        assert len((await cluster.client.list(resources.VALIDATING_WEBHOOK_CONFIGURATIONS)).items) == 1
        await write(cluster.client, Website("git.example/kept"), "kept")
    async with Cluster(**options) as cluster:
        for resource in (resources.VALIDATING_WEBHOOK_CONFIGURATIONS, resources.MUTATING_WEBHOOK_CONFIGURATIONS):
            assert (await cluster.client.list(resource)).items == []
        # What is stored can be read as it is stored; only a conversion says what is missing.
        assert (await cluster.client.get(SITES, "kept", "default"))["spec"]["repository"] == "git.example/kept"
        with pytest.raises(StatusError, match="is its plugin installed"):
            await cluster.client.get(OLD_SITES, "kept", "default")


async def test_kinds_that_do_not_go_together_are_an_error_of_the_clusters_options() -> None:
    with pytest.raises(ConfigError, match="is no kind"):
        Cluster(kinds=[object()])


async def test_certificates_are_renewed_and_configurations_follow() -> None:
    clock = FakeClock(SystemClock().now())
    async with Cluster(listen=False, **OPTIONS) as cluster:
        webhooks = Webhooks(cluster.client, [websites], name="renewed", clock=clock, days=4000, withdraw=True)
        async with webhooks:
            before = webhooks.certificate.trusted
            configured = await _bundle(cluster.client, "renewed")
            assert configured == before
            # The authority has ten years; what it issues here would outlive it.
            await webhooks.refresh()
            after = await _bundle(cluster.client, "renewed")
            assert after == webhooks.certificate.trusted != before
            definition = await cluster.client.get(resources.CUSTOM_RESOURCE_DEFINITIONS, "websites.example.dev")
            config = definition["spec"]["conversion"]["webhook"]["clientConfig"]
            assert base64.b64decode(config["caBundle"]) == after
            await write(cluster.client, Website("git.example/a"), "afterwards")
        assert (await cluster.client.list(resources.VALIDATING_WEBHOOK_CONFIGURATIONS)).items == []


async def test_replicas_share_an_authority_in_a_secret() -> None:
    clock = SystemClock()
    async with Cluster(listen=False, **OPTIONS) as cluster:
        await cluster.client.create(resources.NAMESPACES, {"metadata": {"name": "sites"}})
        keepers = [SecretKeeper(cluster.client, Key("sites", "authority")) for _ in range(3)]
        first, second, third = [await keeper.load(clock.now()) for keeper in keepers]
        assert first[0].certificate == second[0].certificate == third[0].certificate
        replaced = await keepers[0].replace(first[0], clock.now())
        # Who is later takes what there is.
        again = await keepers[1].replace(second[0], clock.now())
        assert [each.certificate for each in again if each] == [each.certificate for each in replaced if each]
        assert again[1] is not None
        assert again[1].certificate == first[0].certificate


@pytest.mark.cluster(nodes=0, controllers=())
async def test_a_fork_has_the_kinds_and_functions_of_what_it_was_forked_from(cluster: Cluster) -> None:
    async with cluster.fork() as fork:
        assert (await write(fork.client, Website("git.example/a", tier=Tier.PAID), "a"))["spec"]["replicas"] == 2


async def _bundle(client: ApiClient, name: str) -> bytes:
    found = await client.get(resources.VALIDATING_WEBHOOK_CONFIGURATIONS, name)
    return base64.b64decode(found["webhooks"][0]["clientConfig"]["caBundle"])


@pytest.mark.cluster(nodes=0, controllers=())
async def test_the_kinds_of_a_tests_module_are_in_the_cluster_of_the_fixture(cluster: Cluster) -> None:
    written = await write(cluster.client, Website("git.example/site", replicas=3), "site")
    assert from_document(Website, written).replicas == 3


async def test_a_plugin_whose_kinds_the_server_refuses_is_left_out_and_the_rest_goes_on() -> None:
    @kube.kind(group="example.dev", version="v1")
    @kube.rule("self.size is what it is")
    @attrs.frozen
    class Refused:
        size: int = 1

    class Offering:
        def __init__(self, name: str, *offered: object) -> None:
            self.__name__ = name
            self.offered = offered

        @kube.hookimpl
        def kube_core_kinds(self) -> tuple[object, ...]:
            return self.offered

    plugins = [Offering("bad", Refused), Offering("good", websites)]
    async with Cluster(plugins=plugins, kinds=[websites], listen=False, **OPTIONS) as cluster:
        [failure] = [each for each in cluster.plugins.failures if each.where == "kube_core_kinds"]
        assert (failure.name, "self.size is what it is" in failure.error) == ("bad", True)
        configured = await cluster.client.list(resources.VALIDATING_WEBHOOK_CONFIGURATIONS)
        assert [each["metadata"]["name"] for each in configured.items] == ["good.in-process.kube-core.io"]
        assert (await write(cluster.client, Website("git.example/a", tier=Tier.PAID), "a"))["spec"]["replicas"] == 2
    with pytest.raises(ConfigError, match=r"self\.size is what it is"):
        async with Cluster(kinds=[Refused], listen=False, **OPTIONS):
            pass

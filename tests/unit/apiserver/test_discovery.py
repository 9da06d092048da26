"""Discovery documents, and how their paths answer."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fakes.catalogues import FakeCatalogue, custom
from kube_core.abc.transport import Request, Response
from kube_core.api import protobuf
from kube_core.api.schemas import builtin_name
from kube_core.apiserver.discovery import Discovery
from kube_core.meta.status import MethodNotSupported, NotAcceptable, NotFound

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


@pytest.fixture
def catalogue() -> FakeCatalogue:
    return FakeCatalogue()


@pytest.fixture
def discovery(catalogue: FakeCatalogue) -> Discovery:
    return Discovery(catalogue, address="192.0.2.1:6443")


def ask(discovery: Discovery, path: str, *, method: str = "GET", **headers: str) -> Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    response = discovery.handle(Request(method, path, headers=names))
    assert response is not None
    return response


def get(discovery: Discovery, path: str, **headers: str) -> Any:
    return orjson.loads(ask(discovery, path, **headers).encoded())


def test_core_root_lists_versions_and_the_servers_address(discovery: Discovery) -> None:
    assert get(discovery, "/api") == {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "192.0.2.1:6443"}],
    }


def test_address_is_the_one_the_client_used_where_none_is_known(catalogue: FakeCatalogue) -> None:
    discovery = Discovery(catalogue)
    for host in ("a:1", "b:2"):
        assert get(discovery, "/api", host=host)["serverAddressByClientCIDRs"][0]["serverAddress"] == host


def test_groups_come_in_upstreams_order(discovery: Discovery) -> None:
    names = [group["name"] for group in get(discovery, "/apis")["groups"]]
    assert names[:3] == ["apiregistration.k8s.io", "apps", "events.k8s.io"]
    assert names[-2:] == ["flowcontrol.apiserver.k8s.io", "storagemigration.k8s.io"]


def test_preferred_version_of_a_builtin_group_is_the_one_it_names(discovery: Discovery) -> None:
    group = get(discovery, "/apis/autoscaling")
    assert [each["version"] for each in group["versions"]] == ["v2", "v1"]
    assert group["preferredVersion"] == {"groupVersion": "autoscaling/v2", "version": "v2"}


def test_resource_list_shows_resources_and_subresources(discovery: Discovery) -> None:
    document = get(discovery, "/apis/apps/v1")
    assert document["groupVersion"] == "apps/v1"
    found = {each["name"]: each for each in document["resources"]}
    assert list(found)[:3] == ["controllerrevisions", "daemonsets", "daemonsets/status"]
    deployments = found["deployments"]
    assert deployments.pop("storageVersionHash")
    assert deployments == {
        "name": "deployments",
        "singularName": "deployment",
        "namespaced": True,
        "kind": "Deployment",
        "verbs": VERBS,
        "shortNames": ["deploy"],
        "categories": ["all"],
    }
    assert found["deployments/scale"] == {
        "name": "deployments/scale",
        "singularName": "",
        "namespaced": True,
        "group": "autoscaling",
        "version": "v1",
        "kind": "Scale",
        "verbs": ["get", "patch", "update"],
    }
    assert "group" not in found["deployments/status"]


def test_core_list_does_not_say_its_own_version(discovery: Discovery) -> None:
    assert "apiVersion" not in get(discovery, "/api/v1")
    assert get(discovery, "/apis/apps/v1")["apiVersion"] == "v1"


@pytest.mark.parametrize("path", ["/api", "/apis", "/apis/apps", "/api/v1", "/apis/apps/v1", "/version"])
def test_a_slash_at_the_end_changes_nothing(discovery: Discovery, path: str) -> None:
    assert get(discovery, path + "/") == get(discovery, path)


@pytest.mark.parametrize("path", ["/api/v2", "/apis/apps/v9"])
def test_unknown_version_of_a_known_group_is_a_status(discovery: Discovery, path: str) -> None:
    with pytest.raises(NotFound, match="the server could not find the requested resource"):
        discovery.handle(Request("GET", path))


@pytest.mark.parametrize(
    "path", ["/apis/none.example.org", "/apis/none.example.org/v1", "/", "/logs", "/apis/apps/v1/x"]
)
def test_other_paths_are_left_to_others(discovery: Discovery, path: str) -> None:
    assert discovery.handle(Request("GET", path)) is None


@pytest.mark.parametrize("path", ["/api", "/api/v1", "/apis/apps/v1", "/version"])
@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "DELETE"])
def test_documents_can_only_be_read(discovery: Discovery, path: str, method: str) -> None:
    with pytest.raises(MethodNotSupported):
        discovery.handle(Request(method, path))


@pytest.mark.parametrize("path", ["/apis", "/apis/apps"])
def test_group_documents_answer_any_method_as_upstreams_do(discovery: Discovery, path: str) -> None:
    assert orjson.loads(ask(discovery, path, method="DELETE").encoded()) == get(discovery, path)


def test_aggregated_core_has_resources_with_their_subresources(discovery: Discovery) -> None:
    response = ask(discovery, "/api", accept=AGGREGATED)
    assert response.content_type == AGGREGATED
    document = orjson.loads(response.encoded())
    assert (document["kind"], document["apiVersion"]) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io/v2")
    (group,) = document["items"]
    assert group["metadata"] == {}
    (version,) = group["versions"]
    assert version["freshness"] == "Current"
    pods = next(each for each in version["resources"] if each["resource"] == "pods")
    assert (pods["scope"], pods["singularResource"], pods["shortNames"]) == ("Namespaced", "pod", ["po"])
    assert pods["responseKind"] == {"group": "", "version": "", "kind": "Pod"}
    assert {
        "subresource": "eviction",
        "responseKind": {"group": "policy", "version": "v1", "kind": "Eviction"},
        "verbs": ["create"],
    } in pods["subresources"]


def test_aggregated_groups_are_all_but_the_core(discovery: Discovery) -> None:
    items = get(discovery, "/apis", accept=AGGREGATED)["items"]
    assert [each["metadata"]["name"] for each in items] == [each["name"] for each in get(discovery, "/apis")["groups"]]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (f"{AGGREGATED},application/json", "APIGroupDiscoveryList"),
        (f"application/json,{AGGREGATED}", "APIGroupList"),
        ("application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList,application/json", "APIGroupList"),
        ("application/cbor,application/json", "APIGroupList"),
        ("*/*", "APIGroupList"),
    ],
)
def test_first_form_that_there_is_wins(discovery: Discovery, accept: str, kind: str) -> None:
    assert get(discovery, "/apis", accept=accept)["kind"] == kind


def test_groups_and_resources_are_told_in_protobuf(discovery: Discovery) -> None:
    for path in ("/apis", "/apis/apps/v1"):
        answer = ask(discovery, path, accept="application/vnd.kubernetes.protobuf")
        assert answer.content_type == "application/vnd.kubernetes.protobuf"
        assert protobuf.decode(answer.encoded(), builtin_name)["kind"] == get(discovery, path)["kind"]


def test_the_version_is_told_in_json_only(discovery: Discovery) -> None:
    assert "gitVersion" in get(discovery, "/version", accept="application/vnd.kubernetes.protobuf")


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("/api", "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"),
        ("/api", "application/json;as=Poem"),
        ("/api/v1", AGGREGATED),
        ("/apis", "application/json;g=meta.k8s.io;v=v1;as=Table"),
        ("/apis", "application/xml"),
    ],
)
def test_forms_that_there_are_not_are_refused(discovery: Discovery, path: str, accept: str) -> None:
    with pytest.raises(NotAcceptable):
        discovery.handle(Request("GET", path, headers={"accept": accept}))


def test_aggregated_document_is_not_sent_twice(discovery: Discovery, catalogue: FakeCatalogue) -> None:
    first = ask(discovery, "/apis", accept=AGGREGATED)
    again = ask(discovery, "/apis", accept=AGGREGATED, if_none_match=first.headers["ETag"])
    assert (again.status, again.encoded()) == (304, b"")
    catalogue.add(custom("example.org", "v1", "Gadget"))
    changed = ask(discovery, "/apis", accept=AGGREGATED, if_none_match=first.headers["ETag"])
    assert changed.status == 200
    assert changed.headers["ETag"] != first.headers["ETag"]


def test_custom_group_comes_and_goes_with_its_definition(discovery: Discovery, catalogue: FakeCatalogue) -> None:
    gadgets = custom("a.example.org", "v1", "Gadget", scale=True)
    catalogue.add(gadgets)
    assert get(discovery, "/apis")["groups"][-1]["name"] == "a.example.org"
    (resource, status, scale) = get(discovery, "/apis/a.example.org/v1")["resources"]
    assert (resource["name"], status["name"], scale["name"]) == ("gadgets", "gadgets/status", "gadgets/scale")
    assert (scale["group"], scale["kind"]) == ("autoscaling", "Scale")
    catalogue.remove(gadgets)
    assert discovery.handle(Request("GET", "/apis/a.example.org/v1")) is None
    assert get(discovery, "/apis")["groups"][-1]["name"] == "storagemigration.k8s.io"


def test_custom_versions_are_ordered_by_stability(discovery: Discovery, catalogue: FakeCatalogue) -> None:
    for version in ("v1beta1", "v1", "v2alpha1"):
        catalogue.add(custom("example.org", version, "Gadget"))
    group = get(discovery, "/apis/example.org")
    assert [each["version"] for each in group["versions"]] == ["v1", "v1beta1", "v2alpha1"]


def test_yaml_is_served_to_who_asks_for_it(discovery: Discovery) -> None:
    response = ask(discovery, "/apis/apps", accept="application/yaml")
    assert response.content_type == "application/yaml"
    assert b"name: apps" in response.encoded()


def test_version_is_that_of_the_api_served(discovery: Discovery) -> None:
    document = get(discovery, "/version")
    assert (document["major"], document["minor"]) == ("1", "37")
    assert document["gitVersion"].startswith("v1.37.2+")

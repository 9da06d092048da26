"""OpenAPI documents: what they say of operations and schemas, and how their paths answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from fakes.catalogues import FakeCatalogue, custom
from kube_core.abc.transport import Request, Response
from kube_core.api.descriptors import builtin_descriptors
from kube_core.api.types import ResourceDescriptor
from kube_core.apiserver.openapi import OpenApi

GADGETS = custom("example.org", "v1", "Gadget", scale=True)
SCHEMA = {
    "type": "object",
    "description": "A thing.",
    "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer", "description": "How big."}}}},
}


@pytest.fixture
def catalogue() -> FakeCatalogue:
    return FakeCatalogue()


@pytest.fixture
def openapi(catalogue: FakeCatalogue) -> OpenApi:
    return OpenApi(catalogue, custom_schema=lambda descriptor: SCHEMA if descriptor == GADGETS else None)


def ask(openapi: OpenApi, path: str, hash_: str = "", **headers: str) -> Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    response = openapi.handle(Request("GET", path, (("hash", hash_),) if hash_ else (), names))
    assert response is not None
    return response


def get(openapi: OpenApi, path: str) -> Any:
    return orjson.loads(ask(openapi, path).encoded())


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for member in value.values():
            yield from references(member)
    elif isinstance(value, list):
        for member in value:
            yield from references(member)


def test_index_points_to_a_document_for_each_group_and_version(openapi: OpenApi) -> None:
    response = ask(openapi, "/openapi/v3")
    assert response.content_type.startswith("text/plain")
    paths = orjson.loads(response.encoded())["paths"]
    assert {"api", "api/v1", "apis", "apis/apps", "apis/apps/v1", "apis/autoscaling/v2", "version"} <= set(paths)
    for name, entry in paths.items():
        assert entry["serverRelativeURL"].startswith(f"/openapi/v3/{name}?hash=")


def test_every_document_of_the_index_is_whole(openapi: OpenApi) -> None:
    for name in get(openapi, "/openapi/v3")["paths"]:
        document = get(openapi, f"/openapi/v3/{name}")
        schemas = document["components"]["schemas"]
        assert {each.removeprefix("#/components/schemas/") for each in references(document)} == set(schemas)
        assert document["paths"]


def test_operation_ids_are_unique(openapi: OpenApi) -> None:
    paths = get(openapi, "/openapi/v2")["paths"]
    ids = [method["operationId"] for path in paths.values() for name, method in path.items() if name != "parameters"]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("document", "path", "method", "operation"),
    [
        ("api/v1", "/api/v1/namespaces/{namespace}/pods", "get", "listCoreV1NamespacedPod"),
        ("api/v1", "/api/v1/pods", "get", "listCoreV1PodForAllNamespaces"),
        ("api/v1", "/api/v1/namespaces/{name}", "delete", "deleteCoreV1Namespace"),
        ("api/v1", "/api/v1/namespaces/{name}/finalize", "put", "replaceCoreV1NamespaceFinalize"),
        ("api/v1", "/api/v1/namespaces/{namespace}/pods/{name}/exec", "post", "connectCoreV1PostNamespacedPodExec"),
        (
            "api/v1",
            "/api/v1/nodes/{name}/proxy/{path}",
            "head",
            "connectCoreV1HeadNodeProxyWithPath",
        ),
        ("apis/apps/v1", "/apis/apps/v1/watch/deployments", "get", "watchAppsV1DeploymentListForAllNamespaces"),
        (
            "apis/rbac.authorization.k8s.io/v1",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles",
            "delete",
            "deleteRbacAuthorizationV1CollectionClusterRole",
        ),
        (
            "apis/authorization.k8s.io/v1",
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            "post",
            "createAuthorizationV1SubjectAccessReview",
        ),
    ],
)
def test_operations_have_upstreams_ids(openapi: OpenApi, document: str, path: str, method: str, operation: str) -> None:
    assert get(openapi, f"/openapi/v3/{document}")["paths"][path][method]["operationId"] == operation


def test_verbs_that_a_resource_lacks_have_no_operation(openapi: OpenApi) -> None:
    paths = get(openapi, "/openapi/v3/api/v1")["paths"]
    assert set(paths["/api/v1/namespaces"]) == {"get", "post", "parameters"}
    assert set(paths["/api/v1/namespaces/{namespace}/bindings"]) == {"post", "parameters"}
    assert "/api/v1/watch/componentstatuses" not in paths


def test_parameters_that_all_methods_take_stand_beside_them(openapi: OpenApi) -> None:
    path = get(openapi, "/openapi/v3/apis/apps/v1")["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    assert [each["name"] for each in path["parameters"]] == ["name", "namespace", "pretty"]
    assert all(each["required"] for each in path["parameters"] if each["in"] == "path")
    assert "parameters" not in path["get"]
    assert [each["name"] for each in path["patch"]["parameters"]] == [
        "dryRun",
        "fieldManager",
        "fieldValidation",
        "force",
    ]


def test_patch_tells_clients_that_the_server_validates_fields(openapi: OpenApi) -> None:
    """What kubectl looks for before it leaves validation to the server."""
    path = get(openapi, "/openapi/v3/apis/apps/v1")["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    patch = path["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert "fieldValidation" in [each["name"] for each in patch["parameters"]]


def test_subresource_of_another_kind_says_so(openapi: OpenApi) -> None:
    path = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"
    put = get(openapi, "/openapi/v3/apis/apps/v1")["paths"][path]["put"]
    assert put["x-kubernetes-group-version-kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    scale = {"schema": {"$ref": "#/components/schemas/io.k8s.api.autoscaling.v1.Scale"}}
    assert put["requestBody"] == {"content": {"*/*": scale}, "required": True}
    assert put["responses"]["200"]["content"]["application/json"] == scale


def test_v3_keeps_merge_keys_unions_and_descriptions(openapi: OpenApi) -> None:
    schemas = get(openapi, "/openapi/v3/api/v1")["components"]["schemas"]
    containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-list-map-keys"] == ["name"]
    assert containers["description"]
    assert "oneOf" in schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]


def test_delete_options_are_of_every_group(openapi: OpenApi) -> None:
    schemas = get(openapi, "/openapi/v3/apis/apps/v1")["components"]["schemas"]
    kinds = schemas["io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"]["x-kubernetes-group-version-kind"]
    assert {"group": "apps", "kind": "DeleteOptions", "version": "v1"} in kinds
    assert {"group": "", "kind": "DeleteOptions", "version": "v1"} in kinds


def test_v2_says_all_in_one_without_what_v2_cannot_say(openapi: OpenApi) -> None:
    document = get(openapi, "/openapi/v2")
    assert document["swagger"] == "2.0"
    definitions = document["definitions"]
    assert {each.removeprefix("#/definitions/") for each in references(document)} == set(definitions)
    assert definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"]["type"] == "string"
    deployment = definitions["io.k8s.api.apps.v1.Deployment"]["properties"]["spec"]
    assert deployment["$ref"] == "#/definitions/io.k8s.api.apps.v1.DeploymentSpec"
    assert not set(deployment) & {"allOf", "default", "oneOf"}
    post = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments"]["post"]
    assert post["parameters"][-1] == {
        "name": "body",
        "in": "body",
        "required": True,
        "schema": {"$ref": "#/definitions/io.k8s.api.apps.v1.Deployment"},
    }


@pytest.mark.parametrize("path", ["/openapi/v3/apis/none.example.org/v1", "/openapi/v3/apis/apps/v9"])
def test_unknown_document_is_a_bare_404(openapi: OpenApi, path: str) -> None:
    response = ask(openapi, path)
    assert (response.status, response.content_type, response.encoded()) == (404, "", b"")


@pytest.mark.parametrize("path", ["/openapi", "/openapi/", "/openapi/v9", "/swagger.json", "/api"])
def test_other_paths_are_left_to_others(openapi: OpenApi, path: str) -> None:
    assert openapi.handle(Request("GET", path)) is None


def test_hash_leads_to_its_document_and_an_old_one_to_the_new(openapi: OpenApi, catalogue: FakeCatalogue) -> None:
    catalogue.add(GADGETS)
    url = get(openapi, "/openapi/v3")["paths"]["apis/example.org/v1"]["serverRelativeURL"]
    path, _, present = url.partition("?hash=")
    response = ask(openapi, path, present)
    assert response.status == 200
    assert response.headers["ETag"] == f'"{present}"'
    redirected = ask(openapi, path, "0" * 128)
    assert (redirected.status, redirected.headers["Location"]) == (301, url)


def test_document_is_not_sent_twice(openapi: OpenApi) -> None:
    for path in ("/openapi/v2", "/openapi/v3/apis/apps/v1"):
        tag = ask(openapi, path).headers["ETag"]
        assert ask(openapi, path, if_none_match=tag).status == 304


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("/openapi/v2", "application/yaml"),
        ("/openapi/v3/apis/apps/v1", "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"),
    ],
)
def test_other_forms_are_refused(openapi: OpenApi, path: str, accept: str) -> None:
    assert ask(openapi, path, accept=accept).status == 406
    assert ask(openapi, path, accept=f"{accept}, application/json").status == 200


def test_v2_says_the_same_in_protobuf(openapi: OpenApi, catalogue: FakeCatalogue) -> None:
    catalogue.add(GADGETS)
    asked = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    response = ask(openapi, "/openapi/v2", accept=asked)
    assert response.content_type == asked.replace("@", ".")
    message = fields(response.encoded())
    plain = get(openapi, "/openapi/v2")

    paths = {name: fields(item) for name, item in (named(each) for each in fields(message[8][0])[2])}
    assert set(paths) == set(plain["paths"])
    path = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
    patch = fields(paths[path][8][0])
    assert patch[5] == [b"patchAppsV1NamespacedDeployment"]
    extensions = {name: orjson.loads(fields(value)[2][0]) for name, value in map(named, patch[13])}
    assert extensions["x-kubernetes-group-version-kind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    (body,) = (each for each in (fields(fields(item)[1][0]) for item in patch[8]) if 1 in each)
    assert fields(fields(body[1][0])[5][0])[1] == [b"#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.Patch"]

    definitions = dict(named(each) for each in fields(message[9][0])[1])
    assert set(definitions) == set(plain["definitions"])
    pod_spec = fields(definitions["io.k8s.api.core.v1.PodSpec"])
    assert pod_spec[19] == [b"containers"]
    properties = {name: fields(value) for name, value in map(named, fields(pod_spec[25][0])[1])}
    assert set(properties) == set(plain["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"])
    merge = {name: fields(value)[2] for name, value in map(named, properties["containers"][31])}
    assert merge["x-kubernetes-patch-merge-key"] == [b'"name"']
    assert fields(properties["nodeSelector"][21][0])[1]


def fields(message: bytes) -> dict[int, list[bytes]]:
    """A protobuf message read back: the contents of each field that is a text or message."""
    found: dict[int, list[bytes]] = {}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = varint()
        if tag & 7 == 2:
            length = varint()
            found.setdefault(tag >> 3, []).append(message[at : at + length])
            at += length
        else:
            assert tag & 7 == 0
            varint()
    assert at == len(message)
    return found


def named(entry: bytes) -> tuple[str, bytes]:
    message = fields(entry)
    return message[1][0].decode(), message[2][0]


def test_custom_kind_brings_its_schema_operations_and_list(openapi: OpenApi, catalogue: FakeCatalogue) -> None:
    catalogue.add(GADGETS)
    document = get(openapi, "/openapi/v3/apis/example.org/v1")
    gadget = document["components"]["schemas"]["org.example.v1.Gadget"]
    assert gadget["description"] == "A thing."
    assert gadget["properties"]["spec"] == SCHEMA["properties"]["spec"]  # type: ignore[index]
    assert set(gadget["properties"]) == {"apiVersion", "kind", "metadata", "spec"}
    assert gadget["x-kubernetes-group-version-kind"] == [{"group": "example.org", "kind": "Gadget", "version": "v1"}]
    items = document["components"]["schemas"]["org.example.v1.GadgetList"]["properties"]["items"]
    assert items["items"] == {"$ref": "#/components/schemas/org.example.v1.Gadget"}
    path = "/apis/example.org/v1/namespaces/{namespace}/gadgets/{name}"
    assert document["paths"][path]["get"]["operationId"] == "readExampleOrgV1NamespacedGadget"
    patch_types = document["paths"][path]["patch"]["requestBody"]["content"]
    assert "application/strategic-merge-patch+json" not in patch_types
    assert f"{path}/scale" in document["paths"]


def test_custom_kind_comes_and_goes_with_its_definition(openapi: OpenApi, catalogue: FakeCatalogue) -> None:
    before = ask(openapi, "/openapi/v2").headers["ETag"]
    catalogue.add(GADGETS)
    assert "org.example.v1.Gadget" in get(openapi, "/openapi/v2")["definitions"]
    catalogue.remove(GADGETS)
    assert ask(openapi, "/openapi/v3/apis/example.org/v1").status == 404
    assert ask(openapi, "/openapi/v2").headers["ETag"] == before
    assert "org.example.v1.Gadget" not in get(openapi, "/openapi/v2")["definitions"]


def test_changed_schema_changes_the_hash(catalogue: FakeCatalogue) -> None:
    schemas = [{"type": "object"}]

    def schema(descriptor: ResourceDescriptor) -> dict[str, str]:
        return schemas[-1]

    openapi = OpenApi(catalogue, custom_schema=schema)
    catalogue.add(GADGETS)
    before = get(openapi, "/openapi/v3")["paths"]
    schemas.append({"type": "object", "description": "New."})
    catalogue.changed += 1
    after = get(openapi, "/openapi/v3")["paths"]
    assert {name for name in after if after[name] != before[name]} == {"apis/example.org/v1"}


def test_every_builtin_kind_is_in_the_document_of_its_version(openapi: OpenApi) -> None:
    for descriptor in builtin_descriptors():
        resource = descriptor.type
        name = f"apis/{resource.group}/{resource.version}" if resource.group else f"api/{resource.version}"
        assert descriptor.schema in get(openapi, f"/openapi/v3/{name}")["components"]["schemas"]


def test_v2_says_nothing_that_makes_kubectl_refuse_what_a_custom_schema_allows(catalogue: FakeCatalogue) -> None:
    text, anything = {"type": "string"}, {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    shape = {"properties": {"a": text}, "required": ["a"]}
    spec = {
        "type": "object",
        "required": ["maybe", "sure"],
        "properties": {
            "maybe": {**text, "nullable": True},
            "sure": text,
            "any": {**anything, **shape},
            "list": {"type": "array", "items": text, "x-kubernetes-preserve-unknown-fields": True},
            "values": {"type": "object", "required": ["x"], "additionalProperties": {**text, "nullable": True}},
        },
    }
    openapi = OpenApi(catalogue, custom_schema=lambda _: {"type": "object", "properties": {"spec": spec}})
    catalogue.add(GADGETS)
    kept = {"x-kubernetes-preserve-unknown-fields": True}
    shown = get(openapi, "/openapi/v2")["definitions"]["org.example.v1.Gadget"]["properties"]["spec"]
    assert shown["required"] == ["sure"]
    assert shown["properties"] == {
        "maybe": {},
        "sure": text,
        "any": {**kept, "required": ["a"]},
        "list": kept,
        "values": {"type": "object", "additionalProperties": {}},
    }
    v3 = get(openapi, "/openapi/v3/apis/example.org/v1")["components"]["schemas"]["org.example.v1.Gadget"]
    assert v3["properties"]["spec"] == spec


def test_v2_says_only_that_an_object_of_unknown_fields_is_one(catalogue: FakeCatalogue) -> None:
    schema = {"type": "object", "description": "Any.", "x-kubernetes-preserve-unknown-fields": True}
    openapi = OpenApi(catalogue, custom_schema=lambda _: schema)
    catalogue.add(GADGETS)
    shown = get(openapi, "/openapi/v2")["definitions"]["org.example.v1.Gadget"]
    assert set(shown) == {"type", "x-kubernetes-group-version-kind"}

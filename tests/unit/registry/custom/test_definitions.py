"""Definitions: their rules, the names they get, and what they make the server serve."""

from __future__ import annotations

from typing import Any

import pytest

from kube_core.api.descriptors import descriptor_of_kind
from kube_core.apiserver.definitions.naming import is_established, status_of
from kube_core.meta.documents import thaw
from kube_core.meta.gvk import GroupVersionKind
from kube_core.registry.custom.descriptors import served_versions
from kube_core.registry.custom.scale import scale_of
from kube_core.registry.kinds import strategy_for
from kube_core.registry.strategy import Strategy

OBJECT: dict[str, Any] = {"type": "object", "properties": {"spec": {"type": "object"}}}


@pytest.fixture
def strategy() -> Strategy:
    kind = GroupVersionKind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
    descriptor = descriptor_of_kind(kind)
    assert descriptor is not None
    return strategy_for(descriptor)


def version(name: str = "v1", schema: Any = None, **options: Any) -> dict[str, Any]:
    return {
        "name": name,
        "served": True,
        "storage": name == "v1",
        "schema": {"openAPIV3Schema": schema or OBJECT},
        **options,
    }


def definition(plural: str = "gadgets", *versions: dict[str, Any], **names: Any) -> dict[str, Any]:
    kind = names.pop("kind", plural.removesuffix("s").capitalize())
    return {
        "metadata": {"name": f"{plural}.example.org"},
        "spec": {
            "group": "example.org",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, **names},
            "versions": list(versions) or [version()],
        },
    }


def problems(strategy: Strategy, document: dict[str, Any]) -> list[str]:
    strategy.default(document)
    strategy.prepare_for_create(document)
    return [str(error) for error in strategy.validate(document)]


def schema_of_spec(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}


# -- rules -----------------------------------------------------------------------------------------------------------


def test_a_good_definition_gets_its_defaults(strategy: Strategy) -> None:
    document = definition()
    assert problems(strategy, document) == []
    assert document["spec"]["names"] == {
        "plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"
    }  # fmt: skip
    assert document["spec"]["conversion"] == {"strategy": "None"}
    assert document["status"]["storedVersions"] == ["v1"]


def test_what_all_versions_have_alike_is_named_once(strategy: Strategy) -> None:
    bad = schema_of_spec(a={"type": "teapot"})
    supported = '"array", "boolean", "integer", "number", "object", "string"'
    said = f'properties[spec].properties[a].type: Unsupported value: "teapot": supported values: {supported}'
    alike = definition("gadgets", version("v1", bad), version("v2", bad))
    assert problems(strategy, alike) == [f"spec.validation.openAPIV3Schema.{said}"]
    differing = definition("gadgets", version("v1"), version("v2", bad))
    assert problems(strategy, differing) == [f"spec.versions[1].schema.openAPIV3Schema.{said}"]


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ({}, "type: Required value: must not be empty for specified object fields"),
        ({"type": "array"}, "items: Required value: must be specified"),
        ({"type": "integer", "default": "x"},
         'default: Invalid value: "string":  in body must be of type integer: "string"'),
        ({"x-kubernetes-preserve-unknown-fields": True, "x-kubernetes-int-or-string": True},
         "x-kubernetes-preserve-unknown-fields: Invalid value: true: must be false if x-kubernetes-int-or-string is "
         "true"),
        ({"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True,
          "additionalProperties": True},
         "additionalProperties: Forbidden: must not be used if x-kubernetes-embedded-resource is set"),
        ({"type": "string", "default": "a", "x-kubernetes-validations": [{"rule": "self != 'a'", "message": "no a"}]},
         'default: Invalid value: "a": no a'),
        ({"type": "object", "properties": {"metadata": {"type": "object"}},
          "anyOf": [{"properties": {"metadata": {}}}]},
         "anyOf[0].properties[metadata]: Forbidden: must not be specified in a nested context"),
        ({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "map",
          "x-kubernetes-list-map-keys": ["a"]},
         'items.type: Invalid value: "string": must be object if parent array\'s x-kubernetes-list-type is map'),
        ({"type": "object", "default": {"y": 1}, "properties": {"x": {"type": "string"}}},
         'default: Invalid value: {"y":1}: must not have unknown fields'),
        ({"type": "string", "allOf": [{"type": "string"}]},
         "allOf[0].type: Forbidden: must be empty to be structural"),
        ({"type": "object", "x-kubernetes-embedded-resource": True},
         "properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without "
         "x-kubernetes-preserve-unknown-fields"),
    ],
)  # fmt: skip
def test_schemas_that_are_not_structural_are_refused(strategy: Strategy, member: dict[str, Any], expected: str) -> None:
    found = problems(strategy, definition("gadgets", version("v1", schema_of_spec(a=member))))
    assert found == [f"spec.validation.openAPIV3Schema.properties[spec].properties[a].{expected}"]


def test_int_or_string_may_say_so_in_any_of(strategy: Strategy) -> None:
    either = {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}
    assert problems(strategy, definition("gadgets", version("v1", schema_of_spec(a=either)))) == []


@pytest.mark.parametrize(
    "member",
    [
        {"type": "array", "items": {"type": "string"}, "x-kubernetes-preserve-unknown-fields": True},
        {"type": "object", "properties": {"x": {"type": "string"}}, "additionalProperties": True},
        {"type": "object", "x-kubernetes-embedded-resource": True,
         "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}},
        {"type": "string", "default": "b", "x-kubernetes-validations": [{"rule": "self != 'a'"}]},
    ],
)  # fmt: skip
def test_schemas_that_are_structural_are_taken(strategy: Strategy, member: dict[str, Any]) -> None:
    assert problems(strategy, definition("gadgets", version("v1", schema_of_spec(a=member)))) == []


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ({"type": "object", "nullable": True}, "nullable: Forbidden: nullable cannot be true at the root"),
        ({"type": "object", "additionalProperties": True},
         "additionalProperties: Forbidden: must not be used at the root"),
        ({"type": "object", "properties": {"kind": {"type": "string", "default": "X"}}},
         "properties[kind].default: Forbidden: must not be set in top-level kind"),
        ({"type": "object", "properties": {"metadata": {"type": "object", "description": "x"}}},
         "properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata "
         "is implicitly specified"),
        ({"type": "object", "properties": {"apiVersion": {"type": "object"}}},
         'properties[apiVersion].type: Invalid value: "object": must be string'),
    ],
)  # fmt: skip
def test_what_every_object_has_is_not_the_schemas(strategy: Strategy, root: dict[str, Any], expected: str) -> None:
    found = problems(strategy, definition("gadgets", version("v1", root)))
    assert found == [f"spec.validation.openAPIV3Schema.{expected}"]


@pytest.mark.parametrize("extra", [{"maxProperties": 3}, {"anyOf": [{}]}, {"x-kubernetes-map-type": "granular"}])
def test_a_status_that_is_judged_by_itself_leaves_little_for_the_root(
    strategy: Strategy, extra: dict[str, Any]
) -> None:
    root = {"type": "object", "properties": {"status": {"type": "object"}}, **extra}
    assert problems(strategy, definition("gadgets", version("v1", root))) == []
    [found] = problems(strategy, definition("gadgets", version("v1", root, subresources={"status": {}})))
    assert found.startswith("spec.validation.openAPIV3Schema: Invalid value: {")
    assert found.endswith("fields are allowed at the root of the schema if the status subresource is enabled")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"deprecationWarning": "x"},
         'spec.versions[0].deprecationWarning: Invalid value: "x": can only be set for deprecated versions'),
        ({"deprecated": True, "deprecationWarning": "é\t"},
         'spec.versions[0].deprecationWarning: Invalid value: "é\\t": must only contain printable UTF-8 characters; '
         "non-printable character found at index 2"),
        ({"additionalPrinterColumns": [{"name": "a", "type": "text", "jsonPath": ".spec.a"}]},
         'spec.additionalPrinterColumns[0].type: Invalid value: "text": must be one of '
         "boolean,date,integer,number,string"),
        ({"additionalPrinterColumns": [{"name": "a", "type": "string", "jsonPath": "spec"}]},
         'spec.additionalPrinterColumns[0].JSONPath: Invalid value: "spec": must be a simple json path starting '
         "with ."),
        ({"subresources": {"scale": {"specReplicasPath": ".status.n", "statusReplicasPath": ".status.n"}}},
         'spec.subresources.scale.specReplicasPath: Invalid value: ".status.n": should be a json path under .spec'),
        ({"subresources": {"scale": {"specReplicasPath": "spec.n", "statusReplicasPath": ".status.n"}}},
         'spec.subresources.scale.specReplicasPath: Invalid value: "spec.n": must be a simple json path starting '
         "with ."),
    ],
)  # fmt: skip
def test_the_parts_of_a_version_are_checked(strategy: Strategy, options: dict[str, Any], expected: str) -> None:
    assert problems(strategy, definition("gadgets", version(**options))) == [expected]


def test_every_version_needs_a_schema(strategy: Strategy) -> None:
    bare = [{"name": name, "served": True, "storage": name == "v1"} for name in ("v1", "v2")]
    assert problems(strategy, definition("gadgets", *bare)) == [
        "spec.versions[0].schema.openAPIV3Schema: Required value",
        "spec.versions[1].schema.openAPIV3Schema: Required value",
    ]


def test_versions_of_reviews_are_known_and_different(strategy: Strategy) -> None:
    document = definition()
    document["spec"]["conversion"] = {
        "strategy": "Webhook",
        "webhook": {"clientConfig": {"url": "https://a.example"}, "conversionReviewVersions": ["V9", "v9", "v9"]},
    }
    reviews = "spec.conversion.conversionReviewVersions"
    found = [error.partition(": ")[0] for error in problems(strategy, document)]
    assert found == [f"{reviews}[0]", f"{reviews}[2]", reviews]


def test_a_version_that_was_stored_must_stay(strategy: Strategy) -> None:
    old = definition("gadgets", version("v1"), version("v2"))
    problems(strategy, old)
    new = thaw(old)
    new["spec"]["versions"] = [{**version("v2"), "storage": True}]
    strategy.prepare_for_update(new, old)
    [found] = [str(error) for error in strategy.validate_update(new, old)]
    assert found.startswith('status.storedVersions[0]: Invalid value: "v1": missing from spec.versions; v1 was prev')


def test_an_approval_that_an_update_leaves_is_not_judged_again(strategy: Strategy) -> None:
    old = definition()
    old["spec"]["group"] = "x.k8s.io"
    old["metadata"]["name"] = "gadgets.x.k8s.io"
    [found] = problems(strategy, old)
    assert found.startswith("metadata.annotations[api-approved.kubernetes.io]: Required value")
    assert list(strategy.validate_update(thaw(old), old)) == []


def test_rules_are_checked(strategy: Strategy) -> None:
    def ruled(rule: str) -> dict[str, Any]:
        schema = schema_of_spec(a={"type": "string", "x-kubernetes-validations": [{"rule": rule}]})
        return definition("gadgets", version("v1", schema))

    assert "compilation failed" in problems(strategy, ruled("self =="))[0]


def test_group_and_plural_never_change(strategy: Strategy) -> None:
    old = definition()
    problems(strategy, old)
    new = thaw(old)
    new["spec"]["names"]["plural"] = "widgets"
    assert 'spec.names.plural: Invalid value: "widgets": field is immutable' in [
        str(error) for error in strategy.validate_update(new, old)
    ]


def test_a_deleted_definition_is_marked_and_held(strategy: Strategy) -> None:
    document = definition()
    problems(strategy, document)
    assert strategy.holds(document)
    document["metadata"]["deletionTimestamp"] = "2024-01-01T00:00:00Z"
    strategy.prepare_for_deletion(document)
    assert document["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    assert document["status"]["conditions"][0]["reason"] == "InstanceDeletionPending"


# -- names -----------------------------------------------------------------------------------------------------------


def settled(document: dict[str, Any], *others: dict[str, Any]) -> dict[str, Any]:
    return {**document, "status": status_of(document, others, 0)}


def reasons(document: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in document["status"]["conditions"]}


def test_names_without_conflict_are_accepted_and_established() -> None:
    found = settled(definition(shortNames=["gd"]))
    assert is_established(found)
    assert found["status"]["acceptedNames"] == {"plural": "gadgets", "kind": "Gadget", "shortNames": ["gd"]}
    assert reasons(found)["NamesAccepted"] == ("True", "NoConflicts")


def test_a_taken_kind_is_not_accepted() -> None:
    first = settled(definition())
    second = settled(definition("widgets", kind="Gadget"), first)
    assert not is_established(second)
    assert reasons(second) == {"NamesAccepted": ("False", "KindConflict"), "Established": ("False", "NotAccepted")}
    assert second["status"]["acceptedNames"]["kind"] == ""


def test_names_once_accepted_stay_so_whatever_others_want() -> None:
    first = settled(definition())
    second = settled(definition("widgets", kind="Gadget"), first)
    assert settled(first, second)["status"] == first["status"]


def test_groups_of_the_kubernetes_project_need_approval() -> None:
    document = definition()
    document["spec"]["group"] = "x.k8s.io"
    document["metadata"]["annotations"] = {"api-approved.kubernetes.io": "unapproved, a test"}
    found = reasons(settled(document))
    assert found["KubernetesAPIApprovalPolicyConformant"] == ("False", "UnapprovedAnnotation")


# -- what is served --------------------------------------------------------------------------------------------------


def test_each_served_version_has_a_descriptor() -> None:
    column = {"name": "Size", "type": "integer", "jsonPath": ".spec.size"}
    document = definition(
        "gadgets",
        version("v1", subresources={"status": {}}, additionalPrinterColumns=[column]),
        version("v1beta1", deprecated=True),
        version("v1alpha1", served=False),
    )
    new, old = served_versions(settled(document))
    assert (new.descriptor.type.api_version, old.descriptor.type.api_version) == (
        "example.org/v1",
        "example.org/v1beta1",
    )
    assert [each.name for each in new.descriptor.subresources] == ["status"]
    assert new.descriptor.columns[0].path == ".spec.size"
    assert old.descriptor.storage_version == "v1"
    assert old.deprecation == "example.org/v1beta1 Gadget is deprecated; use example.org/v1 Gadget"
    assert new.deprecation == ""


def test_a_definition_that_changed_in_nothing_serves_the_same() -> None:
    document = settled(definition())
    changed = thaw(document)
    changed["metadata"]["labels"] = {"a": "b"}
    assert served_versions(changed) == served_versions(document)
    changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = "new"
    assert served_versions(changed) != served_versions(document)


def test_a_scale_is_read_at_the_paths_of_the_definition() -> None:
    paths = {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n", "labelSelectorPath": ".status.s"}
    [served] = served_versions(settled(definition("gadgets", version(subresources={"scale": paths}))))
    assert served.scale is not None
    found = scale_of({"metadata": {"name": "a"}, "spec": {"n": 3}, "status": {"n": 2, "s": "a=b"}}, served.scale)
    assert (found["spec"], found["status"]) == ({"replicas": 3}, {"replicas": 2, "selector": "a=b"})

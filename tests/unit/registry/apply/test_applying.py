"""The apply operation: merging, ownership, conflicts, giving up, and the way over from client-side apply."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core.api import schemas
from kube_core.api.schemas import Schema
from kube_core.meta import status
from kube_core.meta.documents import Document, MutableDocument, freeze, thaw
from kube_core.meta.gvk import GroupVersionKind
from kube_core.registry.apply import FieldManager

CONFIG_MAPS = FieldManager(
    schemas.builtin("io.k8s.api.core.v1.ConfigMap"), GroupVersionKind("", "v1", "ConfigMap"), has_status=False
)
DEPLOYMENTS = FieldManager(
    schemas.builtin("io.k8s.api.apps.v1.Deployment"), GroupVersionKind("apps", "v1", "Deployment")
)
TEXT = {"type": "string"}
GADGET = GroupVersionKind("g.io", "v1", "Gadget")
GADGETS = FieldManager(
    Schema({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "m": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
              "items": {"type": "object", "properties": {"name": TEXT, "v": {"type": "integer"}}}},
        "s": {"type": "array", "x-kubernetes-list-type": "set", "items": TEXT},
        "u": {"type": "array", "items": TEXT},
        "am": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": TEXT},
        "gm": {"type": "object", "additionalProperties": TEXT},
        "on": {"type": "boolean"},
    }}}}),
    GADGET,
    custom=True,
)  # fmt: skip


def config_map(data: Any = None, **metadata: Any) -> MutableDocument:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"} | metadata} | (
        {} if data is None else {"data": data}
    )


def gadget(**spec: Any) -> MutableDocument:
    return {"apiVersion": "g.io/v1", "kind": "Gadget", "metadata": {"name": "a"}, "spec": spec}


def applied(
    fields: FieldManager,
    live: Document | None,
    configuration: Document,
    manager: str = "alpha",
    now: float = 0.0,
    **more: Any,
) -> Document:
    result = fields.apply(live, freeze(configuration), manager=manager, now=now, **more)
    result["metadata"]["uid"] = "u"
    stored: Document = freeze(result)
    return stored


def owned(document: Document, manager: str, operation: str = "Apply") -> Any:
    for entry in document["metadata"].get("managedFields", ()):
        if (entry["manager"], entry["operation"]) == (manager, operation):
            return entry["fieldsV1"]
    return None


def test_applier_of_a_missing_object_owns_the_leaves_it_names() -> None:
    document = applied(CONFIG_MAPS, None, config_map({"a": "1"}, labels={"l": "1"}))
    assert document["data"] == {"a": "1"}
    assert document["metadata"]["managedFields"] == [
        {
            "manager": "alpha",
            "operation": "Apply",
            "apiVersion": "v1",
            "time": "1970-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {"f:a": {}}, "f:metadata": {"f:labels": {"f:l": {}}}},
        }
    ]


def test_applying_again_changes_nothing() -> None:
    once = applied(CONFIG_MAPS, None, config_map({"a": "1"}))
    assert applied(CONFIG_MAPS, once, config_map({"a": "1"}), now=60.0) == once


def test_same_value_is_shared_without_conflict_and_without_a_time() -> None:
    live = applied(CONFIG_MAPS, None, config_map({"a": "1"}))
    both = applied(CONFIG_MAPS, live, config_map({"a": "1"}), "beta", now=60.0)
    assert owned(both, "alpha") == owned(both, "beta") == {"f:data": {"f:a": {}}}
    assert [entry.get("time") for entry in both["metadata"]["managedFields"]] == [None, "1970-01-01T00:00:00Z"]


def test_field_given_up_goes_unless_another_owns_it() -> None:
    live = applied(CONFIG_MAPS, None, config_map({"a": "1", "b": "1"}))
    live = applied(CONFIG_MAPS, live, config_map({"a": "1"}), "beta")
    live = applied(CONFIG_MAPS, live, config_map({}))
    assert live["data"] == {"a": "1"}
    assert owned(live, "alpha") == {"f:data": {}}
    live = applied(CONFIG_MAPS, live, config_map(), "beta")
    assert not live.get("data")


def test_field_of_an_updater_survives_the_applier() -> None:
    live = applied(CONFIG_MAPS, None, config_map({"a": "1"}))
    new = thaw(live)
    new["data"]["b"] = "2"
    CONFIG_MAPS.update(live, new, manager="editor", now=1.0)
    live = applied(CONFIG_MAPS, freeze(new), config_map())
    assert live["data"] == {"b": "2"}


def test_changing_anothers_field_is_a_conflict() -> None:
    live = applied(CONFIG_MAPS, None, config_map({"a": "1"}))
    with pytest.raises(status.Conflict) as caught:
        applied(CONFIG_MAPS, live, config_map({"a": "2"}), "beta")
    assert caught.value.message == 'Apply failed with 1 conflict: conflict with "alpha": .data.a'
    assert caught.value.details == {
        "causes": [{"reason": "FieldManagerConflict", "message": 'conflict with "alpha"', "field": ".data.a"}]
    }


def test_conflicts_are_listed_by_manager_whole_fields_first() -> None:
    live = applied(GADGETS, None, gadget(m=[{"name": "x", "v": 1}], u=["1"], am={"k": "1"}))
    new = thaw(live)
    new["spec"]["s"] = ["q"]
    new["spec"]["on"] = True
    GADGETS.update(live, new, manager="zed", now=1.0)
    with pytest.raises(status.Conflict) as caught:
        applied(GADGETS, freeze(new), gadget(m=[{"name": "x", "v": 5}], u=["2"], am={"l": "2"}, on=False), "beta")
    assert caught.value.message == (
        'Apply failed with 4 conflicts: conflicts with "alpha":\n'
        '- .spec.am\n- .spec.u\n- .spec.m[name="x"].v\n'
        'conflicts with "zed" using g.io/v1:\n- .spec.on'
    )
    assert [cause["field"] for cause in caught.value.causes] == [
        ".spec.am",
        ".spec.u",
        '.spec.m[name="x"].v',
        ".spec.on",
    ]


def test_conflict_names_the_subresource() -> None:
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w"}}
    live = applied(DEPLOYMENTS, None, body | {"spec": {"replicas": 1}})
    live = applied(DEPLOYMENTS, live, body | {"status": {"replicas": 1}}, subresource="status")
    with pytest.raises(status.Conflict, match=r'conflict with "alpha" with subresource "status": \.status\.replicas'):
        applied(DEPLOYMENTS, live, body | {"status": {"replicas": 2}}, "beta", subresource="status")
    ignored = applied(DEPLOYMENTS, live, body | {"spec": {"replicas": 9}, "status": {}}, "beta", subresource="status")
    assert owned(ignored, "beta") is None or "f:spec" not in owned(ignored, "beta")


def test_forcing_takes_the_fields_over() -> None:
    live = applied(CONFIG_MAPS, None, config_map({"a": "1", "b": "1"}))
    live = applied(CONFIG_MAPS, live, config_map({"a": "2"}), "beta", force=True)
    assert live["data"] == {"a": "2", "b": "1"}
    assert owned(live, "alpha") == {"f:data": {"f:b": {}}}
    assert owned(live, "beta") == {"f:data": {"f:a": {}}}


def test_empty_map_is_owned_as_a_whole() -> None:
    live = applied(CONFIG_MAPS, None, config_map({}))
    assert owned(live, "alpha") == {"f:data": {}}
    bare = thaw(live)
    del bare["data"]  # what becomes of it when it is stored
    with pytest.raises(status.Conflict, match=r'conflict with "alpha": \.data$'):
        applied(CONFIG_MAPS, freeze(bare), config_map({"k": "v"}), "beta")


def test_atomic_parts_change_as_one() -> None:
    live = applied(GADGETS, None, gadget(am={"k": "1"}, u=["1"]))
    live = applied(GADGETS, live, gadget(am={"l": "2"}), "beta", force=True)
    assert live["spec"] == {"am": {"l": "2"}, "u": ["1"]}


def test_granular_parts_are_shared() -> None:
    live = applied(GADGETS, None, gadget(m=[{"name": "x", "v": 1}], s=["1"], gm={"k": "1"}))
    live = applied(GADGETS, live, gadget(m=[{"name": "y", "v": 2}], s=["2"], gm={"l": "2"}), "beta")
    assert live["spec"] == {
        "m": [{"name": "x", "v": 1}, {"name": "y", "v": 2}],
        "s": ["1", "2"],
        "gm": {"k": "1", "l": "2"},
    }
    live = applied(GADGETS, live, gadget())
    assert live["spec"] == {"m": [{"name": "y", "v": 2}], "s": ["2"], "gm": {"l": "2"}}


@pytest.mark.parametrize(
    ("live", "configuration", "expected"),
    [
        (["a"], ["b", "a"], ["b", "a"]),
        (["a"], ["b"], ["a", "b"]),
        (["l", "s"], ["n", "s"], ["l", "n", "s"]),
        (["s1", "l", "s2"], ["s2", "s1"], ["l", "s2", "s1"]),
        (["s1", "l", "s2"], ["n", "s2", "s1"], ["l", "n", "s2", "s1"]),
        (["s", "l"], ["s", "n"], ["s", "l", "n"]),
    ],
)
def test_applied_items_keep_their_order_among_live_ones(
    live: list[str], configuration: list[str], expected: list[str]
) -> None:
    document = {"apiVersion": "g.io/v1", "kind": "Gadget", "metadata": {"name": "a", "uid": "u"}, "spec": {"s": live}}
    assert applied(GADGETS, freeze(document), gadget(s=configuration))["spec"]["s"] == expected


def test_giving_up_a_struct_takes_unowned_defaults_with_it() -> None:
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w"}}
    live = thaw(applied(DEPLOYMENTS, None, body | {"spec": {"replicas": 1, "strategy": {"type": "RollingUpdate"}}}))
    live["spec"]["strategy"]["rollingUpdate"] = {"maxSurge": "25%"}
    result = applied(DEPLOYMENTS, freeze(live), body | {"spec": {"replicas": 1}})
    assert result["spec"] == {"replicas": 1}


def test_objects_nobody_owns_belong_to_before_first_apply() -> None:
    live = freeze({**config_map({"a": "1", "b": "1"}), "metadata": {"name": "c", "uid": "u"}})
    with pytest.raises(status.Conflict, match=r'conflict with "before-first-apply" using v1: \.data\.a'):
        applied(CONFIG_MAPS, live, config_map({"a": "2"}))
    result = applied(CONFIG_MAPS, live, config_map({"a": "1"}))
    assert owned(result, "before-first-apply", "Update") == {"f:data": {".": {}, "f:a": {}, "f:b": {}}}


ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"


def client_side(data: dict[str, str], remembered: dict[str, str]) -> Document:
    text = json.dumps(config_map(remembered))
    document = config_map(data, annotations={ANNOTATION: text})
    CONFIG_MAPS.update(None, document, manager="kubectl-client-side-apply", now=0.0)
    document["metadata"]["uid"] = "u"
    stored: Document = freeze(document)
    return stored


def test_kubectl_takes_over_what_it_applied_from_the_client_side() -> None:
    live = client_side({"a": "1", "b": "1"}, {"a": "1", "b": "1"})
    result = applied(CONFIG_MAPS, live, config_map({"a": "2"}), "kubectl")
    assert result["data"] == {"a": "2", "b": "1"}
    assert result["metadata"]["annotations"][ANNOTATION] == (
        '{"apiVersion":"v1","data":{"a":"2"},"kind":"ConfigMap","metadata":{"name":"c"}}\n'
    )
    assert owned(result, "kubectl") == {"f:data": {"f:a": {}}}


def test_others_and_changed_values_still_conflict_after_client_side_apply() -> None:
    with pytest.raises(status.Conflict):
        applied(CONFIG_MAPS, client_side({"a": "1"}, {"a": "1"}), config_map({"a": "2"}), "other")
    with pytest.raises(status.Conflict):
        applied(CONFIG_MAPS, client_side({"a": "changed"}, {"a": "1"}), config_map({"a": "2"}), "kubectl")


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"kind": "ConfigMap"}, "invalid object type: /, Kind=ConfigMap"),
        ({"apiVersion": "v1", "kind": "Secret"}, "invalid object type: /v1, Kind=Secret"),
        ({"apiVersion": "apps/v1", "kind": "ConfigMap"}, "invalid object type: apps/v1, Kind=ConfigMap"),
        (config_map(managedFields=[]), "metadata.managedFields must be nil"),
        (config_map({"a": 7}), "failed to create typed patch object (/c; /v1, Kind=ConfigMap): "
                               ".data.a: expected string, got 7"),
        (config_map() | {"unknown": 1}, "failed to create typed patch object (/c; /v1, Kind=ConfigMap): "
                                        ".unknown: field not declared in schema"),
        (config_map(finalizers=["x", "x"]), "failed to create typed patch object (/c; /v1, Kind=ConfigMap): "
                                            '.metadata.finalizers: duplicate entries for key [="x"]'),
        (config_map("x", namespace="n"), "failed to create typed patch object (n/c; /v1, Kind=ConfigMap): "
                                         '.data: expected map, got "x"'),
    ],
)  # fmt: skip
def test_configuration_that_cannot_be_is_refused(configuration: Document, message: str) -> None:
    with pytest.raises(status.BadRequest) as caught:
        applied(CONFIG_MAPS, None, configuration)
    assert caught.value.message == message


def test_every_problem_is_told() -> None:
    with pytest.raises(status.BadRequest) as caught:
        applied(GADGETS, None, gadget(m=[{"v": 1}], on="yes"))
    assert caught.value.message == (
        "failed to create typed patch object (/a; g.io/v1, Kind=Gadget): errors:\n"
        '  .spec.m: element 0: associative list with keys has an element that omits key field "name"'
        " (and doesn't have default value)\n"
        '  .spec.on: expected boolean, got "yes"'
    )


class TwoVersions:
    """v1 calls the field `size`, v2 calls it `length`; v0 is gone."""

    def convert(self, document: Document, api_version: str) -> Document | None:
        if api_version == "g.io/v0":
            return None
        spec = {
            {"size": "length", "length": "size"}.get(key, key): value
            for key, value in (document.get("spec") or {}).items()
        }
        return {**document, "apiVersion": api_version, "spec": spec}

    def schema(self, api_version: str) -> Schema:
        return Schema({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "size": {"type": "integer"}, "length": {"type": "integer"}, "color": TEXT}}}})  # fmt: skip


def two_versions(version: str) -> FieldManager:
    versions = TwoVersions()
    gvk = GroupVersionKind("g.io", version, "Gadget")
    return FieldManager(versions.schema(""), gvk, custom=True, versions=versions)


def test_owners_in_another_version_are_compared_in_their_own() -> None:
    one, two = two_versions("v1"), two_versions("v2")
    live = applied(one, None, gadget(size=1))
    seen = freeze({**live, "apiVersion": "g.io/v2", "spec": {"length": 1}})
    configuration = gadget(length=2) | {"apiVersion": "g.io/v2"}
    with pytest.raises(status.Conflict, match=r'conflict with "alpha": \.spec\.size'):
        applied(two, seen, configuration, "beta")
    moved = applied(two, seen, configuration)
    assert moved["spec"] == {"length": 2}
    assert [entry["apiVersion"] for entry in moved["metadata"]["managedFields"]] == ["g.io/v2"]
    colored = applied(two, seen, gadget(color="red") | {"apiVersion": "g.io/v2"})
    assert colored["spec"] == {"color": "red"}


def test_map_that_its_owners_emptied_is_unset_and_still_owned() -> None:
    live = applied(GADGETS, None, gadget(gm={"k": "1"}))
    result = applied(GADGETS, live, gadget(gm={}))
    assert result["spec"] == {"gm": None}
    assert owned(result, "alpha") == {"f:spec": {"f:gm": {}}}


def test_owners_in_a_version_that_is_gone_are_forgotten() -> None:
    live = thaw(applied(two_versions("v1"), None, gadget(size=1)))
    live["metadata"]["managedFields"][0]["apiVersion"] = "g.io/v0"
    result = applied(two_versions("v1"), freeze(live), gadget(size=2), "beta")
    assert owned(result, "alpha") is None


SPECS = st.fixed_dictionaries(
    {},
    optional={
        # Empty lists of items are left out: nobody can own one, so it goes with whatever encloses it.
        "m": st.dictionaries(st.sampled_from("xyz"), st.integers(0, 3), min_size=1).map(
            lambda items: [{"name": name, "v": value} for name, value in items.items()]
        ),
        "s": st.lists(st.sampled_from("pqr"), unique=True, min_size=1),
        "u": st.lists(st.sampled_from("pqr")),
        "am": st.dictionaries(st.sampled_from("kl"), st.sampled_from("12")),
        "gm": st.dictionaries(st.sampled_from("kl"), st.sampled_from("12")),
        "on": st.booleans(),
    },
)


@given(SPECS, SPECS)
def test_apply_is_idempotent_over_any_live_object(first: dict[str, Any], second: dict[str, Any]) -> None:
    live = applied(GADGETS, None, gadget(**first), "other")
    once = applied(GADGETS, live, gadget(**second), force=True)
    assert applied(GADGETS, once, gadget(**second), force=True, now=60.0) == once


@given(SPECS, SPECS)
def test_what_an_applier_says_last_is_what_the_object_has(first: dict[str, Any], second: dict[str, Any]) -> None:
    live = applied(GADGETS, None, gadget(**first))
    result = applied(GADGETS, live, gadget(**second))
    kept = {key: value for key, value in second.items() if value not in ({}, [])}
    assert {key: value for key, value in (result.get("spec") or {}).items() if value not in ({}, [], None)} == kept


@given(SPECS, SPECS)
def test_disjoint_appliers_commute(first: dict[str, Any], second: dict[str, Any]) -> None:
    second = {key: value for key, value in second.items() if key not in first}
    base = applied(GADGETS, None, gadget(), "base")
    one = applied(GADGETS, applied(GADGETS, base, gadget(**first), "one"), gadget(**second), "two")
    two = applied(GADGETS, applied(GADGETS, base, gadget(**second), "two"), gadget(**first), "one")
    assert one["spec"] == two["spec"]
    assert owned(one, "one") == owned(two, "one")
    assert owned(one, "two") == owned(two, "two")


@given(SPECS, SPECS)
def test_giving_up_everything_leaves_the_other_appliers_object(first: dict[str, Any], second: dict[str, Any]) -> None:
    live = applied(GADGETS, None, gadget(**first), "one")
    live = applied(GADGETS, live, gadget(**second), "two", force=True)
    alone = applied(GADGETS, live, gadget(), "one")
    assert owned(alone, "two") == owned(live, "two")
    for key, value in second.items():
        if value not in ({}, []):
            assert alone["spec"][key] is not None


def test_times_of_other_appliers_stay() -> None:
    live = applied(GADGETS, None, gadget(on=True), "one")
    live = applied(GADGETS, live, gadget(s=["p"]), "two", now=60.0)
    assert [entry["time"][14:19] for entry in live["metadata"]["managedFields"]] == ["00:00", "01:00"]

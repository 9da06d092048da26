"""Ownership of what creates, updates and patches set: `FieldManager.update`."""

from typing import Any

import pytest

from kube_core.api import schemas
from kube_core.api.schemas import Schema
from kube_core.meta.documents import Document, MutableDocument, freeze, thaw
from kube_core.meta.gvk import GroupVersionKind
from kube_core.registry.apply import FieldManager, fieldsets, manager_name, settle_times

CONFIG_MAPS = FieldManager(
    schemas.builtin("io.k8s.api.core.v1.ConfigMap"), GroupVersionKind("", "v1", "ConfigMap"), has_status=False
)
DEPLOYMENTS = FieldManager(
    schemas.builtin("io.k8s.api.apps.v1.Deployment"), GroupVersionKind("apps", "v1", "Deployment")
)


def config_map(data: dict[str, str] | None = None, **metadata: Any) -> MutableDocument:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"} | metadata} | (
        {} if data is None else {"data": data}
    )


def deployment(replicas: int = 1, image: str = "a:1", **more: Any) -> MutableDocument:
    template = {"metadata": {"labels": {"app": "w"}}, "spec": {"containers": [{"name": "main", "image": image}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "w"}}, "template": template, "strategy": {}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w"}, "spec": spec, "status": {}} | more


def created(fields: FieldManager, document: MutableDocument, manager: str = "maker", now: float = 0.0) -> Document:
    document = thaw(document)
    fields.update(None, document, manager=manager, now=now)
    document["metadata"]["uid"] = "u"
    stored: Document = freeze(document)
    return stored


def updated(
    fields: FieldManager,
    live: Document,
    new: MutableDocument,
    manager: str = "editor",
    subresource: str = "",
    now: float = 60.0,
) -> Document:
    new = thaw(new)
    new["metadata"] |= {"uid": "u"}
    fields.update(live, new, manager=manager, subresource=subresource, now=now)
    stored: Document = freeze(new)
    return stored


def owned(document: Document, manager: str, subresource: str = "") -> Any:
    for entry in document["metadata"].get("managedFields", ()):
        if entry["manager"] == manager and entry.get("subresource", "") == subresource:
            return entry["fieldsV1"]
    return None


def test_creator_owns_what_it_sets_and_the_maps_that_it_adds() -> None:
    document = created(CONFIG_MAPS, config_map({"a": "1"}, labels={"l": "1"}, generateName="c-"))
    (entry,) = document["metadata"]["managedFields"]
    assert entry == {
        "manager": "maker",
        "operation": "Update",
        "apiVersion": "v1",
        "time": "1970-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:data": {".": {}, "f:a": {}},
            "f:metadata": {"f:labels": {".": {}, "f:l": {}}, "f:generateName": {}},
        },
    }


def test_parts_that_are_always_there_are_not_owned_themselves() -> None:
    document = created(DEPLOYMENTS, deployment())
    assert owned(document, "maker") == {
        "f:spec": {
            "f:replicas": {},
            "f:selector": {},
            "f:template": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {"f:containers": {'k:{"name":"main"}': {".": {}, "f:name": {}, "f:image": {}}}},
            },
        }
    }


def test_identity_and_server_metadata_are_never_owned() -> None:
    document = created(CONFIG_MAPS, config_map(None, namespace="n", resourceVersion="1", creationTimestamp="x"))
    assert "managedFields" not in document["metadata"]


def test_status_is_not_owned_through_the_main_resource_nor_the_rest_through_status() -> None:
    live = created(DEPLOYMENTS, deployment(status={"replicas": 3}))
    assert "f:status" not in owned(live, "maker")
    new = deployment(5, status={"replicas": 4})
    new["metadata"]["labels"] = {"a": "b"}
    written = updated(DEPLOYMENTS, live, new, manager="loop", subresource="status")
    assert owned(written, "loop", "status") == {"f:status": {"f:replicas": {}}}
    assert owned(written, "maker") == owned(live, "maker")


def test_update_takes_what_it_changes_and_leaves_the_rest() -> None:
    live = created(CONFIG_MAPS, config_map({"a": "1", "b": "1"}))
    new = updated(CONFIG_MAPS, live, config_map({"a": "2", "b": "1", "c": "1"}))
    assert owned(new, "editor") == {"f:data": {"f:a": {}, "f:c": {}}}
    assert owned(new, "maker") == {"f:data": {".": {}, "f:b": {}}}


def test_removed_fields_are_nobodys_and_owners_of_nothing_vanish() -> None:
    live = created(CONFIG_MAPS, config_map({"a": "1"}))
    new = updated(CONFIG_MAPS, live, config_map())
    assert "managedFields" not in new["metadata"]


def test_fields_are_written_in_order_whoever_sets_them() -> None:
    live = created(CONFIG_MAPS, config_map({"b": "1", "a": "1"}, labels={"z": "1", "c": "1"}))
    new = updated(CONFIG_MAPS, live, config_map({"b": "2", "a": "2", "0": "2"}, labels={"z": "1", "c": "1"}))
    back = updated(CONFIG_MAPS, new, config_map({"b": "3", "a": "2", "0": "2"}, labels={}), manager="maker")
    for each in (live, new, back):
        for entry in each["metadata"]["managedFields"]:
            assert str(entry["fieldsV1"]) == str(fieldsets.ordered(entry["fieldsV1"]))
    assert list(owned(live, "maker")["f:data"]) == [".", "f:a", "f:b"]


def test_update_that_changes_nothing_keeps_the_very_entries() -> None:
    live = created(CONFIG_MAPS, config_map({"a": "1"}))
    new = updated(CONFIG_MAPS, live, config_map({"a": "1"}))
    assert new["metadata"]["managedFields"] is live["metadata"]["managedFields"]


def test_who_sets_again_what_it_owns_keeps_the_very_fields_and_others_lose_theirs() -> None:
    live = created(CONFIG_MAPS, config_map({"a": "1", "b": "1"}))
    new = updated(CONFIG_MAPS, live, config_map({"a": "2", "b": "1"}))
    again = updated(CONFIG_MAPS, new, config_map({"a": "3", "b": "1"}))
    before, after = (
        next(entry["fieldsV1"] for entry in each["metadata"]["managedFields"] if entry["manager"] == "editor")
        for each in (new, again)
    )
    assert after is before
    assert owned(again, "maker") == {"f:data": {".": {}, "f:b": {}}}
    back = updated(CONFIG_MAPS, again, config_map({"a": "4", "b": "1"}), manager="maker")
    assert owned(back, "maker") == {"f:data": {".": {}, "f:a": {}, "f:b": {}}}
    assert not any(entry["manager"] == "editor" for entry in back["metadata"]["managedFields"])


def test_time_changes_only_for_who_takes_fields() -> None:
    live = created(CONFIG_MAPS, config_map({"a": "1", "b": "1"}))
    new = updated(CONFIG_MAPS, live, config_map({"a": "2", "b": "1"}))
    times = {entry["manager"]: entry["time"] for entry in new["metadata"]["managedFields"]}
    assert times == {"maker": "1970-01-01T00:00:00Z", "editor": "1970-01-01T00:01:00Z"}
    only_removes = updated(CONFIG_MAPS, new, config_map({"a": "2"}), manager="maker", now=120.0)
    assert {entry["manager"]: entry["time"] for entry in only_removes["metadata"]["managedFields"]} == times


def test_list_items_are_owned_one_by_one() -> None:
    live = created(DEPLOYMENTS, deployment())
    new = deployment()
    new["spec"]["template"]["spec"]["containers"].append({"name": "side", "image": "s:1"})
    written = updated(DEPLOYMENTS, live, new)
    assert owned(written, "editor") == {
        "f:spec": {
            "f:template": {"f:spec": {"f:containers": {'k:{"name":"side"}': {".": {}, "f:name": {}, "f:image": {}}}}}
        }
    }


def test_missing_list_keys_have_their_default() -> None:
    document = deployment()
    document["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"containerPort": 80}]
    fields = owned(created(DEPLOYMENTS, document), "maker")
    container = fields["f:spec"]["f:template"]["f:spec"]["f:containers"]['k:{"name":"main"}']
    assert container["f:ports"] == {
        ".": {},
        'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}},
    }


def test_items_that_share_a_key_are_owned_as_one() -> None:
    document = deployment()
    container = document["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}, {"name": "A", "value": "2"}]
    live = created(DEPLOYMENTS, document)

    def env_of(document: Document, manager: str) -> Any:
        fields = owned(document, manager)["f:spec"]["f:template"]["f:spec"]["f:containers"]
        return fields['k:{"name":"main"}']["f:env"]

    assert env_of(live, "maker") == {
        ".": {}, 'k:{"name":"A"}': {}, 'k:{"name":"B"}': {".": {}, "f:name": {}, "f:value": {}},
    }  # fmt: skip
    container["env"][2]["value"] = "3"
    assert env_of(updated(DEPLOYMENTS, live, document), "editor") == {'k:{"name":"A"}': {}}


def test_replicas_set_through_scale_have_no_time() -> None:
    live = created(DEPLOYMENTS, deployment(1))
    new = updated(DEPLOYMENTS, live, deployment(2), manager="scaler", subresource="scale")
    (entry,) = [entry for entry in new["metadata"]["managedFields"] if entry["manager"] == "scaler"]
    assert (entry["fieldsV1"], entry.get("time")) == ({"f:spec": {"f:replicas": {}}}, None)


@pytest.mark.parametrize("reset", [[], [{}]])
def test_client_may_clear_all_ownership_and_updates_do_not_bring_it_back(reset: list[dict[str, Any]]) -> None:
    live = created(CONFIG_MAPS, config_map({"a": "1"}))
    cleared = updated(CONFIG_MAPS, live, config_map({"a": "1"}, managedFields=reset))
    assert "managedFields" not in cleared["metadata"]
    later = updated(CONFIG_MAPS, cleared, config_map({"a": "2"}))
    assert "managedFields" not in later["metadata"]


def test_client_may_rewrite_entries_but_not_through_a_subresource() -> None:
    live = created(CONFIG_MAPS, config_map({"a": "1"}))
    (entry,) = thaw(live["metadata"]["managedFields"])
    entry["manager"] = "renamed"
    new = updated(CONFIG_MAPS, live, config_map({"a": "1"}, managedFields=[entry]))
    assert owned(new, "renamed") == {"f:data": {".": {}, "f:a": {}}}
    assert owned(new, "maker") is None
    through = updated(CONFIG_MAPS, live, config_map({"a": "1"}, managedFields=[entry]), subresource="status")
    assert owned(through, "renamed") is None


def test_entries_that_make_no_sense_leave_the_live_ones() -> None:
    live = created(CONFIG_MAPS, config_map({"a": "1"}))
    nonsense = [{"manager": "x", "operation": "Guess", "apiVersion": "v1"}]
    new = updated(CONFIG_MAPS, live, config_map({"a": "1"}, managedFields=nonsense))
    assert owned(new, "maker") == owned(live, "maker")


def test_old_updaters_are_put_together_beyond_ten() -> None:
    live = created(CONFIG_MAPS, config_map({"k": "0"}))
    for number in range(12):
        data = dict(live["data"]) | {f"k{number}": "1"}
        live = updated(CONFIG_MAPS, live, config_map(data), manager=f"m{number}", now=float(number))
    managers = [entry["manager"] for entry in live["metadata"]["managedFields"]]
    assert len(managers) == 10
    assert "ancient-changes" in managers
    assert set(owned(live, "ancient-changes")["f:data"]) == {".", "f:k", "f:k0", "f:k1", "f:k2"}


def test_entries_are_sorted_by_time() -> None:
    live = created(CONFIG_MAPS, config_map({"a": "1"}), manager="z", now=5.0)
    new = updated(CONFIG_MAPS, live, config_map({"a": "1", "b": "1"}), manager="a", now=9.0)
    assert [entry["manager"] for entry in new["metadata"]["managedFields"]] == ["z", "a"]


def test_manager_without_a_name_is_unknown() -> None:
    assert owned(created(CONFIG_MAPS, config_map({"a": "1"}), manager=""), "unknown") is not None


@pytest.mark.parametrize(
    ("field_manager", "user_agent", "expected"),
    [
        ("mine", "kubectl/v1.37", "mine"),
        ("", "kubectl/v1.37 (linux)", "kubectl"),
        ("", "plain", "plain"),
        ("", "tab\tbed/1", "tabbed"),
        ("", "x" * 200, "x" * 128),
        ("", "", ""),
    ],
)
def test_manager_is_named_by_the_request(field_manager: str, user_agent: str, expected: str) -> None:
    assert manager_name(field_manager, user_agent) == expected


def test_custom_resources_own_their_top_fields() -> None:
    schema = Schema({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "size": {"type": "integer", "default": 0},
        "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    }}}})  # fmt: skip
    fields = FieldManager(schema, GroupVersionKind("g.io", "v1", "Gadget"), custom=True)
    document = {"apiVersion": "g.io/v1", "kind": "Gadget", "metadata": {"name": "g", "labels": {"l": "1"}}}
    document["spec"] = {"size": 0, "tags": ["x"], "free": {"deep": {"er": [1]}}}
    assert owned(created(fields, document), "maker") == {
        "f:metadata": {"f:labels": {".": {}, "f:l": {}}},
        "f:spec": {
            ".": {},
            "f:size": {},
            "f:tags": {".": {}, 'v:"x"': {}},
            "f:free": {".": {}, "f:deep": {".": {}, "f:er": {}}},
        },
    }


def test_times_alone_are_no_change() -> None:
    live = created(CONFIG_MAPS, config_map({"a": "1"}))
    again = thaw(created(CONFIG_MAPS, config_map({"a": "1"}), now=99.0))
    settle_times(live, again)
    assert again["metadata"]["managedFields"] is live["metadata"]["managedFields"]
    other = thaw(created(CONFIG_MAPS, config_map({"a": "2"}), now=99.0))
    settle_times(live, other)
    assert other["metadata"]["managedFields"][0]["time"] == "1970-01-01T00:01:39Z"


@pytest.mark.parametrize(
    "tree",
    [
        {"data": {}}, {"f:data": []}, {"f:data": {"g:x": {}}}, {"k:[1]": {}}, {"k:{": {}}, {"v:{": {}}, {"i:x": {}},
    ],
)  # fmt: skip
def test_ownership_of_no_fields_is_not_taken(tree: Any) -> None:
    live = created(CONFIG_MAPS, config_map({"a": "1"}))
    mine = [{"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": tree}]
    after = updated(CONFIG_MAPS, live, config_map({"a": "1"}, managedFields=mine))
    assert after["metadata"]["managedFields"] == live["metadata"]["managedFields"]


def test_an_item_without_its_key_leaves_nobody_owning_anything() -> None:
    accounts = FieldManager(
        schemas.builtin("io.k8s.api.core.v1.ServiceAccount"), GroupVersionKind("", "v1", "ServiceAccount")
    )
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}, "secrets": [{"kind": "Secret"}]}
    assert "managedFields" not in created(accounts, account)["metadata"]

"""Selectors of lists and watches: what they let through, and what is no selector."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.objects import pod
from fakes.server import Caller
from kube_core.api import resources
from kube_core.apiserver.selecting import select
from kube_core.bus.changes import Stored, encode
from kube_core.meta.documents import Key
from kube_core.meta.status import BadRequest

pytestmark = pytest.mark.anyio


def stored(name: str, namespace: str = "a", *, node: str = "", **labels: str) -> Stored:
    document: dict[str, Any] = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"nodeName": node},
        "status": {"phase": "Running"},
    }
    return Stored(Key(namespace, name), 1, encode(document))


@pytest.mark.parametrize(
    ("labels", "fields", "matches"),
    [
        ("", "", True),
        ("app=web", "", True),
        ("app in (web, db),!missing", "", True),
        ("app!=web", "", False),
        ("", "metadata.name=x", True),
        ("", "metadata.name!=x", False),
        ("", "metadata.namespace=a", True),
        ("", "spec.nodeName=n1", True),
        ("", "spec.nodeName=n2", False),
        ("app=web", "spec.nodeName=n1,status.phase!=Failed", True),
        ("app=db", "spec.nodeName=n1", False),
    ],
)
async def test_labels_and_fields_must_both_match(api: Caller, labels: str, fields: str, matches: bool) -> None:
    selection = select(api.registry(resources.PODS), "", labels, fields)
    assert selection.matches(stored("x", node="n1", app="web")) == matches
    topic = api.server.bus.topic(api.registry(resources.PODS).resource)
    assert selection.interest().matches(stored("x", node="n1", app="web"), topic) == matches


async def test_equality_on_a_field_is_what_the_bus_indexes_by(api: Caller) -> None:
    selection = select(api.registry(resources.PODS), "", "", "spec.nodeName=n1,status.phase!=Failed")
    assert (selection.equal, selection.name) == ({"spec.nodeName": "n1"}, "")


async def test_a_field_selector_may_name_namespace_and_object(api: Caller) -> None:
    selection = select(api.registry(resources.PODS), "", "", "metadata.namespace=a,metadata.name=x")
    assert (selection.namespace, selection.name) == ("a", "x")
    await api.post("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "x"}})
    listed = await api.get(
        "/api/v1/configmaps", query=[("fieldSelector", "metadata.name=x,metadata.namespace=default")]
    )
    assert [each["metadata"]["name"] for each in listed["items"]] == ["x"]


async def test_a_namespace_in_the_selector_other_than_the_path_matches_nothing(api: Caller) -> None:
    await api.post("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "x"}})
    where = "/api/v1/namespaces/default/configmaps"
    listed = await api.get(where, query=[("fieldSelector", "metadata.namespace=kube-system")])
    assert listed["items"] == []


@pytest.mark.parametrize(
    ("resource", "labels", "fields", "why"),
    [
        (resources.PODS, "", "spec.fantasy=1", "field label not supported: spec.fantasy"),
        (
            resources.CONFIG_MAPS,
            "",
            "data.x=1",
            '"data.x" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
        (resources.PODS, "a=b=c", "", ""),
        (resources.PODS, "app in web", "", ""),
        (resources.PODS, "", "metadata.name", ""),
    ],
)
async def test_what_cannot_be_selected_by_is_a_bad_request(
    api: Caller, resource: Any, labels: str, fields: str, why: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        select(api.registry(resource), "", labels, fields)
    assert why in refused.value.message


async def test_a_list_shows_what_is_selected(api: Caller) -> None:
    await api.post("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    for name, labels in (("web", {"app": "web"}), ("db", {"app": "db"})):
        document = {"metadata": {"name": name, "labels": labels}, "spec": pod(name)["spec"]}
        await api.post("/api/v1/namespaces/default/pods", document)
    for query, names in (
        ([("labelSelector", "app=web")], ["web"]),
        ([("labelSelector", "app")], ["db", "web"]),
        ([("fieldSelector", "status.phase=Pending")], ["db", "web"]),
        ([("fieldSelector", "status.phase=Running")], []),
        ([("fieldSelector", "metadata.name=db"), ("labelSelector", "app=web")], []),
    ):
        listed = await api.get("/api/v1/pods", query=query)
        assert [each["metadata"]["name"] for each in listed["items"]] == names

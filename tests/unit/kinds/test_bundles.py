"""What goes together, and what does not."""

from __future__ import annotations

import types

import attrs
import pytest

import kube_core as kube
from fakes import websites
from fakes.websites import OldWebsite, Website
from kube_core.api import core
from kube_core.kinds.bundle import gather
from kube_core.kinds.definitions import definitions
from kube_core.kinds.differences import carry_over, json_patch
from kube_core.kinds.functions import admission_of
from kube_core.kinds.schemas import KindError
from kube_core.plugins import PluginHost
from kube_core.registry.patches import json_patch as patches


def test_a_module_offers_all_that_it_has_once() -> None:
    bundle = gather([websites, Website, websites])
    assert [each.cls for each in bundle.declarations] == [Website, OldWebsite]
    assert len(bundle.conversions) == 2
    assert [each.name for each in bundle.functions] == [
        "known-host.websites.example.dev",
        "not-while-paid.websites.example.dev",
        "two-if-paid.websites.example.dev",
        "stamp.configmaps.core",
        "broken.configmaps.core",
    ]


def test_definitions_are_always_the_same_with_the_preferred_version_first_and_stored() -> None:
    bundle = gather([OldWebsite, Website])
    [definition] = definitions(bundle.declarations)
    assert definition == definitions(reversed(bundle.declarations))[0]
    assert [(each["name"], each["storage"]) for each in definition["spec"]["versions"]] == [
        ("v1", True),
        ("v1beta1", False),
    ]
    old = definition["spec"]["versions"][1]
    assert (old["deprecated"], old["deprecationWarning"]) == (True, "use v1")


def test_a_conversion_that_leads_nowhere_is_named() -> None:
    with pytest.raises(KindError, match="nothing converts Website to OldWebsite"):
        gather([websites.to_v1])


def test_versions_that_are_stored_twice_or_of_another_scope_are_refused() -> None:
    @kube.kind(group="example.dev", version="v1", kind="Thing", storage=True)
    @attrs.frozen
    class One:
        value: str

    @kube.kind(group="example.dev", version="v2", kind="Thing", storage=True)
    @attrs.frozen
    class Two:
        value: str

    @kube.kind(group="example.dev", version="v3", kind="Thing", scope="Cluster")
    @attrs.frozen
    class Three:
        value: str

    with pytest.raises(KindError, match="one version is stored, not two"):
        gather([One, Two])
    with pytest.raises(KindError, match="its scope is another"):
        definitions(gather([One, Three]).declarations)


def test_functions_are_told_what_they_lack() -> None:
    with pytest.raises(KindError, match="both annotated"):
        kube.convert(lambda old: old)
    with pytest.raises(TypeError, match="a webhook has no speed"):
        kube.validate(Website, speed=1)
    with pytest.raises(TypeError, match="is not a kind"):
        kube.validate(int)
    with pytest.raises(KindError, match="is no kind"):
        gather([types.SimpleNamespace()])

    @kube.validate(core.ConfigMap, name="same.example.dev")
    def first(_: core.ConfigMap) -> None: ...

    @kube.validate(core.ConfigMap, name="same.example.dev")
    def second(_: core.ConfigMap) -> None: ...

    with pytest.raises(KindError, match=r"two functions same\.example\.dev"):
        gather([first, second])


def test_a_functions_webhook_has_the_fields_it_was_given() -> None:
    @kube.mutate(
        Website,
        operations=["UPDATE"],
        subresources=["status"],
        failure_policy="Ignore",
        timeout=3,
        reinvocation_policy="IfNeeded",
        match_conditions=[{"name": "a", "expression": "true"}],
    )
    def change(site: Website) -> Website:
        return site

    noted = admission_of(change)
    assert noted is not None
    assert noted.webhook({"url": "https://a"}) == {
        "name": "change.websites.example.dev",
        "clientConfig": {"url": "https://a"},
        "rules": [
            {
                "apiGroups": ["example.dev"],
                "apiVersions": ["v1"],
                "resources": ["websites", "websites/status"],
                "operations": ["UPDATE"],
                "scope": "*",
            }
        ],
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Ignore",
        "timeoutSeconds": 3,
        "reinvocationPolicy": "IfNeeded",
        "matchConditions": [{"name": "a", "expression": "true"}],
    }


def test_a_change_is_carried_over_to_what_was_sent() -> None:
    sent = {"a": 1, "unknown": {"x": 1}, "list": [{"n": 1, "unknown": 2}], "gone": 1, "m/~": {"k": 1}}
    before = {"a": 1, "list": [{"n": 1}], "gone": 1, "m/~": {"k": 1}}
    after = {"a": 2, "list": [{"n": 5}], "new": {"y": [1]}, "m/~": {"k": 2}}
    changed = carry_over(sent, before, after)
    assert changed == {
        "a": 2,
        "unknown": {"x": 1},
        "list": [{"n": 5, "unknown": 2}],
        "new": {"y": [1]},
        "m/~": {"k": 2},
    }
    operations = json_patch(sent, changed)
    assert {"op": "replace", "path": "/m~1~0/k", "value": 2} in operations
    assert patches.apply(sent, operations) == changed


class Offering:
    """A plugin that offers what it was given."""

    def __init__(self, *offered: object) -> None:
        self.offered = offered

    @kube.hookimpl
    def kube_core_kinds(self) -> tuple[object, ...]:
        return self.offered


def test_a_plugin_whose_kinds_do_not_go_together_is_left_out_and_the_rest_goes_on() -> None:
    host = PluginHost()
    host.register(Offering(websites.to_v1), "broken")
    host.register(Offering(websites), "working")
    assert host.kinds() == {"working": [websites]}
    [failure] = host.failures
    assert (failure.name, failure.where) == ("broken", "kube_core_kinds")
    assert "nothing converts Website to OldWebsite" in failure.error

"""Predicates: which changes they admit, alone and together, as documents and as instances of a class."""

from __future__ import annotations

from typing import Any

import pytest

from kube_core.api import core
from kube_core.api.resources import CONFIG_MAPS
from kube_core.control.controller import Watch
from kube_core.control.predicates import (
    Predicate,
    annotations_changed,
    generation_changed,
    labels_changed,
    resource_version_changed,
    where,
)
from kube_core.meta.documents import Document, Key


def document(**metadata: Any) -> Document:
    return {"metadata": {"name": "a", "namespace": "default", **metadata}}


@pytest.mark.parametrize(
    ("predicate", "before", "after", "admitted"),
    [
        (generation_changed, document(generation=1), document(generation=1), False),
        (generation_changed, document(generation=1), document(generation=2), True),
        (generation_changed, document(generation=1), document(generation=1, deletionTimestamp="now"), True),
        (labels_changed, document(labels={"a": "b"}), document(labels={"a": "b"}, annotations={"a": "b"}), False),
        (labels_changed, document(), document(labels={"a": "b"}), True),
        (annotations_changed, document(), document(annotations={"a": "b"}), True),
        (annotations_changed, document(), document(labels={"a": "b"}), False),
        (resource_version_changed, document(resourceVersion="1"), document(resourceVersion="1"), False),
        (generation_changed & labels_changed, document(), document(generation=2), False),
        (generation_changed | labels_changed, document(), document(generation=2), True),
        (~generation_changed, document(generation=1), document(generation=1), True),
        (labels_changed & (lambda before, after: False), document(), document(labels={"a": "b"}), False),
        ((lambda before, after: True) | labels_changed, document(), document(), True),
        (where(lambda each: each["metadata"]["name"] == "b"), document(), document(), False),
        (where(lambda each: each["metadata"]["name"] == "a"), document(), None, True),
    ],
)
def test_predicates(predicate: Predicate, before: Document | None, after: Document | None, admitted: bool) -> None:
    assert Watch(CONFIG_MAPS, predicate=predicate).admits(before, after) is admitted


@pytest.mark.parametrize("predicate", [generation_changed, labels_changed, annotations_changed])
def test_creations_and_deletions_are_admitted(predicate: Predicate) -> None:
    assert Watch(CONFIG_MAPS, predicate=predicate).admits(None, document())
    assert Watch(CONFIG_MAPS, predicate=predicate).admits(document(), None)


def test_functions_get_instances_where_the_kind_is_a_class() -> None:
    def has_more(before: core.ConfigMap | None, after: core.ConfigMap | None) -> bool:
        return before is None or after is None or len(before.data) < len(after.data)

    def by_data(config_map: core.ConfigMap) -> list[Key]:
        return [Key("default", name) for name in config_map.data]

    watch = Watch(core.ConfigMap, map=by_data, predicate=has_more)
    assert watch.resource == CONFIG_MAPS
    assert watch.admits({"data": {}}, {"data": {"a": ""}})
    assert not watch.admits({"data": {"a": ""}}, {"data": {"a": ""}})
    assert list(watch.keys({"data": {"a": "", "b": ""}})) == [Key("default", "a"), Key("default", "b")]
    assert list(Watch(core.ConfigMap).keys(document())) == [Key("default", "a")]

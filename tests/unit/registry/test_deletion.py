"""Planning a deletion: finalizers, policies, grace."""

from __future__ import annotations

from typing import Any

import pytest

from kube_core.api.types import ResourceDescriptor, ResourceType
from kube_core.meta.documents import Document
from kube_core.meta.times import parse_time
from kube_core.registry.context import DeleteOptions
from kube_core.registry.deletion import plan
from kube_core.registry.strategy import Strategy

NOW = parse_time("2026-01-01T00:00:00Z")
DESCRIPTOR = ResourceDescriptor(ResourceType("", "v1", "ConfigMap", "configmaps", True), "configmap")


class Graceful(Strategy):
    graceful = True

    def grace_period(self, document: Document, asked: int | None) -> int:
        return 30 if asked is None else asked


def an_object(**metadata: Any) -> dict[str, Any]:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "x", **metadata}}


@pytest.mark.parametrize(
    ("options", "finalizers"),
    [
        (DeleteOptions(), []),
        (DeleteOptions(propagation="Background"), []),
        (DeleteOptions(propagation="Foreground"), ["foregroundDeletion"]),
        (DeleteOptions(propagation="Orphan"), ["orphan"]),
        (DeleteOptions(orphan_dependents=True), ["orphan"]),
        (DeleteOptions(orphan_dependents=False), []),
    ],
)
def test_the_propagation_policy_becomes_a_finalizer(options: DeleteOptions, finalizers: list[str]) -> None:
    made = plan(an_object(), options, Strategy(DESCRIPTOR), NOW)
    assert made.document["metadata"].get("finalizers", []) == finalizers
    assert made.remove is (not finalizers)


def test_an_object_with_finalizers_is_marked_and_kept() -> None:
    made = plan(an_object(finalizers=["a.example/b"]), DeleteOptions(), Strategy(DESCRIPTOR), NOW)
    assert not made.remove
    assert made.document["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:00Z"


def test_another_policy_swaps_the_finalizer_of_an_object_that_is_going() -> None:
    going = an_object(finalizers=["orphan"], deletionTimestamp="2026-01-01T00:00:00Z", deletionGracePeriodSeconds=0)
    made = plan(going, DeleteOptions(propagation="Background"), Strategy(DESCRIPTOR), NOW)
    assert made.remove


def test_a_graceful_kind_waits_for_its_period_and_may_only_shorten_it() -> None:
    strategy = Graceful(DESCRIPTOR)
    first = plan(an_object(generation=1), DeleteOptions(), strategy, NOW)
    assert not first.remove
    assert first.document["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:30Z"
    assert first.document["metadata"]["generation"] == 2
    longer = plan(first.document, DeleteOptions(grace_period=90), strategy, NOW + 1)
    assert not longer.changed
    shorter = plan(first.document, DeleteOptions(grace_period=5), strategy, NOW + 1)
    assert shorter.document["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:05Z"
    gone = plan(first.document, DeleteOptions(grace_period=0), strategy, NOW + 1)
    assert gone.remove


def test_planning_leaves_the_present_object_alone() -> None:
    present = an_object()
    plan(present, DeleteOptions(propagation="Foreground"), Strategy(DESCRIPTOR), NOW)
    assert present == an_object()

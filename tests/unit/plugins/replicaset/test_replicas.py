"""How many pods a ReplicaSet makes or deletes, which, and that it never makes one twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.objects import NOW, owned_by, pod, replica_set
from kube_core._kit.clock import FakeClock
from kube_core.control.expectations import Expectations
from kube_core.meta.documents import Key
from kube_plugins.controllers.podwrites import slow_start
from kube_plugins.controllers.replicaset.replicas import BURST, plan_replicas, pod_from_template
from kube_plugins.controllers.replicaset.status import Counts, calculate_status, count, seconds_until_available
from kube_plugins.controllers.replicaset.victims import DELETION_COST_ANNOTATION, choose_victims


def test_slow_start_doubles_its_batches() -> None:
    assert list(slow_start(10)) == [1, 2, 4, 3]
    assert list(slow_start(0)) == []


@pytest.mark.parametrize(
    ("wanted", "there", "create", "delete"), [(3, 0, 3, 0), (3, 3, 0, 0), (1, 3, 0, 2), (0, 2, 0, 2)]
)
def test_the_plan_makes_up_the_difference(wanted: int, there: int, create: int, delete: int) -> None:
    plan = plan_replicas(replica_set(replicas=wanted), there)
    assert (plan.create, plan.delete, plan.surplus) == (create, delete, there - wanted)


def test_one_plan_makes_or_deletes_a_limited_number() -> None:
    assert plan_replicas(replica_set(replicas=2 * BURST), 0).create == BURST
    assert plan_replicas(replica_set(replicas=0), 2 * BURST).delete == BURST


def cost(number: str) -> dict[str, str]:
    return {DELETION_COST_ANNOTATION: number}


def annotated(name: str, annotations: dict[str, str], **more: Any) -> dict[str, Any]:
    found = pod(name, **more)
    found["metadata"]["annotations"] = annotations
    return found


def restarted(name: str, restarts: int, **more: Any) -> dict[str, Any]:
    found = pod(name, **more)
    found["status"]["containerStatuses"] = [{"name": "web", "restartCount": restarts}]
    return found


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pod("no-node"), pod("assigned", node="n", phase="Pending")),
        (pod("pending", node="n", phase="Pending"), pod("unknown", node="n", phase="Unknown")),
        (pod("unknown", node="n", phase="Unknown"), pod("running", node="n")),
        (pod("not-ready", node="n"), pod("ready", node="n", ready=True)),
        (
            annotated("cheap", cost("-5"), node="n", ready=True),
            annotated("dear", cost("10"), node="n", ready=True),
        ),
        (
            annotated("not-a-number", cost("x"), node="n", ready=True),
            annotated("dear", cost("1"), node="n", ready=True),
        ),
        (pod("young", node="n", ready=True, age=10), pod("old", node="n", ready=True, age=10_000)),
        (restarted("shaky", 5, node="n", ready=True), restarted("sound", 0, node="n", ready=True)),
        (pod("newer", node="n", age=1), pod("older", node="n", age=100_000)),
    ],
    ids=lambda each: each["metadata"]["name"],
)
def test_the_pod_that_costs_least_goes_first(first: dict[str, Any], second: dict[str, Any]) -> None:
    for both in ([first, second], [second, first]):
        assert choose_victims(both, both, 1, NOW) == [first]


def test_pods_on_crowded_nodes_go_first() -> None:
    alone = pod("alone", node="quiet", ready=True)
    together = [pod(f"t{i}", node="crowded", ready=True) for i in range(2)]
    sibling = pod("of-another-set", node="crowded", ready=True)
    assert choose_victims([alone, together[0]], [alone, together[0], sibling], 1, NOW) == [together[0]]


def test_ages_of_one_magnitude_are_the_same_age() -> None:
    pods = [pod(f"p{i}", node="n", ready=True, age=1000 + i) for i in range(5)]
    chosen = choose_victims(pods, pods, 5, NOW)
    assert choose_victims(pods[::-1], pods, 3, NOW) == sorted(chosen, key=lambda each: each["metadata"]["uid"])[:3]


def test_a_pod_is_made_from_the_template() -> None:
    owner = replica_set("web-5d")
    owner["spec"]["template"]["metadata"] |= {"annotations": {"a": "b"}, "finalizers": ["x/y"]}
    made = pod_from_template(owner, owned_by(owner)[0])
    assert made["metadata"]["generateName"] == "web-5d-"
    assert made["metadata"]["labels"] == {"app": "web"}
    assert made["metadata"]["annotations"] == {"a": "b"}
    assert made["metadata"]["finalizers"] == ["x/y"]
    assert made["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]
    assert made["spec"] == owner["spec"]["template"]["spec"]


def test_status_counts_active_and_terminating_pods() -> None:
    document = replica_set(replicas=4)
    pods = [
        pod("ready", node="n", ready=True),
        pod("starting", node="n"),
        pod("other-label", node="n", ready=True, labels={"app": "other"}),
        pod("going", node="n", ready=True, deleting=True),
        pod("ended", node="n", phase="Failed"),
    ]
    assert calculate_status(document, count(document, pods, NOW), NOW) == {
        "observedGeneration": 1,
        "replicas": 3,
        "terminatingReplicas": 1,
        "fullyLabeledReplicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 2,
    }


def test_availability_waits_for_min_ready_seconds() -> None:
    document = replica_set(replicas=2)
    document["spec"]["minReadySeconds"] = 30
    pods = [pod("long", node="n", ready=True, age=60), pod("short", node="n", ready=True, age=10)]
    assert count(document, pods, NOW) == Counts(2, 0, 2, 2, available=1)
    assert seconds_until_available(document, pods, NOW) == 20.0
    assert count(document, pods, NOW + 20).available == 2
    assert seconds_until_available(document, pods, NOW + 20) is None


def test_a_failure_shows_until_it_is_over() -> None:
    document = replica_set(replicas=2)
    document["status"] = calculate_status(document, Counts(), NOW, surplus=-2, failure="exceeded quota")
    assert [(each["reason"], each["message"]) for each in document["status"]["conditions"]] == [
        ("FailedCreate", "exceeded quota")
    ]
    again = calculate_status(document, Counts(), NOW + 9, surplus=-2, failure="something else")
    assert again["conditions"] == document["status"]["conditions"]
    assert "conditions" not in calculate_status(document, Counts(), NOW + 10)


steps = st.lists(st.sampled_from(["reconcile", "see", "see", "fail", "die"]), max_size=80)


@settings(max_examples=200, deadline=None)
@given(wanted=st.integers(0, 8), steps=steps)
def test_a_replica_set_with_expectations_never_makes_too_many(wanted: int, steps: list[str]) -> None:
    """Whatever the order of reconciling, of what the cache shows, of failing writes and of pods that end."""
    key, expectations = Key("default", "web"), Expectations(FakeClock())
    document = replica_set(replicas=wanted)
    made = 0
    real: list[dict[str, Any]] = []
    unseen: list[dict[str, Any]] = []
    cache: list[dict[str, Any]] = []
    fail_next = False

    def reconcile() -> None:
        nonlocal made, fail_next
        if not expectations.satisfied(key):
            return
        plan = plan_replicas(document, len(cache))
        expectations.expect_creations(key, plan.create)
        for _ in range(plan.create):
            if fail_next:
                fail_next = False
                expectations.creation_observed(key)
                continue
            made += 1
            new = pod(f"p{made}", node="n")
            real.append(new)
            unseen.append(new)

    for step in steps:
        if step == "reconcile":
            reconcile()
        elif step == "fail":
            fail_next = True
        elif step == "see" and unseen:
            cache.append(unseen.pop(0))
            expectations.creation_observed(key)
        elif step == "die" and cache:
            real.remove(cache.pop())
        assert len(real) <= wanted
    while unseen:
        cache.append(unseen.pop(0))
        expectations.creation_observed(key)
    fail_next = False
    reconcile()
    assert len(real) == wanted

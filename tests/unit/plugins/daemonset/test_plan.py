"""Which nodes get a daemon, which daemons go, and that an update keeps its limits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.objects import NOW, metadata, node, pod, template
from kube_core.meta.documents import labels_of, name_of
from kube_plugins.controllers.daemonset.daemons import HASH_LABEL, eligibility, make_daemon, target_node
from kube_plugins.controllers.daemonset.plan import Limits, Plan, Scene, limits, observe, plan_nodes, plan_update
from kube_plugins.controllers.daemonset.status import calculate_status, seconds_until_available


def daemon_set(*, update: dict[str, Any] | None = None, pod_spec: dict[str, Any] | None = None, **spec: Any) -> Any:
    made = template()
    made["spec"] |= pod_spec or {}
    strategy = update if update is not None else {"maxUnavailable": 1, "maxSurge": 0}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata("log"),
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": made,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": strategy},
            **spec,
        },
        "status": {},
    }


def daemon(where: str, mark: str = "new", *, name: str = "", ready: bool = True, **more: Any) -> dict[str, Any]:
    labels = {"app": "web", HASH_LABEL: mark}
    return pod(name or f"log-{where}-{mark}", node=where, ready=ready, labels=labels, **more)


def scene(owner: Any, found: Any, nodes: Any = None, now: float = NOW) -> Scene:
    return observe(owner, found, [node(f"n{i}") for i in range(3)] if nodes is None else nodes, "new", now)


def names(found: Any) -> list[str]:
    return sorted(map(name_of, found))


@pytest.mark.parametrize(
    ("pod_spec", "spec", "labels", "expected"),
    [
        ({}, {}, {}, (True, True)),
        ({"nodeSelector": {"disk": "ssd"}}, {}, {"disk": "ssd"}, (True, True)),
        ({"nodeSelector": {"disk": "ssd"}}, {}, {}, (False, False)),
        ({"nodeName": "other"}, {}, {}, (False, False)),
        ({}, {"taints": [{"key": "k", "effect": "NoSchedule"}]}, {}, (False, True)),
        ({}, {"taints": [{"key": "k", "effect": "NoExecute"}]}, {}, (False, False)),
        ({}, {"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}, {}, (True, True)),
        (
            {"tolerations": [{"key": "k", "operator": "Exists"}]},
            {"taints": [{"key": "k", "effect": "NoExecute"}]},
            {},
            (True, True),
        ),
        ({}, {"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]}, {}, (True, True)),
        ({}, {"taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]}, {}, (True, True)),
        (
            {},
            {"taints": [{"key": "node.kubernetes.io/network-unavailable", "effect": "NoSchedule"}]},
            {},
            (False, True),
        ),
        (
            {"hostNetwork": True},
            {"taints": [{"key": "node.kubernetes.io/network-unavailable", "effect": "NoSchedule"}]},
            {},
            (True, True),
        ),
    ],
)
def test_which_nodes_a_daemon_set_is_for(
    pod_spec: dict[str, Any], spec: dict[str, Any], labels: dict[str, str], expected: tuple[bool, bool]
) -> None:
    found = eligibility(daemon_set(pod_spec=pod_spec), node("n", labels=labels, **spec))
    assert (found.runs, found.stays) == expected


def test_a_daemon_is_bound_to_its_node_by_name() -> None:
    preferred = [{"weight": 1, "preference": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}]
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
    made = make_daemon(daemon_set(pod_spec={"affinity": affinity}), "n1", "new")
    assert target_node(made) == "n1"
    assert made["metadata"]["generateName"] == "log-"
    assert labels_of(made)[HASH_LABEL] == "new"
    assert made["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] == preferred
    tolerated = {(each["key"], each["effect"]) for each in made["spec"]["tolerations"]}
    assert ("node.kubernetes.io/unreachable", "NoExecute") in tolerated
    assert len(tolerated) == 6


def test_each_node_gets_one_daemon_and_keeps_the_oldest() -> None:
    found = [
        daemon("n0", name="young", age=10),
        daemon("n0", name="old", age=100),
        daemon("n1", name="going", deleting=True),
    ]
    plan = plan_nodes(scene(daemon_set(), found))
    assert plan.create == ("n2",)
    assert names(plan.delete) == ["young"]


def test_a_daemon_goes_from_a_node_that_it_is_not_for_or_that_is_gone() -> None:
    owner = daemon_set(pod_spec={"nodeSelector": {"disk": "ssd"}})
    pending = make_daemon(owner, "gone", "new")
    pending["metadata"] |= metadata("pending")
    plan = plan_nodes(scene(owner, [daemon("n0"), pending, daemon("vanished")], [node("n0")]))
    assert (plan.create, names(plan.delete)) == ((), ["log-n0-new", "pending"])


def test_daemons_that_ended_are_deleted_but_not_too_often() -> None:
    found = [daemon("n0", phase="Failed"), daemon("n1", phase="Succeeded"), daemon("n2")]
    plan = plan_nodes(scene(daemon_set(), found))
    assert (names(plan.failed), names(plan.succeeded)) == (["log-n0-new"], ["log-n1-new"])
    assert plan.create == ()
    assert plan_nodes(scene(daemon_set(), found), {"n0"}).failed == ()


@pytest.mark.parametrize(
    ("update", "expected"),
    [
        ({"maxUnavailable": 1, "maxSurge": 0}, Limits(0, 1)),
        ({"maxUnavailable": "50%", "maxSurge": 0}, Limits(0, 2)),
        ({"maxUnavailable": 0, "maxSurge": "10%"}, Limits(1, 0)),
        ({}, Limits(0, 1)),
    ],
)
def test_limits_are_shares_of_the_nodes_rounded_up(update: dict[str, Any], expected: Limits) -> None:
    assert limits(scene(daemon_set(update=update), [])) == expected


def test_an_update_replaces_as_many_as_may_be_unavailable() -> None:
    old = [daemon(f"n{i}", "old") for i in range(3)]
    assert names(plan_update(scene(daemon_set(), old)).delete) == ["log-n0-old"]
    half = [daemon("n0", ready=False), *old[1:]]
    assert plan_update(scene(daemon_set(), half)) == Plan()
    broken = [*old[:2], daemon("n2", "old", ready=False)]
    assert names(plan_update(scene(daemon_set(), broken)).delete) == ["log-n2-old"]
    assert plan_update(scene(daemon_set(), old[1:])) == Plan()  # one node lacks its daemon


def test_a_surge_makes_the_new_daemon_first() -> None:
    owner = daemon_set(update={"maxSurge": 1, "maxUnavailable": 0})
    old = [daemon(f"n{i}", "old") for i in range(3)]
    assert plan_update(scene(owner, old)) == Plan(("n0",))
    starting = [*old, daemon("n0", ready=False)]
    assert plan_nodes(scene(owner, starting)).is_empty
    assert plan_update(scene(owner, starting)) == Plan()
    started = [*old, daemon("n0")]
    assert names(plan_nodes(scene(owner, started)).delete) == ["log-n0-old"]


def test_on_delete_replaces_nothing() -> None:
    owner = daemon_set(updateStrategy={"type": "OnDelete"})
    assert plan_update(scene(owner, [daemon("n0", "old")])) == Plan()


def test_status_counts_nodes() -> None:
    owner = daemon_set(minReadySeconds=30)
    nodes = [node("n0"), node("n1"), node("n2"), node("n3", taints=[{"key": "k", "effect": "NoSchedule"}])]
    found = [daemon("n0", "old", age=60), daemon("n1", age=10), daemon("n3")]
    seen = scene(owner, found, nodes)
    assert calculate_status(seen, 0) == {
        "desiredNumberScheduled": 3,
        "currentNumberScheduled": 2,
        "numberMisscheduled": 1,
        "numberReady": 2,
        "numberAvailable": 1,
        "numberUnavailable": 2,
        "updatedNumberScheduled": 1,
        "observedGeneration": 1,
    }
    assert seconds_until_available(seen) == 20.0


happenings = st.lists(st.tuples(st.sampled_from(["step", "step", "start", "end"]), st.integers(0, 5)), max_size=80)


@settings(max_examples=200, deadline=None)
@given(count=st.integers(1, 6), surge=st.integers(0, 2), unavailable=st.integers(0, 3), happenings=happenings)
def test_an_update_keeps_its_limits_and_always_ends(
    count: int, surge: int, unavailable: int, happenings: list[tuple[str, int]]
) -> None:
    """Daemons start and end in whatever order is drawn."""
    if surge:
        unavailable = 0
    owner = daemon_set(update={"maxSurge": surge, "maxUnavailable": unavailable})
    nodes = [node(f"n{i}") for i in range(count)]
    found = [daemon(f"n{i}", "old") for i in range(count)]
    made = 0

    def step() -> None:
        nonlocal made
        seen = scene(owner, found, nodes)
        plan = plan_nodes(seen)
        if plan.is_empty:
            plan = plan_update(seen)
        for where in plan.create:
            made += 1
            found.append(daemon(where, name=f"made-{made}", ready=False, age=-made))
        for victim in plan.delete:
            victim["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    def happen(what: str, number: int) -> None:
        for each in [each for each in found if target_node(each) == f"n{number}"]:
            going = "deletionTimestamp" in each["metadata"]
            if what == "end" and going:
                found.remove(each)
            elif what == "start" and not going and not each["status"].get("conditions"):
                found[found.index(each)] = daemon(f"n{number}", labels_of(each)[HASH_LABEL], name=name_of(each))

    def staying() -> list[Any]:
        return [each for each in found if "deletionTimestamp" not in each["metadata"]]

    for what, number in happenings:
        if what == "step":
            step()
        else:
            happen(what, number)
        served = {target_node(each) for each in staying() if each["status"].get("conditions")}
        bounds = limits(scene(owner, found, nodes))
        assert len(served) >= count - bounds.unavailable
        assert len(staying()) <= count + bounds.surge
    for _ in range(5 * count):
        step()
        for number in range(count):
            happen("end", number)
            happen("start", number)
    assert sorted(target_node(each) for each in found) == [f"n{i}" for i in range(count)]
    assert {labels_of(each)[HASH_LABEL] for each in found} == {"new"}


@pytest.mark.parametrize(
    ("ready", "others_ready", "gone"),
    [
        (False, True, ["log-n3-old"]),  # of no use, and no new one comes there
        (True, True, ["log-n3-old"]),  # as many serve without it as are wanted
        (True, False, []),
    ],
)
def test_a_surge_takes_an_old_daemon_from_a_node_that_gets_none(
    ready: bool, others_ready: bool, gone: list[str]
) -> None:
    owner = daemon_set(update={"maxSurge": 1, "maxUnavailable": 0})
    nodes = [*(node(f"n{i}") for i in range(3)), node("n3", taints=[{"key": "k", "effect": "NoSchedule"}])]
    found = [*(daemon(f"n{i}", ready=others_ready) for i in range(3)), daemon("n3", "old", ready=ready)]
    plan = plan_update(scene(owner, found, nodes))
    assert (plan.create, names(plan.delete)) == ((), gone)


def test_an_update_replaces_what_stays_on_nodes_that_get_no_daemon() -> None:
    nodes = [node("n0"), node("n1", taints=[{"key": "k", "effect": "NoSchedule"}])]
    plan = plan_update(scene(daemon_set(), [daemon("n0"), daemon("n1", "old")], nodes))
    assert names(plan.delete) == ["log-n1-old"]


def test_a_generation_is_observed_once_what_was_written_is_seen() -> None:
    owner = daemon_set()
    owner["metadata"]["generation"] = 2
    owner["status"] = {"observedGeneration": 1}
    seen = scene(owner, [daemon("n0")])
    assert calculate_status(seen, 0, settled=False)["observedGeneration"] == 1
    assert calculate_status(seen, 0)["observedGeneration"] == 2

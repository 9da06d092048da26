"""The built-in plugins together: where pods go, and what people read when they go nowhere."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from fakes.objects import node, pod, replica_set
from fakes.scheduling import World
from kube_core.scheduler.pods import read_pod
from kube_core.scheduler.profile import Nowhere, Placement, explain, nodes_to_find
from kube_plugins.scheduler.defaultpreemption.budgets import beyond_budgets

NOT_HELPFUL = "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."


def taint(effect: str = "NoSchedule", value: str = "") -> dict[str, str]:
    return {"key": "dedicated", "value": value, "effect": effect}


def affinity(*expressions: dict[str, Any], fields: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    term: dict[str, Any] = {"matchExpressions": list(expressions)}
    if fields:
        term = {"matchFields": fields}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return {"nodeAffinity": required}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


@pytest.mark.parametrize(
    ("where", "who", "reason"),
    [
        (node(unschedulable=True), pod(), "1 node(s) were unschedulable"),
        (node(taints=[taint()]), pod(), "1 node(s) had untolerated taint(s)"),
        (node(taints=[taint("NoExecute")]), pod(), "1 node(s) had untolerated taint(s)"),
        (node(), pod(nodeSelector={"disk": "ssd"}), "1 node(s) didn't match Pod's node affinity/selector"),
        (
            node(),
            pod(affinity=affinity(expression("disk", "Exists"))),
            "1 node(s) didn't match Pod's node affinity/selector",
        ),
    ],
)
def test_what_a_node_is_refuses_pods_and_nothing_helps(where: Any, who: Any, reason: str) -> None:
    assert World(where).place(who) == f"0/1 nodes are available: {reason}. {NOT_HELPFUL}"


@pytest.mark.parametrize(
    ("where", "who"),
    [
        (node(taints=[taint()]), pod(tolerations=[{"key": "dedicated", "operator": "Exists"}])),
        (node(taints=[taint(value="gpu")]), pod(tolerations=[{"key": "dedicated", "value": "gpu"}])),
        (node(taints=[taint()]), pod(tolerations=[{"operator": "Exists"}])),
        (node(taints=[taint("PreferNoSchedule")]), pod()),
        (
            node(unschedulable=True),
            pod(tolerations=[{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]),
        ),
        (node(labels={"disk": "ssd"}), pod(nodeSelector={"disk": "ssd"})),
        (node(labels={"disk": "ssd"}), pod(affinity=affinity(expression("disk", "In", "ssd", "nvme")))),
        (node(labels={"cores": "8"}), pod(affinity=affinity(expression("cores", "Gt", "4")))),
        (node(), pod(affinity=affinity(expression("disk", "DoesNotExist"), expression("gpu", "NotIn", "a")))),
        (node(), pod(affinity=affinity(fields=[expression("metadata.name", "In", "node-1")]))),
    ],
)
def test_what_a_pod_tolerates_and_selects_lets_it_in(where: Any, who: Any) -> None:
    assert World(where).place(who) == "node-1"


@pytest.mark.parametrize(
    ("toleration", "admitted"),
    [
        ({"key": "dedicated", "value": "gpu", "effect": "NoExecute"}, False),
        ({"key": "dedicated", "value": "cpu"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}, True),
    ],
)
def test_a_toleration_answers_key_value_and_effect(toleration: dict[str, str], admitted: bool) -> None:
    place = World(node(taints=[taint(value="gpu")])).place(pod(tolerations=[toleration]))
    assert (place == "node-1") == admitted


def test_pods_fit_as_long_as_there_is_room() -> None:
    world = World(node(cpu="1"))
    assert world.place(pod("a", requests={"cpu": "600m"})) == "node-1"
    assert world.place(pod("b", requests={"cpu": "600m"})) == (
        "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: "
        "1 No preemption victims found for incoming pod."
    )
    assert world.place(pod("c", requests={"cpu": "400m"})) == "node-1"


def test_a_request_that_no_empty_node_could_meet_cannot_be_helped() -> None:
    message = World(node(cpu="1")).place(pod(requests={"cpu": "2", "memory": "1Ti"}))
    assert message == f"0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. {NOT_HELPFUL}"


def test_a_node_takes_no_more_pods_than_it_says() -> None:
    world = World(node(pods="1"))
    assert world.place(pod("a")) == "node-1"
    assert world.place(pod("b")).startswith("0/1 nodes are available: 1 Too many pods. ")


def test_reasons_are_counted_over_the_nodes_and_sorted() -> None:
    world = World(node("a", cpu="1"), node("b", cpu="1"), node("c", taints=[taint()]), node("d", unschedulable=True))
    message = world.place(pod(requests={"cpu": "3"}))
    assert message.startswith(
        "0/4 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, "
        "2 Insufficient cpu. "
    )


def test_without_nodes_the_message_is_upstreams() -> None:
    assert World().place(pod()) == "no nodes available to schedule pods"
    assert explain(0, (), None) == "no nodes available to schedule pods"


def with_port(name: str, port: int, ip: str = "") -> dict[str, Any]:
    found = pod(name)
    found["spec"]["containers"][0]["ports"] = [{"containerPort": 80, "hostPort": port, "hostIP": ip}]
    return found


def test_host_ports_are_given_once_for_overlapping_addresses() -> None:
    world = World(node())
    assert world.place(with_port("a", 8080, "10.0.0.1")) == "node-1"
    assert world.place(with_port("b", 8080, "10.0.0.2")) == "node-1"
    assert world.place(with_port("c", 8081)) == "node-1"
    assert "node(s) didn't have free ports for the requested pod ports" in world.place(with_port("d", 8080))


def test_replicas_land_on_different_nodes() -> None:
    owner = replica_set()
    world = World(*(node(f"n{i}") for i in range(5)))
    places = Counter(world.place(pod(f"p{i}", owner=owner)) for i in range(15))
    assert places == {f"n{i}": 3 for i in range(5)}


def test_the_emptier_node_is_taken() -> None:
    world = World(node("busy"), node("idle"))
    world.nodes.add_pod(read_pod(pod("x", requests={"cpu": "3", "memory": "6Gi"})), "busy")
    assert world.place(pod("y", requests={"cpu": "500m", "memory": "1Gi"})) == "idle"


def test_softly_tainted_nodes_are_avoided() -> None:
    world = World(node("soft", taints=[taint("PreferNoSchedule")]), node("plain"))
    assert world.place(pod()) == "plain"


def test_preferred_affinity_prefers() -> None:
    preference = {"weight": 50, "preference": {"matchExpressions": [expression("disk", "In", "ssd")]}}
    preferred = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preference]}}
    world = World(node("plain"), node("fast", labels={"disk": "ssd"}))
    assert world.place(pod(affinity=preferred)) == "fast"


def test_a_hard_spread_constraint_keeps_its_skew() -> None:
    constraint = {
        "topologyKey": "zone",
        "maxSkew": 1,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    world = World(node("a", labels={"zone": "east"}), node("b", labels={"zone": "west"}, pods="1"), node("c"))
    places = Counter(world.place(pod(f"p{i}", topologySpreadConstraints=[constraint])) for i in range(3))
    assert places == {"a": 2, "b": 1}
    message = world.place(pod("more", topologySpreadConstraints=[constraint]))
    assert "1 node(s) didn't match pod topology spread constraints (missing required label)" in message
    assert "1 node(s) didn't match pod topology spread constraints," in message


def test_gated_pods_do_not_enter() -> None:
    gated = read_pod(pod(schedulingGates=[{"name": "example.com/wait"}]))
    assert World().profile.may_enter(gated) is not None
    assert World().profile.may_enter(read_pod(pod())) is None


def with_claim(name: str = "data") -> dict[str, Any]:
    return pod(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": name}}])


def claim(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "data", "namespace": "default", "uid": "c", "resourceVersion": "1"}, "spec": spec}


def test_a_claim_that_is_missing_or_unbound_keeps_the_pod_waiting() -> None:
    world = World(node())
    missing = world.place(with_claim())
    assert missing == f'0/1 nodes are available: persistentvolumeclaim "data" not found. {NOT_HELPFUL}'
    world.put("persistentvolumeclaims", claim(storageClassName="fast"))
    world.put("storageclasses", {"metadata": {"name": "fast"}, "volumeBindingMode": "Immediate"})
    unbound = world.place(with_claim())
    assert unbound == f"0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. {NOT_HELPFUL}"


def test_a_claim_that_waits_for_its_consumer_lets_the_pod_choose() -> None:
    world = World(node())
    world.put("persistentvolumeclaims", claim(storageClassName="late"))
    world.put("storageclasses", {"metadata": {"name": "late"}, "volumeBindingMode": "WaitForFirstConsumer"})
    assert world.place(with_claim()) == "node-1"


def test_a_bound_claim_leads_to_the_nodes_of_its_volume() -> None:
    world = World(node("near"), node("far"))
    bound = claim(volumeName="pv-1") | {"status": {"phase": "Bound"}}
    world.put("persistentvolumeclaims", bound)
    term = {"matchExpressions": [expression("kubernetes.io/hostname", "In", "near")]}
    spec = {"nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}}
    world.put("persistentvolumes", {"metadata": {"name": "pv-1"}, "spec": spec})
    assert world.place(with_claim()) == "near"


def test_preemption_takes_the_least_important_victims_and_spares_the_others() -> None:
    world = World(node("a", cpu="2"), node("b", cpu="2"))
    for name, priority, where, cpu in (
        ("low", 1, "a", "1"), ("lower", 0, "a", "1"), ("high", 8, "b", "1"), ("higher", 9, "b", "1")
    ):  # fmt: skip
        world.nodes.add_pod(read_pod(pod(name, priority=priority, requests={"cpu": cpu})), where)
    before = {each.name: dict(each.requested) for each in world.nodes}
    answer = world.profile.place(read_pod(pod("vip", priority=100, requests={"cpu": "1"})), world.nodes, world.random)
    assert isinstance(answer, Nowhere)
    assert answer.result.nominated == "a"
    assert answer.result.then is not None
    assert {each.name: dict(each.requested) for each in world.nodes} == before


def test_a_pod_that_never_preempts_says_so() -> None:
    world = World(node(cpu="1"))
    world.nodes.add_pod(read_pod(pod("low", requests={"cpu": "1"})), "node-1")
    message = world.place(pod("vip", priority=9, preemptionPolicy="Never", requests={"cpu": "1"}))
    assert message.endswith("preemption: not eligible due to preemptionPolicy=Never.")


@pytest.mark.parametrize(
    ("nodes", "enough"), [(0, 0), (3, 3), (99, 99), (100, 100), (150, 100), (1000, 420), (5000, 500), (20000, 1000)]
)
def test_a_large_cluster_is_searched_in_part(nodes: int, enough: int) -> None:
    assert nodes_to_find(nodes) == enough


def test_the_next_search_goes_on_where_the_last_ended() -> None:
    world = World(*(node(f"n{i}") for i in range(200)))
    first = world.profile.place(read_pod(pod("a")), world.nodes, world.random)
    second = world.profile.place(read_pod(pod("b")), world.nodes, world.random)
    assert isinstance(first, Placement)
    assert isinstance(second, Placement)
    assert int(first.node[1:]) < 100 <= int(second.node[1:])


def budget(name: str, allowed: int, disrupted: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default", "uid": name, "resourceVersion": "1"},
        "spec": {"selector": {"matchLabels": {"guarded": name}}},
        "status": {"disruptionsAllowed": allowed, "disruptedPods": dict.fromkeys(disrupted, "2026-01-01T00:00:00Z")},
    }


def test_preemption_spares_what_no_budget_has_room_for() -> None:
    world = World(node("a", cpu="2"), node("b", cpu="2"))
    for name, where, guarded in (
        ("one", "a", "tight"),
        ("two", "a", "tight"),
        ("three", "b", "wide"),
        ("four", "b", ""),
    ):
        found = pod(name, priority=5, requests={"cpu": "1"}, labels={"guarded": guarded})
        world.nodes.add_pod(read_pod(found), where)
    world.put("poddisruptionbudgets", budget("tight", 0))
    world.put("poddisruptionbudgets", budget("wide", 1))
    answer = world.profile.place(read_pod(pod("vip", priority=100, requests={"cpu": "2"})), world.nodes, world.random)
    assert isinstance(answer, Nowhere)
    assert answer.result.nominated == "b"


def test_victims_are_counted_against_their_budgets_in_their_order() -> None:
    victims = [read_pod(pod(name, labels={"guarded": "web"})) for name in ("a", "b", "c")]
    assert beyond_budgets(victims, [budget("web", 2)]) == {victims[2].uid}
    assert beyond_budgets(victims, [budget("web", 2, disrupted=("a",))]) == frozenset()
    assert beyond_budgets(victims, [budget("other", 0)]) == frozenset()


def test_room_that_is_made_for_a_pod_is_not_taken_by_a_lesser_one() -> None:
    world = World(node("a", cpu="2"))
    vip = read_pod(pod("vip", priority=9, requests={"cpu": "2"}))
    world.nodes.nominate(vip, "a")
    assert "Insufficient cpu" in world.place(pod("low", priority=1, requests={"cpu": "1"}))
    assert world.place(pod("higher", priority=10, requests={"cpu": "1"})) == "a"
    world.nodes.remove_pod(next(each.uid for each in world.nodes.get("a").pods.values()))  # type: ignore[union-attr]
    world.nodes.withdraw(vip.uid)
    assert world.place(pod("low", priority=1, requests={"cpu": "1"})) == "a"

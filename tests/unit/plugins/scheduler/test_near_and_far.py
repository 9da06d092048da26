"""InterPodAffinity and PodTopologySpread: pods near to others, far from them, and spread."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from fakes.objects import node, pod
from fakes.scheduling import World
from kube_core.scheduler.pods import read_pod

NOT_NEAR = "node(s) didn't match pod affinity rules"
NOT_FAR = "node(s) didn't match pod anti-affinity rules"
UNWANTED = "node(s) didn't satisfy existing pods anti-affinity rules"
HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"


def zoned(name: str, zone: str, **more: Any) -> dict[str, Any]:
    return node(name, labels={HOST: name, ZONE: zone}, **more)


def term(app: str, key: str = ZONE, **more: Any) -> dict[str, Any]:
    return {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}, **more}


def required(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"requiredDuringSchedulingIgnoredDuringExecution": [*terms]}


def preferred(weight: int, each: dict[str, Any]) -> dict[str, Any]:
    return {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": weight, "podAffinityTerm": each}]}


def near(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"podAffinity": required(*terms)}


def far(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"podAntiAffinity": required(*terms)}


def there(world: World, name: str, on: str, app: str, namespace: str = "default", **spec: Any) -> None:
    document = pod(name, labels={"app": app}, **spec)
    document["metadata"]["namespace"] = namespace
    world.nodes.add_pod(read_pod(document), on)


def test_a_pod_goes_where_those_are_that_it_must_be_near_to() -> None:
    world = World(zoned("a", "east"), zoned("b", "west"), zoned("c", "west"))
    there(world, "db", "b", "db")
    assert world.place(pod("web", affinity=near(term("db", HOST)))) == "b"
    assert world.place(pod("web", affinity=near(term("db")))) in ("b", "c")


def test_a_pod_goes_nowhere_without_those_that_it_must_be_near_to() -> None:
    world = World(zoned("a", "east"), node("unlabelled"))
    message = world.place(pod("web", affinity=near(term("db"))))
    assert message.startswith(f"0/2 nodes are available: 2 {NOT_NEAR}. preemption: ")


def test_the_first_of_several_that_want_to_be_near_to_each_other_goes_anywhere_with_a_domain() -> None:
    world = World(zoned("a", "east"), node("unlabelled"), zoned("b", "west"))
    wanted = near(term("web"))
    first = world.place(pod("one", labels={"app": "web"}, affinity=wanted))
    assert first in ("a", "b")
    assert world.place(pod("two", labels={"app": "web"}, affinity=wanted)) == first


def test_all_terms_mean_the_same_pods() -> None:
    world = World(zoned("a", "east"), zoned("b", "west"))
    there(world, "db", "a", "db")
    there(world, "cache", "a", "cache")
    message = world.place(pod("web", affinity=near(term("db"), term("cache"))))
    assert NOT_NEAR in message


def test_a_pod_keeps_away_from_those_that_it_must_be_far_from() -> None:
    world = World(zoned("a", "east"), zoned("b", "east"), zoned("c", "west"))
    there(world, "db", "a", "db")
    assert world.place(pod("web", affinity=far(term("db")))) == "c"
    assert world.place(pod("x", affinity=far(term("db", HOST)), nodeSelector={ZONE: "east"})) == "b"


def test_a_pod_keeps_away_from_those_that_must_be_far_from_it() -> None:
    world = World(zoned("a", "east"), zoned("b", "west"))
    there(world, "db", "a", "db", affinity=far(term("web")))
    assert world.place(pod("web", labels={"app": "web"})) == "b"
    there(world, "db-2", "b", "db", affinity=far(term("web")))
    message = world.place(pod("web-2", labels={"app": "web"}))
    assert message.startswith(f"0/2 nodes are available: 2 {UNWANTED}. preemption: ")


def test_replicas_that_must_be_apart_get_a_node_each() -> None:
    world = World(*(zoned(f"n{number}", "east") for number in range(3)))
    alone = far(term("web", HOST))
    places = {world.place(pod(f"p{number}", labels={"app": "web"}, affinity=alone)) for number in range(3)}
    assert places == {"n0", "n1", "n2"}
    assert f"3 {NOT_FAR}" in world.place(pod("p3", labels={"app": "web"}, affinity=alone))


@pytest.mark.parametrize(
    ("more", "means"),
    [
        ({}, False),
        ({"namespaces": ["other"]}, True),
        ({"namespaces": ["third"]}, False),
        ({"namespaceSelector": {}}, True),
        ({"namespaceSelector": {"matchLabels": {"team": "a"}}}, True),
        ({"namespaceSelector": {"matchLabels": {"team": "b"}}}, False),
        ({"namespaceSelector": {"matchLabels": {"team": "b"}}, "namespaces": ["other"]}, True),
    ],
)
def test_a_term_is_about_pods_of_its_namespaces(more: dict[str, Any], *, means: bool) -> None:
    world = World(zoned("a", "east"), zoned("b", "west"))
    world.put("namespaces", {"metadata": {"name": "other", "labels": {"team": "a"}, "uid": "1"}})
    there(world, "db", "a", "db", namespace="other")
    place = world.place(pod("web", affinity=near(term("db", **more))))
    assert place == ("a" if means else place)
    assert (NOT_NEAR in place) != means


@pytest.mark.parametrize(("selector", "found"), [(None, False), ({}, True), ({"matchLabels": {"app": "db"}}, True)])
def test_no_selector_means_no_pod_and_an_empty_one_all(selector: Any, *, found: bool) -> None:
    world = World(zoned("a", "east"))
    there(world, "db", "a", "db")
    place = world.place(pod("web", affinity=near({"topologyKey": ZONE, "labelSelector": selector})))
    assert (place == "a") == found


def test_preferences_of_a_pod_weigh_up() -> None:
    world = World(zoned("a", "east"), zoned("b", "west"), zoned("c", "north"))
    there(world, "db", "a", "db")
    there(world, "noisy", "b", "noisy")
    affinity = {"podAffinity": preferred(100, term("db")), "podAntiAffinity": preferred(100, term("noisy"))}
    assert world.place(pod("web", affinity=affinity)) == "a"
    only_far = {"podAntiAffinity": preferred(1, term("db"))}
    assert world.place(pod("x", affinity=only_far)) in ("b", "c")


def test_preferences_and_needs_of_pods_that_run_count_for_others() -> None:
    world = World(zoned("a", "east"), zoned("b", "west"))
    there(world, "lonely", "b", "lonely", affinity={"podAffinity": preferred(50, term("web"))})
    assert world.place(pod("web", labels={"app": "web"})) == "b"
    world = World(zoned("a", "east"), zoned("b", "west"))
    there(world, "shy", "b", "shy", affinity={"podAntiAffinity": preferred(50, term("web"))})
    assert world.place(pod("web", labels={"app": "web"})) == "a"


def test_a_pod_that_is_in_the_way_of_a_more_important_one_is_preempted() -> None:
    world = World(zoned("a", "east"))
    there(world, "db", "a", "db", priority=1)
    there(world, "other", "a", "other", priority=1)
    answer = world.answer(pod("web", affinity=far(term("db")), priority=10))
    assert answer.result.nominated == "a"
    # And in a cluster that has enough of it, the counts are as before.
    assert f"1 {NOT_FAR}" in world.place(pod("x", affinity=far(term("db"))))


def spread(when: str, key: str = ZONE, **more: Any) -> list[dict[str, Any]]:
    selector = {"matchLabels": {"app": "web"}}
    return [{"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": when, "labelSelector": selector, **more}]


def test_a_preferred_spread_evens_out_and_refuses_nobody() -> None:
    world = World(zoned("a", "east"), zoned("b", "west"), zoned("c", "north"), node("unlabelled"))
    for number in range(4):
        there(world, f"old-{number}", "a", "web")
    places = Counter(
        world.place(pod(f"p{number}", labels={"app": "web"}, topologySpreadConstraints=spread("ScheduleAnyway")))
        for number in range(8)
    )
    assert places["b"] + places["c"] >= 7
    assert places["unlabelled"] == 0


def test_who_is_in_the_way_of_a_spread_can_be_preempted() -> None:
    world = World(zoned("a", "east"), zoned("b", "west", unschedulable=True))
    there(world, "old", "a", "web", priority=1)
    more = spread("DoNotSchedule", nodeTaintsPolicy="Honor")
    answer = world.answer(pod("new", labels={"app": "web"}, topologySpreadConstraints=more, priority=10))
    assert answer.result.nominated == "a"

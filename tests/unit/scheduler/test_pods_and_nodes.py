"""What a pod asks for, and what a node has left, reckoned as things come and go."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.objects import node, pod, replica_set
from kube_core.scheduler.nodes import Nodes
from kube_core.scheduler.pods import read_pod, requests_of


def container(cpu: str = "", memory: str = "", *, sidecar: bool = False) -> dict[str, Any]:
    requests = {name: value for name, value in (("cpu", cpu), ("memory", memory)) if value}
    found: dict[str, Any] = {"name": "c", "resources": {"requests": requests}}
    if sidecar:
        found["restartPolicy"] = "Always"
    return found


@pytest.mark.parametrize(
    ("spec", "cpu"),
    [
        ({"containers": [container("100m"), container("0.2")]}, 300),
        ({"containers": [container("100m")], "initContainers": [container("1")]}, 1000),
        ({"containers": [container("800m")], "initContainers": [container("500m"), container("600m")]}, 800),
        # A sidecar runs beside the containers, and beside what is initialised after it.
        ({"containers": [container("100m")], "initContainers": [container("200m", sidecar=True)]}, 300),
        (
            {
                "containers": [container("100m")],
                "initContainers": [container("200m", sidecar=True), container("500m")],
            },
            700,
        ),
        (
            {
                "containers": [container("100m")],
                "initContainers": [container("500m"), container("200m", sidecar=True)],
            },
            500,
        ),
        ({"containers": [container("100m")], "overhead": {"cpu": "50m"}}, 150),
        ({"containers": [container("100m")], "resources": {"requests": {"cpu": "2"}}}, 2000),
        ({"containers": [container()]}, 0),
    ],
)
def test_a_pods_requests(spec: dict[str, Any], cpu: int) -> None:
    assert requests_of({"spec": spec}).get("cpu", 0) == cpu


def test_containers_without_requests_are_guessed_for_scoring_only() -> None:
    info = read_pod(pod(requests={"cpu": "250m"}))
    assert (info.assumed_cpu, info.assumed_memory) == (250, 200 * 1024 * 1024)
    assert info.requests == {"cpu": 250}


def test_a_pod_may_be_known_before_its_node_and_outlive_it() -> None:
    nodes, info = Nodes(), read_pod(pod(requests={"cpu": "1"}))
    nodes.add_pod(info, "node-1")
    nodes.set_node(node())
    found = nodes.get("node-1")
    assert found is not None
    assert found.requested == {"cpu": 1000}
    nodes.remove_node("node-1")
    nodes.set_node(node(cpu="8"))
    again = nodes.get("node-1")
    assert again is not None
    assert again.requested == {"cpu": 1000}
    assert again.allocatable["cpu"] == 8000


def test_an_assumed_pod_takes_its_room_once() -> None:
    nodes, info = Nodes(), read_pod(pod(requests={"cpu": "1"}))
    nodes.set_node(node())
    nodes.assume(info, "node-1")
    assert nodes.is_assumed(info.uid)
    nodes.add_pod(read_pod(info.document), "node-1")  # confirmed by the server
    found = nodes.get("node-1")
    assert found is not None
    assert not nodes.is_assumed(info.uid)
    assert found.requested == {"cpu": 1000}
    nodes.remove_pod(info.uid)
    assert found.requested == {"cpu": 0}
    assert not found.pods


@given(
    st.lists(st.tuples(st.sampled_from(["add", "assume", "remove", "node", "gone"]), st.integers(0, 5)), max_size=60)
)
def test_reckoning_as_it_comes_gives_what_adding_up_would(steps: list[tuple[str, int]]) -> None:
    owner = replica_set()
    pods = [read_pod(pod(f"p{i}", owner=owner, requests={"cpu": f"{i + 1}00m"})) for i in range(6)]
    nodes, placed, known = Nodes(), dict[int, str](), set[str]()
    for step, i in steps:
        name = f"node-{i % 3}"
        if step == "node":
            nodes.set_node(node(name))
            known.add(name)
        elif step == "gone":
            nodes.remove_node(name)
            known.discard(name)
        elif step == "remove":
            nodes.remove_pod(pods[i].uid)
            placed.pop(i, None)
        elif step == "add":
            nodes.add_pod(pods[i], name)
            placed[i] = name
        elif i not in placed:
            nodes.assume(pods[i], name)
            placed[i] = name
    assert {each.name for each in nodes} == known
    for each in nodes:
        here = [pods[i] for i, name in placed.items() if name == each.name]
        assert set(each.pods) == {info.uid for info in here}
        assert each.requested.get("cpu", 0) == sum(info.requests["cpu"] for info in here)
        assert each.owners.get(owner["metadata"]["uid"], 0) == len(here)
        assert each.assumed_memory == sum(info.assumed_memory for info in here)

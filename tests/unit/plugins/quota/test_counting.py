"""A quota counted from scratch: every object once, whatever admission had charged."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fakes.objects import NOW, metadata, pod, service
from kube_core.api import resources
from kube_core.meta import quantities
from kube_plugins.controllers.resourcequota.counting import calculate_status, differs, until_recount
from kube_plugins.quota.scopes import in_scope
from kube_plugins.quota.usage import usage_of


def quota(hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    status = {} if used is None else {"hard": hard, "used": used}
    return {"metadata": metadata("few"), "spec": {"hard": hard, **spec}, "status": status}


def test_all_evaluators_count_together() -> None:
    hard = {
        "pods": "5",
        "cpu": "2",
        "services": "3",
        "services.nodeports": "4",
        "secrets": "9",
        "count/farms.x.dev": "1",
    }
    objects = {
        resources.PODS: [pod(requests={"cpu": "500m"}), pod(requests={"cpu": "250m"}), pod(phase="Failed")],
        resources.SERVICES: [service(type="NodePort"), service(type="ClusterIP")],
        resources.SECRETS: [{"metadata": metadata("s")}],
    }
    status = calculate_status(quota(hard), objects, NOW)
    assert status["hard"] == hard
    assert status["used"] == {"pods": "2", "cpu": "750m", "services": "2", "services.nodeports": "1", "secrets": "1"}


def test_what_nothing_answers_to_keeps_its_number_and_what_is_no_longer_limited_goes() -> None:
    made = quota({"pods": "1", "count/farms.x.dev": "1"}, {"pods": "7", "count/farms.x.dev": "1", "secrets": "2"})
    assert calculate_status(made, {resources.PODS: []}, NOW)["used"] == {"pods": "0", "count/farms.x.dev": "1"}


def test_a_count_that_gives_nothing_back_only_adds_what_was_missed() -> None:
    made = quota({"pods": "9", "cpu": "9"}, {"pods": "5", "cpu": "100m"})
    objects = {resources.PODS: [pod(requests={"cpu": "250m"})]}
    assert calculate_status(made, objects, NOW, gives_back=False)["used"] == {"pods": "5", "cpu": "250m"}
    assert calculate_status(made, objects, NOW)["used"] == {"pods": "1", "cpu": "250m"}


def test_scopes_choose_pods_and_let_nothing_else_count() -> None:
    made = quota({"pods": "5", "services": "5"}, scopes=["BestEffort"])
    objects = {resources.PODS: [pod(), pod(requests={"cpu": "1"})], resources.SERVICES: [service()]}
    assert calculate_status(made, objects, NOW)["used"] == {"pods": "1", "services": "0"}


def test_the_same_amount_written_otherwise_is_no_difference() -> None:
    made = quota({"cpu": "1000m"}, {"cpu": "0"})
    assert not differs(made, {"hard": {"cpu": "1"}, "used": {"cpu": "0"}})
    assert differs(made, {"hard": {"cpu": "1"}, "used": {"cpu": "1"}})
    assert differs(quota({}), {"hard": {}, "used": {}})


def test_a_pod_that_is_stuck_in_its_end_is_counted_no_longer_than_its_grace() -> None:
    stuck = pod("stuck", deleting=True)
    stuck["metadata"]["deletionGracePeriodSeconds"] = 30
    objects = {resources.PODS: [stuck, pod("other")]}
    assert until_recount(objects, NOW + 10) == 20
    assert calculate_status(quota({"pods": "5"}), objects, NOW + 10)["used"] == {"pods": "2"}
    assert calculate_status(quota({"pods": "5"}), objects, NOW + 31)["used"] == {"pods": "1"}
    assert until_recount(objects, NOW + 31) is None


changes = st.lists(
    st.tuples(st.sampled_from(["come", "go", "end", "count"]), st.integers(0, 9), st.booleans()), max_size=40
)


@given(changes=changes)
def test_a_recount_says_what_every_charge_and_refund_would(changes: list[tuple[str, int, bool]]) -> None:
    """Whatever comes, ends and goes: counting whole gives the sum over what is there."""
    made = quota({"pods": "100", "requests.cpu": "100", "count/pods": "100"}, scopes=["NotTerminating"])
    found: list[dict[str, Any]] = []
    for what, number, terminating in changes:
        match what:
            case "come":
                spec: dict[str, Any] = {"activeDeadlineSeconds": 5} if terminating else {}
                found.append(pod(f"p{len(found)}", requests={"cpu": f"{number}00m"}, **spec))
            case "go" if found:
                del found[number % len(found)]
            case "end" if found:
                found[number % len(found)]["status"]["phase"] = "Succeeded"
            case _:
                pass
        made["status"] = calculate_status(made, {resources.PODS: found}, NOW)
        counted = [usage_of(resources.PODS, each) for each in found if in_scope(made, resources.PODS, each)]
        for name, text in made["status"]["used"].items():
            total = sum(usage[name].nano for usage in counted if name in usage)
            assert quantities.parse(text).nano == total

"""The device claims of pods: made from templates, reserved, freed and deleted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.objects import metadata, owned_by, pod
from kube_plugins.controllers.resourceclaim.plan import (
    FINALIZER,
    NeedsTemplate,
    PodPlan,
    claim_names,
    plan_claim,
    plan_pod,
)

TEMPLATE: dict[str, Any] = {
    "metadata": metadata("gpus"),
    "spec": {"metadata": {"labels": {"kind": "gpu"}}, "spec": {"devices": {"requests": [{"name": "gpu"}]}}},
}
TEMPLATES = {"gpus": TEMPLATE}


def user(*claims: dict[str, Any], told: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    found = pod("web", **more)
    found["spec"]["resourceClaims"] = list(claims)
    if told is not None:
        statuses = [{"name": name, **({"resourceClaimName": claim} if claim else {})} for name, claim in told.items()]
        found["status"]["resourceClaimStatuses"] = statuses
    return found


BY_TEMPLATE = {"name": "gpu", "resourceClaimTemplateName": "gpus"}
DIRECT = {"name": "gpu", "resourceClaimName": "mine"}


def claim(name: str = "web-gpu-1", **more: Any) -> dict[str, Any]:
    status = more.pop("status", {})
    return {"metadata": metadata(name, **more), "spec": {}, "status": status}


def entry(name: str = "web", uid: str = "u1") -> dict[str, str]:
    return {"resource": "pods", "name": name, "uid": uid}


ALLOCATED: dict[str, Any] = {"allocation": {"devices": {}}}


def test_a_claim_is_made_of_the_template_for_the_pod() -> None:
    found = user(BY_TEMPLATE)
    plan = plan_pod(found, [], TEMPLATES)
    made = plan.create["gpu"]
    assert made["metadata"]["generateName"] == "web-gpu-"
    assert made["metadata"]["labels"] == {"kind": "gpu"}
    assert made["metadata"]["annotations"] == {"resource.kubernetes.io/pod-claim-name": "gpu"}
    [owner] = made["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"], "blockOwnerDeletion" in owner) == (found["metadata"]["uid"], True, False)
    assert made["spec"] == TEMPLATE["spec"]["spec"]


def test_a_claim_whose_name_the_pod_does_not_tell_is_found_and_not_made_twice() -> None:
    found = user(BY_TEMPLATE)
    own = claim(ownerReferences=owned_by(found), annotations={"resource.kubernetes.io/pod-claim-name": "gpu"})
    assert plan_pod(found, [own], TEMPLATES) == PodPlan(told={"gpu": "web-gpu-1"})
    found["status"]["resourceClaimStatuses"] = [{"name": "gpu", "resourceClaimName": "web-gpu-1"}]
    assert plan_pod(found, [own], TEMPLATES) == PodPlan()


@pytest.mark.parametrize(
    ("found", "plan"),
    [
        (user(BY_TEMPLATE), PodPlan(missing=(NeedsTemplate("gpu", "gpus"),))),
        (user(BY_TEMPLATE, told={"gpu": ""}), PodPlan()),
        (user(DIRECT), PodPlan()),
        (user(BY_TEMPLATE, deleting=True), PodPlan()),
        (user(BY_TEMPLATE, phase="Failed"), PodPlan()),
    ],
)
def test_what_cannot_or_need_not_be_made_is_not(found: dict[str, Any], plan: PodPlan) -> None:
    assert plan_pod(found, [], {}) == plan


def test_long_names_are_shortened_alike() -> None:
    found = user({"name": "c" * 60, "resourceClaimTemplateName": "gpus"})
    found["metadata"]["name"] = "p" * 60
    prefix = plan_pod(found, [], TEMPLATES).create["c" * 60]["metadata"]["generateName"]
    assert len(prefix) <= 58
    assert prefix.startswith("p" * 20)
    assert prefix.endswith("c" * 20)


@pytest.mark.parametrize(
    ("node", "status", "reserves"),
    [
        ("n", ALLOCATED, True),
        ("", ALLOCATED, False),
        ("n", {}, False),
        ("n", {**ALLOCATED, "reservedFor": [entry(uid=str(number)) for number in range(256)]}, False),
    ],
)
def test_a_pod_on_its_node_has_its_allocated_claims_reserved(node: str, status: dict[str, Any], reserves: bool) -> None:
    mine = claim("mine", status=status)
    assert plan_pod(user(DIRECT, node=node), [mine], {}).reserve == ((mine,) if reserves else ())


def test_a_claim_that_its_last_pod_is_done_with_is_freed() -> None:
    used = claim(finalizers=[FINALIZER], status={**ALLOCATED, "reservedFor": [entry(), entry("other", "u2")]})
    changed, released, surplus = plan_claim(used, lambda each: each["uid"] == "u2", None)
    assert changed is not None
    assert changed["status"] == {**ALLOCATED, "reservedFor": [entry("other", "u2")]}
    assert (released, surplus) == (False, False)
    changed, released, surplus = plan_claim(used, lambda _: False, None)
    assert changed is not None
    assert changed["status"] == {}
    assert (released, surplus) == (True, False)


def test_a_claim_that_nobody_used_yet_stays_allocated_until_it_is_deleted() -> None:
    fresh = claim(finalizers=[FINALIZER], status=ALLOCATED)
    assert plan_claim(fresh, lambda _: False, None) == (None, False, False)
    going = claim(finalizers=[FINALIZER], status=ALLOCATED, deletionTimestamp="now")
    changed, released, _ = plan_claim(going, lambda _: False, None)
    assert changed is not None
    assert (changed["status"], released) == ({}, True)


def test_users_of_other_kinds_are_kept() -> None:
    other = {"apiGroup": "example.dev", "resource": "jobs", "name": "j", "uid": "u9"}
    assert plan_claim(claim(status={"reservedFor": [other]}), lambda _: False, None) == (None, False, False)


def test_a_claim_made_for_a_pod_goes_when_that_has_ended() -> None:
    for owner, surplus in ((user(), False), (user(phase="Succeeded"), True), (user(deleting=True), True)):
        made = claim(ownerReferences=owned_by(owner))
        assert plan_claim(made, lambda _: False, owner)[2] is surplus
    assert plan_claim(claim(ownerReferences=owned_by(user())), lambda _: False, user())[2] is True
    assert plan_claim(claim(ownerReferences=owned_by(user())), lambda _: False, None)[2] is False


def test_the_names_of_claims_are_told_by_spec_and_status() -> None:
    found = user(BY_TEMPLATE, {"name": "nic", "resourceClaimName": "mine"}, told={"gpu": "web-gpu-7"})
    assert list(claim_names(found)) == ["web-gpu-7", "mine"]


@given(
    users=st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=6, unique_by=lambda each: each[0]),
    allocated=st.booleans(),
    protected=st.booleans(),
    deleting=st.booleans(),
)
def test_whoever_uses_a_claim_keeps_its_devices_and_a_second_look_changes_nothing(
    users: list[tuple[int, bool]], allocated: bool, protected: bool, deleting: bool
) -> None:
    using = {f"u{number}" for number, uses in users if uses}
    status: dict[str, Any] = dict(ALLOCATED) if allocated else {}
    if users:
        status["reservedFor"] = [entry(uid=f"u{number}") for number, _ in users]
    found = claim(
        status=status,
        finalizers=[FINALIZER] if protected else [],
        **({"deletionTimestamp": "now"} if deleting else {}),
    )

    def uses(each: Any) -> bool:
        return each["uid"] in using

    changed, released, surplus = plan_claim(found, uses, None)
    after = changed or found
    assert {each["uid"] for each in after["status"].get("reservedFor", ())} == using
    if using:
        assert ("allocation" in after["status"]) == allocated
        assert not released
    if released:
        assert "allocation" not in after["status"]
    assert not surplus
    if not released:
        assert plan_claim(after, uses, None)[0] is None

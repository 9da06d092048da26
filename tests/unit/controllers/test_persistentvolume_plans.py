"""What the binder decides, from documents alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core._kit.clock import FakeClock
from kube_core.abc.volume import VolumeCapabilities, VolumeSource
from kube_drivers.volume.fake import FakeVolumes
from kube_plugins.controllers.persistentvolume.binding import bound_claim, bound_claim_status, bound_volume
from kube_plugins.controllers.persistentvolume.matching import find_volume
from kube_plugins.controllers.persistentvolume.objects import (
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    CLAIM_PROTECTION,
    DEFAULT_CLASS,
    PROVISIONED_BY,
    PROVISIONER_FINALIZER,
    SELECTED_NODE,
    VOLUME_PROTECTION,
    default_class,
)
from kube_plugins.controllers.persistentvolume.plan_claim import (
    Bind,
    ClaimPlan,
    Lose,
    Provision,
    SetClass,
    Wait,
    plan_claim,
)
from kube_plugins.controllers.persistentvolume.plan_volume import VolumePlan, plan_volume, unbound
from kube_plugins.controllers.persistentvolume.pods import claims_of_pod
from kube_plugins.controllers.persistentvolume.protection import protected
from kube_plugins.controllers.persistentvolume.provisioning import (
    handle_of,
    provisioned_volume,
    refusal,
    volume_request,
)

OURS = "hostdir.kube-core.dev"
GONE = "2026-01-01T00:00:00Z"


def claim(size: str = "1Gi", *, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "default", "name": "data", "uid": "u1", "annotations": annotations or {}},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
            "storageClassName": "",
            **spec,
        },
    }


def volume(
    name: str = "pv",
    size: str = "1Gi",
    *,
    phase: str = "Available",
    annotations: dict[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], **spec},
        "status": {"phase": phase},
    }


def reference(uid: str = "", name: str = "data") -> dict[str, Any]:
    found = {"kind": "PersistentVolumeClaim", "namespace": "default", "name": name}
    return {**found, "uid": uid} if uid else found


def storage_class(
    name: str = "fast", mode: str = "Immediate", *, default: bool = False, created: str = ""
) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "creationTimestamp": created,
            "annotations": {DEFAULT_CLASS: "true"} if default else {},
        },
        "provisioner": OURS,
        "volumeBindingMode": mode,
    }


def plan(document: dict[str, Any], *others: dict[str, Any], consumers: tuple[str, ...] = ()) -> ClaimPlan:
    volumes = {item["metadata"]["name"]: item for item in others if "spec" in item}
    classes = {item["metadata"]["name"]: item for item in others if "provisioner" in item}
    return plan_claim(document, volumes, classes, consumers=consumers)


class TestMatching:
    def test_the_smallest_that_is_large_enough_is_taken(self) -> None:
        volumes = [volume("big", "10Gi"), volume("tiny", "500Mi"), volume("fit", "2Gi")]
        assert find_volume(claim(), volumes, reserved_only=False) == volumes[2]

    def test_a_reserved_one_comes_before_a_better_fit(self) -> None:
        volumes = [volume("fit", "1Gi"), volume("mine", "10Gi", claimRef=reference())]
        assert find_volume(claim(), volumes, reserved_only=False) == volumes[1]
        assert find_volume(claim(), volumes[:1], reserved_only=True) is None

    @pytest.mark.parametrize(
        "unfit",
        [
            volume(size="1023Mi"),
            volume(storageClassName="other"),
            volume(volumeMode="Block"),
            volume(accessModes=["ReadOnlyMany"]),
            volume(phase="Released"),
            volume(phase="Bound", claimRef=reference("u2", "other")),
            volume(claimRef=reference("another-life")),
        ],
    )
    def test_what_does_not_fit_is_left(self, unfit: dict[str, Any]) -> None:
        assert find_volume(claim(), [unfit], reserved_only=False) is None

    def test_labels_are_selected(self) -> None:
        chosen = volume("b")
        chosen["metadata"]["labels"] = {"disk": "ssd"}
        wanted = claim(selector={"matchLabels": {"disk": "ssd"}})
        assert find_volume(wanted, [volume("a"), chosen], reserved_only=False) == chosen


class TestClaims:
    def test_a_matching_volume_is_bound(self) -> None:
        assert plan(claim(), volume()) == Bind(volume())

    def test_a_class_provisions_where_no_volume_matches(self) -> None:
        assert plan(claim(storageClassName="fast"), storage_class(), volume()) == Provision(storage_class())

    def test_an_open_class_becomes_the_default_and_an_empty_one_stays(self) -> None:
        default = storage_class(default=True)
        open_claim = claim()
        del open_claim["spec"]["storageClassName"]
        assert plan(open_claim, default) == SetClass("fast")
        assert plan(open_claim, default, volume()) == Bind(volume())
        waiting = plan(claim(), default)
        assert isinstance(waiting, Wait)
        assert waiting.occasion is not None
        assert waiting.occasion.reason == "FailedBinding"

    def test_the_newest_default_is_the_default(self) -> None:
        old = storage_class("b", default=True, created="2026-01-01T00:00:00Z")
        new = storage_class("c", default=True, created="2026-01-02T00:00:00Z")
        same = storage_class("a", default=True, created="2026-01-02T00:00:00Z")
        assert default_class([old, new, same, storage_class("z")]) == same
        assert default_class([storage_class()]) is None

    def test_binding_waits_for_a_consumer_to_be_scheduled(self) -> None:
        late = storage_class(mode="WaitForFirstConsumer")
        waiting = plan(claim(storageClassName="fast"), late, volume(storageClassName="fast"))
        assert isinstance(waiting, Wait)
        assert waiting.occasion is not None
        assert waiting.occasion.reason == "WaitForFirstConsumer"
        waiting = plan(claim(storageClassName="fast"), late, consumers=("web-0",))
        assert isinstance(waiting, Wait)
        assert waiting.occasion is not None
        assert waiting.occasion.message == "waiting for pod web-0 to be scheduled"
        chosen = claim(storageClassName="fast", annotations={SELECTED_NODE: "n1"})
        assert plan(chosen, late) == Provision(late)

    def test_an_unknown_class_is_named(self) -> None:
        waiting = plan(claim(storageClassName="nope"))
        assert isinstance(waiting, Wait)
        assert waiting.occasion is not None
        assert waiting.occasion.message == 'storageclass.storage.k8s.io "nope" not found'

    def test_a_named_volume_is_waited_for_then_bound_where_it_fits(self) -> None:
        named = claim(volumeName="pv")
        assert plan(named) == Wait()
        assert plan(named, volume()) == Bind(volume())
        waiting = plan(named, volume(size="1Mi"))
        assert isinstance(waiting, Wait)
        assert waiting.occasion is not None
        assert waiting.occasion.message == 'Cannot bind to requested volume "pv": requested PV is too small'
        waiting = plan(named, volume(claimRef=reference("u2", "other")))
        assert isinstance(waiting, Wait)
        assert waiting.occasion is not None
        assert waiting.occasion.message == 'volume "pv" already bound to a different claim.'

    def test_a_bound_claim_without_its_volume_is_lost(self) -> None:
        bound = claim(volumeName="pv", annotations={BIND_COMPLETED: "yes"})
        assert isinstance(plan(bound), Lose)
        misbound = plan(bound, volume(claimRef=reference("u2")))
        assert isinstance(misbound, Lose)
        assert misbound.occasion.reason == "ClaimMisbound"
        mine = volume(claimRef=reference("u1"))
        assert plan(bound, mine) == Bind(mine)
        assert plan(bound, volume()) == Bind(volume())

    def test_a_claim_that_is_being_deleted_gets_nothing_new(self) -> None:
        leaving = claim(storageClassName="fast")
        leaving["metadata"]["deletionTimestamp"] = GONE
        assert plan(leaving, storage_class(), volume(storageClassName="fast")) == Wait()


class TestVolumes:
    def test_phases_follow_the_claim(self) -> None:
        assert plan_volume(volume(), None, provisioner=OURS) == VolumePlan("Available")
        assert plan_volume(volume(claimRef=reference()), None, provisioner=OURS) == VolumePlan("Available")
        mine = volume(claimRef=reference("u1"))
        assert plan_volume(mine, claim(volumeName="pv"), provisioner=OURS) == VolumePlan("Bound")
        assert plan_volume(mine, claim(), provisioner=OURS) == VolumePlan()
        assert plan_volume(mine, None, provisioner=OURS) == VolumePlan("Released")

    @pytest.mark.parametrize(
        ("policy", "by", "expected"),
        [
            ("Retain", OURS, VolumePlan("Released")),
            ("Delete", OURS, VolumePlan("Released", "delete")),
            ("Delete", "other.example", VolumePlan("Released")),
            ("Recycle", OURS, VolumePlan("Failed", "refuse")),
        ],
    )
    def test_the_reclaim_policy_says_what_happens_to_a_released_one(
        self, policy: str, by: str, expected: VolumePlan
    ) -> None:
        mine = volume(claimRef=reference("u1"), persistentVolumeReclaimPolicy=policy, annotations={PROVISIONED_BY: by})
        assert plan_volume(mine, None, provisioner=OURS) == expected

    def test_a_claim_with_the_same_name_and_another_uid_is_not_its_claim(self) -> None:
        mine = volume(claimRef=reference("earlier"), persistentVolumeReclaimPolicy="Retain")
        assert plan_volume(mine, claim(volumeName="pv"), provisioner=OURS) == VolumePlan("Released")

    def test_a_volume_that_failed_stays_failed_while_it_is_tried_again(self) -> None:
        mine = volume(
            phase="Failed",
            claimRef=reference("u1"),
            persistentVolumeReclaimPolicy="Delete",
            annotations={PROVISIONED_BY: OURS},
        )
        assert plan_volume(mine, None, provisioner=OURS) == VolumePlan("Failed", "delete")

    def test_a_volume_whose_claim_chose_another_is_free_again(self) -> None:
        mine = volume(claimRef=reference("u1"))
        assert plan_volume(mine, claim(volumeName="other"), provisioner=OURS) == VolumePlan(step="unbind")
        assert unbound(reference("u1"), {BOUND_BY_CONTROLLER: "yes"}) is None
        assert unbound(reference("u1"), {}) == reference()

    def test_a_deleted_volume_that_is_retained_loses_our_finalizer_and_keeps_its_content(self) -> None:
        mine = volume(
            claimRef=reference("u1"), persistentVolumeReclaimPolicy="Retain", annotations={PROVISIONED_BY: OURS}
        )
        mine["metadata"] |= {"deletionTimestamp": GONE, "finalizers": [PROVISIONER_FINALIZER]}
        assert plan_volume(mine, None, provisioner=OURS) == VolumePlan("Released", "release-finalizer")


class TestBinding:
    def test_both_sides_name_each_other_and_a_second_time_changes_nothing(self) -> None:
        bound = bound_volume(volume(size="2Gi"), claim())
        assert bound is not None
        assert bound["spec"]["claimRef"]["uid"] == "u1"
        assert bound["metadata"]["annotations"] == {BOUND_BY_CONTROLLER: "yes"}
        taken = bound_claim(claim(), bound)
        assert taken is not None
        assert taken["spec"]["volumeName"] == "pv"
        assert taken["metadata"]["annotations"] == {BIND_COMPLETED: "yes", BOUND_BY_CONTROLLER: "yes"}
        shown = bound_claim_status(taken, bound)
        assert shown is not None
        assert shown["status"] == {
            "phase": "Bound",
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "2Gi"},
        }
        assert bound_volume(bound, claim()) is None
        assert bound_claim(taken, bound) is None
        assert bound_claim_status(shown, bound) is None

    def test_what_a_person_bound_is_not_marked_as_the_controllers(self) -> None:
        bound = bound_volume(volume(claimRef=reference()), claim())
        assert bound is not None
        assert bound["metadata"]["annotations"] == {}
        taken = bound_claim(claim(volumeName="pv"), bound)
        assert taken is not None
        assert taken["metadata"]["annotations"] == {BIND_COMPLETED: "yes"}


class TestProvisioning:
    def test_the_volume_is_for_the_claim_and_named_after_its_uid(self) -> None:
        wanted = claim("1536Mi", storageClassName="fast")
        request = volume_request(wanted, storage_class())
        assert (request.name, request.capacity) == ("pvc-u1", 1536 << 20)
        source = VolumeSource("h", 2 << 30, {"csi": {"driver": OURS, "volumeHandle": "h"}})
        made = provisioned_volume(wanted, storage_class(), source, name=request.name)
        assert made["metadata"]["finalizers"] == [PROVISIONER_FINALIZER, VOLUME_PROTECTION]
        assert made["metadata"]["annotations"] == {PROVISIONED_BY: OURS}
        assert made["spec"]["capacity"] == {"storage": "2Gi"}
        assert made["spec"]["claimRef"]["uid"] == "u1"
        assert made["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
        assert handle_of(made) == "h"
        made["status"] = {"phase": "Pending"}
        assert plan(wanted, storage_class(), made) == Bind(made)

    def test_a_source_that_is_not_csi_keeps_its_handle(self) -> None:
        source = VolumeSource("h", 1 << 30, {"hostPath": {"path": "/x"}})
        assert handle_of(provisioned_volume(claim(), storage_class(), source, name="pvc-u1")) == "h"

    def test_what_the_driver_cannot_do_is_refused_by_name(self) -> None:
        capabilities = VolumeCapabilities(persistent=True, access_modes=("ReadWriteOnce",))
        assert refusal(claim(), capabilities) == ""
        assert "Block" in refusal(claim(volumeMode="Block"), capabilities)
        assert "ReadWriteMany" in refusal(claim(accessModes=["ReadWriteMany"]), capabilities)

    def test_a_drivers_class_is_the_default_one(self) -> None:
        made = FakeVolumes(clock=FakeClock()).storage_class()
        assert default_class([made]) == made


class TestProtection:
    def test_a_finalizer_is_put_on_and_taken_off_only_when_unused(self) -> None:
        fresh = claim()
        guarded = protected(fresh, CLAIM_PROTECTION, in_use=False)
        assert guarded is not None
        assert guarded["metadata"]["finalizers"] == [CLAIM_PROTECTION]
        assert protected(guarded, CLAIM_PROTECTION, in_use=True) is None
        guarded["metadata"]["deletionTimestamp"] = GONE
        assert protected(guarded, CLAIM_PROTECTION, in_use=True) is None
        freed = protected(guarded, CLAIM_PROTECTION, in_use=False)
        assert freed is not None
        assert freed["metadata"]["finalizers"] == []

    def test_a_pod_uses_the_claims_of_its_volumes(self) -> None:
        pod = {
            "metadata": {"namespace": "default", "name": "web"},
            "spec": {
                "volumes": [
                    {"name": "a", "persistentVolumeClaim": {"claimName": "data"}},
                    {"name": "b", "ephemeral": {}},
                    {"name": "c", "ephemeral": {"volumeClaimTemplate": {}}},
                    {"name": "d", "emptyDir": {}},
                ]
            },
        }
        assert list(claims_of_pod(pod)) == ["default/data", "default/web-c"]


VOLUMES = st.builds(
    lambda name, size, phase, owner, modes, kind: volume(
        name,
        f"{size}Gi",
        phase=phase,
        accessModes=modes,
        storageClassName=kind,
        **({"claimRef": owner} if owner else {}),
    ),
    st.text("abc", min_size=1, max_size=3),
    st.integers(1, 9),
    st.sampled_from(["Available", "Bound", "Released", "Pending"]),
    st.sampled_from([None, None, reference(), reference("u1"), reference("u2"), reference(name="other")]),
    st.lists(st.sampled_from(["ReadWriteOnce", "ReadOnlyMany"]), min_size=1, unique=True),
    st.sampled_from(["", "", "fast"]),
)


@given(
    volumes=st.lists(VOLUMES, max_size=8, unique_by=lambda each: str(each["metadata"]["name"])),
    size=st.integers(1, 9),
    reserved_only=st.booleans(),
    chance=st.randoms(),
)
def test_a_claim_gets_its_own_volume_or_the_smallest_free_one_and_never_anothers(
    volumes: list[dict[str, Any]], size: int, reserved_only: bool, chance: Any
) -> None:
    wanted = claim(f"{size}Gi")

    def large_enough(each: dict[str, Any]) -> bool:
        return int(each["spec"]["capacity"]["storage"].removesuffix("Gi")) >= size

    def is_ours(each: dict[str, Any]) -> bool:
        return each["spec"].get("claimRef") in (reference(), reference("u1"))

    ours = [each for each in volumes if is_ours(each) and large_enough(each)]
    free = [
        each
        for each in volumes
        if not each["spec"].get("claimRef")
        and each["status"]["phase"] == "Available"
        and each["spec"]["storageClassName"] == ""
        and "ReadWriteOnce" in each["spec"]["accessModes"]
        and large_enough(each)
    ]
    found = find_volume(wanted, volumes, reserved_only=reserved_only)
    if ours:
        assert found in ours
    elif reserved_only or not free:
        assert found is None
    else:
        assert found is not None
        smallest = min(int(each["spec"]["capacity"]["storage"].removesuffix("Gi")) for each in free)
        assert found in free
        assert found["spec"]["capacity"]["storage"] == f"{smallest}Gi"
        chance.shuffle(volumes)
        assert find_volume(wanted, volumes, reserved_only=reserved_only) == found

"""When a claim's volume grows, what the claim says meanwhile, and the claims of ephemeral volumes."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.objects import NOW, metadata, owned_by, pod
from kube_core.abc.volume import VolumeCapabilities
from kube_plugins.controllers.ephemeralvolume.controller import Missing, NotOurs, plan_claims
from kube_plugins.controllers.persistentvolume.expanding import Growth, being_resized, plan_growth, resized
from kube_plugins.controllers.persistentvolume.matching import find_volume, mismatch
from kube_plugins.controllers.persistentvolume.modifying import (
    Modification,
    modified,
    modifying,
    plan_modification,
)
from kube_plugins.controllers.persistentvolume.objects import PROVISIONED_BY
from kube_plugins.controllers.volumeattributesclass.protection import classes_of

OURS = "hostdir.kube-core.dev"


def claim(wants: str = "2Gi", has: str = "1Gi", **more: Any) -> dict[str, Any]:
    return {
        "metadata": {**metadata("data"), "uid": "u1", **more},
        "spec": {"volumeName": "pv", "resources": {"requests": {"storage": wants}}, "accessModes": ["ReadWriteOnce"]},
        "status": {"phase": "Bound", "capacity": {"storage": has}},
    }


def volume(provisioner: str = OURS, uid: str = "u1", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {**metadata("pv"), "annotations": {PROVISIONED_BY: provisioner}},
        "spec": {"capacity": {"storage": "4Gi"}, "claimRef": {"uid": uid}, "accessModes": ["ReadWriteOnce"], **spec},
        "status": {"phase": "Available"},
    }


GROWS = VolumeCapabilities(persistent=True, expansion=True)
GROWS_OFFLINE = VolumeCapabilities(persistent=True, expansion=True, expansion_in_use=False)
FIXED = VolumeCapabilities(persistent=True)


@pytest.mark.parametrize(
    ("of_claim", "of_volume", "capabilities", "in_use", "expected"),
    [
        (claim(), volume(), GROWS, True, "grow"),
        (claim(), volume(), GROWS_OFFLINE, True, "later"),
        (claim(), volume(), GROWS_OFFLINE, False, "grow"),
        (claim(), volume(), FIXED, False, "unable"),
        (claim(), volume("csi.example.dev"), GROWS, False, "external"),
        (claim("1Gi"), volume(), GROWS, False, ""),
        (claim(deletionTimestamp="now"), volume(), GROWS, False, ""),
        (claim(), volume(uid="another"), GROWS, False, ""),
        (claim(), None, GROWS, False, ""),
    ],
)
def test_a_volume_grows_when_its_claim_asks_for_more(
    of_claim: dict[str, Any],
    of_volume: dict[str, Any] | None,
    capabilities: VolumeCapabilities,
    in_use: bool,
    expected: Growth,
) -> None:
    assert plan_growth(of_claim, of_volume, provisioner=OURS, capabilities=capabilities, in_use=in_use) == expected


def test_a_claim_says_that_it_grows_why_not_and_that_it_has() -> None:
    growing = being_resized(claim(), now=NOW)
    assert growing is not None
    status = growing["status"]
    assert [(each["type"], each["status"]) for each in status["conditions"]] == [("Resizing", "True")]
    assert status["allocatedResources"] == {"storage": "2Gi"}
    assert status["allocatedResourceStatuses"] == {"storage": "ControllerResizeInProgress"}
    assert being_resized(growing, now=NOW + 60) is None
    failed = being_resized(growing, now=NOW, error="no room")
    assert failed is not None
    assert [(each["type"], each.get("message")) for each in failed["status"]["conditions"]] == [
        ("Resizing", None),
        ("ControllerResizeError", "no room"),
    ]
    done = resized(failed, "2Gi")
    assert done["status"] == {
        "phase": "Bound",
        "capacity": {"storage": "2Gi"},
        "allocatedResources": {"storage": "2Gi"},
    }


def test_claims_and_volumes_of_other_attributes_do_not_match() -> None:
    gold, free = volume(volumeAttributesClassName="gold"), volume()
    for each in (gold, free):
        del each["spec"]["claimRef"]
    wants_gold = claim()
    wants_gold["spec"] |= {"volumeName": "", "volumeAttributesClassName": "gold"}
    assert find_volume(wants_gold, [free, gold], reserved_only=False) is gold
    assert mismatch(wants_gold, free) == "volumeAttributesClassName does not match"


def test_the_classes_that_a_claim_wants_has_or_gets_are_in_use() -> None:
    found = claim()
    found["spec"]["volumeAttributesClassName"] = "gold"
    found["status"] |= {
        "currentVolumeAttributesClassName": "silver",
        "modifyVolumeStatus": {"targetVolumeAttributesClassName": "gold", "status": "Pending"},
    }
    assert sorted(classes_of(found)) == ["gold", "silver"]


def wanting(target: str = "gold", has: str = "") -> dict[str, Any]:
    found = claim("1Gi")
    found["spec"]["volumeAttributesClassName"] = target
    if has:
        found["status"]["currentVolumeAttributesClassName"] = has
    return found


CHANGES = VolumeCapabilities(persistent=True, modification=True)


def gold(driver: str = OURS) -> dict[str, Any]:
    return {"metadata": metadata("gold"), "driverName": driver, "parameters": {"tier": "gold"}}


@pytest.mark.parametrize(
    ("of_claim", "of_volume", "wanted", "capabilities", "expected"),
    [
        (wanting(), volume(), gold(), CHANGES, "InProgress"),
        (wanting(has="silver"), volume(), gold(), CHANGES, "InProgress"),
        (wanting(has="gold"), volume(), gold(), CHANGES, ""),
        (wanting(""), volume(), None, CHANGES, ""),
        (wanting(), volume(), None, CHANGES, "Pending"),
        (wanting(), volume(), gold(), FIXED, "Infeasible"),
        (wanting(), volume(), gold("csi.example.dev"), CHANGES, "Infeasible"),
        (wanting(), volume("csi.example.dev"), gold(), CHANGES, ""),
    ],
)
def test_a_volume_changes_when_its_claim_names_another_class(
    of_claim: dict[str, Any],
    of_volume: dict[str, Any],
    wanted: dict[str, Any] | None,
    capabilities: VolumeCapabilities,
    expected: Modification,
) -> None:
    made = plan_modification(of_claim, of_volume, wanted, provisioner=OURS, capabilities=capabilities)
    assert made == expected


def test_a_claim_says_how_far_its_modification_is() -> None:
    told = modifying(wanting(has="silver"), "InProgress")
    assert told is not None
    assert told["status"]["modifyVolumeStatus"] == {"targetVolumeAttributesClassName": "gold", "status": "InProgress"}
    assert modifying(told, "InProgress") is None
    done = modified(told)["status"]
    assert (done["currentVolumeAttributesClassName"], "modifyVolumeStatus" in done) == ("gold", False)


def user(**more: Any) -> dict[str, Any]:
    found = pod("web", **more)
    template = {"metadata": {"labels": {"kind": "scratch"}}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    found["spec"]["volumes"] = [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}]
    return found


def test_an_ephemeral_volume_has_a_claim_that_belongs_to_its_pod() -> None:
    found = user()
    [missing] = plan_claims(found, [])
    assert isinstance(missing, Missing)
    assert missing.claim["metadata"]["name"] == "web-scratch"
    assert missing.claim["metadata"]["labels"] == {"kind": "scratch"}
    [owner] = missing.claim["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("Pod", found["metadata"]["uid"], True)
    assert missing.claim["spec"] == {"accessModes": ["ReadWriteOnce"]}


def test_a_claim_that_is_somebody_elses_is_left_alone() -> None:
    taken = {"metadata": metadata("web-scratch")}
    assert list(plan_claims(user(), [taken])) == [NotOurs("scratch", "web-scratch")]
    found = user()
    own = {"metadata": metadata("web-scratch", ownerReferences=owned_by(found))}
    assert not list(plan_claims(found, [own]))
    assert not list(plan_claims(user(deleting=True), []))

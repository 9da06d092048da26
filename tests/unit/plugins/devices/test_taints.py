"""When pods have to go for the taints of their devices, and what rules say of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core.meta.documents import Key
from kube_core.meta.times import format_time
from kube_plugins.controllers.devicetainteviction.rules import Effects, told
from kube_plugins.controllers.devicetainteviction.taints import Devices, Eviction, eviction_of, selects

ADDED = 1_767_225_600.0
POD: dict[str, Any] = {
    "metadata": {"namespace": "default", "name": "web", "uid": "pod"},
    "spec": {"nodeName": "n", "resourceClaims": [{"name": "gpu", "resourceClaimName": "mine"}]},
}


def taint(effect: str = "NoExecute", after: float = 0.0) -> dict[str, Any]:
    return {"key": "broken", "value": "yes", "effect": effect, "timeAdded": format_time(ADDED + after)}


def piece(*taints: Any, generation: int = 1, device: str = "gpu-0") -> dict[str, Any]:
    pool = {"name": "p", "generation": generation}
    return {"spec": {"driver": "d", "pool": pool, "devices": [{"name": device, "taints": list(taints)}]}}


def rule(uid: str = "r", found: Any = None, **selector: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"taint": found or taint()}
    return {"metadata": {"name": uid, "uid": uid}, "spec": {**spec, "deviceSelector": selector}}


def claims(*tolerations: Any, uid: str = "pod", device: str = "gpu-0") -> dict[Key, Any]:
    given = {"driver": "d", "pool": "p", "device": device, "tolerations": list(tolerations)}
    status = {
        "allocation": {"devices": {"results": [given]}},
        "reservedFor": [{"resource": "pods", "name": "web", "uid": uid}],
    }
    return {Key("default", "mine"): {"metadata": {"namespace": "default", "name": "mine"}, "status": status}}


def tolerating(seconds: int | None = None, effect: str = "NoExecute") -> dict[str, Any]:
    made: dict[str, Any] = {"key": "broken", "operator": "Exists", "effect": effect}
    return made if seconds is None else {**made, "tolerationSeconds": seconds}


def when(found: Any, *slices: Any, rules: Any = (), pod: Any = POD) -> Eviction | None:
    return eviction_of(pod, found, Devices({"d/p": list(slices)}, list(rules)))


def test_a_pod_goes_when_the_taint_came() -> None:
    assert when(claims(), piece(taint())) == Eviction(ADDED)
    assert when(claims(), piece(taint("NoSchedule"))) is None
    assert when(claims(), piece()) is None
    assert when(claims(), piece(taint(), device="gpu-1")) is None


@pytest.mark.parametrize(
    ("tolerations", "moment"),
    [
        ([tolerating()], None),
        ([tolerating(60)], ADDED + 60),
        ([tolerating(60), tolerating(30)], ADDED + 30),
        ([tolerating(60), tolerating()], None),
        ([tolerating(-5)], ADDED),
        ([tolerating(effect="NoSchedule")], ADDED),
        # One that is about any effect is not about this one, as upstream has it.
        ([tolerating(effect="")], ADDED),
    ],
)
def test_what_the_claim_tolerates(tolerations: list[Any], moment: float | None) -> None:
    assert when(claims(*tolerations), piece(taint())) == (None if moment is None else Eviction(moment))


def test_of_several_taints_the_first_counts_and_every_rule_is_a_reason() -> None:
    rules = [rule("a", taint(after=30)), rule("b", driver="d", pool="p", device="gpu-0"), rule("c", driver="other")]
    assert when(claims(), piece(taint(after=10)), rules=rules) == Eviction(ADDED, frozenset("ab"))


def test_of_a_pool_only_the_newest_generation_counts() -> None:
    assert when(claims(), piece(taint(), generation=1), piece(generation=2)) is None
    assert when(claims(), piece(generation=1), piece(taint(), generation=2)) == Eviction(ADDED)


def test_who_does_not_run_or_use_the_claim_stays() -> None:
    assert when(claims(), piece(taint()), pod={**POD, "spec": {**POD["spec"], "nodeName": ""}}) is None
    assert when(claims(uid="another"), piece(taint())) is None
    assert when({}, piece(taint())) is None


def test_a_rule_selects_by_all_that_it_names_and_nothing_without_a_selector() -> None:
    assert selects(rule(), "d", "p", "gpu-0")
    assert not selects(rule(device="gpu-1"), "d", "p", "gpu-0")
    assert not selects({"spec": {"taint": taint()}}, "d", "p", "gpu-0")


@pytest.mark.parametrize(
    ("effect", "effects", "status", "reason", "message"),
    [
        ("NoExecute", Effects(), "False", "NotStarted", ""),
        (
            "NoExecute",
            Effects(pending=1, namespaces=1),
            "True",
            "PodsPendingEviction",
            "1 pod needs to be evicted in 1 namespace.",
        ),
        (
            "NoExecute",
            Effects(pending=3, namespaces=2, evicted=1),
            "True",
            "PodsPendingEviction",
            "3 pods need to be evicted in 2 different namespaces. 1 pod evicted since starting the controller.",
        ),
        ("NoExecute", Effects(evicted=2), "False", "Completed", "2 pods evicted since starting the controller."),
        ("NoSchedule", Effects(), "False", "OtherEffect", "Eviction only happens for the NoExecute effect."),
        (
            "None",
            Effects(published=1, given=2),
            "False",
            "NoEffect",
            "1 published device selected. 2 allocated devices selected. 0 pods would be evicted in 0 different "
            "namespaces if the effect was NoExecute. This information will not be updated again. Recreate the "
            "DeviceTaintRule to trigger an update.",
        ),
    ],
)
def test_what_a_rule_says(effect: str, effects: Effects, status: str, reason: str, message: str) -> None:
    assert told(effect, effects) == (status, reason, message)


@given(
    taints=st.lists(st.tuples(st.sampled_from(["NoExecute", "NoSchedule", "None"]), st.integers(0, 100)), max_size=4),
    seconds=st.lists(st.none() | st.integers(-5, 100), max_size=3),
)
def test_a_pod_goes_when_the_first_of_its_taints_is_tolerated_no_longer(
    taints: list[tuple[str, int]], seconds: list[int | None]
) -> None:
    found = claims(*(tolerating(each) for each in seconds))
    eviction = when(found, piece(*(taint(effect, after) for effect, after in taints)))
    added = [after for effect, after in taints if effect == "NoExecute"]
    if not added or None in seconds:
        assert eviction is None
        return
    patience = min((max(each, 0) for each in seconds if each is not None), default=0)
    assert eviction is not None
    assert eviction.moment == ADDED + min(added) + patience

"""The steps of a stateful set: in order or at once, updates, partitions, broken pods; and who its pods are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.objects import NOW, metadata, owned_by, pod, template
from kube_core.meta.documents import labels_of, name_of
from kube_plugins.controllers import history
from kube_plugins.controllers.statefulset.identity import (
    REVISION_LABEL,
    claim_references,
    claims_of,
    goes_with_pod,
    make_pod,
    ordinal_of,
    with_identity,
)
from kube_plugins.controllers.statefulset.plan import Create, Delete, Mend, Step, plan_steps
from kube_plugins.controllers.statefulset.status import calculate_status, seconds_until_available


def stateful_set(replicas: int = 3, *, update: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata("web"),
        "spec": {
            "replicas": replicas,
            "serviceName": "web",
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(),
            "podManagementPolicy": "OrderedReady",
            "updateStrategy": update or {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            **spec,
        },
        "status": {},
    }


def member(owner: dict[str, Any], ordinal: int, revision: str = "new", *, ready: bool = True, **more: Any) -> Any:
    found = pod(f"web-{ordinal}", node="n", ready=ready, owner=owner, **more)
    found["metadata"]["labels"] = {"app": "web", REVISION_LABEL: revision}
    return with_identity(owner, found, ordinal)


def told(steps: tuple[Step, ...]) -> list[str]:
    words = []
    for step in steps:
        match step:
            case Create(ordinal, revision):
                words.append(f"create {ordinal} {revision}")
            case Delete(victim, why):
                words.append(f"delete {name_of(victim)} {why}")
            case Mend(_, ordinal):
                words.append(f"mend {ordinal}")
    return words


def plan(owner: dict[str, Any], pods: Any, now: float = NOW) -> list[str]:
    return told(plan_steps(owner, pods, "new", now))


def test_pods_are_made_one_after_the_other_as_each_gets_ready() -> None:
    owner = stateful_set()
    assert plan(owner, []) == ["create 0 update"]
    assert plan(owner, [member(owner, 0, ready=False)]) == []
    assert plan(owner, [member(owner, 0)]) == ["create 1 update"]
    assert plan(owner, [member(owner, 0), member(owner, 2)]) == ["create 1 update"]
    assert plan(owner, [member(owner, i) for i in range(3)]) == []


def test_in_parallel_all_are_made_at_once() -> None:
    owner = stateful_set(podManagementPolicy="Parallel")
    assert plan(owner, [member(owner, 1, ready=False)]) == ["create 0 update", "create 2 update"]


def test_ordinals_start_where_they_are_told_to() -> None:
    owner = stateful_set(2, podManagementPolicy="Parallel", ordinals={"start": 5})
    assert plan(owner, [member(owner, 4)]) == ["create 5 update", "create 6 update", "delete web-4 scaled"]


def test_min_ready_seconds_hold_up_the_next() -> None:
    owner = stateful_set(minReadySeconds=30)
    first = member(owner, 0, age=10)
    assert plan(owner, [first]) == []
    assert seconds_until_available(owner, [first], NOW) == 20.0
    assert plan(owner, [first], NOW + 20) == ["create 1 update"]


def test_scaling_down_ends_the_highest_first_and_one_at_a_time() -> None:
    owner = stateful_set(1)
    pods = [member(owner, i) for i in range(4)]
    assert plan(owner, pods) == ["delete web-3 scaled"]
    pods[3] = member(owner, 3, deleting=True)
    assert plan(owner, pods) == []
    owner["spec"]["podManagementPolicy"] = "Parallel"
    assert plan(owner, pods) == ["delete web-2 scaled", "delete web-1 scaled"]


def test_one_that_is_not_well_holds_up_all_but_its_own_end() -> None:
    owner = stateful_set(1)
    pods = [member(owner, 0), member(owner, 1, ready=False), member(owner, 2)]
    assert plan(owner, pods) == ["delete web-2 scaled"]
    assert plan(owner, pods[:2]) == ["delete web-1 scaled"]
    pods = [member(owner, 0), member(owner, 1, ready=False), member(owner, 2, ready=False)]
    assert plan(owner, pods) == []
    assert plan(owner, [member(owner, 0, ready=False), member(owner, 1)]) == []


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_ended_is_deleted_to_be_made_again(phase: str) -> None:
    owner = stateful_set()
    pods = [member(owner, 0), member(owner, 1, phase=phase, ready=False), member(owner, 2)]
    assert plan(owner, pods) == ["delete web-1 ended"]


def test_a_pod_that_lost_its_labels_is_mended() -> None:
    owner = stateful_set()
    pods = [member(owner, i) for i in range(3)]
    del pods[1]["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"]
    assert plan(owner, pods) == ["mend 1"]


def test_an_update_goes_from_the_highest_down_one_at_a_time() -> None:
    owner = stateful_set()
    old = [member(owner, i, "old") for i in range(3)]
    assert plan(owner, old) == ["delete web-2 outdated"]
    assert plan(owner, [*old[:2], member(owner, 2, ready=False)]) == []
    assert plan(owner, [*old[:2], member(owner, 2)]) == ["delete web-1 outdated"]


def test_an_update_stops_at_its_partition_and_below_it_the_old_revision_is_made() -> None:
    owner = stateful_set(update={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})
    pods = [member(owner, 0, "old"), member(owner, 1, "old"), member(owner, 2)]
    assert plan(owner, pods) == []
    assert plan(owner, pods[1:]) == ["create 0 current"]
    assert plan(owner, pods[:2]) == ["create 2 update"]


def test_on_delete_waits_for_somebody_to_delete() -> None:
    owner = stateful_set(update={"type": "OnDelete"})
    old = [member(owner, i, "old") for i in range(3)]
    assert plan(owner, old) == []
    assert plan(owner, old[:2]) == ["create 2 update"]


@pytest.mark.parametrize(("limit", "count"), [(None, 1), (2, 2), ("50%", 2), ("10%", 1)])
def test_as_many_are_updated_at_once_as_may_be_unavailable(limit: int | str | None, count: int) -> None:
    rolling = {"partition": 0, "maxUnavailable": limit}
    owner = stateful_set(5, podManagementPolicy="Parallel", update={"type": "RollingUpdate", "rollingUpdate": rolling})
    pods = [member(owner, i, "old") for i in range(5)]
    assert plan(owner, pods) == [f"delete web-{4 - i} outdated" for i in range(count)]


def test_a_broken_pod_of_the_old_revision_is_replaced_for_free() -> None:
    owner = stateful_set(podManagementPolicy="Parallel")
    pods = [member(owner, 0, "old"), member(owner, 1, "old", ready=False), member(owner, 2, "old")]
    assert plan(owner, [pods[0], pods[1], member(owner, 2)]) == ["delete web-1 outdated"]


def test_status_counts_by_revision_and_turns_when_all_are_updated() -> None:
    owner = stateful_set()
    pods = [member(owner, 0, "old"), member(owner, 1, ready=False), member(owner, 2)]
    status = calculate_status(owner, pods, current="old", update="new", collisions=0, now=NOW)
    assert status == {
        "observedGeneration": 1,
        "replicas": 3,
        "readyReplicas": 2,
        "availableReplicas": 2,
        "currentReplicas": 1,
        "updatedReplicas": 2,
        "currentRevision": "old",
        "updateRevision": "new",
        "collisionCount": 0,
    }
    pods = [member(owner, i) for i in range(3)]
    status = calculate_status(owner, pods, current="old", update="new", collisions=0, now=NOW)
    assert (status["currentRevision"], status["currentReplicas"]) == ("new", 3)


def claim_template() -> dict[str, Any]:
    return {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}


def test_a_pod_has_its_name_its_labels_and_its_claims() -> None:
    owner = stateful_set(volumeClaimTemplates=[claim_template()])
    made = make_pod(owner, template("web:2"), "web-abc", 2)
    assert name_of(made) == made["spec"]["hostname"] == "web-2"
    assert made["spec"]["subdomain"] == "web"
    assert labels_of(made)["apps.kubernetes.io/pod-index"] == "2"
    assert labels_of(made)[REVISION_LABEL] == "web-abc"
    assert made["spec"]["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "data-web-2"}}]
    [claim] = claims_of(owner, 2)
    assert name_of(claim) == "data-web-2"
    assert labels_of(claim) == {"app": "web"}
    assert ordinal_of(owner, made) == 2
    assert ordinal_of(owner, pod("web-02")) is None
    assert ordinal_of(owner, pod("other-2")) is None


@pytest.mark.parametrize(
    ("on_scale", "on_delete", "condemned", "kinds"),
    [
        ("Retain", "Retain", True, []),
        ("Retain", "Delete", True, ["StatefulSet"]),
        ("Delete", "Retain", False, []),
        ("Delete", "Retain", True, ["Pod"]),
        ("Delete", "Delete", False, ["StatefulSet"]),
        ("Delete", "Delete", True, ["Pod"]),
    ],
)
def test_claims_go_with_the_set_or_with_the_pod(
    on_scale: str, on_delete: str, condemned: bool, kinds: list[str]
) -> None:
    policy = {"whenScaled": on_scale, "whenDeleted": on_delete}
    owner = stateful_set(volumeClaimTemplates=[claim_template()], persistentVolumeClaimRetentionPolicy=policy)
    claim, [stranger] = claims_of(owner, 0)[0], owned_by(stateful_set())
    claim["metadata"]["ownerReferences"] = [stranger, *owned_by(owner)]
    references = claim_references(owner, claim, member(owner, 0), condemned=condemned)
    assert [each["kind"] for each in references] == ["StatefulSet", *kinds]
    assert references[0] == stranger


def test_a_revision_keeps_the_template_and_puts_it_back() -> None:
    owner = stateful_set()
    first = history.make_revision(owner, 1, 0, "controller.kubernetes.io/hash")
    assert history.template_of(first) == owner["spec"]["template"]
    assert first["data"]["spec"]["template"]["$patch"] == "replace"
    again = history.make_revision(owner, 2, 1, "controller.kubernetes.io/hash")
    assert name_of(again) != name_of(first)


def test_old_revisions_go_but_those_in_use() -> None:
    revisions = [{"metadata": metadata(f"r{i}"), "revision": i} for i in (3, 1, 2, 4, 5)]
    assert [name_of(each) for each in history.surplus(revisions, {"r1", "r5"}, 1)] == ["r2", "r3"]


class World:
    """Pods that start, fail and end in whatever order is drawn."""

    def __init__(self, owner: dict[str, Any], replicas: int) -> None:
        self.owner = owner
        self.pods = {i: member(owner, i, "old") for i in range(replicas)}

    def step(self) -> None:
        for step in plan_steps(self.owner, list(self.pods.values()), "new", NOW):
            match step:
                case Create(ordinal, revision):
                    assert ordinal not in self.pods
                    self.pods[ordinal] = member(
                        self.owner, ordinal, "new" if revision == "update" else "old", ready=False
                    )
                case Delete(victim):
                    victim["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
                case _:
                    raise AssertionError(step)

    def happen(self, what: str, ordinal: int) -> None:
        found = self.pods.get(ordinal)
        if found is None:
            return
        going = "deletionTimestamp" in found["metadata"]
        if what == "end" and going:
            del self.pods[ordinal]
        elif what == "start" and not going:
            revision = found["metadata"]["labels"][REVISION_LABEL]
            self.pods[ordinal] = member(self.owner, ordinal, revision)
        elif what == "die" and not going:
            found["status"]["phase"] = "Failed"

    @property
    def available(self) -> int:
        return sum(
            1
            for each in self.pods.values()
            if each["status"].get("conditions")
            and each["status"]["phase"] == "Running"
            and "deletionTimestamp" not in each["metadata"]
        )


happenings = st.lists(st.tuples(st.sampled_from(["step", "step", "start", "end"]), st.integers(0, 5)), max_size=80)


@settings(max_examples=200, deadline=None)
@given(
    replicas=st.integers(1, 6),
    parallel=st.booleans(),
    limit=st.integers(1, 3),
    partition=st.integers(0, 7),
    happenings=happenings,
)
def test_an_update_never_takes_more_than_it_may_and_always_ends(
    replicas: int, parallel: bool, limit: int, partition: int, happenings: list[tuple[str, int]]
) -> None:
    rolling = {"partition": partition, "maxUnavailable": limit}
    owner = stateful_set(
        replicas,
        update={"type": "RollingUpdate", "rollingUpdate": rolling},
        podManagementPolicy="Parallel" if parallel else "OrderedReady",
    )
    world = World(owner, replicas)
    for what, ordinal in happenings:
        if what == "step":
            world.step()
        else:
            world.happen(what, ordinal)
        assert world.available >= replicas - limit
    for _ in range(6 * replicas):
        world.step()
        for ordinal in range(replicas):
            world.happen("end", ordinal)
        world.step()
        for ordinal in range(replicas):
            world.happen("start", ordinal)
    revisions = [labels_of(world.pods[i])[REVISION_LABEL] for i in range(replicas)]
    assert revisions == ["old" if i < partition else "new" for i in range(replicas)]


@settings(max_examples=100, deadline=None)
@given(
    replicas=st.integers(1, 5),
    happenings=st.lists(st.tuples(st.sampled_from(["step", "start", "end", "die"]), st.integers(0, 4)), max_size=60),
)
def test_in_order_no_pod_is_made_before_all_below_it_are_there(
    replicas: int, happenings: list[tuple[str, int]]
) -> None:
    world = World(stateful_set(replicas), 0)
    for what, ordinal in happenings:
        if what != "step":
            world.happen(what, ordinal)
            continue
        before = set(world.pods)
        world.step()
        for made in set(world.pods) - before:
            assert all(below in before for below in range(made))
            assert len(set(world.pods) - before) == 1


def test_in_parallel_what_is_of_no_use_goes_though_the_budget_is_spent() -> None:
    """A pod that is available higher up does not shield one lower down that never will be."""
    owner = stateful_set(podManagementPolicy="Parallel")
    pods = [member(owner, 0, "old", ready=False), member(owner, 1, "old"), member(owner, 2, "old")]
    assert plan(owner, pods) == ["delete web-0 outdated"]


@pytest.mark.parametrize("update", [None, {"type": "OnDelete"}])
def test_the_revision_is_current_once_everybody_has_it(update: dict[str, Any] | None) -> None:
    owner = stateful_set(update=update)
    pods = [member(owner, i) for i in range(3)]
    status = calculate_status(owner, pods, current="old", update="new", collisions=0, now=NOW)
    assert status["currentRevision"] == "new"
    surplus = [*pods, member(owner, 3)]
    status = calculate_status(owner, surplus, current="old", update="new", collisions=0, now=NOW)
    assert status["currentRevision"] == "old"


def test_a_claim_that_goes_with_an_earlier_pod_is_known() -> None:
    owner = stateful_set(volumeClaimTemplates=[claim_template()])
    claim = claims_of(owner, 0)[0]
    assert not goes_with_pod(claim, "web-0")
    claim["metadata"]["ownerReferences"] = owned_by(member(owner, 0))
    assert goes_with_pod(claim, "web-0")
    assert not goes_with_pod(claim, "web-1")


@given(
    replicas=st.integers(1, 5),
    partition=st.integers(0, 5),
    states=st.lists(st.sampled_from(["gone", "old", "new", "sick old", "sick new"]), min_size=5, max_size=5),
    parallel=st.booleans(),
    limit=st.integers(1, 3),
)
def test_no_step_of_an_update_leaves_too_few_or_goes_below_the_partition(
    replicas: int, partition: int, states: list[str], parallel: bool, limit: int
) -> None:
    rolling = {"partition": partition, "maxUnavailable": limit}
    policy = "Parallel" if parallel else "OrderedReady"
    owner = stateful_set(
        replicas, podManagementPolicy=policy, update={"type": "RollingUpdate", "rollingUpdate": rolling}
    )
    pods = [
        member(owner, place, state.removeprefix("sick "), ready=not state.startswith("sick"))
        for place, state in enumerate(states[:replicas])
        if state != "gone"
    ]
    well = [each for each in pods if each["status"].get("conditions")]
    taken = [
        each.pod for each in plan_steps(owner, pods, "new", NOW) if isinstance(each, Delete) and each.why == "outdated"
    ]
    assert all((ordinal_of(owner, each) or 0) >= partition for each in taken)
    healthy = [each for each in taken if each in well]
    assert not healthy or len(well) - len(healthy) >= replicas - limit


def test_a_revision_s_data_is_written_as_clients_write_it_that_compare_it() -> None:
    owner = stateful_set()
    owner["spec"]["template"]["spec"]["containers"][0] |= {"ports": [{"protocol": "TCP", "containerPort": 80}]}
    data = history.make_revision(owner, 1, 0, "controller.kubernetes.io/hash")["data"]
    assert json.dumps(data) == json.dumps(data, sort_keys=True)

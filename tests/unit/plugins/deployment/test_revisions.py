"""Revision numbers move as `kubectl rollout` expects, and templates are told apart by a stable hash."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.objects import deployment, owned_by, replica_set, rolling, template
from kube_core.meta.documents import labels_of
from kube_plugins.controllers.deployment import history, revisions
from kube_plugins.controllers.deployment.templates import HASH_LABEL, same_template, template_hash

REVISION = revisions.REVISION_ANNOTATION


def test_the_hash_label_does_not_make_a_template_another() -> None:
    assert same_template(template(), template(**{HASH_LABEL: "abc"}))
    assert not same_template(template("web:1"), template("web:2"))


def test_the_hash_is_stable_and_changes_with_collisions() -> None:
    assert template_hash(template()) == template_hash(dict(reversed(template().items())))
    assert template_hash(template()) != template_hash(template("web:2"))
    assert len({template_hash(template(), collisions) for collisions in range(20)}) == 20


@given(st.text(), st.integers(0, 5))
def test_any_hash_may_stand_in_a_name(image: str, collisions: int) -> None:
    mark = template_hash(template(image), collisions)
    assert 1 <= len(mark) <= 10
    assert mark.isalnum()
    assert mark.lower() == mark


def test_the_oldest_replica_set_with_the_template_is_the_new_one() -> None:
    sets = [
        replica_set("young", image="web:2", age=1),
        replica_set("aged", image="web:2", age=9),
        replica_set("other", image="web:1", age=5),
    ]
    found = revisions.sort_generations(deployment(image="web:2"), sets)
    assert found.new is not None
    assert found.new["metadata"]["name"] == "aged"
    assert [each["metadata"]["name"] for each in found.old] == ["other", "young"]


def test_a_rollback_gives_the_old_replica_set_the_next_number_and_a_history() -> None:
    old = [replica_set("two", annotations={REVISION: "2"})]
    back = replica_set("one", annotations={REVISION: "1", revisions.HISTORY_ANNOTATION: "0"})
    annotations = revisions.annotated(deployment(), back, revisions.next_revision(old))
    assert annotations[REVISION] == "3"
    assert annotations[revisions.HISTORY_ANNOTATION] == "0,1"


def test_a_replica_set_that_already_has_the_highest_number_keeps_it() -> None:
    new = replica_set("new", annotations={REVISION: "5"})
    assert revisions.annotated(deployment(), new, 3)[REVISION] == "5"


def test_the_change_cause_is_copied_and_the_applied_configuration_is_not() -> None:
    annotations = {"kubernetes.io/change-cause": "why", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    copied = revisions.annotated(deployment(annotations=annotations), replica_set(), 1)
    assert copied["kubernetes.io/change-cause"] == "why"
    assert "kubectl.kubernetes.io/last-applied-configuration" not in copied


def test_a_new_replica_set_carries_hash_size_revision_and_owner() -> None:
    document = deployment(replicas=4, minReadySeconds=5, strategy=rolling(1, 0))
    old = [replica_set("web-old", replicas=4, annotations={REVISION: "7"})]
    new = revisions.build_new(document, old, owned_by(document)[0])
    mark = template_hash(document["spec"]["template"])
    assert new["metadata"]["name"] == f"web-{mark}"
    assert new["metadata"]["labels"] == {"app": "web", HASH_LABEL: mark}
    assert new["spec"]["selector"] == {"matchLabels": {"app": "web", HASH_LABEL: mark}}
    assert new["spec"]["template"]["metadata"]["labels"][HASH_LABEL] == mark
    assert new["spec"]["replicas"] == 1
    assert new["spec"]["minReadySeconds"] == 5
    assert new["metadata"]["annotations"] == {
        REVISION: "8",
        "deployment.kubernetes.io/desired-replicas": "4",
        "deployment.kubernetes.io/max-replicas": "5",
    }
    assert HASH_LABEL not in document["spec"]["template"]["metadata"]["labels"]


def idle(name: str, revision: int, **more: object) -> dict[str, object]:
    return replica_set(name, replicas=0, annotations={REVISION: str(revision)}, **more)  # type: ignore[arg-type]


def test_history_keeps_the_newest_revisions() -> None:
    old = [idle("r1", 1), idle("r2", 2), idle("r3", 3), idle("r4", 4)]
    gone = history.plan_cleanup(deployment(revisionHistoryLimit=2), old)
    assert [each["metadata"]["name"] for each in gone] == ["r1", "r2"]


def test_history_of_zero_keeps_nothing_that_is_idle() -> None:
    gone = history.plan_cleanup(deployment(revisionHistoryLimit=0), [idle("r1", 1), replica_set("busy", replicas=1)])
    assert [each["metadata"]["name"] for each in gone] == ["r1"]


@pytest.mark.parametrize(
    "kept",
    [
        replica_set("pods-left", replicas=0) | {"status": {"replicas": 1, "observedGeneration": 1}},
        replica_set("not-seen", replicas=0, observedGeneration=0),
        replica_set("wanted", replicas=1),
    ],
)
def test_history_waits_for_replica_sets_that_are_not_done(kept: dict[str, object]) -> None:
    assert history.plan_cleanup(deployment(revisionHistoryLimit=0), [kept]) == ()


def test_without_a_limit_everything_is_kept() -> None:
    assert history.plan_cleanup(deployment(revisionHistoryLimit=None), [idle("r1", 1)]) == ()


def test_the_name_of_a_replica_set_has_room_for_its_hash() -> None:
    made = revisions.build_new(deployment("d" * 253), [], {})
    name = made["metadata"]["name"]
    assert len(name) == 253
    assert name.endswith("-" + labels_of(made)[HASH_LABEL])

"""What a StorageVersionMigration does next, and which old tokens go."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.objects import NOW, metadata, pod
from kube_core.meta.documents import Key
from kube_core.meta.times import format_time
from kube_plugins.controllers.legacytokens.controller import (
    INVALID_SINCE,
    LAST_USED,
    TokenPlan,
    plan_tokens,
    secrets_of_pod,
)
from kube_plugins.controllers.storageversionmigrator import plan

DAY = 24 * 3600.0
YEAR = 365 * DAY


def migration(resource_version: str = "", **conditions: str) -> dict[str, Any]:
    status: dict[str, Any] = {"conditions": [{"type": kind, "status": value} for kind, value in conditions.items()]}
    if resource_version:
        status["resourceVersion"] = resource_version
    return {"metadata": metadata("m"), "spec": {"resource": {"resource": "secrets"}}, "status": status}


@pytest.mark.parametrize(
    ("found", "step"),
    [
        (migration(), "start"),
        (migration("7"), "migrate"),
        (migration("7", Running="True"), "migrate"),
        (migration("7", Succeeded="True"), ""),
        (migration("7", Failed="True"), ""),
    ],
)
def test_a_migration_notes_its_start_and_then_goes_on_until_it_ends(found: dict[str, Any], step: str) -> None:
    assert plan.next_step(found, [found]) == step


def test_of_the_migrations_of_one_resource_one_runs_at_a_time() -> None:
    first, second, other = migration(), migration(), migration()
    first["metadata"] |= {"name": "a", "creationTimestamp": format_time(NOW + 5)}
    second["metadata"] |= {"name": "b", "creationTimestamp": format_time(NOW)}
    other["spec"] = {"resource": {"resource": "nodes"}}
    same = plan.of_same_resource(first, [first, second, other])
    assert same == [second, first]
    assert [plan.next_step(each, same) for each in same] == ["start", "wait"]
    first["status"]["conditions"] = [{"type": "Running", "status": "True"}]
    assert [plan.next_step(each, same) for each in same] == ["wait", "start"]
    first["status"]["conditions"] = [{"type": "Failed", "status": "True"}]
    assert [plan.next_step(each, same) for each in same] == ["start", ""]


def test_a_definition_forgets_versions_unless_it_was_changed_meanwhile() -> None:
    definition = {
        "metadata": {**metadata("sites.example.dev"), "generation": 2},
        "spec": {"versions": [{"name": "v1"}, {"name": "v2", "storage": True}]},
        "status": {"storedVersions": ["v1", "v2"], "conditions": []},
    }
    going = plan.definition_migrating(definition, migration(), now=NOW)
    assert plan.definition_migrated(going, success=True, now=NOW)["status"]["storedVersions"] == ["v2"]
    assert plan.definition_migrated(going, success=False, now=NOW)["status"]["storedVersions"] == ["v1", "v2"]
    going["metadata"]["generation"] = 3
    late = plan.definition_migrated(going, success=True, now=NOW)["status"]
    assert late["storedVersions"] == ["v1", "v2"]
    assert "generation mismatch" in late["conditions"][0]["message"]


def test_what_was_written_since_the_start_is_left_alone() -> None:
    objects = [{"metadata": {"resourceVersion": version}} for version in ("3", "10", "7", "8")]
    assert [each["metadata"]["resourceVersion"] for each in plan.candidates(objects, "8")] == ["3", "7", "8"]


def test_a_migration_tells_how_far_it_is() -> None:
    def told(document: dict[str, Any]) -> list[tuple[str, str, str]]:
        conditions = document["status"]["conditions"]
        return [(each["type"] + each["status"], each["reason"], each["message"]) for each in conditions]

    going = plan.running(migration("7"), 2, 5, now=NOW, trouble="busy")
    message = "The migration is running, 2/5 objects not yet migrated; transient error: busy"
    assert told(going) == [("RunningTrue", "MigrationRunning", message)]
    ended = ("RunningFalse", "MigrationCompleted", "Migration completed")
    succeeded = ("SucceededTrue", "StorageVersionMigrationSucceeded", "Migration completed")
    assert told(plan.succeeded(going, now=NOW)) == [ended, succeeded]
    failure = ("FailedTrue", "StorageVersionMigrationFailed", "migration encountered unhandled error: no")
    assert told(plan.failed(going, "no", now=NOW)) == [ended, failure]


def date(moment: float) -> str:
    return format_time(moment)[:10]


ACCOUNT: dict[str, Any] = {"metadata": metadata("robot"), "secrets": [{"name": "token"}]}
ACCOUNTS = {Key("default", "robot"): ACCOUNT}


def secret(labels: dict[str, str] | None = None, *, age: float = 3 * YEAR, name: str = "token") -> dict[str, Any]:
    annotations = {
        "kubernetes.io/service-account.name": "robot",
        "kubernetes.io/service-account.uid": ACCOUNT["metadata"]["uid"],
    }
    made = metadata(name, annotations=annotations, labels=labels or {}, creationTimestamp=format_time(NOW - age))
    return {"metadata": made, "type": "kubernetes.io/service-account-token"}


def outcome(found: dict[str, Any], *, tracked: float = 2 * YEAR, used: frozenset[str] = frozenset()) -> str:
    made = plan_tokens([found], ACCOUNTS, {"default": used}, tracked_since=date(NOW - tracked), now=NOW)
    assert made in (TokenPlan(), TokenPlan(mark=(found,)), TokenPlan(delete=(found,)))
    return "mark" if made.mark else "delete" if made.delete else "keep"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (secret(), "mark"),
        (secret(age=YEAR / 2), "keep"),
        (secret(name="other"), "keep"),
        (secret({LAST_USED: date(NOW - 2 * YEAR)}), "mark"),
        (secret({LAST_USED: date(NOW - YEAR / 2)}), "keep"),
        (secret({LAST_USED: "unreadable"}), "keep"),
        (secret({INVALID_SINCE: "unreadable"}), "mark"),
        (secret({INVALID_SINCE: date(NOW - YEAR / 2)}), "keep"),
        (secret({INVALID_SINCE: date(NOW - YEAR - 2 * DAY)}), "delete"),
    ],
)
def test_a_token_is_marked_a_year_after_its_last_use_and_deleted_after_another(
    found: dict[str, Any], expected: str
) -> None:
    assert outcome(found) == expected


def test_no_token_goes_before_uses_were_noted_for_a_year_or_while_a_pod_names_it() -> None:
    assert outcome(secret(), tracked=YEAR) == "keep"
    assert outcome(secret(), tracked=YEAR + DAY) == "mark"
    assert outcome(secret(), used=frozenset({"token"})) == "keep"
    assert plan_tokens([secret()], ACCOUNTS, {}, tracked_since="never", now=NOW) == TokenPlan()


def test_secrets_are_named_by_pods_in_many_places() -> None:
    found = pod("web")
    found["spec"] |= {
        "imagePullSecrets": [{"name": "a"}],
        "volumes": [
            {"name": "v", "secret": {"secretName": "b"}},
            {"name": "w", "projected": {"sources": [{"secret": {"name": "c"}}]}},
            {"name": "x", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "d"}}},
        ],
        "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "e"}}]}],
    }
    found["spec"]["containers"][0]["env"] = [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "f", "key": "k"}}}]
    assert secrets_of_pod(found) == set("abcdef")

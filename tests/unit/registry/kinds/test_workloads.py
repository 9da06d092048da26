"""Workloads that keep pods running, and those whose pods end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kube_core.registry.kinds.batch.cronjobs import schedule_problem

MakeKind = Callable[..., Any]
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}

BEYOND = {"succeededIndexes": "0-1,9"}
SELECTOR = {"matchLabels": {"app": "x"}}


def template(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}], **spec}}


def workload(**spec: Any) -> dict[str, Any]:
    return {"spec": {"selector": SELECTOR, "template": template(), **spec}}


def job(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "j", "namespace": "ns", "uid": "u-1"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", **template()["spec"]}}, **spec},
    }


def test_deployment_defaults(kind: MakeKind) -> None:
    created = kind("apps/v1", "Deployment").created(workload())
    spec = {name: value for name, value in created["spec"].items() if name not in ("selector", "template")}
    assert spec == {
        "replicas": 1,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    }
    assert created["status"] == {}
    assert created["metadata"]["generation"] == 1
    assert "enableServiceLinks" not in created["spec"]["template"]["spec"]


def test_stateful_set_defaults(kind: MakeKind) -> None:
    created = kind("apps/v1", "StatefulSet").created(
        workload(volumeClaimTemplates=[{"metadata": {"name": "d"}, "spec": {}}])
    )
    assert created["spec"]["updateStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"partition": 0, "maxUnavailable": 1},
    }
    assert created["spec"]["volumeClaimTemplates"][0]["spec"]["volumeMode"] == "Filesystem"
    assert created["spec"]["volumeClaimTemplates"][0]["status"] == {"phase": "Pending"}
    assert created["status"] == {"replicas": 0, "availableReplicas": 0}


def test_the_containers_of_a_stateful_set_mount_its_claims(kind: MakeKind) -> None:
    sets = kind("apps/v1", "StatefulSet")
    document = workload(volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": CLAIM}])
    document["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/d"}]
    assert sets.errors(document) == []
    document["spec"]["volumeClaimTemplates"] = []
    [error] = sets.errors(document)
    assert error.endswith('volumeMounts[0].name: Not found: "data"')


def test_daemon_set_counts_the_generations_of_its_template(kind: MakeKind) -> None:
    daemons = kind("apps/v1", "DaemonSet")
    label = "deprecated.daemonset.template.generation"
    created = daemons.created(workload())
    assert created["metadata"]["annotations"] == {label: "1"}
    same = daemons.updated(workload(minReadySeconds=3), created)
    assert same["metadata"]["annotations"][label] == "1"
    changed = daemons.updated(workload(template=template(hostname="h")), created)
    assert changed["metadata"]["annotations"][label] == "2"


@pytest.mark.parametrize(
    ("name", "spec", "errors"),
    [
        (
            "Deployment",
            {"selector": {"matchLabels": {"app": "y"}}},
            ['spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`'],
        ),
        (
            "Deployment",
            {"selector": {}},
            ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
        ),
        ("Deployment", {"replicas": -1}, ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
        (
            "Deployment",
            {"strategy": {"type": "Recreate", "rollingUpdate": {}}},
            ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
        ),
        (
            "Deployment",
            {"strategy": {"rollingUpdate": {"maxUnavailable": "0%", "maxSurge": 0}}},
            ['spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0'],
        ),
        (
            "Deployment",
            {"minReadySeconds": 600},
            ["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"],
        ),
        (
            "ReplicaSet",
            {"template": template(restartPolicy="Never")},
            ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'],
        ),
        (
            "DaemonSet",
            {"updateStrategy": {"rollingUpdate": {"maxSurge": 1}}},
            [
                "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: "
                "may not be set when maxUnavailable is non-zero"
            ],
        ),
        (
            "StatefulSet",
            {"podManagementPolicy": "Random"},
            ["spec.podManagementPolicy: Invalid value: \"Random\": must be 'OrderedReady' or 'Parallel'"],
        ),
    ],
)
def test_refused_workloads(kind: MakeKind, name: str, spec: dict[str, Any], errors: list[str]) -> None:
    assert kind("apps/v1", name).errors(workload(**spec)) == errors


@pytest.mark.parametrize("name", ["Deployment", "ReplicaSet", "DaemonSet", "StatefulSet"])
def test_selector_stays(kind: MakeKind, name: str) -> None:
    apps = kind("apps/v1", name)
    old = apps.created(workload())
    changed = workload(selector={"matchLabels": {"app": "x", "b": "c"}})
    changed["spec"]["template"]["metadata"]["labels"]["b"] = "c"
    assert apps.update_errors(changed, old) == [
        'spec.selector: Invalid value: {"matchLabels":{"app":"x","b":"c"}}: field is immutable'
    ]


def test_counts_in_a_status_fit_each_other(kind: MakeKind) -> None:
    deployments = kind("apps/v1", "Deployment")
    old = deployments.created(workload())
    status = {"replicas": 1, "readyReplicas": 2, "availableReplicas": 3}
    assert deployments.status_errors({**workload(), "status": status}, old) == [
        "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
        "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas",
        "status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas",
    ]


def test_replication_controller_takes_labels_from_its_template(kind: MakeKind) -> None:
    created = kind("v1", "ReplicationController").created({"spec": {"template": template()}})
    assert created["spec"]["selector"] == created["metadata"]["labels"] == {"app": "x"}


def test_job_selects_by_its_own_uid(kind: MakeKind) -> None:
    jobs = kind("batch/v1", "Job")
    created = jobs.created(job())
    assert created["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u-1"}}
    labels = created["spec"]["template"]["metadata"]["labels"]
    assert labels["job-name"] == labels["batch.kubernetes.io/job-name"] == "j"
    assert created["metadata"]["labels"] == labels
    assert jobs.errors(job()) == []


def test_job_with_a_selector_by_hand_is_left_alone(kind: MakeKind) -> None:
    jobs = kind("batch/v1", "Job")
    by_hand = job(manualSelector=True, selector=SELECTOR)
    by_hand["spec"]["template"]["metadata"] = {"labels": {"app": "x"}}
    assert jobs.created(by_hand)["spec"]["selector"] == SELECTOR
    assert jobs.errors(by_hand) == []


@pytest.mark.parametrize(
    ("spec", "defaults"),
    [
        ({}, {"completions": 1, "parallelism": 1, "backoffLimit": 6, "podReplacementPolicy": "TerminatingOrFailed"}),
        ({"parallelism": 3}, {"parallelism": 3}),
        ({"completionMode": "Indexed", "completions": 2, "backoffLimitPerIndex": 1}, {"backoffLimit": 2**31 - 1}),
    ],
)
def test_job_defaults(kind: MakeKind, spec: dict[str, Any], defaults: dict[str, Any]) -> None:
    created = kind("batch/v1", "Job").created(job(**spec))["spec"]
    assert {name: created.get(name) for name in defaults} == defaults
    assert ("completions" in created) == ("parallelism" not in spec)


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        (
            {"backoffLimitPerIndex": 1},
            ["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"],
        ),
        (
            {"completionMode": "Indexed", "parallelism": 1},
            ["spec.completions: Required value: when completion mode is Indexed"],
        ),
        (
            {"completionMode": "Indexed", "completions": 3, "successPolicy": {"rules": [BEYOND]}},
            [
                'spec.successPolicy.rules[0].succeededIndexes: Invalid value: "0-1,9": '
                'error parsing succeededIndexes: too large index: "9"'
            ],
        ),
        (
            {"podFailurePolicy": {"rules": [{"action": "Ignore"}]}},
            [
                "spec.podFailurePolicy.rules[0]: Invalid value: "
                "specifying one of OnExitCodes and OnPodConditions is required"
            ],
        ),
    ],
)
def test_refused_jobs(kind: MakeKind, spec: dict[str, Any], errors: list[str]) -> None:
    assert kind("batch/v1", "Job").errors(job(**spec)) == errors


def test_finished_job_says_when_and_why(kind: MakeKind) -> None:
    jobs = kind("batch/v1", "Job")
    old = jobs.created(job())
    done = {"conditions": [{"type": "Complete", "status": "True"}]}
    assert jobs.status_errors({**job(), "status": done}, old) == [
        "status.completionTime: Required value: completionTime is required for Complete jobs",
        "status.conditions: Invalid value: cannot set Complete=True condition without the "
        "SuccessCriteriaMet=true condition",
        "status.startTime: Required value: startTime is required for finished job",
    ]


def test_deletion_of_a_job_warns_that_pods_stay(kind: MakeKind) -> None:
    strategy = kind("batch/v1", "Job").strategy
    assert "child pods are preserved" in strategy.deletion_warnings(policy_given=False)[0]
    assert strategy.deletion_warnings(policy_given=True) == ()
    assert kind("apps/v1", "Deployment").strategy.deletion_warnings(policy_given=False) == ()


@pytest.mark.parametrize(
    "schedule",
    [
        "* * * * *",
        "0 0 1 jan mon-fri",
        "*/5 1-4/2 * * 0,6",
        "@hourly",
        "@every 1h30m",
        "? * * * ?",
        "TZ=Europe/Berlin 0 9 * * *",
    ],
)
def test_good_schedules(schedule: str) -> None:
    assert schedule_problem(schedule) == ""


@pytest.mark.parametrize(
    "schedule", ["", "* * * *", "60 * * * *", "* * * 13 *", "5-1 * * * *", "*/0 * * * *", "@often", "a * * * *"]
)
def test_bad_schedules(schedule: str) -> None:
    assert schedule_problem(schedule)


NO_ZONE = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"


@pytest.mark.parametrize(
    ("before", "after", "zone", "problems"),
    [
        (None, "TZ=UTC @daily", None, [NO_ZONE]),
        ("@daily", "CRON_TZ=UTC @daily", None, [NO_ZONE]),
        ("TZ=UTC @daily", "TZ=UTC @hourly", None, []),
        ("TZ=UTC @daily", "@hourly", "UTC", []),
        ("TZ=UTC @daily", "TZ=UTC @daily", "UTC", ["cannot use both timeZone field and TZ or CRON_TZ in schedule"]),
        (None, "TZ=Mars @daily", None, ["provided bad location Mars: unknown time zone Mars", NO_ZONE]),
    ],
)
def test_a_zone_in_a_schedule_stays_where_it_was_and_comes_nowhere(
    kind: MakeKind, before: str | None, after: str, zone: str | None, problems: list[str]
) -> None:
    def cron(schedule: str, zone: str | None = None) -> dict[str, Any]:
        spec = {"schedule": schedule, "jobTemplate": {"spec": job()["spec"]}}
        return {"metadata": {"name": "tick"}, "spec": spec | ({"timeZone": zone} if zone else {})}

    strategy = kind("batch/v1", "CronJob").strategy
    new = cron(after, zone)
    strategy.default(new)
    if before is None:
        found = list(strategy.validate(new))
    else:
        old = cron(before)
        strategy.default(old)
        found = list(strategy.validate_update(new, old))
        warned = any("cannot use TZ or CRON_TZ in spec.spec.schedule" in each for each in strategy.warnings(new, old))
        assert warned == ("TZ" in after)
    told = [str(each).partition(f'"{after}": ')[2] for each in found if each.field == "spec.schedule"]
    assert told == problems


def test_cron_job_defaults_and_limits(kind: MakeKind) -> None:
    crons = kind("batch/v1", "CronJob")
    document = {"spec": {"schedule": "@daily", "timeZone": "Mars/Olympus", "jobTemplate": {"spec": job()["spec"]}}}
    created = crons.created(document)
    assert created["spec"]["concurrencyPolicy"] == "Allow"
    assert created["spec"]["successfulJobsHistoryLimit"] == 3
    assert crons.errors(document) == ['spec.timeZone: Invalid value: "Mars/Olympus": unknown time zone Mars/Olympus']
    assert crons.strategy.name_problems("x" * 53) == ["must be no more than 52 characters"]

"""What a Job's status may become, what of a resting Job may change, and how autoscalers are judged."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

MakeKind = Callable[..., Any]

NOW, LATER = "2024-01-01T00:00:00Z", "2024-01-01T01:00:00Z"
CONDITIONS = "status.conditions: Invalid value"
TEMPLATE = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
INDEXED = {"completionMode": "Indexed", "completions": 3, "backoffLimitPerIndex": 1}
SUSPENDED = [{"type": "Suspended", "status": "True"}]


def true(*kinds: str) -> list[dict[str, str]]:
    return [{"type": kind, "status": "True"} for kind in kinds]


STARTED = {"startTime": NOW}
DONE = {**STARTED, "completionTime": LATER, "conditions": true("SuccessCriteriaMet", "Complete"), "succeeded": 1}

STATUSES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], list[str]]] = {
    "succeeds in two steps": ({}, STARTED, DONE, []),
    "is complete without having met its criteria": (
        {},
        STARTED,
        {**DONE, "conditions": true("Complete")},
        [f"{CONDITIONS}: cannot set Complete=True condition without the SuccessCriteriaMet=true condition"],
    ),
    "fails without a reason known before": (
        {},
        STARTED,
        {**STARTED, "conditions": true("Failed")},
        [f"{CONDITIONS}: cannot set Failed=True condition without the FailureTarget=true condition"],
    ),
    "is done before it began": (
        {},
        {"startTime": LATER},
        {**DONE, "startTime": LATER, "completionTime": NOW},
        [f'status.completionTime: Invalid value: "{NOW}": must be equal to or after `startTime`'],
    ),
    "is complete with pods that run, end and were not counted": (
        {},
        STARTED,
        {**DONE, "active": 1, "terminating": 2, "uncountedTerminatedPods": {"failed": ["u"]}},
        [
            "status.active: Invalid value: 1: active>0 is invalid for finished job",
            'status.uncountedTerminatedPods: Invalid value: {"failed":["u"]}: must be empty for finished job',
            "status.terminating: Invalid value: 2: terminating>0 is invalid for finished job",
        ],
    ),
    "is no longer complete, and succeeded less": (
        {},
        DONE,
        STARTED,
        [
            f"{CONDITIONS}: cannot disable the terminal Complete=True condition",
            "status.succeeded: Invalid value: 0: cannot decrease the succeeded counter",
            f"{CONDITIONS}: cannot disable the SuccessCriteriaMet=True condition",
        ],
    ),
    "begins again while it runs": (
        {},
        STARTED,
        {"startTime": LATER},
        [f'status.startTime: Invalid value: "{LATER}": field is immutable for unsuspended job once set'],
    ),
    "begins again when it resumes": (
        {},
        {**STARTED, "conditions": SUSPENDED},
        {"startTime": LATER, "conditions": [{"type": "Suspended", "status": "False"}]},
        [],
    ),
    "has indexes that are none, or twice": (
        INDEXED,
        STARTED,
        {**STARTED, "completedIndexes": "0-1,1", "failedIndexes": "7"},
        [
            'status.completedIndexes: Invalid value: "0-1,1": error parsing completedIndexes: non-increasing order, '
            "previous: 1, current: 1",
            'status.failedIndexes: Invalid value: "7": error parsing failedIndexes: too large index: "7"',
        ],
    ),
    "has an index that succeeded and failed": (
        INDEXED,
        STARTED,
        {**STARTED, "completedIndexes": "0-1", "failedIndexes": "1,2"},
        ['status.failedIndexes: Invalid value: "1,2": failedIndexes and completedIndexes overlap at index: 1'],
    ),
    "was odd before, and is left alone": (
        {},
        {**STARTED, "active": 1, "ready": 2},
        {**STARTED, "active": 1, "ready": 2, "failed": 1},
        [],
    ),
}


@pytest.mark.parametrize("case", STATUSES)
def test_a_jobs_status_becomes_what_its_clients_rely_on(kind: MakeKind, case: str) -> None:
    spec, before, after, errors = STATUSES[case]
    jobs = kind("batch/v1", "Job")
    old = jobs.decoded({"spec": {"template": TEMPLATE, **spec}, "status": before})
    assert jobs.status_errors({"spec": {}, "status": after}, old) == errors


@pytest.mark.parametrize(
    ("status", "may_change"),
    [
        ({}, True),
        ({**STARTED, "conditions": SUSPENDED}, True),
        ({**STARTED, "conditions": SUSPENDED, "active": 1}, False),
        (STARTED, False),
    ],
)
def test_what_a_suspended_job_needs_may_change_when_no_pod_is_left(
    kind: MakeKind, status: dict[str, Any], may_change: bool
) -> None:
    jobs = kind("batch/v1", "Job")
    old = jobs.created({"spec": {"template": copy.deepcopy(TEMPLATE), "suspend": True}})
    old["status"] = status
    new = copy.deepcopy(old)
    new["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "2"}}
    new["spec"]["template"]["spec"]["nodeSelector"] = {"zone": "a"}
    errors = [str(error).partition(":")[0] for error in jobs.strategy.validate_update(new, old)]
    assert errors == ([] if may_change else ["spec.template"])


TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
CPU = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}
ONLY = "must populate the given metric source only"
AUTOSCALERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "sizes come last": (
        {"minReplicas": 2, "maxReplicas": -1},
        [
            "spec.maxReplicas: Invalid value: -1: must be greater than or equal to `minReplicas`",
            "spec.maxReplicas: Invalid value: -1: must be greater than or equal to 1",
        ],
    ),
    "two sources": (
        {"metrics": [{"type": "Resource", "resource": CPU, "containerResource": {**CPU, "container": "c"}}]},
        [f"spec.metrics[0].containerResource: Forbidden: {ONLY}"],
    ),
    "another source than it says": (
        {"metrics": [{"type": "Pods", "resource": CPU}]},
        ["spec.metrics[0].pods: Required value: must populate information for the given metric source"],
    ),
    "a core object may be measured, and not be scaled": (
        {
            "scaleTargetRef": {**TARGET, "apiVersion": "v1"},
            "metrics": [
                {
                    "type": "Object",
                    "object": {
                        "describedObject": {"apiVersion": "v1", "kind": "Service", "name": "s"},
                        "metric": {"name": "m"},
                        "target": {"type": "Value", "value": "1"},
                    },
                }
            ],
        },
        ['spec.scaleTargetRef.apiVersion: Invalid value: "v1": apiVersion must specify API group'],
    ),
    "tolerance": (
        {"behavior": {"scaleUp": {"tolerance": "-1"}}},
        ['spec.behavior.scaleUp.tolerance: Invalid value: "-1": must be greater than or equal to 0'],
    ),
}


@pytest.mark.parametrize("case", AUTOSCALERS)
def test_autoscalers_are_refused(kind: MakeKind, case: str) -> None:
    spec, errors = AUTOSCALERS[case]
    base = {"maxReplicas": 3, "scaleTargetRef": TARGET}
    assert kind("autoscaling/v2", "HorizontalPodAutoscaler").errors({"spec": {**base, **spec}}) == errors


def test_what_an_autoscaler_scales_already_is_not_judged_again(kind: MakeKind) -> None:
    scalers = kind("autoscaling/v2", "HorizontalPodAutoscaler")
    document = {"spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}}
    assert scalers.update_errors(document, scalers.created(document)) == []

"""Objects with two forms: each shows what the other holds."""

from __future__ import annotations

from typing import Any

import pytest

from kube_core.api.descriptors import descriptor_of_kind
from kube_core.api.types import ResourceDescriptor
from kube_core.meta.documents import freeze
from kube_core.meta.gvk import GroupResource, GroupVersionKind
from kube_core.registry.kinds.conversion import convert, has_forms, shared_resource


def _descriptor(group: str, version: str, kind: str) -> ResourceDescriptor:
    found = descriptor_of_kind(GroupVersionKind(group, version, kind))
    assert found is not None
    return found


CORE = _descriptor("", "v1", "Event")
NEW = _descriptor("events.k8s.io", "v1", "Event")
OLD_SCALER = _descriptor("autoscaling", "v1", "HorizontalPodAutoscaler")
NEW_SCALER = _descriptor("autoscaling", "v2", "HorizontalPodAutoscaler")

EVENT = {
    "kind": "Event",
    "apiVersion": "events.k8s.io/v1",
    "metadata": {"name": "e", "namespace": "ns"},
    "eventTime": "2026-01-01T00:00:00.000000Z",
    "reportingController": "example.org/ctl",
    "reportingInstance": "i",
    "action": "Bind",
    "reason": "Scheduled",
    "regarding": {"kind": "Pod", "name": "p", "namespace": "ns"},
    "note": "bound",
    "type": "Normal",
    "deprecatedSource": {},
    "deprecatedFirstTimestamp": None,
    "deprecatedLastTimestamp": None,
}
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}
PODS = {"type": "Pods", "pods": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "5"}}}


def _scaler(**spec: Any) -> dict[str, Any]:
    return {
        "kind": "HorizontalPodAutoscaler",
        "apiVersion": "autoscaling/v2",
        "metadata": {"name": "h", "namespace": "ns"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
            "minReplicas": 2,
            "maxReplicas": 4,
            **spec,
        },
        "status": {"desiredReplicas": 0, "currentMetrics": None},
    }


def test_new_event_in_the_core_form() -> None:
    core = convert(freeze(EVENT), CORE)
    assert core == {
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {"name": "e", "namespace": "ns"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingComponent": "example.org/ctl",
        "reportingInstance": "i",
        "action": "Bind",
        "reason": "Scheduled",
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "ns"},
        "message": "bound",
        "type": "Normal",
        "source": {},
        "firstTimestamp": None,
        "lastTimestamp": None,
    }


@pytest.mark.parametrize(
    ("document", "there", "back"),
    [
        (EVENT, CORE, NEW),
        (_scaler(metrics=[CPU]), OLD_SCALER, NEW_SCALER),
        (_scaler(metrics=[CPU, PODS, CPU], behavior={"scaleDown": {"selectPolicy": "Min"}}), OLD_SCALER, NEW_SCALER),
    ],
)
def test_there_and_back_again(document: dict[str, Any], there: ResourceDescriptor, back: ResourceDescriptor) -> None:
    assert convert(convert(freeze(document), there), back) == document


def test_old_autoscaler_has_its_one_metric_and_carries_the_rest() -> None:
    old = convert(_scaler(metrics=[CPU, PODS]), OLD_SCALER)
    assert old["spec"]["targetCPUUtilizationPercentage"] == 60
    assert "metrics" not in old["spec"]
    assert list(old["metadata"]["annotations"]) == ["autoscaling.alpha.kubernetes.io/metrics"]
    assert old["status"] == {"currentReplicas": 0, "desiredReplicas": 0}


@pytest.mark.parametrize("field", ["metrics", "behavior", "conditions", "current-metrics"])
@pytest.mark.parametrize("text", ["5", '"x"', "[5]", '[{"type": 3}]', '{"scaleUp": 1, "type": 1}x', "x", ""])
def test_an_annotation_that_carries_nothing_is_left_where_it_is(field: str, text: str) -> None:
    annotations = {f"autoscaling.alpha.kubernetes.io/{field}": text}
    new = convert(
        {
            "apiVersion": "autoscaling/v1",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web", "annotations": annotations},
            "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"}},
        },
        NEW_SCALER,
    )
    assert new["metadata"]["annotations"] == annotations
    assert not {"metrics", "behavior"} & set(new["spec"])
    assert (new["status"].get("conditions"), new["status"]["currentMetrics"]) == (None, None)


def test_an_object_that_has_the_form_is_given_back() -> None:
    assert convert(EVENT, NEW) is EVENT


def test_both_events_are_one_resource() -> None:
    assert shared_resource(NEW.type.group_resource) == shared_resource(CORE.type.group_resource)
    assert shared_resource(GroupResource("", "pods")) == GroupResource("", "pods")
    assert has_forms(OLD_SCALER.type.group_resource)
    assert not has_forms(GroupResource("", "pods"))

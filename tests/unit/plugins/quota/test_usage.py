"""What objects use of a quota, and which objects a quota is about."""

from __future__ import annotations

from typing import Any

import pytest

from kube_core.api import resources
from kube_core.meta import quantities
from kube_core.meta.times import parse_time
from kube_plugins.quota.scopes import in_scope
from kube_plugins.quota.usage import counted_resource, seconds_counted, usage_of


def pod(*, requests: dict[str, str] | None = None, init: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "a", "resources": {"requests": requests or {}}} for _ in range(2)]
    inits = [{"name": "i", "resources": {"requests": init}}] if init else []
    return {"kind": "Pod", "spec": {"containers": containers, "initContainers": inits, **spec}}


def used(resource: Any, document: dict[str, Any]) -> dict[str, str]:
    return {name: str(amount) for name, amount in usage_of(resource, document).items()}


def test_containers_add_up_and_a_greedy_init_container_counts_instead() -> None:
    assert used(resources.PODS, pod(requests={"cpu": "100m"}, init={"cpu": "1"}))["requests.cpu"] == "1"
    assert used(resources.PODS, pod(requests={"cpu": "100m"}, init={"cpu": "50m"}))["cpu"] == "200m"


def test_a_finished_pod_counts_as_an_object_only() -> None:
    finished = pod(requests={"cpu": "1"}) | {"status": {"phase": "Succeeded"}}
    assert used(resources.PODS, finished) == {"count/pods": "1"}


def test_a_load_balancer_takes_node_ports_unless_it_does_without() -> None:
    service: dict[str, Any] = {"spec": {"type": "LoadBalancer", "ports": [{"port": 1}, {"port": 2}]}}
    assert used(resources.SERVICES, service) == {
        "count/services": "1",
        "services": "1",
        "services.loadbalancers": "1",
        "services.nodeports": "2",
    }
    service["spec"]["allocateLoadBalancerNodePorts"] = False
    assert used(resources.SERVICES, service)["services.nodeports"] == "0"


def test_kinds_of_other_groups_count_by_their_full_name() -> None:
    assert used(resources.DEPLOYMENTS, {"spec": {}}) == {"count/deployments.apps": "1"}


def test_every_scope_must_match() -> None:
    quota = {"spec": {"scopes": ["BestEffort", "NotTerminating"]}}
    assert in_scope(quota, resources.PODS, pod())
    assert not in_scope(quota, resources.PODS, pod(requests={"cpu": "1m"}))
    assert not in_scope(quota, resources.PODS, pod(activeDeadlineSeconds=5))
    assert not in_scope(quota, resources.SERVICES, {"spec": {}})


def test_a_scope_selector_picks_priority_classes() -> None:
    term = {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}
    quota = {"spec": {"scopeSelector": {"matchExpressions": [term]}}}
    assert in_scope(quota, resources.PODS, pod(priorityClassName="high"))
    assert not in_scope(quota, resources.PODS, pod(priorityClassName="low"))


def test_huge_pages_and_extended_resources_count_by_what_is_requested() -> None:
    wants = {"hugepages-2Mi": "4Mi", "example.dev/gpu": "1", "node.kubernetes.io/odd": "1"}
    found = used(resources.PODS, pod(requests=wants))
    assert found["hugepages-2Mi"] == found["requests.hugepages-2Mi"] == "8Mi"
    assert found["requests.example.dev/gpu"] == "2"
    assert "example.dev/gpu" not in found
    assert "requests.node.kubernetes.io/odd" not in found


def test_a_pod_that_should_be_gone_takes_no_room() -> None:
    stuck = pod(requests={"cpu": "1"})
    stuck["metadata"] = {"deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30}
    until = parse_time("2026-01-01T00:01:00Z")
    assert seconds_counted(stuck, until - 10) == 10
    assert usage_of(resources.PODS, stuck, until)["pods"] == quantities.parse(1)
    assert set(usage_of(resources.PODS, stuck, until + 1)) == {"count/pods"}


def test_a_claim_counts_by_its_class_and_by_what_it_was_allotted() -> None:
    claim: dict[str, Any] = {
        "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"allocatedResources": {"storage": "3Gi"}},
    }
    assert used(resources.PERSISTENT_VOLUME_CLAIMS, claim) == {
        "count/persistentvolumeclaims": "1",
        "persistentvolumeclaims": "1",
        "requests.storage": "3Gi",
        "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
        "fast.storageclass.storage.k8s.io/requests.storage": "3Gi",
    }


def test_a_claim_of_devices_counts_by_their_classes() -> None:
    wishes = [
        {"name": "a", "exactly": {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 2}},
        {"name": "b", "exactly": {"deviceClassName": "nic", "allocationMode": "All"}},
        {
            "name": "c",
            "firstAvailable": [{"deviceClassName": "gpu", "count": 3}, {"deviceClassName": "gpu", "count": 1}],
        },
    ]
    found = used(resources.RESOURCE_CLAIMS, {"spec": {"devices": {"requests": wishes}}})
    assert found["gpu.deviceclass.resource.k8s.io/devices"] == "5"
    assert found["nic.deviceclass.resource.k8s.io/devices"] == "32"


@pytest.mark.parametrize(
    ("name", "resource"),
    [
        ("pods", "pods"),
        ("cpu", "pods"),
        ("limits.memory", "pods"),
        ("requests.ephemeral-storage", "pods"),
        ("hugepages-1Gi", "pods"),
        ("requests.example.dev/gpu", "pods"),
        ("requests.storage", "persistentvolumeclaims"),
        ("fast.storageclass.storage.k8s.io/requests.storage", "persistentvolumeclaims"),
        ("services.nodeports", "services"),
        ("secrets", "secrets"),
        ("count/deployments.apps", "deployments.apps"),
        ("count/farms.example.dev", "farms.example.dev"),
        ("count/configmaps", "configmaps"),
        ("gpu.deviceclass.resource.k8s.io/devices", "resourceclaims.resource.k8s.io"),
        ("limits.example.dev/gpu", "None"),
        ("requests.kubernetes.io/odd", "None"),
        ("deployments", "None"),
    ],
)
def test_each_name_is_about_one_resource(name: str, resource: str) -> None:
    assert str(counted_resource(name)) == resource


def test_an_attributes_class_is_had_wished_for_or_under_way() -> None:
    quota = {"spec": {"scopeSelector": {"matchExpressions": [
        {"scopeName": "VolumeAttributesClass", "operator": "In", "values": ["gold"]}
    ]}}}  # fmt: skip
    claims = resources.PERSISTENT_VOLUME_CLAIMS
    assert in_scope(quota, claims, {"spec": {"volumeAttributesClassName": "gold"}})
    assert in_scope(quota, claims, {"spec": {}, "status": {"currentVolumeAttributesClassName": "gold"}})
    target = {"modifyVolumeStatus": {"targetVolumeAttributesClassName": "gold"}}
    assert in_scope(quota, claims, {"spec": {"volumeAttributesClassName": "tin"}, "status": target})
    assert not in_scope(quota, claims, {"spec": {}})


def test_a_container_that_still_has_more_than_it_asks_for_counts_by_what_it_has() -> None:
    shrinking = pod(requests={"cpu": "100m", "memory": "1Gi"})
    shrinking["spec"]["containers"] = shrinking["spec"]["containers"][:1]
    had = {"requests": {"cpu": "300m", "memory": "512Mi"}, "limits": {"cpu": "1"}}
    shrinking["status"] = {"phase": "Running", "containerStatuses": [{"name": "a", "resources": had}]}
    found = used(resources.PODS, shrinking)
    assert (found["cpu"], found["requests.memory"], found["limits.cpu"]) == ("300m", "1Gi", "1")

"""What objects use of a quota, and which objects a quota is about."""

from __future__ import annotations

from typing import Any

from kube_core.api import resources
from kube_plugins.admission.resource_quota.scopes import in_scope
from kube_plugins.admission.resource_quota.usage import usage_of


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
    assert in_scope(quota, "pods", pod())
    assert not in_scope(quota, "pods", pod(requests={"cpu": "1m"}))
    assert not in_scope(quota, "pods", pod(activeDeadlineSeconds=5))
    assert not in_scope(quota, "services", {"spec": {}})


def test_a_scope_selector_picks_priority_classes() -> None:
    term = {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}
    quota = {"spec": {"scopeSelector": {"matchExpressions": [term]}}}
    assert in_scope(quota, "pods", pod(priorityClassName="high"))
    assert not in_scope(quota, "pods", pod(priorityClassName="low"))

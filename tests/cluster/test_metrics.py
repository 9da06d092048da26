"""What a whole cluster counts, as it is read in one place."""

from __future__ import annotations

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.api import resources
from kube_core.cluster import Cluster

pytestmark = pytest.mark.anyio


async def test_components_are_counted_beside_the_server() -> None:
    async with Cluster(nodes=1, clock=FakeClock(), seed=1, listen=False) as cluster:
        for name, selector in (("p", {}), ("q", {"not": "there"})):
            spec = {"containers": [{"name": "c", "image": "i"}], "nodeSelector": selector}
            await cluster.client.create(
                resources.PODS, {"metadata": {"name": name, "namespace": "default"}, "spec": spec}
            )
        await cluster.settled()
        found = cluster.server.metrics.metrics.text().splitlines()
    for result in ("scheduled", "unschedulable"):
        assert f'scheduler_schedule_attempts_total{{profile="default-scheduler",result="{result}"}} 1' in found
    assert "scheduler_pod_scheduling_attempts_count 1" in found
    for queue, count in (("active", 0), ("backoff", 0), ("unschedulable", 1)):
        assert f'scheduler_pending_pods{{queue="{queue}"}} {count}' in found
    assert any(line.startswith('workqueue_adds_total{name="endpoints-controller"') for line in found)
    assert any(line.startswith('rest_client_requests_total{code="201",method="POST"} ') for line in found)
    assert any(line.startswith("kubelet_active_pods{") and line.endswith(" 1") for line in found)

"""`kubectl rollout`, `describe`, `get` and `drain` of what the workload controllers keep, besides Deployments."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from fakes.kubectl import Kubectl

TEMPLATE = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "web", "image": "web:1"}], "terminationGracePeriodSeconds": 1},
}
SELECTOR = {"matchLabels": {"app": "web"}}


def apply(kubectl: Kubectl, kind: str, spec: dict[str, Any], *, version: str = "apps/v1", name: str = "web") -> None:
    document = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}
    kubectl("apply", "-f", "-", stdin=json.dumps(document))


@pytest.fixture(params=["statefulset", "daemonset"])
def workload(kubectl: Kubectl, request: pytest.FixtureRequest) -> tuple[Kubectl, str]:
    """One of the two kinds whose history is kept in revisions, ready."""
    kind = str(request.param)
    if kind == "statefulset":
        apply(kubectl, "StatefulSet", {"replicas": 2, "selector": SELECTOR, "template": TEMPLATE, "serviceName": "web"})
    else:
        apply(kubectl, "DaemonSet", {"selector": SELECTOR, "template": TEMPLATE})
    done(kubectl, kind)
    return kubectl, kind


def done(kubectl: Kubectl, kind: str) -> str:
    return kubectl("rollout", "status", f"{kind}/web", "--timeout=40s")


def images(kubectl: Kubectl) -> set[str]:
    return set(kubectl("get", "pods", "-o", "jsonpath={.items[*].spec.containers[0].image}").split())


def rows(text: str) -> list[Sequence[str]]:
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line.strip()]


def test_an_update_is_followed_to_its_end_and_undone(workload: tuple[Kubectl, str]) -> None:
    kubectl, kind = workload
    kubectl("set", "image", f"{kind}/web", "web=web:2")
    said = done(kubectl, kind)
    ends = {
        "statefulset": "partitioned roll out complete: 2 new pods have been updated...",
        "daemonset": 'daemon set "web" successfully rolled out',
    }
    assert said.splitlines()[-1] == ends[kind]
    assert images(kubectl) == {"web:2"}
    history = kubectl("rollout", "history", f"{kind}/web").splitlines()
    assert [line.split() for line in history if line][1:] == [
        ["REVISION", "CHANGE-CAUSE"],
        ["1", "<none>"],
        ["2", "<none>"],
    ]
    assert "web:1" in kubectl("rollout", "history", f"{kind}/web", "--revision=1")
    assert kubectl("rollout", "undo", f"{kind}/web") == f"{kind}.apps/web rolled back\n"
    done(kubectl, kind)
    assert images(kubectl) == {"web:1"}
    numbers = [line.split()[0] for line in kubectl("rollout", "history", f"{kind}/web").splitlines()[2:] if line]
    assert numbers == ["2", "3"]


def test_a_restart_replaces_every_pod(workload: tuple[Kubectl, str]) -> None:
    kubectl, kind = workload
    before = set(kubectl("get", "pods", "-o", "jsonpath={.items[*].metadata.uid}").split())
    assert kubectl("rollout", "restart", f"{kind}/web") == f"{kind}.apps/web restarted\n"
    done(kubectl, kind)
    after = set(kubectl("get", "pods", "-o", "jsonpath={.items[*].metadata.uid}").split())
    assert len(after) == 2
    assert not before & after


def test_only_deployments_can_be_paused(workload: tuple[Kubectl, str]) -> None:
    kubectl, kind = workload
    assert "pausing is not supported" in kubectl.fails("rollout", "pause", f"{kind}/web")


def test_a_stateful_set_is_described_with_its_pods_and_events(kubectl: Kubectl) -> None:
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    spec = {"replicas": 1, "selector": SELECTOR, "template": TEMPLATE, "serviceName": "web"}
    apply(kubectl, "StatefulSet", {**spec, "volumeClaimTemplates": [claim]})
    done(kubectl, "statefulset")
    assert rows(kubectl("get", "statefulset", "web"))[0] == ["NAME", "READY", "AGE"]
    assert rows(kubectl("get", "statefulset", "web"))[1][:2] == ["web", "1/1"]
    described = kubectl("describe", "statefulset", "web")
    assert re.search(r"Replicas: +1 desired \| 1 total", described)
    assert re.search(r"Update Strategy: +RollingUpdate\n +Partition: +0", described)
    assert re.search(r"Pods Status: +1 Running / 0 Waiting / 0 Succeeded / 0 Failed", described)
    assert re.search(
        r"Normal +SuccessfulCreate .*Create Claim data-web-0 Pod web-0 in StatefulSet web success", described
    )
    assert re.search(r"Normal +SuccessfulCreate .*Create Pod web-0 in StatefulSet web successful", described)


def test_a_daemon_set_is_described_with_its_counts(kubectl: Kubectl) -> None:
    apply(kubectl, "DaemonSet", {"selector": SELECTOR, "template": TEMPLATE})
    done(kubectl, "daemonset")
    head, row = rows(kubectl("get", "daemonset", "web"))
    assert head == ["NAME", "DESIRED", "CURRENT", "READY", "UP-TO-DATE", "AVAILABLE", "NODE SELECTOR", "AGE"]
    assert row[:7] == ["web", "2", "2", "2", "2", "2", "<none>"]
    described = kubectl("describe", "daemonset", "web")
    assert "Desired Number of Nodes Scheduled: 2\nCurrent Number of Nodes Scheduled: 2" in described
    assert "Number of Nodes Misscheduled: 0" in described
    assert len(re.findall(r"Normal +SuccessfulCreate .*daemonset-controller +Created pod: web-", described)) == 2


def test_a_replication_controller_is_scaled_and_described(kubectl: Kubectl) -> None:
    apply(kubectl, "ReplicationController", {"replicas": 1, "template": TEMPLATE}, version="v1")
    kubectl("wait", "--for=jsonpath={.status.readyReplicas}=1", "rc/web", "--timeout=15s")
    assert kubectl("scale", "rc/web", "--replicas=2") == "replicationcontroller/web scaled\n"
    kubectl("wait", "--for=jsonpath={.status.readyReplicas}=2", "rc/web", "--timeout=15s")
    head, row = rows(kubectl("get", "rc", "web"))
    assert head == ["NAME", "DESIRED", "CURRENT", "READY", "AGE"]
    assert row[:4] == ["web", "2", "2", "2"]
    described = kubectl("describe", "rc", "web")
    assert re.search(r"Replicas: +2 current / 2 desired", described)
    assert re.search(r"Normal +SuccessfulCreate .*replication-controller +Created pod: web-", described)


def test_a_job_is_described_with_its_pods_and_its_end(kubectl: Kubectl) -> None:
    apply(
        kubectl,
        "Job",
        {"completions": 2, "parallelism": 1, "suspend": True, "template": job_template()},
        version="batch/v1",
    )
    kubectl("wait", "--for=condition=Suspended", "job/web", "--timeout=15s")
    head, row = rows(kubectl("get", "job", "web"))
    assert head == ["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"]
    assert row[1:3] == ["Suspended", "0/2"]
    assert kubectl.value("job", "web", ".status.startTime") == ""
    kubectl("patch", "job", "web", "-p", '{"spec": {"suspend": false}}')
    kubectl("wait", "--for=condition=Complete", "job/web", "--timeout=30s")
    assert rows(kubectl("get", "job", "web"))[1][1:3] == ["Complete", "2/2"]
    described = kubectl("describe", "job", "web")
    assert re.search(r"Pods Statuses: +0 Active \(0 Ready\) / 2 Succeeded / 0 Failed", described)
    for event in ("Suspended .*Job suspended", "Resumed .*Job resumed", "Completed .*Job completed"):
        assert re.search(f"Normal +{event}", described)


def test_a_cron_job_is_described_and_run_by_hand(kubectl: Kubectl) -> None:
    spec = {"schedule": "0 5 31 2 *", "timeZone": "Etc/UTC", "jobTemplate": {"spec": {"template": job_template()}}}
    apply(kubectl, "CronJob", spec, version="batch/v1")
    head, row = rows(kubectl("get", "cronjob", "web"))
    assert head == ["NAME", "SCHEDULE", "TIMEZONE", "SUSPEND", "ACTIVE", "LAST SCHEDULE", "AGE"]
    assert row[:6] == ["web", "0 5 31 2 *", "Etc/UTC", "False", "0", "<none>"]
    assert re.search(r"Concurrency Policy: +Allow", kubectl("describe", "cronjob", "web"))
    assert kubectl("create", "job", "by-hand", "--from=cronjob/web") == "job.batch/by-hand created\n"
    kubectl("wait", "--for=condition=Complete", "job/by-hand", "--timeout=30s")


def test_a_budget_is_described_and_keeps_evictions_back(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "web", "--image=web:1", "--replicas=2")
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    kubectl("create", "poddisruptionbudget", "web", "--selector=app=web", "--min-available=50%")
    kubectl("wait", "--for=jsonpath={.status.disruptionsAllowed}=1", "pdb/web", "--timeout=15s")
    head, row = rows(kubectl("get", "pdb", "web"))
    assert head == ["NAME", "MIN AVAILABLE", "MAX UNAVAILABLE", "ALLOWED DISRUPTIONS", "AGE"]
    assert row[:4] == ["web", "50%", "N/A", "1"]
    described = kubectl("describe", "pdb", "web")
    for name, number in (("Allowed disruptions", 1), ("Current", 2), ("Desired", 1), ("Total", 2)):
        assert re.search(rf"{name}: +{number}\n", described)
    kubectl("patch", "pdb", "web", "-p", '{"spec": {"minAvailable": 2}}')
    kubectl("wait", "--for=jsonpath={.status.disruptionsAllowed}=0", "pdb/web", "--timeout=15s")
    pod = kubectl("get", "pods", "-o", "jsonpath={.items[0].metadata.name}")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods/{pod}/eviction"
    assert "violate the pod's disruption budget" in kubectl.fails(
        "create", "--raw", path, "-f", "-", stdin=json.dumps(eviction)
    )


def test_a_quota_is_described_with_what_is_used(kubectl: Kubectl) -> None:
    kubectl("create", "quota", "few", "--hard=pods=3,requests.cpu=1,count/secrets=2")
    kubectl("run", "one", "--image=web:1", '--overrides={"spec": {"containers": [{"name": "one", "image": "web:1", '
            '"resources": {"requests": {"cpu": "250m"}}}]}}')  # fmt: skip
    kubectl("wait", "--for=jsonpath={.status.used.requests\\.cpu}=250m", "quota/few", "--timeout=15s")
    described = kubectl("describe", "quota", "few")
    assert ["pods", "1", "3"] in rows(described)
    assert ["requests.cpu", "250m", "1"] in rows(described)
    assert ["count/secrets", "0", "2"] in rows(described)
    kubectl("delete", "pod", "one", "--grace-period=0", "--force")
    kubectl("wait", "--for=jsonpath={.status.used.pods}=0", "quota/few", "--timeout=15s")


def job_template() -> dict[str, Any]:
    annotations = {"fake.kube-core.dev/behaviour": json.dumps({"web": {"runs_for": 0.1}})}
    spec = {"restartPolicy": "Never", "containers": [{"name": "web", "image": "web:1"}]}
    return {"metadata": {"annotations": annotations}, "spec": spec}

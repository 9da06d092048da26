"""Tables: their shape, and the rows of kinds by what `kubectl get` shows upstream."""

from typing import Any

import attrs
import pytest

from kube_core.api.descriptors import builtin_descriptors, descriptor_of_kind
from kube_core.api.types import Column, ResourceDescriptor, ResourceType
from kube_core.meta.documents import MutableDocument, freeze
from kube_core.meta.gvk import GroupVersionKind
from kube_core.registry.tables import IncludeObject, make_table, printer_for

NOW = 1_767_225_600.0 + 3600.0
CREATED = "2026-01-01T00:00:00Z"
GONE = {"deletionTimestamp": CREATED}


def descriptor(group: str, kind: str, version: str = "v1") -> ResourceDescriptor:
    found = descriptor_of_kind(GroupVersionKind(group, version, kind))
    assert found is not None
    return found


def cells(group: str, kind: str, document: MutableDocument, *, version: str = "v1") -> dict[str, Any]:
    document = {"metadata": {"name": "x", "creationTimestamp": CREATED} | document.pop("metadata", {})} | document
    table = make_table(descriptor(group, kind, version), [freeze(document)], now=NOW, list_metadata={})
    names = [column["name"] for column in table["columnDefinitions"]]
    return dict(zip(names, table["rows"][0]["cells"], strict=True))


def pod_status(**status: Any) -> tuple[str, str, str]:
    containers = status.pop("containers", 1)
    init = status.pop("init", ())
    spec = {
        "containers": [{"name": f"c{number}"} for number in range(containers)],
        "initContainers": [{"name": name} | more for name, more in init],
    }
    metadata = status.pop("metadata", {})
    row = cells("", "Pod", {"spec": spec, "status": status, "metadata": metadata})
    return row["Ready"], row["Status"], row["Restarts"]


def container(
    name: str = "c0", ready: bool = False, restarts: int = 0, last: str | None = None, **state: Any
) -> dict[str, Any]:
    result = {"name": name, "ready": ready, "restartCount": restarts, "state": state}
    return result | ({"lastState": {"terminated": {"finishedAt": last}}} if last else {})


RUNNING: dict[str, Any] = {"running": {}}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"phase": "Pending"}, ("0/1", "Pending", "0")),
        ({"phase": "Failed", "reason": "Evicted"}, ("0/1", "Evicted", "0")),
        ({"phase": "Running", "containerStatuses": [container(ready=True, **RUNNING)]}, ("1/1", "Running", "0")),
        (
            {"phase": "Running", "containers": 2, "containerStatuses": [
                container("c0", True, **RUNNING),
                container("c1", restarts=4, waiting={"reason": "CrashLoopBackOff"}, last="2026-01-01T00:55:00Z")]},
            ("1/2", "CrashLoopBackOff", "4 (5m ago)"),
        ),
        ({"phase": "Succeeded", "containerStatuses": [container(terminated={"exitCode": 0, "reason": "Completed"})]},
         ("0/1", "Completed", "0")),
        ({"phase": "Failed", "containerStatuses": [container(terminated={"exitCode": 3})]}, ("0/1", "ExitCode:3", "0")),
        ({"phase": "Failed", "containerStatuses": [container(terminated={"exitCode": 0, "signal": 9})]},
         ("0/1", "Signal:9", "0")),
        (
            {"phase": "Running", "containers": 2, "conditions": [{"type": "Ready", "status": "False"}],
             "containerStatuses": [container("c0", terminated={"reason": "Completed", "exitCode": 0}),
                                   container("c1", True, **RUNNING)]},
            ("1/2", "NotReady", "0"),
        ),
        ({"phase": "Pending", "init": [("i", {}), ("j", {})], "initContainerStatuses": [
            container("i", terminated={"exitCode": 0}), container("j", **RUNNING)]}, ("0/1", "Init:1/2", "0")),
        ({"phase": "Pending", "init": [("i", {})], "initContainerStatuses": [
            container("i", restarts=2, waiting={"reason": "CrashLoopBackOff"})]},
         ("0/1", "Init:CrashLoopBackOff", "2")),
        ({"phase": "Pending", "init": [("i", {})], "initContainerStatuses": [
            container("i", terminated={"exitCode": 1, "reason": "Error"})]}, ("0/1", "Init:Error", "0")),
        (
            {"phase": "Running", "init": [("i", {}), ("side", {"restartPolicy": "Always"})], "initContainerStatuses": [
                container("i", restarts=9, terminated={"exitCode": 0}),
                container("side", True, restarts=1, **RUNNING) | {"started": True}],
             "containerStatuses": [container(ready=True, restarts=2, **RUNNING)]},
            ("2/2", "Running", "3"),
        ),
        ({"phase": "Running", "metadata": GONE}, ("0/1", "Terminating", "0")),
        ({"phase": "Succeeded", "metadata": GONE}, ("0/1", "Succeeded", "0")),
        ({"phase": "Running", "reason": "NodeLost", "metadata": GONE}, ("0/1", "Unknown", "0")),
        ({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]},
         ("0/1", "SchedulingGated", "0")),
    ],
)  # fmt: skip
def test_pod_is_summed_up(status: dict[str, Any], expected: tuple[str, str, str]) -> None:
    assert pod_status(**status) == expected


def test_pod_shows_where_it_is() -> None:
    row = cells("", "Pod", {
        "spec": {"nodeName": "n1", "readinessGates": [{"conditionType": "g"}, {"conditionType": "h"}]},
        "status": {"podIPs": [{"ip": "10.0.0.1"}], "conditions": [{"type": "g", "status": "True"}]},
    })  # fmt: skip
    assert [row[name] for name in ("Age", "IP", "Node", "Nominated Node", "Readiness Gates")] == [
        "60m", "10.0.0.1", "n1", "<none>", "1/2",
    ]  # fmt: skip


def test_finished_pods_have_a_row_condition() -> None:
    pods = [freeze({"metadata": {"name": "x"}, "status": {"phase": phase}}) for phase in ("Running", "Failed")]
    running, failed = make_table(descriptor("", "Pod"), pods, now=NOW, list_metadata={})["rows"]
    assert "conditions" not in running
    assert failed["conditions"] == [
        {"type": "Completed", "status": "True", "reason": "Failed", "message": "The pod failed."}
    ]


LABELS = {"node-role.kubernetes.io/control-plane": "", "node-role.kubernetes.io/b": "", "kubernetes.io/role": "a"}
TEMPLATE = {"spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]}}
WORKLOAD = {"replicas": 3, "selector": {"matchLabels": {"app": "w"}}, "template": TEMPLATE}
WIDE = ["a,b", "a:1,b:1", "app=w"]


@pytest.mark.parametrize(
    ("group", "kind", "document", "expected"),
    [
        ("", "Node", {"metadata": {"labels": LABELS}, "spec": {"unschedulable": True}, "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            "nodeInfo": {"kubeletVersion": "v1.37.2", "osImage": "Os"}}},
         ["x", "Ready,SchedulingDisabled", "a,b,control-plane", "60m", "v1.37.2", "10.0.0.1", "<none>", "Os",
          "<unknown>", "<unknown>"]),
        ("", "Node", {}, ["x", "Unknown", "<none>", "60m", "", "<none>", "<none>", *["<unknown>"] * 3]),
        ("", "Service", {"spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.9"], "externalIPs": ["1.1.1.1"],
                                  "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}]},
                         "status": {"loadBalancer": {"ingress": [{"hostname": "h"}, {"ip": "9.9.9.9"}]}}},
         ["x", "LoadBalancer", "10.96.0.9", "9.9.9.9,h,1.1.1.1", "80:30080/TCP", "60m", "<none>"]),
        ("", "Endpoints", {"subsets": [
            {"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "ports": [{"port": 80}, {"port": 81}]}]},
         ["x", "10.0.0.1:80,[fd00::1]:80,10.0.0.1:81 + 1 more...", "60m"]),
        ("", "Endpoints", {}, ["x", "<none>", "60m"]),
        ("", "Event", {"involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{c}"}, "count": 3,
                       "type": "Warning", "reason": "BackOff", "message": " late \n",
                       "source": {"component": "kubelet", "host": "n1"},
                       "firstTimestamp": CREATED, "lastTimestamp": "2026-01-01T00:59:00Z"},
         ["60s", "Warning", "BackOff", "pod/p", "spec.containers{c}", "kubelet, n1", "late", "60m", 3, "x"]),
        ("", "PersistentVolumeClaim", {"metadata": GONE, "spec": {"volumeName": "v", "storageClassName": "s"},
                                       "status": {"phase": "Bound", "capacity": {"storage": "1Gi"},
                                                  "accessModes": ["ReadWriteOnce"]}},
         ["x", "Terminating", "v", "1Gi", "RWO", "s", "<unset>", "60m", "<unset>"]),
        ("", "ResourceQuota", {"status": {"hard": {"pods": "4", "limits.cpu": "2"}, "used": {"pods": "1"}}},
         ["x", "pods: 1/4", "limits.cpu: 0/2", "60m"]),
        ("", "ReplicationController", {"spec": WORKLOAD | {"selector": {"app": "w"}}, "status": {"replicas": 2}},
         ["x", 3, 2, 0, "60m", *WIDE]),
        ("apps", "Deployment", {"spec": WORKLOAD, "status": {"readyReplicas": 1, "updatedReplicas": 2}},
         ["x", "1/3", 2, 0, "60m", *WIDE]),
        ("apps", "ReplicaSet", {"spec": WORKLOAD, "status": {"replicas": 3, "readyReplicas": 2}},
         ["x", 3, 3, 2, "60m", *WIDE]),
        ("apps", "ControllerRevision", {"revision": 2, "metadata": {"ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "controller": True}]}},
         ["x", "statefulset.apps/db", 2, "60m"]),
        ("batch", "Job", {"spec": {"completions": 4, "template": TEMPLATE}, "status": {
            "succeeded": 4, "startTime": CREATED, "completionTime": "2026-01-01T00:05:30Z",
            "conditions": [{"type": "Complete", "status": "True"}]}},
         ["x", "Complete", "4/4", "5m30s", "60m", "a,b", "a:1,b:1", "<none>"]),
        ("batch", "Job", {"spec": {"parallelism": 3}}, ["x", "Running", "0/1 of 3", "", "60m", "", "", "<none>"]),
        ("batch", "CronJob", {"spec": {"schedule": "* * * * *", "suspend": False, "jobTemplate": {
            "spec": {"template": TEMPLATE}}}, "status": {"active": [{}], "lastScheduleTime": CREATED}},
         ["x", "* * * * *", "<none>", "False", 1, "60m", "60m", "a,b", "a:1,b:1", "<none>"]),
        ("networking.k8s.io", "Ingress", {"spec": {"tls": [{}], "rules": [{"host": host} for host in "abcd"]}},
         ["x", "<none>", "a,b,c + 1 more...", "", "80, 443", "60m"]),
        ("networking.k8s.io", "Ingress", {"spec": {"ingressClassName": "i", "rules": [{}]}},
         ["x", "i", "*", "", "80", "60m"]),
        ("networking.k8s.io", "IPAddress", {"spec": {"parentRef": {
            "resource": "services", "namespace": "default", "name": "kubernetes"}}},
         ["x", "services/default/kubernetes"]),
        ("certificates.k8s.io", "CertificateSigningRequest", {
            "spec": {"signerName": "s", "username": "u", "expirationSeconds": 3600},
            "status": {"conditions": [{"type": "Approved"}], "certificate": "x"}},
         ["x", "60m", "s", "u", "60m", "Approved,Issued"]),
        ("storage.k8s.io", "StorageClass", {
            "metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "provisioner": "p"},
         ["x (default)", "p", "Delete", "Immediate", False, "60m"]),
        ("apiregistration.k8s.io", "APIService", {"spec": {"service": {"namespace": "n", "name": "s"}}, "status": {
            "conditions": [{"type": "Available", "status": "False", "reason": "Down"}]}},
         ["x", "n/s", "False (Down)", "60m"]),
        ("scheduling.k8s.io", "PriorityClass", {"value": 7, "globalDefault": True}, ["x", 7, True, "60m", ""]),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", {"spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}}}},
         ["x", "Limited", 5, "<none>", "<none>", "<none>", "60m"]),
        ("rbac.authorization.k8s.io", "RoleBinding", {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [
            {"kind": "User", "name": "u"}, {"kind": "User", "name": "v"},
            {"kind": "ServiceAccount", "name": "s", "namespace": "n"}]},
         ["x", "Role/r", "60m", "u, v", "", "n/s"]),
        ("", "LimitRange", {}, ["x", CREATED]),
    ],
)  # fmt: skip
def test_kind_is_shown_as_upstream_shows_it(
    group: str, kind: str, document: MutableDocument, expected: list[Any]
) -> None:
    assert list(cells(group, kind, document).values()) == expected


@pytest.mark.parametrize(
    ("metric", "current", "expected"),
    [
        ({"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}},
         {"resource": {"current": {"averageUtilization": 10}}}, "cpu: 10%/80%"),
        ({"type": "Resource", "resource": {"name": "memory", "target": {"averageValue": "1Gi"}}}, None,
         "memory: <unknown>/1Gi"),
        ({"type": "Pods", "pods": {"target": {"averageValue": "5"}}}, {"pods": {"current": {"averageValue": "2"}}},
         "2/5"),
        ({"type": "External", "external": {"target": {"averageValue": "5"}}}, None, "<unknown>/5 (avg)"),
        ({"type": "Object", "object": {"target": {"value": "5"}}}, {"object": {"current": {"value": "1"}}}, "1/5"),
        ({"type": "Strange"}, None, "<unknown type>"),
    ],
)  # fmt: skip
def test_autoscaler_shows_its_metrics(metric: dict[str, Any], current: dict[str, Any] | None, expected: str) -> None:
    row = cells("autoscaling", "HorizontalPodAutoscaler", {
        "spec": {"metrics": [metric], "scaleTargetRef": {"kind": "Deployment", "name": "d"}, "maxReplicas": 4},
        "status": {"currentMetrics": [current] if current else None},
    }, version="v2")  # fmt: skip
    assert (row["Reference"], row["Targets"], row["MinPods"]) == ("Deployment/d", expected, "<unset>")


def test_autoscaler_of_the_first_version_shows_its_one_metric() -> None:
    document = {"spec": {"targetCPUUtilizationPercentage": 60}, "status": {"currentCPUUtilizationPercentage": 30}}
    assert cells("autoscaling", "HorizontalPodAutoscaler", document)["Targets"] == "cpu: 30%/60%"


@pytest.mark.parametrize("found", builtin_descriptors(), ids=lambda found: f"{found.type.plural}.{found.type.group}")
def test_every_kind_can_show_an_object_with_nothing_in_it(found: ResourceDescriptor) -> None:
    document = freeze({"metadata": {"name": "x"}})
    table = make_table(found, [document], now=NOW, list_metadata={"resourceVersion": "7"})
    assert table["metadata"] == {"resourceVersion": "7"}
    assert len(table["rows"][0]["cells"]) == len(table["columnDefinitions"])


@pytest.mark.parametrize("include", ["None", "Metadata", "Object"])
def test_rows_carry_what_is_asked_for(include: IncludeObject) -> None:
    document = freeze({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "x"}, "data": {"a": "1"}})
    table = make_table(descriptor("", "ConfigMap"), [document], now=NOW, include_object=include, list_metadata={})
    meta = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "x"}}
    assert table["rows"] == [
        {"cells": ["x", 1, "<unknown>"], "object": {"None": None, "Metadata": meta, "Object": document}[include]}
    ]


GADGETS = ResourceDescriptor(ResourceType("g.io", "v1", "Gadget", "gadgets", True), "gadget")


def custom(columns: tuple[Column, ...], document: MutableDocument) -> list[Any]:
    document = {"metadata": {"name": "x", "creationTimestamp": CREATED}} | document
    printer = printer_for(attrs.evolve(GADGETS, columns=columns))
    return printer.row(document, NOW)[1:]


def test_custom_columns_come_from_the_definition() -> None:
    columns = (
        Column("Size", "integer", ".spec.size"),
        Column("Ratio", "number", ".spec.ratio"),
        Column("On", "boolean", ".spec.on"),
        Column("Tags", "string", ".spec.tags", priority=1),
        Column("Born", "date", ".spec.born", format="date-time"),
    )
    spec = {"size": 3, "ratio": 1, "on": True, "tags": ["a"], "born": CREATED}
    assert custom(columns, {"spec": spec}) == [3, 1.0, True, '["a"]', "60m"]
    assert custom(columns, {}) == [None] * 5
    assert custom(columns, {"spec": {"size": "3", "ratio": True, "on": 1, "tags": 4, "born": "soon"}}) == [
        None, None, None, "4", "<invalid>",
    ]  # fmt: skip
    definition = printer_for(attrs.evolve(GADGETS, columns=columns)).columns[4].to_document()
    assert (definition["name"], definition["type"], definition["priority"]) == ("Tags", "string", 1)


def test_custom_resource_without_columns_shows_its_age() -> None:
    assert [column.name for column in printer_for(GADGETS).columns] == ["Name", "Age"]
    assert custom((), {}) == ["60m"]


def test_column_whose_path_is_not_understood_is_empty() -> None:
    assert custom((Column("Odd", "string", "..name"),), {}) == [None]


def test_the_metadata_of_a_daemon_set_lacks_its_template_generation() -> None:
    descriptor = next(each for each in builtin_descriptors() if each.type.kind == "DaemonSet")
    annotations = {"deprecated.daemonset.template.generation": "2", "a": "b"}
    document = {"kind": "DaemonSet", "metadata": {"name": "d", "annotations": annotations}, "spec": {}, "status": {}}
    (row,) = make_table(descriptor, [document], now=0.0, list_metadata={})["rows"]
    assert row["object"]["metadata"] == {"name": "d", "annotations": {"a": "b"}}

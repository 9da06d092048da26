"""The other kinds: a table of defaults, one of refusals, and what is particular to single kinds."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.abc.transport import User
from kube_core.api.descriptors import builtin_descriptors
from kube_core.registry.kinds import ValidationContext, strategy_for
from kube_core.registry.kinds.builtin import BuiltinStrategy

MakeKind = Callable[..., Any]

RBAC = "rbac.authorization.k8s.io"
HOOK = {
    "name": "a.b.c",
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
    "clientConfig": {"service": {"namespace": "n", "name": "s"}},
    "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
VOLUME = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}}
REQUEST = base64.b64encode(b"-----BEGIN CERTIFICATE REQUEST-----\nMA==\n-----END CERTIFICATE REQUEST-----").decode()

DEFAULTS: list[Any] = [
    ("v1", "Secret", {"stringData": {"a": "b"}}, {"type": "Opaque", "data": {"a": "Yg=="}}),
    ("v1", "Namespace", {}, {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}),
    (
        "v1",
        "Node",
        {"spec": {"podCIDR": "10.0.0.0/24"}, "status": {"capacity": {"cpu": "0.0005"}}},
        {"spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"]}},
    ),
    (
        "v1",
        "PersistentVolumeClaim",
        {"spec": {**CLAIM, "dataSource": {"kind": "PersistentVolumeClaim", "name": "o"}}},
        {"status": {"phase": "Pending"}},
    ),
    (
        "v1",
        "Endpoints",
        {"subsets": [{"ports": [{"port": 1}]}]},
        {"subsets": [{"ports": [{"port": 1, "protocol": "TCP"}]}]},
    ),
    (
        "discovery.k8s.io/v1",
        "EndpointSlice",
        {"addressType": "IPv4", "ports": [{"port": 1}]},
        {"endpoints": None, "ports": [{"port": 1, "name": "", "protocol": "TCP"}]},
    ),
    (
        "storage.k8s.io/v1",
        "StorageClass",
        {"provisioner": "p"},
        {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
    ),
    (
        "networking.k8s.io/v1",
        "NetworkPolicy",
        {"spec": {"podSelector": {}, "egress": [{"ports": [{"port": 1}]}]}},
        {
            "spec": {
                "podSelector": {},
                "egress": [{"ports": [{"port": 1, "protocol": "TCP"}]}],
                "policyTypes": ["Ingress", "Egress"],
            }
        },
    ),
    ("scheduling.k8s.io/v1", "PriorityClass", {"value": 1}, {"preemptionPolicy": "PreemptLowerPriority"}),
    (
        f"{RBAC}/v1",
        "ClusterRoleBinding",
        {"roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]},
        {
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "r"},
            "subjects": [{"kind": "User", "name": "u", "apiGroup": RBAC}],
        },
    ),
    (
        "autoscaling/v1",
        "HorizontalPodAutoscaler",
        {"spec": {"maxReplicas": 3}},
        {"status": {"currentReplicas": 0, "desiredReplicas": 0}},
    ),
    ("policy/v1", "PodDisruptionBudget", {}, {"spec": {}}),
    (
        "storage.k8s.io/v1",
        "CSIDriver",
        {},
        {
            "spec": {
                "attachRequired": True,
                "podInfoOnMount": False,
                "storageCapacity": False,
                "requiresRepublish": False,
                "seLinuxMount": False,
                "preventPodSchedulingIfMissing": False,
                "fsGroupPolicy": "ReadWriteOnceWithFSType",
                "volumeLifecycleModes": ["Persistent"],
            }
        },
    ),
]


@pytest.mark.parametrize(("api_version", "name", "document", "expected"), DEFAULTS)
def test_defaults(
    kind: MakeKind, api_version: str, name: str, document: dict[str, Any], expected: dict[str, Any]
) -> None:
    created = kind(api_version, name).created(document)
    assert {field: created.get(field) for field in expected} == expected


REFUSED: list[Any] = [
    ("v1", "ConfigMap", {"data": {"a b": ""}}, ["data[a b]"]),
    ("v1", "ConfigMap", {"data": {"a": "x" * 1_048_577}}, [""]),
    ("v1", "Secret", {"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}, ["data[tls.key]"]),
    (
        "v1",
        "Secret",
        {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "bm8="}},
        ["data[.dockerconfigjson]"],
    ),
    ("v1", "Namespace", {"spec": {"finalizers": ["plain"]}}, ["spec.finalizers"]),
    ("v1", "Node", {"spec": {"taints": [{"key": "a", "effect": "Often"}]}}, ["metadata.taints[0].effect"]),
    ("v1", "Event", {"involvedObject": {"namespace": "other"}}, ["involvedObject.namespace"]),
    ("v1", "Endpoints", {"subsets": [{}]}, ["subsets[0]"]),
    ("v1", "Endpoints", {"subsets": [{"addresses": [{"ip": "127.0.0.1"}]}]}, ["subsets[0].addresses[0].ip"]),
    ("v1", "PersistentVolumeClaim", {"spec": {}}, ["spec.accessModes", "spec.resources[storage]"]),
    ("v1", "PersistentVolume", {"spec": {**VOLUME, "nfs": {"server": "s", "path": "/"}}}, ["spec.nfs"]),
    ("v1", "PersistentVolume", {"spec": {**VOLUME, "hostPath": None, "local": {"path": "/x"}}}, ["spec.nodeAffinity"]),
    ("v1", "ResourceQuota", {"spec": {"hard": {"widgets": "1"}}}, ["spec.hard[widgets]"] * 2),
    ("v1", "ResourceQuota", {"spec": {"hard": {"secrets": "1"}, "scopes": ["BestEffort"]}}, ["spec.scopes"]),
    (
        "v1",
        "LimitRange",
        {"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "2"}}]}},
        ["spec.limits[0].min[cpu]", "spec.limits[0].defaultRequest[cpu]", "spec.limits[0].default[cpu]"],
    ),
    ("coordination.k8s.io/v1", "Lease", {"spec": {"leaseDurationSeconds": 0}}, ["spec.leaseDurationSeconds"]),
    ("discovery.k8s.io/v1", "EndpointSlice", {"addressType": "IPv4", "endpoints": [{}]}, ["endpoints[0].addresses"]),
    ("networking.k8s.io/v1", "Ingress", {}, ["spec"]),
    (
        "networking.k8s.io/v1",
        "Ingress",
        {"spec": {"rules": [{"host": "a.*.b", "http": {"paths": [{"path": "x", "pathType": "Exact"}]}}]}},
        ["spec.rules[0].host", "spec.rules[0].http.paths[0].path", "spec.rules[0].http.paths[0].backend"],
    ),
    ("networking.k8s.io/v1", "NetworkPolicy", {"spec": {"ingress": [{"from": [{}]}]}}, ["spec.ingress[0].from[0]"]),
    (f"{RBAC}/v1", "Role", {"rules": [{"verbs": ["get"], "apiGroups": [""]}]}, ["rules[0].resources"]),
    (f"{RBAC}/v1", "RoleBinding", {"roleRef": {"kind": "Thing", "name": "r"}}, ["roleRef.kind"]),
    ("policy/v1", "PodDisruptionBudget", {"spec": {"minAvailable": "101%"}}, ["spec.minAvailable"]),
    ("scheduling.k8s.io/v1", "PriorityClass", {"value": 1_000_000_001}, ["value"]),
    ("storage.k8s.io/v1", "StorageClass", {"volumeBindingMode": "Later"}, ["provisioner", "volumeBindingMode"]),
    ("storage.k8s.io/v1", "VolumeAttachment", {"spec": {"attacher": "a", "nodeName": "n"}}, ["spec.source"]),
    ("node.k8s.io/v1", "RuntimeClass", {"handler": "Not_DNS"}, ["handler"]),
    (
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        {
            "spec": {
                "maxReplicas": 1,
                "behavior": {"scaleDown": {"policies": []}},
                "scaleTargetRef": {"kind": "D", "name": "d", "apiVersion": "a/v1"},
            }
        },
        ["spec.behavior.scaleDown.policies"],
    ),
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        {"webhooks": [{**HOOK, "name": "short", "timeoutSeconds": 31}]},
        ["webhooks[0].name", "webhooks[0].timeoutSeconds"],
    ),
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicy",
        {"spec": {}},
        ["spec.matchConstraints", "spec.validations", "spec.auditAnnotations"],
    ),
    (
        "certificates.k8s.io/v1",
        "CertificateSigningRequest",
        {"spec": {"request": REQUEST, "signerName": "a.b/c"}},
        ["spec.usages"],
    ),
    (
        "resource.k8s.io/v1",
        "ResourceClaim",
        {"spec": {"devices": {"requests": [{"name": "r"}]}}},
        ["spec.devices.requests[0]"],
    ),
    ("flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration", {"spec": {"type": "Limited"}}, ["spec.limited"]),
    (
        "apiregistration.k8s.io/v1",
        "APIService",
        {"metadata": {"name": "v1.a"}, "spec": {"group": "a", "version": "v1"}},
        ["spec.groupPriorityMinimum", "spec.versionPriority"],
    ),
]


@pytest.mark.parametrize(("api_version", "name", "document", "paths"), REFUSED)
def test_refusals(kind: MakeKind, api_version: str, name: str, document: dict[str, Any], paths: list[str]) -> None:
    assert [error.partition(": ")[0] for error in kind(api_version, name).errors(document)] == paths


def test_every_stored_kind_has_a_strategy_that_imports() -> None:
    for descriptor in builtin_descriptors():
        assert isinstance(strategy_for(descriptor), BuiltinStrategy)


def test_immutable_data_stay(kind: MakeKind) -> None:
    for name in ("ConfigMap", "Secret"):
        data = {"a": "Yg=="}
        old = kind("v1", name).created({"data": data, "immutable": True})
        assert kind("v1", name).update_errors({"data": data, "immutable": True}, old) == []
        assert [error.partition(": ")[0] for error in kind("v1", name).update_errors({"data": {}}, old)] == [
            "immutable",
            "data",
        ]


def test_a_claim_grows_only_once_bound(kind: MakeKind) -> None:
    claims = kind("v1", "PersistentVolumeClaim")
    old = claims.created({"spec": CLAIM})
    more = {"spec": {**CLAIM, "resources": {"requests": {"storage": "2Gi"}}}}
    assert len(claims.update_errors(more, old)) == 1
    old["status"] = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
    assert claims.update_errors(more, old) == []
    less = {"spec": {**CLAIM, "resources": {"requests": {"storage": "1Mi"}}}}
    assert claims.update_errors(less, old) == [
        "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
    ]


def test_a_claim_is_bound_by_naming_its_volume(kind: MakeKind) -> None:
    claims = kind("v1", "PersistentVolumeClaim")
    old = claims.created({"spec": CLAIM})
    bound = {"spec": {**CLAIM, "volumeName": "v"}}
    assert claims.update_errors(bound, old) == []
    assert claims.update_errors({"spec": {**CLAIM, "volumeName": "w"}}, claims.created(bound)) != []


def test_a_volume_keeps_its_source_and_tells_when_its_phase_changed(kind: MakeKind) -> None:
    clock = FakeClock(0.0)
    volumes = kind("v1", "PersistentVolume", ValidationContext(clock=clock))
    old = volumes.created({"spec": VOLUME})
    assert old["status"] == {"phase": "Pending", "lastPhaseTransitionTime": "1970-01-01T00:00:00Z"}
    clock._elapsed = 60.0
    bound = volumes.updated({"spec": VOLUME, "status": {"phase": "Bound"}}, old, "status")
    assert bound["status"]["lastPhaseTransitionTime"] == "1970-01-01T00:01:00Z"
    moved = {"spec": {**VOLUME, "hostPath": {"path": "/y"}}}
    assert volumes.update_errors(moved, old) == [
        "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"
    ]


def test_a_namespace_stays_until_its_own_finalizers_are_gone(kind: MakeKind) -> None:
    strategy = kind("v1", "Namespace").strategy
    document = {"metadata": {"deletionGracePeriodSeconds": 0}, "spec": {"finalizers": ["kubernetes"]}, "status": {}}
    strategy.prepare_for_deletion(document)
    assert document["status"] == {"phase": "Terminating"}
    assert strategy.holds(document)
    assert not strategy.holds({"spec": {}})


def test_main_resource_does_not_touch_a_namespaces_finalizers(kind: MakeKind) -> None:
    namespaces = kind("v1", "Namespace")
    old = namespaces.created({})
    assert namespaces.updated({"spec": {"finalizers": []}}, old)["spec"] == old["spec"]


def test_signing_request_records_who_asks(kind: MakeKind) -> None:
    strategy = kind("certificates.k8s.io/v1", "CertificateSigningRequest").strategy
    document = {"spec": {"username": "forged", "groups": ["g"]}}
    strategy.record_requester(document, User("ann", ("crew",)))
    assert document["spec"] == {"username": "ann", "groups": ["crew"]}


def test_new_events_are_named_as_the_core_ones_in_errors(kind: MakeKind) -> None:
    assert str(kind("events.k8s.io/v1", "Event").strategy.group_kind) == "Event"


def test_generation_follows_the_spec(kind: MakeKind) -> None:
    policies = kind("networking.k8s.io/v1", "NetworkPolicy")
    old = policies.created({"spec": {"podSelector": {}}})
    labelled = {"metadata": {"name": "a", "namespace": "ns", "labels": {"a": "b"}}, "spec": {"podSelector": {}}}
    assert policies.updated(labelled, old)["metadata"]["generation"] == 1
    changed = {"spec": {"podSelector": {"matchLabels": {"a": "b"}}}}
    assert policies.updated(changed, old)["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    ("api_version", "name", "document", "values"),
    [
        ("v1", "Secret", {"type": "Opaque"}, {"type": "Opaque"}),
        ("v1", "Node", {"spec": {"unschedulable": True}}, {"spec.unschedulable": "true"}),
        ("v1", "Namespace", {"status": {"phase": "Active"}}, {"status.phase": "Active"}),
        (
            "v1",
            "Event",
            {"involvedObject": {"kind": "Pod", "name": "p"}, "reportingComponent": "c", "type": "Normal"},
            {"involvedObject.kind": "Pod", "involvedObject.name": "p", "source": "c", "type": "Normal"},
        ),
        ("batch/v1", "Job", {"status": {"succeeded": 2}}, {"status.successful": "2"}),
    ],
)
def test_fields_to_select_by(
    kind: MakeKind, api_version: str, name: str, document: dict[str, Any], values: dict[str, str]
) -> None:
    strategy = kind(api_version, name).strategy
    found = strategy.fields(document)
    assert {label: found[label] for label in values} == values
    assert set(found) == set(strategy.field_labels())

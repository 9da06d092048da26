"""Rules of kinds other than pods: what is refused, when it is made, changed or reported, and what is warned of."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding

MakeKind = Callable[..., Any]

NETWORKING, FLOW, STORAGE = "networking.k8s.io/v1", "flowcontrol.apiserver.k8s.io/v1", "storage.k8s.io/v1"
MIGRATION, CERTIFICATES = "storagemigration.k8s.io/v1", "certificates.k8s.io/v1"
IMMUTABLE = "field is immutable"
VOLUME = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "csi": {"driver": "d", "volumeHandle": "h"}}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
ATTACHMENT = {"attacher": "a", "nodeName": "n"}
SUBJECT = {"kind": "User", "user": {"name": "u"}}
RULE = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["n"]}
FLOW_SPEC = {"priorityLevelConfiguration": {"name": "p"}}
QUEUE = {"limitResponse": {"type": "Queue", "queuing": {"queues": 512, "handSize": 8, "queueLengthLimit": 1}}}
PORTS = [{"port": 1}]
EVENT = {
    "metadata": {"name": "e", "namespace": "ns"},
    "eventTime": "2024-01-01T00:00:00.000000Z",
    "reportingController": "a.b/c",
    "reportingInstance": "i",
    "action": "A",
    "reason": "R",
    "type": "Normal",
    "regarding": {"kind": "Pod", "namespace": "ns", "name": "p"},
}
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
PATH = {"path": "/", "backend": {"service": {"name": "s", "port": {"number": 1}}}}
RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"


def limits(**item: Any) -> dict[str, Any]:
    return {"spec": {"limits": [item]}}


def annotated(key: str, value: str) -> dict[str, Any]:
    return {"metadata": {"name": "a", "namespace": "ns", "annotations": {key: value}}}


REFUSED: list[tuple[str, str, dict[str, Any], list[str]]] = [
    (
        "v1",
        "Service",
        {"spec": {"ports": PORTS}, **annotated(RANGES, "x")},
        [
            f"metadata.annotations[{RANGES}]: Forbidden: may only be used when `type` is 'LoadBalancer'",
            f'metadata.annotations[{RANGES}]: Invalid value: "x": '
            "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        ],
    ),
    (
        "v1",
        "LimitRange",
        limits(type="Thing"),
        ['spec.limits[0].type: Invalid value: "Thing": must be a standard limit type or fully qualified'],
    ),
    (
        "v1",
        "LimitRange",
        limits(type="Pod", max={"pods": "1"}),
        ['spec.limits[0].max[pods]: Invalid value: "pods": must be a standard resource for containers'],
    ),
    (
        "v1",
        "LimitRange",
        limits(type="Pod", max={"cpu": "2"}, min={"cpu": "1"}, maxLimitRequestRatio={"cpu": "3"}),
        [
            'spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "3": ratio 3 is greater than max/min = 2.000000',
        ],
    ),
    (
        "v1",
        "LimitRange",
        limits(type="Container", max={"cpu": "1"}, default={"cpu": "2"}, defaultRequest={"cpu": "1"}),
        ['spec.limits[0].default[cpu]: Invalid value: "1": default value 2 is greater than max value 1'],
    ),
    (
        "v1",
        "ResourceQuota",
        {
            "spec": {
                "hard": {"secrets": "1"},
                "scopeSelector": {"matchExpressions": [{"scopeName": "BestEffort", "operator": "Exists"}]},
            }
        },
        [
            "spec.scopeSelector.matchExpressions: Invalid value: "
            '{"matchExpressions":[{"scopeName":"BestEffort","operator":"Exists"}]}: '
            "unsupported scope applied to resource",
        ],
    ),
    (
        "v1",
        "Secret",
        {"type": "kubernetes.io/ssh-auth", "data": {"ssh-privatekey": ""}},
        ["data[ssh-privatekey]: Required value"],
    ),
    (
        "v1",
        "PersistentVolume",
        {"spec": {**VOLUME, "csi": {**VOLUME["csi"], "nodePublishSecretRef": {"name": "s"}}}},  # type: ignore[dict-item]
        ["spec.csi.nodePublishSecretRef.namespace: Required value"],
    ),
    (
        STORAGE,
        "VolumeAttachment",
        {"spec": {**ATTACHMENT, "source": {"inlineVolumeSpec": VOLUME}}},
        [
            "spec.source.inlineVolumeSpec.capacity: Forbidden: may not be specified in the context of inline volumes",
        ],
    ),
    (
        NETWORKING,
        "Ingress",
        {"spec": {"rules": [{"host": "h", "http": {"paths": [{**PATH, "pathType": None}]}}]}},
        ["spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"],
    ),
    (
        NETWORKING,
        "Ingress",
        {
            "spec": {"ingressClassName": "b", "defaultBackend": PATH["backend"]},
            **annotated("kubernetes.io/ingress.class", "a"),
        },
        [
            'annotations.kubernetes.io/ingress.class: Invalid value: "a": '
            "must match `ingressClassName` when both are specified",
        ],
    ),
    (NETWORKING, "IngressClass", {"spec": {}}, ["spec.controller: Required value"]),
    (
        "v1",
        "Service",
        {"spec": {"ports": PORTS, "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"] * 3}},
        [
            'spec.clusterIPs: Invalid value: ["10.96.0.9","10.96.0.9","10.96.0.9"]: may only hold up to 2 values',
            'spec.clusterIPs: Invalid value: ["10.96.0.9","10.96.0.9","10.96.0.9"]: may specify no more than one IP '
            "for each IP family",
        ],
    ),
    (
        "v1",
        "Service",
        {"spec": {"ports": PORTS, "trafficDistribution": "x"}},
        [
            'spec.trafficDistribution: Unsupported value: "x": supported values: "PreferClose", "PreferSameZone", '
            '"PreferSameNode"',
        ],
    ),
    (
        FLOW,
        "FlowSchema",
        {"spec": {**FLOW_SPEC, "matchingPrecedence": -1, "rules": [{"subjects": [SUBJECT], "resourceRules": [RULE]}]}},
        ["spec.matchingPrecedence: Invalid value: -1: must be a positive value"],
    ),
    (
        FLOW,
        "FlowSchema",
        {
            "spec": {
                **FLOW_SPEC,
                "rules": [
                    {
                        "subjects": [{**SUBJECT, "group": {"name": "g"}}],
                        "resourceRules": [{**RULE, "verbs": ["look"], "namespaces": ["*", "n"]}],
                        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/a*", "b"]}],
                    }
                ],
            }
        },
        [
            "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
            'spec.rules[0].resourceRules[0].verbs: Unsupported value: ["look"]: supported values: "create", "delete", '
            '"deletecollection", "get", "list", "patch", "proxy", "update", "watch"',
            'spec.rules[0].resourceRules[0].namespaces: Invalid value: ["*","n"]: '
            "if '*' is present, must not specify other namespaces",
            'spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: "/a*": '
            "wildcard can only do suffix matching",
            'spec.rules[0].nonResourceRules[0].nonResourceURLs[1]: Invalid value: "b": must start with slash',
        ],
    ),
    (
        FLOW,
        "PriorityLevelConfiguration",
        {"spec": {"type": "Exempt"}},
        ["spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'"],
    ),
    (
        FLOW,
        "PriorityLevelConfiguration",
        {"spec": {"type": "Limited", "limited": QUEUE}},
        [
            "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: "
            "required entropy bits of deckSize 512 and handSize 8 should not be greater than 60",
        ],
    ),
    (
        MIGRATION,
        "StorageVersionMigration",
        {"spec": {"resource": {"group": "apps"}}},
        ["spec.resource.resource: Required value: resource is required to be set"],
    ),
]


@pytest.mark.parametrize(("api_version", "name", "document", "errors"), REFUSED)
def test_what_is_wrong_is_said_with_its_place(
    kind: MakeKind, api_version: str, name: str, document: dict[str, Any], errors: list[str]
) -> None:
    assert kind(api_version, name).errors(document) == errors


UPDATES: list[tuple[str, str, dict[str, Any], dict[str, Any], list[str]]] = [
    (
        "v1",
        "PersistentVolume",
        {"spec": VOLUME},
        {"spec": {**VOLUME, "csi": {**VOLUME["csi"], "controllerExpandSecretRef": {"name": "s", "namespace": "n"}}}},  # type: ignore[dict-item]
        [],
    ),
    (
        "v1",
        "PersistentVolumeClaim",
        {"spec": {**CLAIM, "volumeAttributesClassName": "a"}},
        {"spec": CLAIM},
        [],
    ),
    (
        "v1",
        "PersistentVolumeClaim",
        {"spec": CLAIM},
        {"spec": {"accessModes": ["ReadWriteOnce"]}},
        [
            "spec.resources[storage]: Required value",
            "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity",
        ],
    ),
    (
        "v1",
        "PersistentVolumeClaim",
        {"spec": CLAIM, **annotated(BETA_CLASS, "a")},
        {"spec": CLAIM},
        [f'metadata.annotations.{BETA_CLASS}: Invalid value: "": {IMMUTABLE}'],
    ),
    (
        "v1",
        "PersistentVolumeClaim",
        {"spec": CLAIM, **annotated(BETA_CLASS, "a")},
        {"spec": {**CLAIM, "storageClassName": "a"}},
        [],
    ),
    (
        "v1",
        "ResourceQuota",
        {"spec": {"scopes": ["Terminating"]}},
        {"spec": {"scopes": ["Terminating", "Terminating"]}},
        [],
    ),
    (
        "v1",
        "Node",
        {"spec": {"providerID": "p", "podCIDR": "10.0.0.0/24"}},
        {"spec": {"podCIDR": "x", "podCIDRs": ["10.0.0.0/24"]}},
        [
            'spec.podCIDRs[0]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)',
            'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid',
            "spec.providerID: Invalid value: null: field cannot be cleared once set",
        ],
    ),
    (
        "events.k8s.io/v1",
        "Event",
        EVENT,
        {**EVENT, "action": "", "regarding": {"kind": "Pod", "namespace": "ns"}, "reportingInstance": "a" * 129},
        [
            'reportingInstance: Invalid value: "": can have at most 128 characters',
            "action: Required value",
            f'involvedObject: Invalid value: {{"kind":"Pod","namespace":"ns"}}: {IMMUTABLE}',
            f'action: Invalid value: "": {IMMUTABLE}',
            f'reportingInstance: Invalid value: "{"a" * 129}": {IMMUTABLE}',
        ],
    ),
    (
        STORAGE,
        "StorageClass",
        {"provisioner": "a"},
        {"provisioner": "b"},
        [f"provisioner: Invalid value: null: {IMMUTABLE}"],
    ),
]


@pytest.mark.parametrize(("api_version", "name", "before", "after", "errors"), UPDATES)
def test_what_may_change(
    kind: MakeKind, api_version: str, name: str, before: dict[str, Any], after: dict[str, Any], errors: list[str]
) -> None:
    subject = kind(api_version, name)
    old = subject.created(before)
    assert [error for error in subject.update_errors(after, old) if not error.startswith("spec: ")] == errors


def test_what_a_migration_is_for_never_changes(kind: MakeKind) -> None:
    subject = kind(MIGRATION, "StorageVersionMigration")
    old = subject.created({"spec": {"resource": {"resource": "a"}}})
    [error] = subject.update_errors({"spec": {"resource": {"resource": "b"}}}, old)
    assert error.startswith("spec: Invalid value: ")
    assert error.endswith(f": {IMMUTABLE}")


TRUE = {"status": "True", "reason": "R", "lastTransitionTime": "2026-01-01T00:00:00Z", "message": ""}

STATUSES: list[tuple[str, str, dict[str, Any], dict[str, Any], list[str]]] = [
    (
        "policy/v1",
        "PodDisruptionBudget",
        {},
        {"conditions": [{**TRUE, "type": "A", "reason": "", "status": "Maybe"}]},
        [
            'status.conditions[0].status: Unsupported value: "Maybe": supported values: "False", "True", "Unknown"',
            "status.conditions[0].reason: Required value",
        ],
    ),
    (
        MIGRATION,
        "StorageVersionMigration",
        {"spec": {"resource": {"resource": "a"}}},
        {"resourceVersion": "x"},
        [
            'status.resourceVersion: Invalid value: "x": resource version is not well formed: x',
        ],
    ),
    (
        "v1",
        "PersistentVolumeClaim",
        {"spec": CLAIM},
        {"allocatedResourceStatuses": {"cpu": "NodeResizePending"}},
        ['status.allocatedResourceStatuses: Unsupported value: "cpu": supported values: "storage"'],
    ),
    (
        "v1",
        "PersistentVolumeClaim",
        {"spec": CLAIM},
        {"capacity": {"storage": "-1"}},
        ["status.capacity[storage]: Invalid value: -1: must be a valid resource quantity"],
    ),
    (
        "v1",
        "Node",
        {"spec": {}},
        {"declaredFeatures": ["B", "A", "A", "x"]},
        [
            'status.declaredFeatures[1]: Invalid value: "A": list must be sorted alphabetically',
            'status.declaredFeatures[2]: Duplicate value: "A"',
            'status.declaredFeatures[3]: Invalid value: "x": invalid feature name "x": must start with an '
            "UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or "
            "MyFeature/mySubFeature), and contain only alphanumeric characters and slashes",
        ],
    ),
]


@pytest.mark.parametrize(("api_version", "name", "document", "status", "errors"), STATUSES)
def test_what_a_status_may_not_say(
    kind: MakeKind, api_version: str, name: str, document: dict[str, Any], status: dict[str, Any], errors: list[str]
) -> None:
    subject = kind(api_version, name)
    old = subject.created(document)
    assert subject.status_errors({**old, "status": {**(old.get("status") or {}), **status}}, old) == errors


WARNED: list[tuple[str, str, dict[str, Any], list[str]]] = [
    (
        "v1",
        "PersistentVolumeClaim",
        {"spec": CLAIM, **annotated(BETA_CLASS, "c")},
        [f'metadata.annotations[{BETA_CLASS}]: deprecated since v1.8; use "storageClassName" attribute instead'],
    ),
    (
        "v1",
        "PersistentVolume",
        {"spec": {**VOLUME, "glusterfs": {"endpoints": "e", "path": "p"}}},
        ["spec.glusterfs: deprecated in v1.25, non-functional in v1.26+"],
    ),
    (
        "v1",
        "ServiceAccount",
        annotated("kubernetes.io/enforce-mountable-secrets", "true"),
        [
            "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; "
            "prefer separate namespaces to isolate access to mounted secrets",
        ],
    ),
    (
        "v1",
        "Service",
        {"spec": {"ports": PORTS, "clusterIP": "1:0::1", "clusterIPs": ["1:0::1"]}},
        ['spec.clusterIPs[0]: IPv6 address "1:0::1" should be in RFC 5952 canonical format ("1::1")'],
    ),
]


@pytest.mark.parametrize(("api_version", "name", "document", "warnings"), WARNED)
def test_warnings(kind: MakeKind, api_version: str, name: str, document: dict[str, Any], warnings: list[str]) -> None:
    subject = kind(api_version, name)
    assert list(subject.strategy.warnings(subject.created(document))) == warnings


def pod_certificate(**spec: Any) -> dict[str, Any]:
    key = ed25519.Ed25519PrivateKey.generate()
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, None)
    return {
        "spec": {
            "signerName": "example.com/s",
            "podName": "p",
            "podUID": "1",
            "serviceAccountName": "s",
            "serviceAccountUID": "2",
            "nodeName": "n",
            "nodeUID": "3",
            "stubPKCS10Request": base64.b64encode(request.public_bytes(Encoding.DER)).decode(),
            **spec,
        }
    }


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        ({}, []),
        ({"podUID": ""}, ['spec.podUID: Invalid value: "": must not be empty']),
        (
            {"signerName": "kubernetes.io/s", "maxExpirationSeconds": 86401},
            ["spec.maxExpirationSeconds: Invalid value: 86401: must be in the range [3600, 86400]"],
        ),
        ({"stubPKCS10Request": ""}, ["spec.stubPKCS10Request: Required value"]),
    ],
)
def test_requests_for_certificates_of_pods(kind: MakeKind, spec: dict[str, Any], errors: list[str]) -> None:
    assert kind(CERTIFICATES, "PodCertificateRequest").errors(pod_certificate(**spec)) == errors


def test_an_answer_to_a_pods_certificate_request_is_final(kind: MakeKind) -> None:
    requests = kind(CERTIFICATES, "PodCertificateRequest")
    old = requests.created(pod_certificate())
    denied = {**old, "status": {"conditions": [{**TRUE, "type": "Denied"}]}}
    assert requests.status_errors(denied, old) == []
    again = {**old, "status": {"conditions": [{**TRUE, "type": "Failed"}]}}
    assert [error.partition(":")[0] for error in requests.status_errors(again, denied)] == ["status"]
    assert [error.partition(":")[0] for error in requests.update_errors(pod_certificate(podName="q"), old)] == ["spec"]


KEPT: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("v1", "ServiceAccount", {"secrets": [{"name": "s", "uid": "u", "kind": "Secret"}]}, {"secrets": [{"name": "s"}]}),
    ("v1", "Node", {"spec": {"configSource": {}, "podPreemptionPolicy": {}}}, {"spec": {}}),
    ("v1", "Node", {"spec": {"podCIDR": "a", "podCIDRs": ["b", "c"]}}, {"spec": {"podCIDR": "a", "podCIDRs": ["a"]}}),
]


@pytest.mark.parametrize(("api_version", "name", "document", "kept"), KEPT)
def test_what_is_kept_of_what_a_client_sends(
    kind: MakeKind, api_version: str, name: str, document: dict[str, Any], kept: dict[str, Any]
) -> None:
    made = kind(api_version, name).created(document)
    assert {field: made[field] for field in kept} == kept


def test_what_says_nothing_is_left_out(kind: MakeKind) -> None:
    column = {"name": "A", "type": "string", "jsonPath": ".a", "priority": 0}
    version = {"name": "v1", "served": True, "storage": True, "additionalPrinterColumns": [column]}
    definition = kind("apiextensions.k8s.io/v1", "CustomResourceDefinition").decoded(
        {"metadata": {"name": "a.b"}, "spec": {"preserveUnknownFields": False, "versions": [version]}}
    )
    assert "preserveUnknownFields" not in definition["spec"]
    assert "priority" not in definition["spec"]["versions"][0]["additionalPrinterColumns"][0]
    account = kind("v1", "ServiceAccount").decoded({"metadata": {"name": "a"}, "imagePullSecrets": [{"name": ""}]})
    assert account["imagePullSecrets"] == [{}]


def test_what_a_secret_holds_instead_of_json_is_told_to_the_character(kind: MakeKind) -> None:
    def refused(text: bytes) -> list[str]:
        data = {".dockerconfigjson": base64.b64encode(text).decode()}
        document = {
            "metadata": {"name": "s", "namespace": "ns"},
            "type": "kubernetes.io/dockerconfigjson",
            "data": data,
        }
        return list(kind("v1", "Secret").errors(document))

    place = 'data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": '
    assert refused(b"not json") == [f"{place}invalid character 'o' in literal null (expecting 'u')"]
    assert refused(b"[]") == [f"{place}json: cannot unmarshal array into Go value of type map[string]interface {{}}"]


def test_a_selector_of_roles_that_is_none_is_told_as_a_whole_too(kind: MakeKind) -> None:
    selector = {"matchExpressions": [{"key": "k", "operator": "In"}]}
    roles = kind("rbac.authorization.k8s.io/v1", "ClusterRole")
    path = "aggregationRule.clusterRoleSelectors[0]"
    assert roles.errors({"aggregationRule": {"clusterRoleSelectors": [selector]}}) == [
        f"{path}.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
        f'{path}: Invalid value: {{"matchExpressions":[{{"key":"k","operator":"In"}}]}}: invalid label selector.',
    ]

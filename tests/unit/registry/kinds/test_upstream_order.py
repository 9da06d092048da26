"""Which fields are refused and in what order: as upstream's own strategies (v1.37.2) answer the same documents.

The errors of its generated checks come after all others; what is said twice is one cause.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kube_core.meta.status import invalid

MakeKind = Callable[..., Any]

REFUSED: list[tuple[str, str, dict[str, Any], list[str]]] = [
    (
        "resource.k8s.io/v1",
        "DeviceClass",
        {"spec": {"selectors": [{}], "config": [{"opaque": {"driver": "Bad_", "parameters": {}}}]}},
        ["spec.selectors[0].cel", "spec.config[0].opaque.driver"],
    ),
    (
        "resource.k8s.io/v1",
        "ResourceClaim",
        {
            "spec": {
                "devices": {
                    "requests": [
                        {"name": "a"},
                        {"name": "a", "exactly": {"deviceClassName": "", "allocationMode": "x"}},
                    ],
                    "constraints": [{"requests": ["b"]}],
                }
            }
        },
        [
            "spec.devices.requests[0]",
            "spec.devices.requests[1].exactly.deviceClassName",
            "spec.devices.constraints[0].requests[0]",
            "spec.devices.constraints[0]",
            "spec.devices.requests[1]",
            "spec.devices.requests[1].exactly.allocationMode",
        ],
    ),
    (
        "resource.k8s.io/v1",
        "ResourceSlice",
        {
            "spec": {
                "driver": "d",
                "pool": {"name": "", "resourceSliceCount": 0, "generation": -1},
                "nodeName": "n",
                "allNodes": True,
                "devices": [{"name": "x"}, {"name": "x"}],
            }
        },
        ["spec.pool.name", "spec.pool.resourceSliceCount", "spec.pool.generation", "spec", "spec.devices[1]"],
    ),
    (
        "networking.k8s.io/v1",
        "NetworkPolicy",
        {
            "spec": {
                "podSelector": {},
                "policyTypes": ["Ingress", "x"],
                "ingress": [
                    {
                        "from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/8"]}, "podSelector": {}}],
                        "ports": [{"endPort": 1}],
                    }
                ],
            }
        },
        [
            "spec.ingress[0].ports[0].endPort",
            "spec.ingress[0].from[0].ipBlock.except[0]",
            "spec.ingress[0].from[0]",
            "spec.policyTypes[1]",
        ],
    ),
    (
        "certificates.k8s.io/v1",
        "ClusterTrustBundle",
        {"spec": {"signerName": "example.com/a", "trustBundle": "x"}},
        ["metadata.name", "spec.trustBundle"],
    ),
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicy",
        {
            "spec": {
                "failurePolicy": "x",
                "paramKind": {"apiVersion": "", "kind": ""},
                "matchConstraints": {},
                "validations": [{"expression": ""}, {"expression": "true", "reason": "x"}],
                "auditAnnotations": [{"key": "/", "valueExpression": ""}],
            }
        },
        [
            "spec.failurePolicy",
            "spec.paramKind.apiVersion",
            "spec.paramKind.kind",
            "spec.matchConstraints.resourceRules",
            "spec.validations[0].expression",
            "spec.validations[1].reason",
            "spec.auditAnnotations[0].key",
            "spec.auditAnnotations[0].valueExpression",
        ],
    ),
    (
        "admissionregistration.k8s.io/v1",
        "MutatingAdmissionPolicy",
        {
            "spec": {
                "matchConstraints": {
                    "resourceRules": [
                        {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["pods"], "operations": ["DELETE"]}
                    ]
                },
                "mutations": [{"patchType": "JSONPatch"}],
                "reinvocationPolicy": "x",
            }
        },
        ["spec.matchConstraints.resourceRules.operations", "spec.mutations[0].jsonPatch", "spec.reinvocationPolicy"],
    ),
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicyBinding",
        {"spec": {"policyName": "", "validationActions": ["Deny", "Warn", "Deny"]}},
        ["spec.validationActions[2]", "spec.validationActions", "spec.policyName"],
    ),
    (
        "admissionregistration.k8s.io/v1",
        "MutatingAdmissionPolicyBinding",
        {
            "spec": {
                "policyName": "p",
                "matchResources": {
                    "resourceRules": [
                        {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["pods"], "operations": ["DELETE"]}
                    ]
                },
            }
        },
        ["spec.matchResources.resourceRules.operations"],
    ),
    (
        "flowcontrol.apiserver.k8s.io/v1",
        "PriorityLevelConfiguration",
        {"spec": {"type": "x", "limited": {"limitResponse": {"type": "y"}}}},
        ["spec.type", "spec.limited"],
    ),
    (
        "flowcontrol.apiserver.k8s.io/v1",
        "PriorityLevelConfiguration",
        {
            "spec": {
                "type": "Limited",
                "exempt": {},
                "limited": {"limitResponse": {"type": "Queue"}, "lendablePercent": 101},
            }
        },
        ["spec.limited.lendablePercent", "spec.exempt", "spec.limited.limitResponse.queuing"],
    ),
    (
        "storage.k8s.io/v1",
        "VolumeAttachment",
        {"spec": {"attacher": "Bad_", "nodeName": "", "source": {}}},
        ["spec.source", "spec.nodeName", "spec.attacher"],
    ),
    (
        "storage.k8s.io/v1",
        "CSINode",
        {"spec": {"drivers": [{"name": "d", "nodeID": "n", "topologyKeys": ["k", "k", "k"]}]}},
        ["spec.drivers[0]"],
    ),
    (
        "v1",
        "Pod",
        {
            "spec": {
                "volumes": [{"name": "v", "gcePersistentDisk": {}, "downwardAPI": {}, "cephfs": {}}],
                "containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/m"}]}],
            }
        },
        [
            "spec.volumes[0].persistentDisk.pdName",
            "spec.volumes[0].cephFS",
            "spec.volumes[0].downwarAPI",
            "spec.containers[0].volumeMounts[0].name",
        ],
    ),
    (
        "v1",
        "Pod",
        {
            "spec": {
                "volumes": [
                    {
                        "name": "v",
                        "projected": {
                            "sources": [
                                {"configMap": {}, "secret": {"name": "s"}},
                                {"serviceAccountToken": {}},
                                {"clusterTrustBundle": {"name": "", "labelSelector": {}}},
                            ]
                        },
                    }
                ],
                "containers": [{"name": "c", "image": "i"}],
            }
        },
        [
            "spec.volumes[0].projected.sources[0].configMap.name",
            "spec.volumes[0].projected.sources[0]",
            "spec.volumes[0].projected.path",
            "spec.volumes[0].projected.sources[2].clusterTrustBundle.name",
            "spec.volumes[0].projected.sources[2].clusterTrustBundle.name",
            "spec.volumes[0].projected.sources[2].clusterTrustBundle.labelSelector",
            "spec.volumes[0].projected.sources[2].clusterTrustBundle.path",
            "spec.volumes[0].projected.sources[1].serviceAccountToken",
        ],
    ),
    (
        "v1",
        "Pod",
        {
            "spec": {
                "containers": [
                    {
                        "name": "c",
                        "image": "i",
                        "resizePolicy": [{}],
                        "lifecycle": {"preStop": {"exec": {}, "httpGet": {"port": 1}}},
                        "env": [
                            {"name": "e", "valueFrom": {"fileKeyRef": {"key": "k", "path": "../p", "volumeName": "v"}}},
                            {
                                "name": "f",
                                "valueFrom": {"fieldRef": {"apiVersion": "v2", "fieldPath": "metadata.name"}},
                            },
                        ],
                    }
                ]
            }
        },
        [
            "spec.containers[0].env[0].valueFrom.fileKeyRef.path",
            "spec.containers[0].env[1].valueFrom.fieldRef.fieldPath",
            "spec.containers[0].resizePolicy",
            "spec.containers[0].lifecycle.preStop.exec.command",
            "spec.containers[0].lifecycle.preStop.httpGet",
            "spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName",
        ],
    ),
    (
        "v1",
        "Pod",
        {
            "spec": {
                "containers": [{"name": "c", "image": "i"}],
                "hostnameOverride": "",
                "os": {},
                "preemptionPolicy": "",
                "dnsConfig": {"searches": ["_a.b_"]},
            }
        },
        ["spec.dnsConfig.searches[0]", "spec.hostnameOverride", "spec.preemptionPolicy", "spec.os.name"],
    ),
    (
        "v1",
        "Pod",
        {
            "spec": {
                "containers": [{"name": "c", "image": "i"}],
                "hostnameOverride": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                "setHostnameAsFQDN": True,
            }
        },
        ["spec.hostnameOverride", "spec.hostnameOverride", "spec.hostnameOverride"],
    ),
    (
        "v1",
        "PodTemplate",
        {"template": {"spec": {"containers": [{"name": "c", "image": "i"}], "ephemeralContainers": [{}]}}},
        [
            "template.spec.ephemeralContainers[0].name",
            "template.spec.ephemeralContainers[0].image",
            "template.spec.ephemeralContainers",
        ],
    ),
]


@pytest.mark.parametrize(("api_version", "name", "document", "refused"), REFUSED)
def test_the_fields_refused_and_their_order(
    kind: MakeKind, api_version: str, name: str, document: dict[str, Any], refused: list[str]
) -> None:
    subject = kind(api_version, name)
    found = list(subject.strategy.validate(subject.created(document)))
    details = invalid(subject.strategy.group_kind, "a", found, once=subject.strategy.says_once).details
    assert details is not None
    assert [cause["field"] for cause in details["causes"]] == refused


def test_what_no_gate_lets_in_is_dropped(kind: MakeKind) -> None:
    subject = kind("v1", "Pod")
    volumes = [
        {"name": "a", "emptyDir": {"mode": 0}},
        {"name": "b", "secret": {"secretName": "s", "defaultUser": 1, "items": [{"key": "k", "path": "p", "user": 1}]}},
        {"name": "c", "projected": {"sources": [{"serviceAccountToken": {"path": "p", "user": 1}}]}},
    ]
    mounts = [{"name": "a", "mountPath": "/a", "bindMountOptions": ["x"]}]
    container = {"name": "c", "image": "i", "volumeMounts": mounts}
    spec = subject.created({"spec": {"volumes": volumes, "containers": [container]}})["spec"]
    assert spec["volumes"][0]["emptyDir"] == {}
    assert "defaultUser" not in spec["volumes"][1]["secret"]
    assert spec["volumes"][1]["secret"]["items"] == [{"key": "k", "path": "p"}]
    token = spec["volumes"][2]["projected"]["sources"][0]["serviceAccountToken"]
    assert token == {"path": "p", "expirationSeconds": 3600}
    assert spec["containers"][0]["volumeMounts"] == [{"name": "a", "mountPath": "/a"}]

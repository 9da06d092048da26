"""Rules on pods that depend on more than one field: spreading, affinity, systems, profiles, resources, and warnings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kube_core.meta.fields import Path
from kube_core.registry.kinds.pods.volumes import volumes

MakeKind = Callable[..., Any]

CONTAINER = {"name": "c", "image": "i:1"}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
SELECTOR = {"matchLabels": {"app": "a"}}
SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": SELECTOR}
LABELS = {"name": "a", "namespace": "ns", "labels": {"app": "a", "hash": "1"}}


def pod(spec: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None, **container: Any) -> dict[str, Any]:
    document: dict[str, Any] = {"spec": {"containers": [{**CONTAINER, **container}], **(spec or {})}}
    return document | ({"metadata": metadata} if metadata else {})


def anti_affinity(**term: Any) -> dict[str, Any]:
    return {"affinity": {"podAntiAffinity": {REQUIRED: [{"topologyKey": "zone", **term}]}}}


@pytest.fixture
def pods(kind: MakeKind) -> Any:
    return kind("v1", "Pod")


REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    (
        pod({"topologySpreadConstraints": [{**SPREAD, "maxSkew": 0, "minDomains": 0}]}),
        [
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
            "spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: must be greater than zero",
        ],
    ),
    (
        pod({"topologySpreadConstraints": [SPREAD, SPREAD]}),
        [
            "spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: "
            'Duplicate value: "{zone, DoNotSchedule}"',
        ],
    ),
    (
        pod({"topologySpreadConstraints": [{**SPREAD, "matchLabelKeys": ["app"]}]}, LABELS),
        [
            'spec.topologySpreadConstraints[0][0]: Invalid value: "app": '
            "exists in both matchLabelKeys and labelSelector",
        ],
    ),
    (
        pod({"topologySpreadConstraints": [{**SPREAD, "matchLabelKeys": ["app"], "labelSelector": None}]}),
        [
            "spec.topologySpreadConstraints[0].matchLabelKeys: "
            "Forbidden: must not be specified when labelSelector is not set",
        ],
    ),
    (
        pod(anti_affinity(labelSelector=SELECTOR, matchLabelKeys=["hash"], mismatchLabelKeys=["hash"]), LABELS),
        [
            f"spec.affinity.podAntiAffinity.{REQUIRED}[0][0]: "
            'Invalid value: "hash": exists in both matchLabelKeys and labelSelector',
            f"spec.affinity.podAntiAffinity.{REQUIRED}[0].matchLabelKeys[0]: "
            'Invalid value: "hash": exists in both matchLabelKeys and mismatchLabelKeys',
        ],
    ),
    (
        pod({"hostNetwork": True}, ports=[{"containerPort": 80, "hostPort": 81}]),
        [
            "spec.containers[0].ports[0].hostPort: "
            "Invalid value: 81: must match `containerPort` when `hostNetwork` is true",
        ],
    ),
    (
        pod({"os": {"name": "windows"}, "hostPID": True, "securityContext": {"runAsUser": 1}}),
        [
            "spec.hostPID: Forbidden: cannot be set for a windows pod",
            "spec.securityContext.runAsUser: Forbidden: cannot be set for a windows pod",
        ],
    ),
    (
        pod({"os": {"name": "linux"}}, securityContext={"windowsOptions": {"runAsUserName": "u"}}),
        [
            "spec.containers[0].securityContext.windowsOptions: "
            "Forbidden: windows options cannot be set for a linux pod",
        ],
    ),
    (pod({"os": {"name": "plan9"}}), ['spec.os: Unsupported value: "plan9": supported values: "linux", "windows"']),
    (
        pod({"restartPolicy": "Never"}, resizePolicy=[{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]),
        [
            "spec.containers[0].resizePolicy: "
            "Invalid value: \"RestartContainer\": must be 'NotRequired' when pod `restartPolicy` is 'Never'",
        ],
    ),
    (
        pod({"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}}, resources={"limits": {"cpu": "3"}}),
        [
            'spec.resources.requests[cpu]: Invalid value: "1": '
            "must be greater than or equal to aggregate container requests of 3",
            'spec.resources.containers[0][cpu].limits: Invalid value: "3": '
            "must be less than or equal to pod limits of 2",
        ],
    ),
    (
        pod(resources={"limits": {"memory": "1Gi", "hugepages-2Mi": "3Mi"}}),
        [
            f'spec.containers[0].resources.{kind}[hugepages-2Mi]: Invalid value: "3Mi": '
            "3Mi is not positive integer multiple of hugepages-2Mi"
            for kind in ("limits", "requests")
        ],
    ),
    (
        pod({"securityContext": {"sysctls": [{"name": "a..b", "value": "1"}]}}),
        [
            'spec.securityContext.sysctls[0].name: Invalid value: "a..b": must have at most 253 characters and match '
            r"regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
        ],
    ),
    (
        pod(env=[{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "2"}}}]),
        [
            'spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": '
            "only divisor's values 1m and 1 are supported with the cpu resource",
        ],
    ),
    (
        pod(None, {"name": "a", "namespace": "ns", "annotations": {"controller.kubernetes.io/pod-deletion-cost": "x"}}),
        [
            "metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: "
            'Invalid value: "x": must be a 32bit integer',
        ],
    ),
    (
        pod(
            {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}},
            {
                "name": "a",
                "namespace": "ns",
                "annotations": {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"},
            },
        ),
        [
            "spec.securityContext.seccompProfile.type: Forbidden: seccomp type in annotation and field must match",
        ],
    ),
]


@pytest.mark.parametrize(("document", "errors"), REFUSED)
def test_what_is_wrong_is_said_with_its_place(pods: Any, document: dict[str, Any], errors: list[str]) -> None:
    assert pods.errors(document) == errors


@pytest.mark.parametrize(
    "document",
    [
        pod({"topologySpreadConstraints": [{**SPREAD, "matchLabelKeys": ["hash"]}]}, LABELS),
        pod(anti_affinity(labelSelector=SELECTOR, mismatchLabelKeys=["app"]), LABELS),
        pod({"imagePullSecrets": [{"name": ""}]}),
        pod({"affinity": {"nodeAffinity": {PREFERRED: [
            {"weight": 1, "preference": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["no label"]}]}}
        ]}}}),
    ],
)  # fmt: skip
def test_what_is_allowed(pods: Any, document: dict[str, Any]) -> None:
    assert pods.errors(document) == []


def test_a_new_pods_own_labels_go_into_its_selectors(pods: Any) -> None:
    spec = {
        "topologySpreadConstraints": [{**SPREAD, "matchLabelKeys": ["hash", "none"]}],
        **anti_affinity(labelSelector=SELECTOR, mismatchLabelKeys=["hash"]),
    }
    created = pods.created(pod(spec, LABELS))["spec"]
    made = {"key": "hash", "values": ["1"]}
    spread = created["topologySpreadConstraints"][0]["labelSelector"]
    assert spread == {**SELECTOR, "matchExpressions": [{**made, "operator": "In"}]}
    term = created["affinity"]["podAntiAffinity"][REQUIRED][0]["labelSelector"]
    assert term == {**SELECTOR, "matchExpressions": [{**made, "operator": "NotIn"}]}


ANNOTATED = {"name": "a", "namespace": "ns", "annotations": {"scheduler.alpha.kubernetes.io/critical-pod": ""}}
OLD_OS = {"matchExpressions": [{"key": "beta.kubernetes.io/os", "operator": "In", "values": ["x"]}]}
HOST_PORTS = [{"containerPort": 1}, {"containerPort": 1, "hostPort": 2}, {"containerPort": 1}]

CERTIFICATES: list[tuple[dict[str, Any], list[str]]] = [
    ({"signerName": "example.com/a", "keyType": "ED25519", "keyPath": "key"}, []),
    (
        {"signerName": "a", "keyType": "RSA1", "keyPath": "../key", "maxExpirationSeconds": 3599},
        [
            'signerName: Invalid value: "a": must be a fully qualified domain and path of the form '
            "'example.com/signer-name'",
            'keyType: Unsupported value: "RSA1": supported values: "RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", '
            '"ECDSAP521", "ED25519"',
            "maxExpirationSeconds: Invalid value: 3599: if provided, maxExpirationSeconds must be >= 3600",
            "keyPath: Invalid value: \"../key\": must not contain '..'",
        ],
    ),
    (
        {"signerName": "kubernetes.io/a", "keyType": "ED25519", "keyPath": "key", "maxExpirationSeconds": 86401},
        ["maxExpirationSeconds: Invalid value: 86401: if provided, maxExpirationSeconds must be <= 86400"],
    ),
    (
        {"signerName": "example.com/a", "keyType": "ED25519", "keyPath": "key", "maxExpirationSeconds": 7862401},
        ["maxExpirationSeconds: Invalid value: 7862401: if provided, maxExpirationSeconds must be <= 7862400"],
    ),
]


@pytest.mark.parametrize(("certificate", "errors"), CERTIFICATES)
def test_a_pods_certificate_is_of_a_signer_and_a_kind_and_a_time(
    certificate: dict[str, Any], errors: list[str]
) -> None:
    volume = {"name": "v", "projected": {"sources": [{"podCertificate": certificate}]}}
    where = "spec.volumes[0].projected.sources[0].podCertificate."
    assert [str(each) for each in volumes(Path("spec").child("volumes"), [volume], "p", {})] == [
        where + each for each in errors
    ]


WARNED: list[tuple[dict[str, Any], list[str]]] = [
    (
        pod(metadata={"name": "a.b", "namespace": "ns"}),
        [
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label "
            "is recommended: [must not contain dots]",
        ],
    ),
    (
        pod(metadata=ANNOTATED),
        [
            "metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: "
            'non-functional in v1.16+; use the "priorityClassName" field instead',
        ],
    ),
    (
        pod({"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [OLD_OS]}}}}),
        [
            f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0].key: "
            'beta.kubernetes.io/os is deprecated since v1.14; use "kubernetes.io/os" instead',
        ],
    ),
    (
        pod({"topologySpreadConstraints": [{**SPREAD, "labelSelector": None}]}),
        ["spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod"],
    ),
    (
        pod(anti_affinity()),
        [
            f"spec.affinity.podAntiAffinity.{REQUIRED}[0].labelSelector: "
            "a null labelSelector results in matching no pod",
        ],
    ),
    (
        pod({"imagePullSecrets": [{"name": "s"}, {"name": "s"}], "hostAliases": [{"ip": "1::1"}, {"ip": "1::1"}]}),
        [
            'spec.hostAliases[1].ip: duplicate ip "1::1"',
            'spec.imagePullSecrets[1].name: duplicate name "s"',
        ],
    ),
    (
        pod({"hostAliases": [{"ip": "1:0::1"}]}),
        ['spec.hostAliases[0].ip: IPv6 address "1:0::1" should be in RFC 5952 canonical format ("1::1")'],
    ),
    (
        pod(ports=HOST_PORTS),
        [
            "spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]",
            "spec.containers[0].ports[2]: duplicate port definition with spec.containers[0].ports[0]",
            "spec.containers[0].ports[2]: overlapping port definition with spec.containers[0].ports[1]",
        ],
    ),
    (
        pod({"volumes": [{"name": "v", "gitRepo": {"repository": "r"}}]}),
        ["spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+"],
    ),
    (
        pod({"volumes": [{"name": "v", "projected": {"sources": [
            {"configMap": {"name": "m", "items": [{"key": "k", "path": "a"}]}},
            {"serviceAccountToken": {"path": "a/b"}},
        ]}}]}),
        [
            'volume "v" (Projected): overlapping paths: "a/b" (ServiceAccountToken) with "a" (ConfigMap "m")',
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("document", "warnings"), WARNED)
def test_warnings_of_new_pods(pods: Any, document: dict[str, Any], warnings: list[str]) -> None:
    created = pods.created(document)
    assert list(pods.strategy.warnings(created)) == warnings
    assert list(pods.strategy.warnings(created, created)) == []


def test_a_template_is_warned_of_where_it_is(kind: MakeKind) -> None:
    deployments = kind("apps/v1", "Deployment")
    template = {"metadata": {"labels": {"app": "a"}, **{"annotations": ANNOTATED["annotations"]}}, **pod()}
    created = deployments.created({"metadata": {"name": "a.b", "namespace": "ns"}, "spec": {"template": template}})
    assert list(deployments.strategy.warnings(created)) == [
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label "
        "is recommended: [must not contain dots]",
        "spec.template.metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: "
        'non-functional in v1.16+; use the "priorityClassName" field instead',
    ]


STATUSES: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.2"}]},
        ['status.hostIPs[0].ip: Invalid value: "10.0.0.2": must be equal to `hostIP`'],
    ),
    (
        {"resourceClaimStatuses": [{"name": "x"}]},
        [
            'status.resourceClaimStatuses[0].name: Invalid value: "x": '
            "must match the name of an entry in `spec.resourceClaims`",
        ],
    ),
    (
        {"podIPs": [{"ip": ""}], "observedGeneration": -1, "conditions": [{"type": "Ready", "observedGeneration": -1}]},
        [
            "status.conditions[0].observedGeneration: Invalid value: -1: must be a non-negative integer",
            'status.podIPs[0]: Invalid value: "": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
            'status.podIPs: Invalid value: [{"ip":""}]: podIP and podIPs must either both be set or both be unset',
            "status.observedGeneration: Invalid value: -1: must be a non-negative integer",
        ],
    ),
    (
        {"extendedResourceClaimStatus": {"requestMappings": [{"containerName": "c", "resourceName": "r"}]}},
        [
            'status.extendedResourceClaimStatus.requestMappings[0].resourceName: Invalid value: "r": must match the '
            "extended resource name of an entry in spec.initContainers.resources.requests or "
            "spec.containers.resources.requests",
            'status.extendedResourceClaimStatus.requestName: Invalid value: "": a lowercase RFC 1123 label must '
            "consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric "
            "character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            "status.extendedResourceClaimStatus.resourceClaimName: Required value",
        ],
    ),
    (
        {"nominatedNodeName": "m"},
        [
            "status.nominatedNodeName: Forbidden: may not be set on pods that are already bound to a node",
        ],
    ),
]


@pytest.mark.parametrize(("status", "errors"), STATUSES)
def test_what_a_status_may_not_say(pods: Any, status: dict[str, Any], errors: list[str]) -> None:
    old = pods.created(pod({"nodeName": "n"}))
    new = {**old, "status": {**old["status"], **status}}
    assert pods.status_errors(new, old) == errors


def resized(pods: Any, old: dict[str, Any], **changes: Any) -> list[str]:
    new = pods.decoded(old | {"spec": {**old["spec"], **changes}})
    pods.strategy.prepare_for_subresource_update("resize", new, old)
    return [str(error) for error in pods.strategy.validate_subresource_update("resize", new, old)]


SMALL, LARGE = {"requests": {"cpu": "1"}}, {"requests": {"cpu": "2"}}
INITIAL = [{"name": "i", "image": "i:1", "resources": SMALL}]
RESIZES: list[tuple[dict[str, Any], list[str]]] = [
    ({"containers": [{**CONTAINER, "resources": LARGE}]}, []),
    (
        {"containers": [{**CONTAINER, "name": "other", "resources": SMALL}]},
        ["spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize"],
    ),
    (
        {"containers": [{**CONTAINER, "resources": SMALL}, {**CONTAINER, "name": "d"}]},
        ["spec.containers: Forbidden: containers may not be added or removed on resize"],
    ),
    (
        {"initContainers": [{**INITIAL[0], "resources": LARGE}]},
        [],
    ),
    (
        {"initContainers": [{**INITIAL[0], "resources": {"requests": {"cpu": "1", "ephemeral-storage": "1"}}}]},
        [
            "spec.initContainers[0]: Forbidden: only cpu and memory resources for init or sidecar containers are "
            "mutable",
        ],
    ),
    (
        {"initContainers": []},
        ["spec.initContainers: Forbidden: initContainers may not be added or removed on resize"],
    ),
    (
        {"containers": [{**CONTAINER, "resources": SMALL, "resizePolicy": [{"resourceName": "cpu"}]}]},
        [
            "spec.containers[0].resizePolicy: Required value",
            "spec: Forbidden: only cpu and memory resources are mutable",
        ],
    ),
    ({"resources": {}}, ["spec: Forbidden: only cpu and memory resources are mutable"]),
    (
        {"containers": [{**CONTAINER, "resources": {"requests": {"cpu": "1", "ephemeral-storage": "1"}}}]},
        ["spec: Forbidden: only cpu and memory resources are mutable"],
    ),
]


@pytest.mark.parametrize(("changes", "errors"), RESIZES)
def test_only_processor_and_memory_of_the_same_containers_are_resized(
    pods: Any, changes: dict[str, Any], errors: list[str]
) -> None:
    old = pods.created(pod({"initContainers": INITIAL}, resources=SMALL))
    assert resized(pods, old, **changes) == errors


def test_a_pod_whose_node_says_nothing_of_resources_is_not_resized(pods: Any) -> None:
    old = pods.created(pod(resources=SMALL))
    old["status"]["containerStatuses"] = [{"name": "c", "state": {"running": {}}}]
    errors = resized(pods, old, containers=[{**CONTAINER, "resources": LARGE}])
    assert errors == ["spec: Forbidden: Pod running on node without support for resize"]

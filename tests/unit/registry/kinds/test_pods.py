"""Pods: defaults, what is refused, what may change."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from kube_core.api.qos import qos_class
from kube_core.registry.kinds.pods.defaults import pull_policy

MakeKind = Callable[..., Any]


def pod(spec: dict[str, Any] | None = None, **container: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "c", "image": "i:1", **container}], **(spec or {})}}


@pytest.fixture
def pods(kind: MakeKind) -> Any:
    return kind("v1", "Pod")


def test_a_pod_with_one_container_gets_upstreams_defaults(pods: Any) -> None:
    created = pods.created(pod())
    assert created["spec"] == {
        "containers": [
            {
                "name": "c",
                "image": "i:1",
                "resources": {},
                "imagePullPolicy": "IfNotPresent",
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }
        ],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "enableServiceLinks": True,
    }
    assert created["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert created["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("busybox", "Always"),
        ("busybox:latest", "Always"),
        ("busybox:1.2", "IfNotPresent"),
        ("registry:5000/busybox", "Always"),
        ("registry:5000/busybox:1", "IfNotPresent"),
        (f"busybox@sha256:{'0' * 64}", "IfNotPresent"),
        (f"busybox:latest@sha256:{'0' * 64}", "Always"),
        (f"busybox:1.2@sha256:{'0' * 64}", "IfNotPresent"),
        ("example.org/a/b__c/d-e.f", "Always"),
        ("Registry/busybox", "Always"),
        ("[::1]:5000/busybox", "Always"),
        # What is no reference has no tag.
        ("", "IfNotPresent"),
        ("busybox:latest@sha256:0123", "IfNotPresent"),
        ("busybox@sha256:" + "0" * 63, "IfNotPresent"),
        ("Busybox:latest", "IfNotPresent"),
        ("a//b", "IfNotPresent"),
        ("0" * 64, "IfNotPresent"),
        ("a/" + "b" * 256, "IfNotPresent"),
    ],
)
def test_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


def test_probe_hook_and_volume_defaults(pods: Any) -> None:
    created = pods.created(
        pod(
            {
                "volumes": [
                    {"name": "none"},
                    {"name": "s", "secret": {"secretName": "x"}},
                    {"name": "h", "hostPath": {"path": "/x"}},
                    {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
                ]
            },
            livenessProbe={"httpGet": {"port": 80}},
            lifecycle={"preStop": {"httpGet": {"port": "web"}}},
            env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        )
    )
    container, volumes = created["spec"]["containers"][0], created["spec"]["volumes"]
    assert container["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert container["lifecycle"]["preStop"]["httpGet"] == {"port": "web", "path": "/", "scheme": "HTTP"}
    assert container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"
    assert volumes[0] == {"name": "none", "emptyDir": {}}
    assert volumes[1]["secret"]["defaultMode"] == 420
    assert volumes[2]["hostPath"]["type"] == ""
    assert volumes[3]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"] == 3600


def test_requests_default_to_limits_and_decide_the_quality_of_service(pods: Any) -> None:
    created = pods.created(pod(resources={"limits": {"cpu": "0.5", "memory": "1Gi"}}))
    assert created["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}
    assert created["status"]["qosClass"] == "Guaranteed"


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "0"}}, "BestEffort"),
        ({"requests": {"example.org/gpu": "1"}}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1"}, "requests": {"cpu": "500m", "memory": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Ki"}, "requests": {"cpu": "1", "memory": "1024"}}, "Guaranteed"),
    ],
)
def test_quality_of_service(resources: dict[str, Any], expected: str) -> None:
    assert qos_class({"containers": [{"resources": resources}]}) == expected


def test_host_network_makes_container_ports_host_ports(pods: Any) -> None:
    created = pods.created(pod({"hostNetwork": True}, ports=[{"containerPort": 80}]))
    assert created["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]


def test_service_account_has_two_names_kept_alike(pods: Any) -> None:
    created = pods.created(pod({"serviceAccount": "robot"}))
    assert created["spec"]["serviceAccountName"] == created["spec"]["serviceAccount"] == "robot"


def test_gated_pod_says_so(pods: Any) -> None:
    created = pods.created(pod({"schedulingGates": [{"name": "example.org/wait"}]}))
    assert created["status"]["conditions"][0]["reason"] == "SchedulingGated"


NO_TERMS: dict[str, Any] = {"nodeSelectorTerms": []}
REFUSED: list[Any] = [
    ({"spec": {"containers": []}}, ["spec.containers: Required value"]),
    (pod(name=""), ["spec.containers[0].name: Required value"]),
    (pod(image=""), ["spec.containers[0].image: Required value"]),
    (pod(image=" i"), ['spec.containers[0].image: Invalid value: " i": must not have leading or trailing whitespace']),
    (
        {"spec": {"containers": [{"name": "c", "image": "i"}, {"name": "c", "image": "i"}]}},
        ['spec.containers[1].name: Duplicate value: "c"'],
    ),
    (
        pod(ports=[{"containerPort": 0}, {"containerPort": 65536}]),
        [
            "spec.containers[0].ports[0].containerPort: Required value",
            "spec.containers[0].ports[1].containerPort: Invalid value: 65536: must be between 1 and 65535, inclusive",
        ],
    ),
    (
        pod(env=[{"name": "A=B"}, {"name": "X", "valueFrom": {}}]),
        [
            'spec.containers[0].env[0].name: Invalid value: "A=B": a valid environment variable name must consist only '
            "of printable ASCII characters other than '='",
            'spec.containers[0].env[1].valueFrom: Invalid value: "": must specify one of: `fieldRef`, '
            "`resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        ],
    ),
    (
        pod(volumeMounts=[{"name": "gone", "mountPath": "/x"}]),
        ['spec.containers[0].volumeMounts[0].name: Not found: "gone"'],
    ),
    (
        pod(resources={"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}),
        ['spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'],
    ),
    (
        pod(resources={"requests": {"example.org/gpu": "1"}}),
        [
            "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources",
        ],
    ),
    (
        pod(livenessProbe={"tcpSocket": {"port": 1}, "successThreshold": 2}),
        ["spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"],
    ),
    (
        pod(readinessProbe={"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}),
        ["spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"],
    ),
    (
        pod({"volumes": [{"name": "v", "configMap": {"name": "a"}, "emptyDir": {}}]}),
        ["spec.volumes[0].configMap: Forbidden: may not specify more than 1 volume type"],
    ),
    (
        pod({"volumes": [{"name": "v", "hostPath": {"path": "/a/../b"}}]}),
        ["spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"],
    ),
    (pod({"dnsPolicy": "None"}), ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"]),
    (
        pod({"tolerations": [{"operator": "Exists", "value": "x"}]}),
        ["spec.tolerations[0].operator: Invalid value: \"x\": value must be empty when `operator` is 'Exists'"],
    ),
    (
        pod({"initContainers": [{"name": "c", "image": "i", "readinessProbe": {"tcpSocket": {"port": 1}}}]}),
        [
            'spec.initContainers[0].name: Duplicate value: "c"',
            "spec.initContainers[0].readinessProbe: Forbidden: "
            "may not be set for init containers without restartPolicy=Always",
        ],
    ),
    (
        pod({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": "Maybe"}]}),
        [
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
            'spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "Maybe": '
            'supported values: "DoNotSchedule", "ScheduleAnyway"',
        ],
    ),
    (
        pod({"ephemeralContainers": [{"name": "e", "image": "i"}]}),
        ["spec.ephemeralContainers: Forbidden: cannot be set on create"],
    ),
    (
        pod({"securityContext": {"runAsUser": -1}}),
        ["spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"],
    ),
    (
        pod({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": NO_TERMS}}}),
        [
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: "
            "Required value: must have at least one node selector term"
        ],
    ),
]


@pytest.mark.parametrize(("document", "errors"), REFUSED)
def test_what_is_wrong_is_said_with_its_place(pods: Any, document: dict[str, Any], errors: list[str]) -> None:
    assert pods.errors(document) == errors


def test_a_sidecar_may_have_probes(pods: Any) -> None:
    sidecar = {"name": "s", "image": "i", "restartPolicy": "Always", "readinessProbe": {"tcpSocket": {"port": 1}}}
    assert pods.errors(pod({"initContainers": [sidecar]})) == []


@pytest.mark.parametrize(
    "change",
    [
        {"image": "i:2"},
        {"activeDeadlineSeconds": 5},
        {"tolerations": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}]},
    ],
)
def test_little_of_a_pod_may_change(pods: Any, change: dict[str, Any]) -> None:
    base = {"tolerations": [{"key": "a", "operator": "Exists"}], "activeDeadlineSeconds": 9}
    old = pods.created(pod(base))
    image = {"image": change.pop("image")} if "image" in change else {}
    new = pod({**base, **change}, **image)
    assert pods.update_errors(new, old) == []
    assert pods.updated(new, old)["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    ("change", "start"),
    [
        ({"hostname": "h"}, "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"),
        ({"tolerations": []}, "spec.tolerations: Forbidden: existing toleration can not be modified"),
        ({"activeDeadlineSeconds": 10}, "spec.activeDeadlineSeconds: Invalid value: 10: must be less than or equal to"),
        ({"schedulingGates": [{"name": "a/b"}]}, "spec.schedulingGates[0].name: Forbidden: only deletion is allowed"),
        (
            {"containers": [{"name": "c", "image": "i:1"}, {"name": "d", "image": "i"}]},
            "spec.containers: Forbidden: pod updates may not add or remove containers",
        ),
    ],
)
def test_the_rest_of_a_pod_may_not(pods: Any, change: dict[str, Any], start: str) -> None:
    base = {"tolerations": [{"key": "a", "operator": "Exists"}], "activeDeadlineSeconds": 9}
    old = pods.created(pod(base))
    document = pod({**base, **change})
    errors = pods.update_errors(document, old)
    assert len(errors) == 1
    assert errors[0].startswith(start)


def test_gated_pod_may_narrow_its_nodes(pods: Any) -> None:
    gates = {"schedulingGates": [{"name": "a/b"}]}
    old = pods.created(pod({**gates, "nodeSelector": {"x": "1"}}))
    assert pods.update_errors(pod({**gates, "nodeSelector": {"x": "1", "y": "2"}}), old) == []
    assert pods.update_errors(pod({**gates, "nodeSelector": {"y": "2"}}), old) == [
        'spec.nodeSelector: Invalid value: {"y":"2"}: only additions to spec.nodeSelector are allowed '
        "(no mutations or deletions)"
    ]


def test_status_update_changes_the_status_alone(pods: Any) -> None:
    old = pods.created(pod())
    changed = {**pod({"hostname": "h"}), "status": {"phase": "Running", "podIP": "10.0.0.1"}}
    new = pods.updated(changed, old, "status")
    assert new["spec"] == old["spec"]
    assert new["status"] == {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "podIPs": [{"ip": "10.0.0.1"}],
        "qosClass": "BestEffort",
    }
    assert pods.status_errors(changed, old) == []


def test_what_ended_for_good_does_not_run_again(pods: Any) -> None:
    old = pods.created(pod({"restartPolicy": "Never"}))
    state = {"name": "c", "image": "i", "imageID": "x", "ready": False, "restartCount": 0}
    old["status"]["containerStatuses"] = [{**state, "state": {"terminated": {"exitCode": 1}}}]
    status = {"qosClass": "BestEffort", "containerStatuses": [{**state, "state": {"running": {}}}]}
    assert pods.status_errors({**pod({"restartPolicy": "Never"}), "status": status}, old) == [
        "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"
    ]


def test_ephemeral_containers_are_added_by_their_subresource_and_stay(pods: Any) -> None:
    old = pods.created(pod())
    extra = {"ephemeralContainers": [{"name": "e", "image": "i:1", "targetContainerName": "c"}]}
    new = pods.decoded(pod({**extra, "hostname": "ignored"}))
    pods.strategy.prepare_for_subresource_update("ephemeralcontainers", new, old)
    assert "hostname" not in new["spec"]
    assert new["metadata"]["generation"] == 2
    assert list(pods.strategy.validate_subresource_update("ephemeralcontainers", new, old)) == []
    gone = copy.deepcopy(old)
    errors = pods.strategy.validate_subresource_update("ephemeralcontainers", gone, new)
    assert [str(error) for error in errors] == [
        'spec.ephemeralContainers: Forbidden: existing ephemeral containers "e" may not be removed\n'
    ]


def test_resize_changes_processor_and_memory_within_the_class(pods: Any) -> None:
    old = pods.created(pod(resources={"requests": {"cpu": "1"}}))
    new = pods.decoded(pod({"hostname": "ignored"}, resources={"requests": {"cpu": "2"}}))
    pods.strategy.prepare_for_subresource_update("resize", new, old)
    assert "hostname" not in new["spec"]
    assert list(pods.strategy.validate_subresource_update("resize", new, old)) == []
    none = pods.decoded(pod())
    pods.strategy.prepare_for_subresource_update("resize", none, old)
    assert [str(error) for error in pods.strategy.validate_subresource_update("resize", none, old)] == [
        'spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing',
        "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
    ]


@pytest.mark.parametrize(
    ("spec", "status", "asked", "given"),
    [
        ({"nodeName": "n", "terminationGracePeriodSeconds": 30}, {}, None, 30),
        ({"nodeName": "n", "terminationGracePeriodSeconds": 30}, {}, 5, 5),
        ({"nodeName": "n", "terminationGracePeriodSeconds": -3}, {}, None, 1),
        ({"terminationGracePeriodSeconds": 30}, {}, None, 0),
        ({"nodeName": "n", "terminationGracePeriodSeconds": 30}, {"phase": "Failed"}, None, 0),
    ],
)
def test_grace_period(pods: Any, spec: dict[str, Any], status: dict[str, Any], asked: int | None, given: int) -> None:
    assert pods.strategy.grace_period({"spec": spec, "status": status}, asked) == given


def test_fields_to_select_by(pods: Any) -> None:
    fields = pods.strategy.fields({"spec": {"nodeName": "n"}, "status": {"phase": "Running"}})
    assert (fields["spec.nodeName"], fields["status.phase"]) == ("n", "Running")
    assert set(fields) <= set(pods.strategy.field_labels())


def test_warnings_for_what_is_surely_not_meant(pods: Any) -> None:
    document = pods.created(
        pod(
            {"nodeSelector": {"beta.kubernetes.io/os": "linux"}},
            env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}],
            resources={"limits": {"memory": "100m"}},
        )
    )
    assert list(pods.strategy.warnings(document)) == [
        'spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead',
        'spec.containers[0].resources.limits[memory]: fractional byte value "100m" is invalid, must be an integer',
        'spec.containers[0].resources.requests[memory]: fractional byte value "100m" is invalid, must be an integer',
        'spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply',
    ]
    assert pods.strategy.warnings(document, document) == ()


def test_fields_behind_a_closed_gate_are_dropped_from_pods_and_templates(kind: MakeKind) -> None:
    def spec() -> dict[str, Any]:
        probes = {
            "livenessProbe": {"httpGet": {"port": 80, "protocol": "HTTP2"}},
            "readinessProbe": {"grpc": {"port": 80, "mode": "TLS"}},
        }
        container = {"name": "c", "image": "i", "lifecycle": {"stopSignal": "SIGUSR1"}, **probes}
        return {"containers": [container], "evictionResponders": [{"name": "example.com/r"}]}

    pod = kind("v1", "Pod").created({"spec": spec()})["spec"]
    template = kind("v1", "PodTemplate").created({"template": {"spec": spec()}})["template"]["spec"]
    for found in (pod, template):
        container = found["containers"][0]
        assert "evictionResponders" not in found
        assert "stopSignal" not in container["lifecycle"]
        assert "protocol" not in container["livenessProbe"]["httpGet"]
        assert "mode" not in container["readinessProbe"]["grpc"]

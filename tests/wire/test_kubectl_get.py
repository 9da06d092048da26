"""`kubectl get`, `describe` and `events`: what people look at, in every form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fakes.kubectl import Kubectl


@pytest.fixture
def web(kubectl: Kubectl, manifests: Path) -> Kubectl:
    """A namespace with a Deployment of three pods that are ready, a Service and a ConfigMap."""
    kubectl("apply", "-f", manifests / "web.yaml")
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    return kubectl


def rows(table: str) -> list[list[str]]:
    return [line.split() for line in table.splitlines()]


def test_get_shows_a_table_with_upstreams_columns(web: Kubectl) -> None:
    head, *pods = rows(web("get", "pods"))
    assert head == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert len(pods) == 3
    assert {(ready, status, restarts) for _, ready, status, restarts, _ in pods} == {("1/1", "Running", "0")}
    assert rows(web("get", "deployment", "web"))[1][:4] == ["web", "3/3", "3", "3"]


def test_get_wide_adds_columns(web: Kubectl) -> None:
    head, *pods = rows(web("get", "pods", "-o", "wide"))
    assert head[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    assert {pod[6] for pod in pods} <= {"node-1", "node-2"}
    assert "nginx:1.25" in web("get", "deployments", "-o", "wide")
    assert "INTERNAL-IP" in web("get", "nodes", "-o", "wide")


def test_get_everywhere_names_namespaces(web: Kubectl) -> None:
    head, *services = rows(web("get", "services", "-A"))
    assert head[0] == "NAMESPACE"
    assert ["default", "kubernetes", "ClusterIP"] in [row[:3] for row in services]
    assert [web.namespace, "web", "ClusterIP"] in [row[:3] for row in services]


def test_get_several_kinds_puts_the_kind_before_the_name(web: Kubectl) -> None:
    everything = web("get", "all")
    for name in ("pod/web-", "service/web", "deployment.apps/web", "replicaset.apps/web-"):
        assert name in everything


def test_get_yaml_and_json_give_the_object(web: Kubectl) -> None:
    assert "kind: Deployment" in web("get", "deployment", "web", "-o", "yaml")
    listed = json.loads(web("get", "pods", "-o", "json"))
    assert (listed["kind"], len(listed["items"])) == ("List", 3)


def test_get_json_path_and_custom_columns_pick_fields(web: Kubectl) -> None:
    assert web("get", "pods", "-o", "jsonpath={.items[*].status.phase}") == "Running Running Running"
    table = rows(web("get", "pods", "-o", "custom-columns=NODE:.spec.nodeName,PHASE:.status.phase"))
    assert table[0] == ["NODE", "PHASE"]
    assert table[1][1] == "Running"


def test_get_by_label_finds_what_matches(web: Kubectl) -> None:
    assert len(rows(web("get", "pods", "-l", "app=web", "--no-headers"))) == 3
    assert len(rows(web("get", "pods", "-l", "app in (web, other)", "--no-headers"))) == 3
    assert web.run("get", "pods", "-l", "app!=web").stderr == f"No resources found in {web.namespace} namespace.\n"


def test_get_shows_labels(web: Kubectl) -> None:
    head, first, *_ = rows(web("get", "pods", "-L", "app", "--show-labels"))
    assert head[-2:] == ["APP", "LABELS"]
    assert first[-2] == "web"
    assert first[-1].startswith("app=web,pod-template-hash=")


def test_get_by_field_finds_what_matches(web: Kubectl) -> None:
    nodes = web("get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}").split()
    on_first = web("get", "pods", "--field-selector", "spec.nodeName=node-1,status.phase=Running", "-o", "name")
    assert len(on_first.split()) == nodes.count("node-1")
    message = web.fails("get", "pods", "--field-selector", "spec.bogus=1")
    assert "field label not supported: spec.bogus" in message


def test_get_sorts_by_a_field(kubectl: Kubectl) -> None:
    for name, order in (("a", "2"), ("b", "3"), ("c", "1")):
        kubectl("create", "configmap", name, f"--from-literal=order={order}")
        kubectl("label", "configmap", name, "sorted=yes")
    names = kubectl("get", "configmaps", "-l", "sorted", "--sort-by=.data.order", "-o", "name").split()
    assert names == ["configmap/c", "configmap/a", "configmap/b"]


def test_get_watches_changes(kubectl: Kubectl) -> None:
    with kubectl.started("get", "configmaps", "-w", "--output-watch-events") as watch:
        watch.line_with("kube-root-ca.crt")
        kubectl("create", "configmap", "one", "--from-literal=a=b")
        assert watch.line_with("one").split()[:3] == ["ADDED", "one", "1"]
        kubectl("patch", "configmap", "one", "-p", '{"data": {"c": "d"}}')
        assert watch.line_with("one").split()[:3] == ["MODIFIED", "one", "2"]
        kubectl("delete", "configmap", "one")
        assert watch.line_with("one").split()[:2] == ["DELETED", "one"]


def test_get_of_what_is_not_there_says_so(kubectl: Kubectl) -> None:
    assert kubectl.fails("get", "pod", "nobody") == 'Error from server (NotFound): pods "nobody" not found\n'
    assert kubectl.fails("get", "bogus") == 'error: the server doesn\'t have a resource type "bogus"\n'


def test_get_in_chunks_lists_everything(kubectl: Kubectl) -> None:
    for number in range(5):
        kubectl("create", "configmap", f"number-{number}")
    listed = kubectl("get", "configmaps", "--chunk-size=2", "-o", "name").split()
    assert [name for name in listed if "number" in name] == [f"configmap/number-{number}" for number in range(5)]


def test_get_raw_reaches_paths(kubectl: Kubectl) -> None:
    assert kubectl("get", "--raw", "/readyz") == "ok"


def test_describe_node_shows_capacity_conditions_and_pods(web: Kubectl) -> None:
    web("run", "here", "--image=nginx", "--overrides", '{"spec": {"nodeName": "node-1"}}')
    web("wait", "--for=condition=Ready", "pod/here", "--timeout=15s")
    text = web("describe", "node", "node-1")
    for part in (
        "Unschedulable:      false",
        "HolderIdentity:  node-1",
        "KubeletReady",
        "Capacity:",
        "Allocatable:",
        "Non-terminated Pods:",
        "Allocated resources:",
    ):
        assert part in text
    assert any(line.split()[:2] == [web.namespace, "here"] for line in text.splitlines())


def test_describe_node_shows_that_it_started(simulated: Kubectl) -> None:
    events = simulated("describe", "node", "node-1").partition("Events:")[2]
    for reason in ("Starting", "NodeHasSufficientMemory", "NodeReady", "RegisteredNode"):
        assert reason in events


def test_describe_pod_shows_containers_conditions_and_events(web: Kubectl) -> None:
    name = web("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}")
    text = web("describe", "pod", name)
    for part in (
        "Service Account:  default",
        "Controlled By:  ReplicaSet/web-",
        "Image:          nginx:1.25",
        "Container ID:   fake://",
        "Readiness:  http-get http://:http/ delay=0s timeout=1s period=10s #success=1 #failure=3",
        "<set to the key 'color' of config map 'settings'>  Optional: false",
        "/var/run/secrets/kubernetes.io/serviceaccount from kube-api-access-",
        "QoS Class:                   Burstable",
        "node.kubernetes.io/not-ready:NoExecute op=Exists for 300s",
    ):
        assert part in text
    events = [line.split() for line in text.partition("Events:")[2].splitlines()[3:]]
    assert [event[1] for event in events if event[1] != "Pulling"] == ["Scheduled", "Pulled", "Created", "Started"]
    assert {event[3] for event in events} == {"default-scheduler", "kubelet"}
    assert all(event[2].endswith("s") for event in events), "every event has an age"


def test_describe_deployment_shows_strategy_and_replica_sets(web: Kubectl) -> None:
    text = web("describe", "deployment", "web")
    for part in (
        "Replicas:               3 desired | 3 updated | 3 total | 3 available | 0 unavailable",
        "StrategyType:           RollingUpdate",
        "RollingUpdateStrategy:  25% max unavailable, 25% max surge",
        "Available      True    MinimumReplicasAvailable",
        "Progressing    True    NewReplicaSetAvailable",
        "OldReplicaSets:  <none>",
        "(3/3 replicas created)",
        "ScalingReplicaSet",
        "deployment-controller  Scaled up replica set web-",
    ):
        assert part in text


def test_describe_service_shows_endpoints(web: Kubectl) -> None:
    text = web("describe", "service", "web")
    addresses = web("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].status.podIP}").split()
    (line,) = [line for line in text.splitlines() if line.startswith("Endpoints:")]
    assert sorted(line.split()[1].split(",")) == sorted(f"{address}:80" for address in addresses)
    assert "TargetPort:               http/TCP" in text
    assert "IP Families:              IPv4" in text


def test_events_tell_what_happened(web: Kubectl) -> None:
    head, *events = rows(web("events"))
    assert head == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert {"Scheduled", "Pulled", "Created", "Started", "SuccessfulCreate", "ScalingReplicaSet"} <= {
        event[2] for event in events
    }
    assert "<unknown>" not in web("events")
    of_deployment = rows(web("events", "--for", "deployment/web"))[1:]
    assert [event[3] for event in of_deployment] == ["Deployment/web"]
    assert "deployment/web" in web("get", "events")


def test_describe_ingress_shows_what_it_leads_to(web: Kubectl) -> None:
    web("create", "ingress", "i", "--rule=example.com/shop*=web:80", "--class=kube-core")
    web("wait", "--for=jsonpath={.status.loadBalancer.ingress[0].ip}", "ingress/i", "--timeout=15s")
    text = web("describe", "ingress", "i")
    addresses = web("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].status.podIP}").split()
    assert "Ingress Class:    kube-core" in text
    (line,) = [line for line in text.splitlines() if "web:80" in line]
    assert line.split()[0] == "/shop"
    assert all(f"{address}:80" in line for address in addresses)


def test_describe_claim_shows_its_volume(kubectl: Kubectl, manifests: Path) -> None:
    kubectl("apply", "-f", manifests / "claim.yaml")
    kubectl("wait", "--for=jsonpath={.status.phase}=Bound", "pvc/claim", "--timeout=15s")
    text = kubectl("describe", "pvc", "claim")
    assert f"Volume:        {kubectl.value('pvc', 'claim', '.spec.volumeName')}" in text
    assert "Capacity:      1Gi" in text
    assert "ProvisioningSucceeded" in text
    head, row = kubectl("get", "pvc", "claim").splitlines()
    assert head.split()[:3] == ["NAME", "STATUS", "VOLUME"]
    assert row.split()[3:6] == ["1Gi", "RWO", "standard"]

"""What kubectl asks a cluster about itself, and nodes that are taken out of service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fakes.kubectl import Kubectl


@pytest.fixture
def node(simulated: Kubectl) -> Iterator[str]:
    """A node that is in service again after the test."""
    yield "node-1"
    simulated("uncordon", "node-1")


def test_version_says_what_is_served(simulated: Kubectl) -> None:
    assert "Server Version: v1.37." in simulated("version")
    assert 'minor: "37"' in simulated("version", "-o", "yaml")


def test_cluster_info_says_where_it_is(simulated: Kubectl) -> None:
    assert "Kubernetes control plane is running at https://127.0.0.1:" in simulated("cluster-info", TERM="dumb")


def test_api_resources_lists_every_kind(simulated: Kubectl) -> None:
    head, *lines = simulated("api-resources").splitlines()
    assert head.split() == ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]
    rows = [line.split() for line in lines]
    for row in (
        ["pods", "po", "v1", "true", "Pod"],
        ["deployments", "deploy", "apps/v1", "true", "Deployment"],
        ["ingresses", "ing", "networking.k8s.io/v1", "true", "Ingress"],
        ["nodes", "no", "v1", "false", "Node"],
        ["customresourcedefinitions", "crd,crds", "apiextensions.k8s.io/v1", "false", "CustomResourceDefinition"],
    ):
        assert row in rows
    assert "pods/log" not in simulated("api-resources", "-o", "name")


def test_api_resources_by_group_category_and_verb(simulated: Kubectl) -> None:
    batch = simulated("api-resources", "--api-group=batch", "-o", "name").split()
    assert batch == ["cronjobs.batch", "jobs.batch"]
    everything = simulated("api-resources", "--categories=all", "-o", "name").split()
    assert {"pods", "services", "deployments.apps", "cronjobs.batch"} <= set(everything)
    assert "configmaps" not in everything
    assert "bindings" not in simulated("api-resources", "--verbs=list", "-o", "name").split()


def test_api_versions_lists_groups(simulated: Kubectl) -> None:
    versions = simulated("api-versions").split()
    assert {"v1", "apps/v1", "batch/v1", "networking.k8s.io/v1", "events.k8s.io/v1", "autoscaling/v2"} <= set(versions)
    assert versions == sorted(versions)


@pytest.mark.parametrize("kind", ["pod", "service", "configmap", "deployment", "job", "cronjob", "ingress", "node"])
def test_explain_describes_a_kind_and_its_fields(simulated: Kubectl, kind: str) -> None:
    text = simulated("explain", kind)
    description = text.partition("DESCRIPTION:")[2].partition("FIELDS:")[0].strip()
    assert description
    assert "<empty>" not in text
    for field in ("apiVersion\t<string>", "metadata\t<ObjectMeta>"):
        assert field in text


def test_explain_describes_a_field_with_its_type(simulated: Kubectl) -> None:
    text = simulated("explain", "deployment.spec.template.spec.containers")
    assert text.startswith(
        "GROUP:      apps\nKIND:       Deployment\nVERSION:    v1\n\nFIELD: containers <[]Container>"
    )
    assert "  name\t<string> -required-\n" in text
    assert "  ports\t<[]ContainerPort>\n" in text
    assert "<empty>" not in text


def test_explain_recursively_shows_the_tree(simulated: Kubectl) -> None:
    text = simulated("explain", "cronjob", "--recursive")
    assert "      backoffLimit\t<integer>" in text
    assert "  schedule\t<string> -required-" in text


def test_explain_of_nonsense_says_so(simulated: Kubectl) -> None:
    assert 'doesn\'t have a resource type "bogus"' in simulated.fails("explain", "bogus")
    assert 'field "bogus" does not exist' in simulated.fails("explain", "pod.bogus")


def test_may_i(simulated: Kubectl) -> None:
    assert simulated("auth", "can-i", "create", "deployments") == "yes\n"
    assert simulated("auth", "can-i", "*", "*", "--all-namespaces") == "yes\n"
    assert "*.*" in simulated("auth", "can-i", "--list")


def test_who_am_i(simulated: Kubectl) -> None:
    text = simulated("auth", "whoami")
    assert ["Username", "kubernetes-admin"] in [line.split() for line in text.splitlines()]
    assert "[system:masters system:authenticated]" in text


def test_nodes_are_ready(simulated: Kubectl) -> None:
    simulated("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=15s")
    head, *rows = (line.split() for line in simulated("get", "nodes").splitlines())
    assert head == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    assert [row[:3] for row in rows] == [["node-1", "Ready", "<none>"], ["node-2", "Ready", "<none>"]]


def test_cordon_keeps_pods_off_a_node(kubectl: Kubectl, node: str) -> None:
    assert kubectl("cordon", node) == f"node/{node} cordoned\n"
    assert kubectl("cordon", node) == f"node/{node} already cordoned\n"
    assert kubectl("get", "node", node, "--no-headers").split()[1] == "Ready,SchedulingDisabled"
    kubectl("create", "deployment", "web", "--image=nginx", "--replicas=3")
    kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    assert set(kubectl("get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}").split()) == {"node-2"}
    assert kubectl("uncordon", node) == f"node/{node} uncordoned\n"


def test_drain_moves_pods_to_the_other_node(kubectl: Kubectl, node: str) -> None:
    kubectl("create", "deployment", "web", "--image=nginx", "--replicas=4")
    kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    before = kubectl("get", "pods", "--field-selector", f"spec.nodeName={node}", "-o", "name").split()
    assert before, "the scheduler spreads pods"
    said = kubectl("drain", node, "--ignore-daemonsets", "--timeout=30s")
    for pod in before:
        assert f"{pod} evicted" in said
    assert f"node/{node} drained" in said
    kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    assert set(kubectl("get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}").split()) == {"node-2"}


def test_drain_leaves_pods_that_nobody_would_make_again(kubectl: Kubectl, node: str) -> None:
    overrides = f'{{"spec": {{"nodeName": "{node}"}}}}'
    kubectl("run", "alone", "--image=nginx", "--overrides", overrides)
    kubectl("wait", "--for=condition=Ready", "pod/alone", "--timeout=15s")
    assert "cannot delete Pods that declare no controller" in kubectl.fails("drain", node, "--timeout=10s")
    assert "pod/alone evicted" in kubectl("drain", node, "--force", "--timeout=20s")


def test_taint_and_untaint(simulated: Kubectl) -> None:
    assert simulated("taint", "node", "node-2", "only=some:NoSchedule") == "node/node-2 tainted\n"
    assert "only=some:NoSchedule" in simulated("describe", "node", "node-2")
    assert simulated("taint", "node", "node-2", "only-") == "node/node-2 untainted\n"

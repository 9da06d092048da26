"""`kubectl rollout`, `scale`, `set image`, `expose`, `run` and `wait`: workloads as they change."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fakes.kubectl import Kubectl


@pytest.fixture
def web(kubectl: Kubectl) -> Kubectl:
    kubectl("create", "deployment", "web", "--image=nginx:1.25", "--replicas=3", "--port=80")
    done(kubectl)
    return kubectl


def done(kubectl: Kubectl) -> str:
    return kubectl("rollout", "status", "deployment/web", "--timeout=30s")


def image(kubectl: Kubectl) -> str:
    return kubectl.value("deployment", "web", ".spec.template.spec.containers[0].image")


def test_scale_changes_the_number_of_pods(web: Kubectl) -> None:
    assert web("scale", "deployment/web", "--replicas=5") == "deployment.apps/web scaled\n"
    done(web)
    assert len(web("get", "pods", "-o", "name").split()) == 5
    assert "Expected replicas to be 3, was 5" in web.fails(
        "scale", "deployment/web", "--current-replicas=3", "--replicas=1"
    )


def test_rollout_status_waits_until_the_rollout_is_done(web: Kubectl) -> None:
    assert web("set", "image", "deployment/web", "nginx=nginx:1.26") == "deployment.apps/web image updated\n"
    *waiting, last = done(web).splitlines()
    assert last == 'deployment "web" successfully rolled out'
    assert all(line.startswith('Waiting for deployment "web" rollout to finish: ') for line in waiting)
    images = web("get", "pods", "-o", "jsonpath={.items[*].spec.containers[0].image}").split()
    assert set(images) == {"nginx:1.26"}


def test_rollout_history_lists_revisions_with_their_causes(web: Kubectl) -> None:
    web("set", "image", "deployment/web", "nginx=nginx:1.26")
    web("annotate", "deployment/web", "kubernetes.io/change-cause=to 1.26")
    done(web)
    lines = web("rollout", "history", "deployment/web").splitlines()
    assert lines[0].rstrip() == "deployment.apps/web"
    assert [line.split(maxsplit=1) for line in lines[1:4]] == [
        ["REVISION", "CHANGE-CAUSE"],
        ["1", "<none>"],
        ["2", "to 1.26"],
    ]
    one = web("rollout", "history", "deployment/web", "--revision=1")
    assert "deployment.apps/web with revision #1" in one
    assert "nginx:1.25" in one


def test_rollout_undo_goes_back(web: Kubectl) -> None:
    web("set", "image", "deployment/web", "nginx=nginx:1.26")
    done(web)
    assert web("rollout", "undo", "deployment/web") == "deployment.apps/web rolled back\n"
    done(web)
    assert image(web) == "nginx:1.25"
    web("rollout", "undo", "deployment/web", "--to-revision=2")
    assert image(web) == "nginx:1.26"
    assert "unable to find specified revision 9" in web.fails("rollout", "undo", "deployment/web", "--to-revision=9")


def test_a_paused_rollout_changes_nothing_until_it_is_resumed(web: Kubectl) -> None:
    assert web("rollout", "pause", "deployment/web") == "deployment.apps/web paused\n"
    assert "is already paused" in web.fails("rollout", "pause", "deployment/web")
    web("set", "image", "deployment/web", "nginx=nginx:1.26")
    web("wait", "--for=jsonpath={.status.conditions[?(@.type=='Progressing')].reason}=DeploymentPaused", "deploy/web")
    assert len(web("get", "replicasets", "-o", "name").split()) == 1
    assert web("rollout", "resume", "deployment/web") == "deployment.apps/web resumed\n"
    done(web)
    assert len(web("get", "replicasets", "-o", "name").split()) == 2


def test_rollout_restart_replaces_every_pod(web: Kubectl) -> None:
    before = set(web("get", "pods", "-o", "name").split())
    assert web("rollout", "restart", "deployment/web") == "deployment.apps/web restarted\n"
    done(web)
    web("wait", "--for=delete", *before, "--timeout=15s")
    assert web.value("deployment", "web", ".spec.template.metadata.annotations") != ""


def test_expose_makes_a_service_with_endpoints(web: Kubectl) -> None:
    assert web("expose", "deployment", "web", "--port=8080", "--target-port=80") == "service/web exposed\n"
    assert web.value("service", "web", ".spec.selector") == '{"app":"web"}'
    web("wait", "--for=jsonpath={.subsets[0].addresses[2].ip}", "endpoints/web", "--timeout=15s")
    head, service = web("get", "service", "web").splitlines()
    assert head.split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert (service.split()[1], service.split()[4]) == ("ClusterIP", "8080/TCP")


def test_run_makes_a_pod(kubectl: Kubectl) -> None:
    assert kubectl("run", "one", "--image=nginx", "--labels=a=b", "--env=C=d", "--port=80") == "pod/one created\n"
    assert kubectl("wait", "--for=condition=Ready", "pod/one", "--timeout=15s") == "pod/one condition met\n"
    assert kubectl("get", "pods", "-l", "a=b", "-o", "name") == "pod/one\n"


def test_wait_for_a_condition(web: Kubectl) -> None:
    assert web("wait", "--for=condition=Available", "deployment/web") == "deployment.apps/web condition met\n"
    assert len(web("wait", "--for=condition=Ready", "pods", "--all").splitlines()) == 3
    assert "timed out waiting for the condition on deployments/web" in web.fails(
        "wait", "--for=condition=Nonsense", "deployment/web", "--timeout=1s"
    )


def test_wait_for_a_field(web: Kubectl) -> None:
    said = web("wait", "--for=jsonpath={.status.readyReplicas}=3", "deployment/web", "--timeout=15s")
    assert said == "deployment.apps/web condition met\n"


def test_wait_for_deletion(web: Kubectl) -> None:
    pods = web("get", "pods", "-o", "name").split()
    web("delete", "deployment", "web", "--wait=false")
    web("wait", "--for=delete", *pods, "--timeout=15s")
    assert web("get", "pods", "-o", "name") == ""


def test_a_pod_that_cannot_be_placed_says_why(kubectl: Kubectl, tmp_path: Path) -> None:
    overrides = '{"spec": {"nodeSelector": {"nowhere": "true"}}}'
    kubectl("run", "lost", "--image=nginx", "--overrides", overrides)
    kubectl("wait", "--for=condition=PodScheduled=false", "pod/lost", "--timeout=15s")
    said = "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."
    assert said in kubectl.value("pod", "lost", ".status.conditions[0].message")
    with kubectl.started("events", "--for", "pod/lost", "--watch") as events:
        assert said in events.line_with("FailedScheduling")


def test_set_changes_environment_and_resources(web: Kubectl) -> None:
    assert web("set", "env", "deployment/web", "MODE=fast") == "deployment.apps/web env updated\n"
    assert web("set", "env", "deployment/web", "--list").splitlines()[1:] == ["MODE=fast"]
    said = web("set", "resources", "deployment/web", "--limits=cpu=200m")
    assert said == "deployment.apps/web resource requirements updated\n"
    done(web)
    pod = web("get", "pods", "--sort-by=.metadata.creationTimestamp", "-o", "jsonpath={.items[-1:].metadata.name}")
    assert web.value("pod", pod, ".spec.containers[0].resources.limits.cpu") == "200m"


def test_describe_an_autoscaler_that_autoscale_made(web: Kubectl) -> None:
    web("autoscale", "deployment", "web", "--min=1", "--max=3", "--cpu-percent=50")
    text = web("describe", "hpa", "web")
    assert re.search(r"Reference: +Deployment/web\n", text)
    assert "resource cpu on pods  (as a percentage of request):  <unknown> / 50%" in text
    assert re.search(r"Max replicas: +3\n", text)

"""What deletion takes along: namespaces with all that is in them, owners with what they own."""

from __future__ import annotations

import pytest

from fakes.kubectl import Kubectl


@pytest.fixture
def web(kubectl: Kubectl) -> Kubectl:
    kubectl("create", "deployment", "web", "--image=nginx", "--replicas=2")
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    return kubectl


def owned(kubectl: Kubectl) -> list[str]:
    return kubectl("get", "replicasets,pods", "-o", "name").split()


def test_deleting_a_deployment_deletes_its_replica_sets_and_pods(web: Kubectl) -> None:
    below = owned(web)
    assert len(below) == 3
    assert web("delete", "deployment", "web").startswith('deployment.apps "web" deleted')
    web("wait", "--for=delete", *below, "--timeout=20s")
    assert owned(web) == []


def test_orphaning_leaves_what_was_owned(web: Kubectl) -> None:
    below = owned(web)
    web("delete", "deployment", "web", "--cascade=orphan")
    assert "NotFound" in web.fails("get", "deployment", "web")
    assert owned(web) == below
    assert web("get", "replicasets", "-o", "jsonpath={.items[0].metadata.ownerReferences}") == ""


def test_deleting_in_the_foreground_ends_with_the_owner(web: Kubectl) -> None:
    web("delete", "deployment", "web", "--cascade=foreground", "--timeout=20s")
    assert "NotFound" in web.fails("get", "deployment", "web")
    assert owned(web) == []


def test_deleting_a_namespace_completes(web: Kubectl) -> None:
    web("create", "configmap", "c")
    web("create", "serviceaccount", "a")
    web("expose", "deployment", "web", "--port=80")
    said = web("delete", "namespace", web.namespace, "--timeout=30s")
    assert said.startswith(f'namespace "{web.namespace}" deleted')
    assert "NotFound" in web.fails("get", "namespace", web.namespace)
    assert owned(web) == []
    web("create", "namespace", web.namespace)


def test_nothing_new_gets_into_a_namespace_that_ends(kubectl: Kubectl) -> None:
    held = '{"metadata": {"finalizers": ["example.dev/held"]}}'
    kubectl("create", "configmap", "c")
    kubectl("patch", "configmap", "c", "--type=merge", "-p", held)
    kubectl("delete", "namespace", kubectl.namespace, "--wait=false")
    assert "because it is being terminated" in kubectl.fails("create", "configmap", "late")
    kubectl("wait", "--for=condition=NamespaceFinalizersRemaining", f"namespace/{kubectl.namespace}", "--timeout=15s")
    assert kubectl("get", "namespace", kubectl.namespace, "--no-headers").split()[1] == "Terminating"
    kubectl("patch", "configmap", "c", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    kubectl("wait", "--for=delete", f"namespace/{kubectl.namespace}", "--timeout=20s")
    kubectl("create", "namespace", kubectl.namespace)


def test_delete_by_label_and_all(kubectl: Kubectl) -> None:
    for name in ("a", "b", "c"):
        kubectl("create", "secret", "generic", name)
    kubectl("label", "secret", "a", "kind=one")
    assert kubectl("delete", "secrets", "-l", "kind=one").startswith('secret "a" deleted')
    assert kubectl("get", "secrets", "-o", "name").split() == ["secret/b", "secret/c"]
    kubectl("delete", "secrets", "--all")
    assert kubectl("get", "secrets", "-o", "name") == ""


def test_delete_by_force_does_not_wait(web: Kubectl) -> None:
    name = web("get", "pods", "-o", "jsonpath={.items[0].metadata.name}")
    finished = web.run("delete", "pod", name, "--force")
    assert "Immediate deletion does not wait for confirmation" in finished.stderr
    assert finished.stdout.startswith(f'pod "{name}" force deleted')
    web("rollout", "status", "deployment/web", "--timeout=20s")

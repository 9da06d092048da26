"""`kubectl apply`, `diff`, `create`, `edit`, `patch`, `label`, `annotate`: how objects are made and changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.kubectl import Kubectl


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def settings(kubectl: Kubectl) -> Kubectl:
    kubectl("create", "configmap", "settings", "--from-literal=color=blue")
    return kubectl


def test_apply_creates_configures_and_leaves_alone(kubectl: Kubectl, manifests: Path, tmp_path: Path) -> None:
    names = ("configmap/settings", "deployment.apps/web", "service/web")
    made = kubectl("apply", "-f", manifests / "web.yaml")
    assert made.splitlines() == [f"{name} created" for name in names]
    again = kubectl("apply", "-f", manifests / "web.yaml")
    assert again.splitlines() == [f"{name} unchanged" for name in names]
    changed = tmp_path / "web.yaml"
    changed.write_text((manifests / "web.yaml").read_text().replace("replicas: 3", "replicas: 1"))
    assert kubectl("apply", "-f", changed).splitlines()[1] == "deployment.apps/web configured"
    assert kubectl.value("deployment", "web", ".spec.replicas") == "1"


def test_apply_takes_away_what_the_manifest_dropped(kubectl: Kubectl) -> None:
    def manifest(data: str) -> str:
        return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {data}\n"

    kubectl("apply", "-f", "-", stdin=manifest("{a: '1', b: '2'}"))
    kubectl("patch", "configmap", "c", "--type=merge", "-p", '{"data": {"other": "3"}}')
    kubectl("apply", "-f", "-", stdin=manifest("{a: '1'}"))
    assert kubectl.value("configmap", "c", ".data") == '{"a":"1","other":"3"}'


def test_apply_on_the_server_owns_fields(kubectl: Kubectl, manifests: Path) -> None:
    made = kubectl("apply", "--server-side", "-f", manifests / "web.yaml")
    assert made.splitlines()[1] == "deployment.apps/web serverside-applied"
    kubectl("apply", "--server-side", "-f", manifests / "web.yaml")
    kubectl("scale", "deployment/web", "--replicas=2")
    message = kubectl.fails("apply", "--server-side", "-f", manifests / "web.yaml")
    assert "Apply failed with 1 conflict: conflict with" in message
    assert 'with subresource "scale" using apps/v1' in message
    assert ".spec.replicas" in message
    kubectl("apply", "--server-side", "--force-conflicts", "-f", manifests / "web.yaml")
    assert kubectl.value("deployment", "web", ".spec.replicas") == "3"


def test_apply_without_a_field_that_is_needed_is_refused(kubectl: Kubectl) -> None:
    broken = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: []}\n"
    assert 'The Service "s" is invalid: spec.ports: Required value' in kubectl.fails("apply", "-f", "-", stdin=broken)
    unknown = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s}\ndatum: {a: b}\n"
    assert 'strict decoding error: unknown field "datum"' in kubectl.fails("apply", "-f", "-", stdin=unknown)


def test_apply_dry_runs_change_nothing(kubectl: Kubectl, manifests: Path) -> None:
    said = kubectl("apply", "--dry-run=server", "-f", manifests / "web.yaml")
    assert "deployment.apps/web created (server dry run)" in said
    assert "not found" in kubectl.fails("get", "deployment", "web")


def test_apply_prunes_what_is_no_longer_in_the_set(kubectl: Kubectl) -> None:
    def manifest(name: str) -> str:
        return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{set: one}}}}\n"

    kubectl("apply", "-f", "-", stdin=f"{manifest('a')}---\n{manifest('b')}")
    said = kubectl(
        "apply", "-f", "-", "--prune", "-l", "set=one", "--prune-allowlist=core/v1/ConfigMap", stdin=manifest("a")
    )
    assert said.splitlines() == ["configmap/a unchanged", "configmap/b pruned"]


def test_apply_builds_a_kustomization(kubectl: Kubectl, manifests: Path) -> None:
    said = kubectl("apply", "-k", manifests / "kustomized")
    assert "configmap/nice-settings created" in said
    assert len(kubectl("get", "configmaps", "-l", "from=kustomize", "-o", "name").split()) == 2
    kubectl("delete", "-k", manifests / "kustomized")


def test_diff_shows_what_apply_would_change(kubectl: Kubectl, manifests: Path, tmp_path: Path) -> None:
    new = kubectl.run("diff", "-f", manifests / "web.yaml")
    assert (new.code, "+kind: Deployment" in new.stdout) == (1, True)
    kubectl("apply", "-f", manifests / "web.yaml")
    assert kubectl("diff", "-f", manifests / "web.yaml") == ""
    changed = tmp_path / "web.yaml"
    changed.write_text((manifests / "web.yaml").read_text().replace("color: blue", "color: green"))
    different = kubectl.run("diff", "-f", changed)
    assert different.code == 1
    assert "-  color: blue\n+  color: green" in different.stdout


def test_diff_on_the_server_shows_what_apply_would_change(kubectl: Kubectl, manifests: Path) -> None:
    kubectl("apply", "--server-side", "-f", manifests / "web.yaml")
    assert kubectl("diff", "--server-side", "-f", manifests / "web.yaml") == ""


def test_delete_a_file_deletes_every_document(kubectl: Kubectl, manifests: Path) -> None:
    kubectl("apply", "-f", manifests / "web.yaml")
    said = kubectl("delete", "-f", manifests / "web.yaml")
    assert [line.split()[:2] for line in said.splitlines()] == [
        ["configmap", '"settings"'],
        ["deployment.apps", '"web"'],
        ["service", '"web"'],
    ]
    assert "NotFound" in kubectl.fails("delete", "-f", manifests / "web.yaml")
    assert kubectl("delete", "--ignore-not-found", "-f", manifests / "web.yaml") == ""


CREATED = {
    "configmap": ("configmap c --from-literal=a=b", "configmap/c"),
    "generic secret": ("secret generic s --from-literal=a=b", "secret/s"),
    "registry secret": ("secret docker-registry s --docker-username=u --docker-password=p", "secret/s"),
    "deployment": ("deployment d --image=nginx --replicas=2 --port=80", "deployment.apps/d"),
    "cluster IP service": ("service clusterip s --tcp=80:8080", "service/s"),
    "node port service": ("service nodeport s --tcp=80:8080", "service/s"),
    "load balancer service": ("service loadbalancer s --tcp=80:8080", "service/s"),
    "external name service": ("service externalname s --external-name=example.com", "service/s"),
    "service account": ("serviceaccount a", "serviceaccount/a"),
    "job": ("job j --image=busybox -- echo hello", "job.batch/j"),
    "cron job": ("cronjob j --image=busybox --schedule=@hourly -- echo hello", "cronjob.batch/j"),
    "ingress": ("ingress i --rule=example.com/path*=web:80 --class=kube-core", "ingress.networking.k8s.io/i"),
    "role": ("role r --verb=get --verb=list --resource=pods,deployments.apps", "role.rbac.authorization.k8s.io/r"),
    "role binding": ("rolebinding b --role=r --user=jane", "rolebinding.rbac.authorization.k8s.io/b"),
    "quota": ("quota q --hard=pods=20", "resourcequota/q"),
    "disruption budget": ("poddisruptionbudget p --selector=app=x --min-available=1", "poddisruptionbudget.policy/p"),
}


@pytest.mark.parametrize(("command", "name"), CREATED.values(), ids=CREATED.keys())
def test_create_makes(kubectl: Kubectl, command: str, name: str) -> None:
    assert kubectl("create", *command.split()) == f"{name} created\n"
    assert kubectl("get", name, "-o", "name") == f"{name}\n"
    again = kubectl.fails("create", *command.split())
    assert "already exists" in again or "port is already allocated" in again


def test_create_makes_cluster_wide_objects(kubectl: Kubectl) -> None:
    made = {
        "namespace other-place": "namespace/other-place",
        "clusterrole reader --verb=get --resource=nodes": "clusterrole.rbac.authorization.k8s.io/reader",
        "clusterrolebinding b --clusterrole=reader --user=joe": "clusterrolebinding.rbac.authorization.k8s.io/b",
        "priorityclass urgent --value=10": "priorityclass.scheduling.k8s.io/urgent",
    }
    for command, name in made.items():
        assert kubectl("create", *command.split()) == f"{name} created\n"
        kubectl("delete", name)


def test_create_a_job_from_a_cron_job(kubectl: Kubectl) -> None:
    kubectl("create", "cronjob", "c", "--image=busybox", "--schedule=0 0 1 1 *", "--", "echo", "hello")
    assert kubectl("create", "job", "j", "--from=cronjob/c") == "job.batch/j created\n"
    assert kubectl.value("job", "j", ".spec.template.spec.containers[0].command[*]") == "echo hello"


def test_create_a_token_that_the_server_takes(kubectl: Kubectl) -> None:
    kubectl("create", "serviceaccount", "robot")
    token = kubectl("create", "token", "robot", "--duration=20m").strip()
    assert token.count(".") == 2
    server = kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    empty = kubectl.home / "no-kubeconfig"
    arguments = ("--server", server, "--token", token, "--insecure-skip-tls-verify", "auth", "whoami", "-o", "yaml")
    said = kubectl.run(*arguments, KUBECONFIG=str(empty))
    assert f"username: system:serviceaccount:{kubectl.namespace}:robot" in said.stdout, said
    assert f"system:serviceaccounts:{kubectl.namespace}" in said.stdout


def test_create_without_sending_prints_the_manifest(kubectl: Kubectl) -> None:
    manifest = kubectl("create", "deployment", "d", "--image=nginx", "--dry-run=client", "-o", "yaml")
    assert kubectl("create", "-f", "-", stdin=manifest) == "deployment.apps/d created\n"


def test_edit_saves_what_the_editor_wrote(settings: Kubectl, tmp_path: Path) -> None:
    editor = script(tmp_path / "editor", 'sed -i s/blue/green/ "$1"')
    assert settings("edit", "configmap", "settings", EDITOR=editor) == "configmap/settings edited\n"
    assert settings.value("configmap", "settings", ".data.color") == "green"


def test_edit_without_a_change_is_cancelled(settings: Kubectl) -> None:
    assert settings.run("edit", "configmap", "settings", EDITOR="true").stderr == "Edit cancelled, no changes made.\n"


def test_edit_shows_why_a_change_was_refused(settings: Kubectl, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    editor = script(tmp_path / "editor", f'cp "$1" {seen}; sed -i "s/color:/..:/" "$1"')
    assert "Edit cancelled, no valid changes were saved." in settings.fails(
        "edit", "configmap", "settings", EDITOR=editor
    )
    assert 'data[..]: Invalid value: ".."' in seen.read_text()


def test_patch_strategically_merges_lists_by_key(kubectl: Kubectl, manifests: Path) -> None:
    kubectl("apply", "-f", manifests / "web.yaml")
    patch = '{"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "nginx:1.27"}]}}}}'
    assert kubectl("patch", "deployment", "web", "-p", patch) == "deployment.apps/web patched\n"
    container = ".spec.template.spec.containers[0]"
    assert kubectl.value("deployment", "web", f"{container}.image") == "nginx:1.27"
    assert kubectl.value("deployment", "web", f"{container}.ports[0].containerPort") == "80"


def test_patch_merges(settings: Kubectl) -> None:
    settings("patch", "configmap", "settings", "--type=merge", "-p", '{"data": {"color": null, "size": "7"}}')
    assert settings.value("configmap", "settings", ".data") == '{"size":"7"}'
    again = settings("patch", "configmap", "settings", "--type=merge", "-p", '{"data": {"size": "7"}}')
    assert again == "configmap/settings patched (no change)\n"


def test_patch_by_operations(settings: Kubectl) -> None:
    patch = '[{"op": "test", "path": "/data/color", "value": "%s"}, {"op": "add", "path": "/data/size", "value": "7"}]'
    settings("patch", "configmap", "settings", "--type=json", "-p", patch % "blue")
    assert settings.value("configmap", "settings", ".data.size") == "7"
    assert "The request is invalid" in settings.fails(
        "patch", "configmap", "settings", "--type=json", "-p", patch % "red"
    )


def test_patch_a_subresource(kubectl: Kubectl, manifests: Path) -> None:
    kubectl("apply", "-f", manifests / "web.yaml")
    patch = ("--subresource=scale", "--type=merge", "-p", '{"spec": {"replicas": 2}}')
    assert kubectl("patch", "deployment", "web", *patch) == "scale.autoscaling/web patched\n"
    assert kubectl.value("deployment", "web", ".spec.replicas") == "2"


def test_label_adds_keeps_and_removes(settings: Kubectl) -> None:
    assert settings("label", "configmap", "settings", "tier=front") == "configmap/settings labeled\n"
    assert "already has a value (front), and --overwrite is false" in settings.fails(
        "label", "configmap", "settings", "tier=back"
    )
    assert settings("label", "configmap", "settings", "tier=back", "--overwrite") == "configmap/settings labeled\n"
    assert settings("label", "configmap", "settings", "tier-") == "configmap/settings unlabeled\n"
    assert "a valid label must be" in settings.fails("label", "configmap", "settings", "tier=not valid")


def test_annotate_adds_and_removes(settings: Kubectl) -> None:
    assert settings("annotate", "configmap", "settings", "note=some words") == "configmap/settings annotated\n"
    assert settings.value("configmap", "settings", ".metadata.annotations.note") == "some words"
    assert settings("annotate", "configmap", "settings", "note-") == "configmap/settings annotated\n"


def test_replace_needs_the_newest_version(settings: Kubectl) -> None:
    manifest = settings("get", "configmap", "settings", "-o", "yaml")
    assert settings("replace", "-f", "-", stdin=manifest.replace("blue", "red")) == "configmap/settings replaced\n"
    assert "the object has been modified" in settings.fails("replace", "-f", "-", stdin=manifest)

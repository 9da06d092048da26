"""Kubeconfig files: what a context comes to, and that writing loses nothing."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kube_core._kit.clock import SystemClock
from kube_core.client.kubeconfig import (
    KubeconfigError,
    in_cluster,
    load,
    load_connection,
    merge_context,
    remove_context,
)
from kube_core.client.kubeconfig_lock import locked

CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n"

EXISTING = """\
# my clusters, do not touch
apiVersion: v1
kind: Config
clusters:
- cluster:
    certificate-authority: ca.pem   # from the office
    server: https://one.example:6443
  name: one
contexts:
- context:
    cluster: one
    user: me
    namespace: "web"
  name: one
current-context: one
users:
- name: me
  user:
    token: "00123"
x-mine:
  keep: [this, that]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.write_text(EXISTING)
    (tmp_path / "ca.pem").write_bytes(CERTIFICATE)
    return path


def add(path: Path, name: str = "kube-core-dev", **options: object) -> bool:
    cluster = {"server": "https://127.0.0.1:6443"}
    return merge_context(path, name, cluster=cluster, user={"token": "t"}, **options)  # type: ignore[arg-type]


def test_context_gives_server_authority_token_and_namespace(config: Path) -> None:
    connection = load_connection(config)
    assert connection.server == "https://one.example:6443"
    assert connection.certificate_authority == CERTIFICATE
    assert connection.token == "00123"
    assert connection.namespace == "web"


def test_inline_data_wins_over_a_file(tmp_path: Path) -> None:
    path = tmp_path / "config"
    encoded = base64.b64encode(b"inline").decode()
    cluster = {
        "server": "https://x/",
        "certificate-authority": "/nowhere",
        "certificate-authority-data": encoded,
        "tls-server-name": "kubernetes",
    }
    user = {"client-certificate-data": encoded, "client-key-data": encoded}
    merge_context(path, "x", cluster=cluster, user=user)
    connection = load_connection(path)
    assert connection.certificate_authority == b"inline"
    assert connection.client_certificate is not None
    assert connection.client_certificate.key == b"inline"
    assert connection.server == "https://x"
    assert connection.tls_server_name == "kubernetes"


def test_first_file_to_name_something_wins(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second = tmp_path / "second"
    second.write_text(EXISTING.replace("one.example", "two.example").replace("name: one", "name: two"))
    missing = tmp_path / "missing"
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, (missing, config, second))))
    merged = load()
    assert set(merged.contexts) == {"one", "two"}
    assert merged.current_context == "one"
    assert merged.connection("one").server == "https://one.example:6443"


def test_exec_plugin_and_impersonation_are_read(tmp_path: Path) -> None:
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "./get-token",
        "args": ["--now"],
        "env": [{"name": "A", "value": "b"}],
        "provideClusterInfo": True,
        "interactiveMode": "Never",
    }
    path = tmp_path / "config"
    merge_context(path, "x", cluster={"server": "https://x"}, user={"exec": plugin, "as": "jane", "as-groups": ["dev"]})
    connection = load_connection(path)
    assert connection.exec_plugin is not None
    assert connection.exec_plugin.command == str(tmp_path / "get-token")
    assert connection.exec_plugin.env == {"A": "b"}
    assert connection.exec_plugin.provide_cluster_info
    assert connection.exec_plugin.interactive_mode == "Never"
    assert (connection.impersonate.user, connection.impersonate.groups) == ("jane", ("dev",))


V1 = "client.authentication.k8s.io/v1"


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"exec": {"command": "x", "apiVersion": V1}}, "interactiveMode must be specified for x to use exec"),
        ({"exec": {"apiVersion": V1}}, "command must be specified for x to use exec authentication plugin"),
        ({"exec": {"command": "x"}}, "apiVersion must be specified for x to use exec authentication plugin"),
        ({"exec": {"command": "x", "apiVersion": "v0"}}, 'exec plugin: invalid apiVersion "v0"'),
        (
            {"exec": {"command": "x", "apiVersion": V1, "interactiveMode": "Maybe"}},
            'invalid interactiveMode for x: "Maybe"',
        ),
        ({"auth-provider": {"name": "gcp"}}, "use the exec plugin gke-gcloud-auth-plugin"),
        ({"auth-provider": {"name": "azure"}}, "use the exec plugin kubelogin"),
        ({"auth-provider": {"name": "mine"}}, 'no auth provider found for name "mine"'),
        ({"auth-provider": {"name": "oidc", "config": {"client-id": "a"}}}, "must provide idp-issuer-url"),
        ({"auth-provider": {"name": "oidc", "config": {"idp-issuer-url": "https://a"}}}, "must provide client-id"),
    ],
)
def test_a_user_that_cannot_be_used_is_one_clear_line(tmp_path: Path, entry: dict[str, object], complaint: str) -> None:
    merge_context(tmp_path / "config", "x", cluster={"server": "https://x"}, user=entry)
    with pytest.raises(KubeconfigError, match=complaint):
        load_connection(tmp_path / "config")


def test_older_exec_plugins_need_not_say_whether_they_ask(tmp_path: Path) -> None:
    plugin = {"command": "x", "apiVersion": "client.authentication.k8s.io/v1beta1"}
    merge_context(tmp_path / "config", "x", cluster={"server": "https://x"}, user={"exec": plugin})
    found = load_connection(tmp_path / "config").exec_plugin
    assert found is not None
    assert found.interactive_mode == "IfAvailable"


def test_a_proxy_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    merge_context(tmp_path / "config", "x", cluster={"server": "https://x", "proxy-url": "ftp://p"}, user={})
    with pytest.raises(KubeconfigError, match='unsupported scheme "ftp"'):
        load_connection(tmp_path / "config")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [", "line 1"),
        ("- a", "holds no mapping"),
        ("clusters: {}\ncontexts: 3", "contexts is no list"),
    ],
)
def test_damaged_file_is_one_clear_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    for attempt in (lambda: load(path), lambda: add(path)):
        with pytest.raises(KubeconfigError, match=complaint) as caught:
            attempt()
        assert "\n" not in str(caught.value)
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("context", "complaint"),
    [("nope", 'context "nope" does not exist'), ("", "no current context")],
)
def test_missing_context_is_named(tmp_path: Path, context: str, complaint: str) -> None:
    path = tmp_path / "config"
    path.write_text("apiVersion: v1\nkind: Config\n")
    with pytest.raises(KubeconfigError, match=complaint):
        load_connection(path, context)


def test_merging_keeps_comments_order_quotes_and_unknown_fields(config: Path) -> None:
    assert add(config) is False
    text = config.read_text()
    for line in EXISTING.splitlines():
        assert line in text.splitlines()
    merged = load(config)
    assert merged.current_context == "one"
    assert merged.connection("kube-core-dev").server == "https://127.0.0.1:6443"


def test_merged_context_becomes_current_where_none_is_set(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "config"
    assert add(path) is True
    assert load(path).current_context == "kube-core-dev"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_merged_context_becomes_current_when_asked(config: Path) -> None:
    assert add(config, make_current="always") is True
    assert load(config).current_context == "kube-core-dev"


def test_merging_again_replaces_the_entry(config: Path) -> None:
    add(config)
    add(config)
    assert config.read_text().count("name: kube-core-dev") == 3


def test_removing_gives_back_what_there_was(config: Path) -> None:
    add(config)
    assert remove_context(config, "kube-core-dev") is True
    assert config.read_text() == EXISTING
    assert remove_context(config, "kube-core-dev") is False


def test_removing_the_current_context_unsets_it(tmp_path: Path) -> None:
    path = tmp_path / "config"
    add(path)
    remove_context(path, "kube-core-dev")
    assert load(path).current_context == ""
    assert load(path).contexts == {}


def test_link_to_a_kubeconfig_stays_a_link(config: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(config)
    add(link)
    assert link.is_symlink()
    assert "kube-core-dev" in load(config).contexts


def test_mode_of_an_existing_file_is_kept(config: Path) -> None:
    config.chmod(0o640)
    add(config)
    assert stat.S_IMODE(config.stat().st_mode) == 0o640


def test_file_that_another_program_changes_is_left_alone(config: Path) -> None:
    lock = config.with_name("config.lock")
    lock.touch()
    with pytest.raises(KubeconfigError, match="another program"):
        add(config)
    assert config.read_text() == EXISTING
    assert lock.exists()


def test_a_lock_left_behind_by_a_killed_process_does_not_count(config: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from kube_core.client.kubeconfig_lock import locked\n"
        "with locked(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    lock = config.with_name("config.lock")
    subprocess.run([sys.executable, "-c", program, str(lock)], check=False)
    assert lock.exists()
    add(config)
    assert config.read_text() != EXISTING
    assert not lock.exists()


def test_one_of_us_that_is_at_work_is_waited_for_longer_than_a_stranger(tmp_path: Path) -> None:
    lock = tmp_path / "config.lock"
    holder = locked(lock)
    holder.__enter__()

    class Clock(SystemClock):
        reached = 0.0

        def monotonic(self) -> float:
            return self.reached

        def block(self, delay: float) -> None:
            assert delay > 0
            self.reached += 1.0
            if self.reached == 20.0:
                holder.__exit__(None, None, None)

    clock = Clock()
    with locked(lock, clock=clock):
        assert clock.reached == 20.0
    lock.touch()
    with pytest.raises(FileExistsError), locked(lock, clock=clock):
        pass
    assert clock.reached < 25.0


def test_many_at_once_lose_no_entry(config: Path) -> None:
    program = (
        "import sys; from kube_core.client.kubeconfig import merge_context\n"
        "for number in range(5):\n"
        "    merge_context(sys.argv[1], sys.argv[2] + str(number), cluster={'server': 'x'}, user={'token': 't'})"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program, str(config), name]) for name in "abcd"]
    assert [process.wait(timeout=50) for process in processes] == [0] * 4
    assert {f"{name}{number}" for name in "abcd" for number in range(5)} <= set(load(config).contexts)


def test_directory_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KubeconfigError, match=r"cannot write .*config"):
        add(tmp_path / "file" / "config")


def test_failed_write_leaves_the_file_as_it_was(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KubeconfigError, match="No space left"):
        add(config)
    monkeypatch.undo()
    assert config.read_text() == EXISTING
    assert sorted(path.name for path in config.parent.iterdir()) == ["ca.pem", "config"]


def test_indented_lists_stay_indented(tmp_path: Path) -> None:
    path = tmp_path / "config"
    text = "clusters:\n  - name: a\n    cluster:\n      server: https://a\nusers: []\ncontexts: null\n"
    path.write_text(text)
    add(path)
    assert "  - name: a\n    cluster:\n      server: https://a\n" in path.read_text()
    assert load(path).connection("kube-core-dev").token == "t"


def test_pod_uses_its_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    assert in_cluster(tmp_path) is None
    (tmp_path / "token").write_text("secret")
    (tmp_path / "namespace").write_text("web\n")
    connection = in_cluster(tmp_path)
    assert connection is not None
    assert connection.server == "https://[fd00::1]:443"
    assert connection.namespace == "web"
    assert connection.token_file == str(tmp_path / "token")
    assert (connection.certificate_authority, connection.certificate_authority_file) == (b"", "")
    (tmp_path / "ca.crt").write_bytes(CERTIFICATE)
    connection = in_cluster(tmp_path)
    assert connection is not None
    assert connection.certificate_authority == CERTIFICATE
    assert connection.certificate_authority_file == str(tmp_path / "ca.crt")


def test_secrets_are_not_shown(config: Path) -> None:
    assert "00123" not in repr(load_connection(config))

"""Kubeconfig files: reading them as kubectl does, and adding an entry without losing what is there.

Reading follows upstream's documented rules ("Organizing cluster access using kubeconfig files"): an explicit path, or
else the list in `$KUBECONFIG`, or else `~/.kube/config`; of several files the first to name something wins; relative
paths in a file count from its folder; `…-data` wins over a path. Inside a pod without any of that, the service
account's own token and authority are used.

Writing goes through ruamel.yaml's round trip, so comments, order and unknown fields stay; the new content replaces
the file in one step, under the same lock file (`<path>.lock`) that kubectl takes (`kubeconfig_lock.py`). An error
leaves the file as it was.

ruamel.yaml takes a while to import, so only the functions that need it do.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import io
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
import orjson

from kube_core.client.connection import ClientCertificate, Connection, ExecPlugin, Impersonation, OidcProvider
from kube_core.client.kubeconfig_lock import locked
from kube_core.client.proxies import check_proxy

if TYPE_CHECKING:
    from ruamel.yaml import YAML

__all__ = [
    "Kubeconfig",
    "KubeconfigError",
    "change_auth_provider",
    "default_paths",
    "in_cluster",
    "load",
    "load_connection",
    "merge_context",
    "remove_context",
]

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SECTIONS = ("clusters", "contexts", "users")
_PLUGIN_EXTENSION = "client.authentication.k8s.io/exec"
_EXEC_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
#: Auth providers that there were once, and the plugins in their place.
_REPLACED_PROVIDERS = {"gcp": "gke-gcloud-auth-plugin", "azure": "kubelogin (https://github.com/Azure/kubelogin)"}
_KINDS = {"clusters": "cluster", "contexts": "context", "users": "user"}

_Entry = Mapping[str, Any]


class KubeconfigError(Exception):
    """A kubeconfig that cannot be read, understood or written; the message is one clear line for a person."""


@attrs.frozen
class Kubeconfig:
    """One or more files, merged. The entries are as in the files, by name, with their paths made absolute."""

    clusters: Mapping[str, _Entry]
    contexts: Mapping[str, _Entry]
    users: Mapping[str, _Entry]
    current_context: str = ""
    user_files: Mapping[str, Path] = attrs.field(factory=dict)
    """Which file each user is from."""

    def connection(self, context: str = "") -> Connection:
        """What a context (the current one, unless named) comes to. Raises `KubeconfigError`."""
        name = context or self.current_context
        if not name:
            raise KubeconfigError("no current context is set in the kubeconfig")
        chosen = self.contexts.get(name)
        if chosen is None:
            raise KubeconfigError(f'context "{name}" does not exist')
        cluster = self.clusters.get(str(chosen.get("cluster") or ""))
        if cluster is None:
            raise KubeconfigError(f'cluster "{chosen.get("cluster")}" of context "{name}" does not exist')
        user_name = str(chosen.get("user") or "")
        user = self.users.get(user_name)
        if user is None:
            if user_name:
                raise KubeconfigError(f'user "{user_name}" of context "{name}" does not exist')
            user = {}
        origin = (str(self.user_files.get(user_name, "")), user_name)
        return _connection(cluster, user, origin, str(chosen.get("namespace") or "default"))


def default_paths() -> Sequence[Path]:
    """Where a kubeconfig is looked for when no path is given."""
    listed = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return listed or [Path.home() / ".kube" / "config"]


def load(path: str | Path | None = None) -> Kubeconfig:
    """The kubeconfig at `path`, or from the default places merged (where those that do not exist are left out).

    Raises `KubeconfigError`.
    """
    if path is not None:
        return _merge({Path(path): _read(Path(path))})
    return _merge({candidate: _read(candidate) for candidate in default_paths() if candidate.exists()})


def load_connection(path: str | Path | None = None, context: str = "") -> Connection:
    """A connection by kubectl's rules: the kubeconfig's context, or inside a pod that has none its service account."""
    config = load(path)
    if path is None and not context and not config.contexts and (connection := in_cluster()) is not None:
        return connection
    return config.connection(context)


def in_cluster(directory: Path = _SERVICE_ACCOUNT) -> Connection | None:
    """The connection of a program that runs in a pod, as its service account; None elsewhere."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    token_file = directory / "token"
    if not host or not port or not token_file.exists():
        return None
    address = f"[{host}]" if ":" in host else host
    namespace, authority = directory / "namespace", directory / "ca.crt"
    return Connection(
        server=f"https://{address}:{port}",
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
        certificate_authority=authority.read_bytes() if authority.exists() else b"",
        certificate_authority_file=str(authority) if authority.exists() else "",
        token_file=str(token_file),
    )


def merge_context(
    path: str | Path,
    name: str,
    *,
    cluster: _Entry,
    user: _Entry,
    namespace: str = "",
    make_current: Literal["where-none-set", "always", "never"] = "where-none-set",
) -> bool:
    """Put cluster, user and context `name` into the file, made where there is none; whether it is the current one.

    `cluster` and `user` are in the file's own terms (`{"server": …, "certificate-authority-data": …}`). Entries of
    that name are replaced, everything else stays. Raises `KubeconfigError`, and then nothing has changed.
    """
    path = _target(path)
    with _locked(path):
        yaml, document = _read_for_change(path)
        context: dict[str, Any] = {"cluster": name, "user": name}
        if namespace:
            context["namespace"] = namespace
        for section, content in (("clusters", cluster), ("contexts", context), ("users", user)):
            _put(document, section, name, content)
        if make_current == "always" or (make_current == "where-none-set" and not document.get("current-context")):
            document["current-context"] = name
        _replace(path, yaml, document)
        return bool(document.get("current-context") == name)


def remove_context(path: str | Path, name: str) -> bool:
    """Take cluster, user and context `name` out of the file; whether anything was there. Raises `KubeconfigError`."""
    path = _target(path)
    if not path.exists():
        return False
    with _locked(path):
        yaml, document = _read_for_change(path)
        found = False
        for section in _SECTIONS:
            entries = document.get(section) or []
            for position in reversed(range(len(entries))):
                if entries[position].get("name") == name:
                    del entries[position]
                    found = True
        if document.get("current-context") == name:
            document["current-context"] = ""
            found = True
        if found:
            _replace(path, yaml, document)
        return found


def change_auth_provider(path: str | Path, user: str, changes: Mapping[str, str]) -> None:
    """Put values into the `config` of a user's auth-provider. Raises `KubeconfigError`; then nothing has changed."""
    path = _target(path)
    with _locked(path):
        yaml, document = _read_for_change(path)
        provider = (_entries(document, "users").get(user) or {}).get("auth-provider")
        if not isinstance(provider, dict):
            raise KubeconfigError(f'user "{user}" of {path} has no auth-provider any more')
        if not isinstance(provider.get("config"), dict):
            provider["config"] = {}
        provider["config"].update(changes)
        _replace(path, yaml, document)


def _read(path: Path) -> dict[str, Any]:
    """One file's content, its entries' relative paths made absolute."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise KubeconfigError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    document = _parsed(path, text)
    _check_shape(path, document)
    directory = path.absolute().parent
    for cluster in _entries(document, "clusters").values():
        _make_absolute(cluster, directory, "certificate-authority")
    for user in _entries(document, "users").values():
        _make_absolute(user, directory, "client-certificate", "client-key", "tokenFile")
        plugin = user.get("exec")
        if isinstance(plugin, dict) and os.sep in str(plugin.get("command") or ""):
            _make_absolute(plugin, directory, "command")
    return dict(document)


def _parsed(path: Path, text: str) -> Any:
    """What a file says. JSON is YAML, and read without the parser of the latter, which takes time and memory."""
    if text.startswith("{"):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            pass  # YAML may begin so as well
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text) or {}
    except YAMLError as error:
        raise KubeconfigError(f"{path} is not a kubeconfig: {_first_line(error)}") from error


def _check_shape(path: Path, document: Any) -> None:
    if not isinstance(document, dict):
        raise KubeconfigError(f"{path} is not a kubeconfig: it holds no mapping")
    for section in _SECTIONS:
        entries = document.get(section) or []
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise KubeconfigError(f"{path} is not a kubeconfig: {section} is no list of entries")


def _entries(document: Mapping[str, Any], section: str) -> dict[str, dict[str, Any]]:
    """A section's entries by name; of two with one name the first counts."""
    found: dict[str, dict[str, Any]] = {}
    for entry in document.get(section) or []:
        found.setdefault(str(entry.get("name") or ""), entry.get(_KINDS[section]) or {})
    return found


def _make_absolute(entry: dict[str, Any], directory: Path, *fields: str) -> None:
    for field in fields:
        if entry.get(field):
            entry[field] = str(directory / entry[field])


def _merge(documents: Mapping[Path, Mapping[str, Any]]) -> Kubeconfig:
    sections: dict[str, dict[str, _Entry]] = {section: {} for section in _SECTIONS}
    user_files: dict[str, Path] = {}
    for path, document in documents.items():
        for section, merged in sections.items():
            for name, entry in _entries(document, section).items():
                merged.setdefault(name, entry)
        for name in _entries(document, "users"):
            user_files.setdefault(name, path.absolute())
    current = next((str(each["current-context"]) for each in documents.values() if each.get("current-context")), "")
    return Kubeconfig(sections["clusters"], sections["contexts"], sections["users"], current, user_files)


def _connection(cluster: _Entry, user: _Entry, origin: tuple[str, str], namespace: str) -> Connection:
    """`origin`: the file that the user is from, and its name there."""
    server = str(cluster.get("server") or "").rstrip("/")
    if not server:
        raise KubeconfigError("the cluster names no server")
    if "://" not in server:
        server = f"http://{server}"
    certificate = _material(user, "client-certificate")
    key = _material(user, "client-key")
    if bool(certificate) != bool(key):
        raise KubeconfigError("client-certificate and client-key must be given together")
    plugin, oidc = _exec_plugin(user.get("exec"), origin[1], cluster), _oidc(user.get("auth-provider"), origin)
    if plugin is not None and oidc is not None:
        message = f"authProvider cannot be provided in combination with an exec plugin for {origin[1]}"
        raise KubeconfigError(message)
    proxy = str(cluster.get("proxy-url") or "")
    try:
        check_proxy(proxy)
    except ValueError as error:
        raise KubeconfigError(f"the cluster's proxy-url cannot be used: {error}") from error
    impersonate = Impersonation(
        user=str(user.get("as") or ""),
        uid=str(user.get("as-uid") or ""),
        groups=tuple(user.get("as-groups") or ()),
        extra=user.get("as-user-extra") or {},
    )
    return Connection(
        server=server,
        namespace=namespace,
        certificate_authority=_material(cluster, "certificate-authority"),
        certificate_authority_file=_file(cluster, "certificate-authority"),
        skip_tls_verify=bool(cluster.get("insecure-skip-tls-verify")),
        tls_server_name=str(cluster.get("tls-server-name") or ""),
        proxy_url=proxy,
        client_certificate=ClientCertificate(certificate, key) if certificate else None,
        client_certificate_files=(_file(user, "client-certificate"), _file(user, "client-key")),
        token=str(user.get("token") or ""),
        token_file=str(user.get("tokenFile") or ""),
        username=str(user.get("username") or ""),
        password=str(user.get("password") or ""),
        exec_plugin=plugin,
        oidc=oidc,
        impersonate=impersonate,
    )


def _material(entry: _Entry, field: str) -> bytes:
    """A certificate or key: inline as base64, or the content of a file."""
    data, path = entry.get(f"{field}-data"), entry.get(field)
    if data:
        try:
            return base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError, TypeError) as error:
            raise KubeconfigError(f"{field}-data is not base64") from error
    if not path:
        return b""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise KubeconfigError(f"cannot read {field} {path}: {error.strerror}") from error


def _file(entry: _Entry, field: str) -> str:
    """The file that `_material` reads, if it reads one."""
    return "" if entry.get(f"{field}-data") else str(entry.get(field) or "")


def _exec_plugin(entry: _Entry | None, user: str, cluster: _Entry) -> ExecPlugin | None:
    if not entry:
        return None
    version, mode = str(entry.get("apiVersion") or ""), str(entry.get("interactiveMode") or "")
    for field, value in (("command", entry.get("command")), ("apiVersion", version)):
        if not value:
            raise KubeconfigError(f"{field} must be specified for {user} to use exec authentication plugin")
    if version not in _EXEC_VERSIONS:
        raise KubeconfigError(f'exec plugin: invalid apiVersion "{version}"')
    if not mode and version == _EXEC_VERSIONS[0]:
        raise KubeconfigError(f"interactiveMode must be specified for {user} to use exec authentication plugin")
    if mode not in ("", "Never", "IfAvailable", "Always"):
        raise KubeconfigError(f'invalid interactiveMode for {user}: "{mode}"')
    return ExecPlugin(
        command=str(entry["command"]),
        args=tuple(str(argument) for argument in entry.get("args") or ()),
        env={str(pair["name"]): str(pair.get("value") or "") for pair in entry.get("env") or ()},
        api_version=version,
        provide_cluster_info=bool(entry.get("provideClusterInfo")),
        interactive_mode=mode or "IfAvailable",
        install_hint=str(entry.get("installHint") or ""),
        cluster_config=_plugin_config(cluster),
    )


def _oidc(entry: _Entry | None, origin: tuple[str, str]) -> OidcProvider | None:
    if not entry:
        return None
    name, config = str(entry.get("name") or ""), entry.get("config") or {}
    if name in _REPLACED_PROVIDERS:
        plugin = _REPLACED_PROVIDERS[name]
        raise KubeconfigError(f"the {name} auth provider has been removed: use the exec plugin {plugin} in its place")
    if name != "oidc":
        raise KubeconfigError(f'no auth provider found for name "{name}": use an exec plugin in its place')
    for field in ("idp-issuer-url", "client-id"):
        if not config.get(field):
            raise KubeconfigError(f"the oidc auth provider of {origin[1]} must provide {field}")
    return OidcProvider(
        issuer=str(config["idp-issuer-url"]),
        client_id=str(config["client-id"]),
        client_secret=str(config.get("client-secret") or ""),
        id_token=str(config.get("id-token") or ""),
        refresh_token=str(config.get("refresh-token") or ""),
        certificate_authority=_material(config, "idp-certificate-authority"),
        kubeconfig=origin[0],
        user=origin[1],
    )


def _plugin_config(cluster: _Entry) -> Any:
    """What a cluster's entry holds for credential plugins."""
    extensions = cluster.get("extensions") or ()
    return next((each.get("extension") for each in extensions if each.get("name") == _PLUGIN_EXTENSION), None)


def _target(path: str | Path) -> Path:
    """The file itself, where the path is a link to it, so that a link stays one."""
    return Path(os.path.realpath(path))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise KubeconfigError(f"cannot write {path}: {error.strerror}") from error
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(lock))
        except FileExistsError as error:
            raise KubeconfigError(f"{path} is being changed by another program ({lock} exists)") from error
        except OSError as error:
            raise KubeconfigError(f"cannot write {path}: {error.strerror}") from error
        yield


def _read_for_change(path: Path) -> tuple[YAML, Any]:
    """The file for a round trip; a fresh document where there is none."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.error import YAMLError

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1_000_000  # never fold certificates
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        document = yaml.load(text)
    except FileNotFoundError:
        document = None
    except (OSError, UnicodeDecodeError) as error:
        raise KubeconfigError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except YAMLError as error:
        raise KubeconfigError(f"{path} is not a kubeconfig: {_first_line(error)}") from error
    if document is None:
        document = CommentedMap({"apiVersion": "v1", "kind": "Config", "preferences": {}})
    _check_shape(path, document)
    # Lists that are indented under their key stay so; kubectl itself writes them without indentation.
    if "\n  - " in text and "\n- " not in text:
        yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml, document


def _put(document: Any, section: str, name: str, content: _Entry) -> None:
    if document.get(section) is None:
        document[section] = []
    entries = document[section]
    fresh = {"name": name, _KINDS[section]: dict(content)}
    for position, entry in enumerate(entries):
        if entry.get("name") == name:
            entries[position] = fresh
            return
    entries.append(fresh)


def _replace(path: Path, yaml: YAML, document: Any) -> None:
    """Write the whole new content beside the file, and put it in the file's place in one step."""
    buffer = io.StringIO()
    yaml.dump(document, buffer)
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        descriptor, temporary = tempfile.mkstemp(prefix=path.name + ".", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(buffer.getvalue())
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, mode)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise KubeconfigError(f"cannot write {path}: {error.strerror}") from error


def _first_line(error: Exception) -> str:
    problem = getattr(error, "problem", None)
    mark = getattr(error, "problem_mark", None)
    if problem and mark:
        return f"line {mark.line + 1}: {problem}"
    return (str(error).splitlines() or ["it does not parse"])[0]

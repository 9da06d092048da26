"""How to reach one server, and as whom: what a kubeconfig's context comes to once its files are read.

A `Connection` is plain data, made by `kubeconfig.py` or by hand; `HttpTransport` takes one. Secrets in it are kept out
of its repr. What belongs to running a credential plugin is in `credentials.py`.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

__all__ = [
    "ClientCertificate",
    "Connection",
    "ExecPlugin",
    "Impersonation",
    "OidcProvider",
    "TlsMaterial",
    "client_ssl_context",
]


@attrs.frozen
class ClientCertificate:
    """A certificate chain and its key, PEM."""

    certificate: bytes
    key: bytes = attrs.field(repr=False)


@attrs.frozen
class TlsMaterial:
    """Whom to trust (PEM; empty: the system's authorities), and what to show, if anything."""

    authority: bytes = b""
    certificate: ClientCertificate | None = None


@attrs.frozen
class OidcProvider:
    """An issuer of identity tokens (`users[].user.auth-provider` of the name `oidc`), and the tokens it gave."""

    issuer: str
    client_id: str
    client_secret: str = attrs.field(default="", repr=False)
    id_token: str = attrs.field(default="", repr=False)
    refresh_token: str = attrs.field(default="", repr=False)
    certificate_authority: bytes = b""
    """PEM; empty: the system's authorities."""
    kubeconfig: str = ""
    """The file that new tokens are written to, and the user there; empty: nowhere."""
    user: str = ""


@attrs.frozen
class ExecPlugin:
    """A program that gives credentials (`users[].user.exec`). `command` is absolute, or found in PATH."""

    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = attrs.field(factory=dict)
    api_version: str = "client.authentication.k8s.io/v1"
    provide_cluster_info: bool = False
    interactive_mode: str = "IfAvailable"
    install_hint: str = ""
    cluster_config: Any = None
    """What the cluster's entry says for plugins (its extension `client.authentication.k8s.io/exec`)."""


@attrs.frozen
class Impersonation:
    """Whom to act as (`users[].user.as`); "" acts as oneself."""

    user: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, Sequence[str]] = attrs.field(factory=dict)


@attrs.frozen
class Connection:
    """`server` is a URL with no trailing slash; `namespace` is where requests go that name none."""

    server: str
    namespace: str = "default"
    certificate_authority: bytes = b""
    """PEM; empty: the system's authorities."""
    certificate_authority_file: str = ""
    """Where that is from, to be read again when it is replaced."""
    skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""
    client_certificate: ClientCertificate | None = None
    client_certificate_files: tuple[str, str] | None = None
    """Where certificate and key are from, to be read again when they are replaced; "" for one that is in the entry."""
    token: str = attrs.field(default="", repr=False)
    token_file: str = ""
    """Read again now and then, for tokens that are rotated."""
    username: str = ""
    password: str = attrs.field(default="", repr=False)
    exec_plugin: ExecPlugin | None = None
    oidc: OidcProvider | None = None
    impersonate: Impersonation = attrs.field(factory=Impersonation)


def client_ssl_context(connection: Connection, material: TlsMaterial) -> ssl.SSLContext:
    """The TLS settings for a connection. Raises `ssl.SSLError` and `ValueError`."""
    authorities = material.authority.decode() or None
    context = ssl.create_default_context(cadata=authorities)
    if connection.skip_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if material.certificate is not None:
        _load_certificate(context, material.certificate)
    return context


def _load_certificate(context: ssl.SSLContext, certificate: ClientCertificate) -> None:
    # OpenSSL, as Python wraps it, takes a certificate and its key only from files.
    with tempfile.TemporaryDirectory(prefix="kube-core-") as directory:
        path = os.path.join(directory, "client.pem")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            # Some keep both in one file, and name it twice.
            both = certificate.certificate == certificate.key
            file.write(certificate.key if both else certificate.certificate.rstrip() + b"\n" + certificate.key)
        context.load_cert_chain(path)

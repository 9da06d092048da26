"""Credentials that change while a program runs: files that are rotated, exec plugins and issuers of identity tokens.

Files are read again every ten seconds while there are requests, and when the server refuses what was in them. That is
some microseconds, and unlike their times it cannot be wrong about what is in them. A file that is gone for a moment,
or half of a pair that is being replaced, changes nothing.

A plugin is run as documented under "client-go credential plugins": it is told what is wanted in the variable
`KUBERNETES_EXEC_INFO` and prints an `ExecCredential`; its answer is kept until `expirationTimestamp`, or until the
server refuses it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

import orjson

from kube_core._kit.clock import Clock
from kube_core.client.connection import ClientCertificate, Connection, ExecPlugin, TlsMaterial
from kube_core.meta.status import Unauthorized
from kube_core.meta.times import parse_time

if TYPE_CHECKING:
    from kube_core.client.oidc import IdentityTokens

__all__ = ["Credentials"]

_FILE_PERIOD = 10.0
#: A credential is renewed this long before its time is over, so that it is still good when it arrives.
_EXPIRY_MARGIN = 10.0


class Credentials:
    """What to present for a `Connection` now. One owner: its transport."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token = connection.token
        self._tls = TlsMaterial(connection.certificate_authority, connection.client_certificate)
        self._good_until = float("-inf")
        self._files_read = float("-inf")
        self._has_files = any(
            (connection.token_file, connection.certificate_authority_file, *(connection.client_certificate_files or ()))
        )
        self._oidc: IdentityTokens | None = None

    async def refresh(self) -> None:
        """Renew what is due. Raises `Unauthorized` with one clear line where that does not work."""
        if self._has_files and self._clock.monotonic() >= self._files_read + _FILE_PERIOD:
            self._read_files()
        if self._connection.exec_plugin is None and self._connection.oidc is None:
            return
        async with self._lock:
            if self._clock.now() < self._good_until:
                return
            if self._connection.exec_plugin is not None:
                await self._run(self._connection.exec_plugin)
            else:
                await self._renew_identity()

    def forget(self) -> None:
        """The server refused what it was shown: renew before the next request."""
        self._good_until = float("-inf")
        self._files_read = float("-inf")

    @property
    def renewable(self) -> bool:
        """Whether asking again may give other credentials."""
        return self._connection.exec_plugin is not None or self._has_files

    @property
    def tls(self) -> TlsMaterial:
        """What TLS needs: the same object until something of it changes."""
        return self._tls

    def headers(self) -> list[tuple[str, str]]:
        """The headers that say who asks; empty for a certificate alone."""
        headers: list[tuple[str, str]] = []
        if self._token:
            headers.append(("Authorization", f"Bearer {self._token}"))
        elif self._connection.username:
            pair = f"{self._connection.username}:{self._connection.password}".encode()
            headers.append(("Authorization", f"Basic {base64.b64encode(pair).decode()}"))
        acting = self._connection.impersonate
        if acting.user:
            headers.append(("Impersonate-User", acting.user))
            if acting.uid:
                headers.append(("Impersonate-Uid", acting.uid))
            headers += [("Impersonate-Group", group) for group in acting.groups]
            headers += [(f"Impersonate-Extra-{key}", value) for key, values in acting.extra.items() for value in values]
        return headers

    def _read_files(self) -> None:
        connection = self._connection
        if path := connection.token_file:
            try:
                self._token = _content(path).decode().strip() or self._token
            except (OSError, UnicodeDecodeError) as error:
                if not self._token:
                    reason = getattr(error, "strerror", None) or error
                    raise Unauthorized(f"cannot read the token file {path}: {reason}") from error
        authority, certificate = self._tls.authority, self._tls.certificate
        with contextlib.suppress(OSError):
            if path := connection.certificate_authority_file:
                authority = _content(path) or authority
        with contextlib.suppress(OSError):
            if certificate is not None and connection.client_certificate_files is not None:
                chain, key = connection.client_certificate_files
                certificate = ClientCertificate(
                    _content(chain) if chain else certificate.certificate, _content(key) if key else certificate.key
                )
        self._show(TlsMaterial(authority, certificate))
        self._files_read = self._clock.monotonic()

    def _show(self, tls: TlsMaterial) -> None:
        if tls != self._tls:
            self._tls = tls

    async def _renew_identity(self) -> None:
        from kube_core.client.oidc import IdentityTokens

        if self._oidc is None:
            if self._connection.oidc is None:
                raise AssertionError("there is no issuer")
            self._oidc = IdentityTokens(self._connection.oidc, self._clock)
        self._token, self._good_until = await self._oidc.current()

    async def _run(self, plugin: ExecPlugin) -> None:
        interactive = _is_interactive(plugin)
        info = {
            "apiVersion": plugin.api_version,
            "kind": "ExecCredential",
            "spec": self._exec_spec(plugin, interactive),
        }
        environment = {**os.environ, **plugin.env, "KUBERNETES_EXEC_INFO": orjson.dumps(info).decode()}
        with self._clock.hold(f"credential plugin {plugin.command}"):
            try:
                process = await asyncio.create_subprocess_exec(
                    plugin.command,
                    *plugin.args,
                    env=environment,
                    stdin=None if interactive else asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                )
            except OSError as error:
                hint = f"; {plugin.install_hint}" if plugin.install_hint else ""
                message = f"cannot run the credential plugin {plugin.command}: {error.strerror}{hint}"
                raise Unauthorized(message) from error
            try:
                output, _ = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
        if process.returncode != 0:
            raise Unauthorized(f"the credential plugin {plugin.command} failed with exit code {process.returncode}")
        self._take(plugin, output)

    def _exec_spec(self, plugin: ExecPlugin, interactive: bool) -> dict[str, Any]:
        spec: dict[str, Any] = {"interactive": interactive}
        if plugin.provide_cluster_info:
            cluster: dict[str, Any] = {"server": self._connection.server}
            if self._tls.authority:
                encoded = base64.b64encode(self._tls.authority).decode()
                cluster["certificate-authority-data"] = encoded
            if self._connection.skip_tls_verify:
                cluster["insecure-skip-tls-verify"] = True
            if self._connection.tls_server_name:
                cluster["tls-server-name"] = self._connection.tls_server_name
            if self._connection.proxy_url:
                cluster["proxy-url"] = self._connection.proxy_url
            if plugin.cluster_config is not None:
                cluster["config"] = plugin.cluster_config
            spec["cluster"] = cluster
        return spec

    def _take(self, plugin: ExecPlugin, output: bytes) -> None:
        try:
            answer = orjson.loads(output)
            status = answer["status"]
            if answer.get("apiVersion") != plugin.api_version:
                raise ValueError(f"apiVersion is {answer.get('apiVersion')}, not {plugin.api_version}")
            certificate, key = status.get("clientCertificateData"), status.get("clientKeyData")
            token = status.get("token")
            if not token and not (certificate and key):
                raise ValueError("it holds neither a token nor a client certificate with its key")
            expires = status.get("expirationTimestamp")
            good_until = parse_time(expires) - _EXPIRY_MARGIN if expires else float("inf")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unauthorized(f"the credential plugin {plugin.command} gave no usable answer: {error}") from error
        self._token = token or ""
        if certificate and key:
            self._show(TlsMaterial(self._tls.authority, ClientCertificate(certificate.encode(), key.encode())))
        self._good_until = good_until


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _is_interactive(plugin: ExecPlugin) -> bool:
    """Whether a plugin may ask the person at the terminal. Raises `Unauthorized` where it must, and there is none."""
    if plugin.interactive_mode == "Never":
        return False
    terminal = sys.stdin is not None and sys.stdin.isatty()
    if plugin.interactive_mode == "Always" and not terminal:
        raise Unauthorized(
            f"the credential plugin {plugin.command} has to ask somebody (interactiveMode: Always), and the standard "
            "input is no terminal"
        )
    return terminal

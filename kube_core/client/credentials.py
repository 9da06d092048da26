"""Credentials that change while a program runs: token files that are rotated, and exec plugins.

A plugin is run as documented under "client-go credential plugins": it is told what is wanted in the variable
`KUBERNETES_EXEC_INFO` and prints an `ExecCredential`; its answer is kept until `expirationTimestamp`, or until the
server refuses it.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from typing import Any

import orjson

from kube_core._kit.clock import Clock
from kube_core.client.connection import ClientCertificate, Connection, ExecPlugin
from kube_core.meta.status import Unauthorized
from kube_core.meta.times import parse_time

__all__ = ["Credentials"]

_TOKEN_FILE_PERIOD = 60.0
#: A credential is renewed this long before its time is over, so that it is still good when it arrives.
_EXPIRY_MARGIN = 10.0


class Credentials:
    """What to present for a `Connection` now. One owner: its transport."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token = connection.token
        self._certificate = connection.client_certificate
        self._good_until = float("-inf")

    async def refresh(self) -> None:
        """Renew what is due. Raises `Unauthorized` with one clear line where that does not work."""
        if self._connection.exec_plugin is None and not self._connection.token_file:
            return
        async with self._lock:
            if self._clock.now() < self._good_until:
                return
            if self._connection.exec_plugin is not None:
                await self._run(self._connection.exec_plugin)
            else:
                self._read_token_file()

    def forget(self) -> None:
        """The server refused what it was shown: renew before the next request."""
        self._good_until = float("-inf")

    @property
    def renewable(self) -> bool:
        """Whether asking again may give other credentials."""
        return self._connection.exec_plugin is not None or bool(self._connection.token_file)

    @property
    def certificate(self) -> ClientCertificate | None:
        return self._certificate

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

    def _read_token_file(self) -> None:
        path = self._connection.token_file
        try:
            with open(path, encoding="utf-8") as file:
                token = file.read().strip()
        except OSError as error:
            if not self._token:
                raise Unauthorized(f"cannot read the token file {path}: {error.strerror}") from error
        else:
            self._token = token
        self._good_until = self._clock.now() + _TOKEN_FILE_PERIOD

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
            if self._connection.certificate_authority:
                encoded = base64.b64encode(self._connection.certificate_authority).decode()
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
            self._certificate = ClientCertificate(certificate.encode(), key.encode())
        self._good_until = good_until


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

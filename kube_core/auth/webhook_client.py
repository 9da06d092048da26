"""Asking somebody else: the HTTPS client of webhooks that are configured by a kubeconfig file, and of OpenID issuers.

Webhooks of authentication, authorization and audit are named by a kubeconfig whose current context says where they
are, whom to trust, and who the server is to them (documented under "Webhook Token Authentication"). What does not
answer is asked again a few times, later each time; then `WebhookError` says why.

aiohttp's client and the certificates are made when something is first sent.
"""

from __future__ import annotations

import base64
import binascii
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from kube_core._kit.clock import Clock
from kube_core.api.config_files import Section, read

if TYPE_CHECKING:
    import aiohttp

__all__ = ["HttpsClient", "WebhookError", "WebhookServer", "read_kubeconfig"]

#: Seconds before the second try; each further one waits half as long again.
_FIRST_WAIT: Final = 0.5
_TRIES: Final = 4
#: The longest answer that is read, in bytes.
_LONGEST: Final = 4 * 1024 * 1024


class WebhookError(Exception):
    """Why there is no answer; one line."""


@attrs.frozen
class WebhookServer:
    """Where a webhook is, whom to trust for it, and who we are to it. Certificates and keys are in PEM."""

    url: str
    authority: bytes = b""
    server_name: str = ""
    verify: bool = True
    certificate: bytes = b""
    key: bytes = attrs.field(default=b"", repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)


def read_kubeconfig(path: Path) -> WebhookServer:
    """The current context of a kubeconfig file. Raises `ConfigFileError`."""
    file = read(path, "Config", ("v1",))
    context = _named(file, "contexts", file.text("current-context")).section("context")
    cluster = _named(file, "clusters", context.text("cluster")).section("cluster")
    user = _named(file, "users", context.text("user")).section("user") if context.has("user") else None
    url = cluster.text("server")
    if not url.startswith(("https://", "http://")):
        raise cluster.error("server", f'"{url}" is not a URL')
    headers = {}
    if user is not None and user.has("token"):
        headers["Authorization"] = f"Bearer {user.text('token')}"
    elif user is not None and user.has("username"):
        pair = f"{user.text('username')}:{user.text('password', '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return WebhookServer(
        url,
        _data(cluster, "certificate-authority", path),
        cluster.text("tls-server-name", ""),
        not cluster.flag("insecure-skip-tls-verify"),
        _data(user, "client-certificate", path) if user is not None else b"",
        _data(user, "client-key", path) if user is not None else b"",
        headers,
    )


class HttpsClient:
    """Sends JSON to one server, and reads JSON."""

    def __init__(self, server: WebhookServer, clock: Clock, *, timeout: float = 30.0) -> None:
        """`timeout`: seconds for one try."""
        self.server = server
        self._clock = clock
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._context: ssl.SSLContext | None = None

    async def post(self, document: Mapping[str, Any], *, tries: int = _TRIES) -> Any:
        """The answer's document. Raises `WebhookError`."""
        body = orjson.dumps(document)
        wait = _FIRST_WAIT
        for left in reversed(range(tries)):
            try:
                return await self._send("POST", self.server.url, body)
            except _Temporary as error:
                if not left:
                    raise WebhookError(str(error)) from None
            await self._clock.sleep(wait)
            wait *= 1.5
        raise AssertionError("the last try returns or raises")

    async def get(self, url: str) -> Any:
        """A document of the server's, tried once. Raises `WebhookError`."""
        try:
            return await self._send("GET", url, None)
        except _Temporary as error:
            raise WebhookError(str(error)) from None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _send(self, method: str, url: str, body: bytes | None) -> Any:
        import aiohttp

        session = self._opened()
        headers = {"Accept": "application/json", **self.server.headers}
        if body is not None:
            headers["Content-Type"] = "application/json"
        options: dict[str, Any] = {"server_hostname": self.server.server_name} if self.server.server_name else {}
        try:
            with self._clock.hold(f"{url} is asked"):
                async with session.request(
                    method, url, data=body, headers=headers, ssl=self._tls(), allow_redirects=False, **options
                ) as answer:
                    data = await answer.content.read(_LONGEST)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _Temporary(f"{method} {url}: {error or type(error).__name__}") from None
        if answer.status >= 500 or answer.status == 429:
            raise _Temporary(f"{method} {url}: status {answer.status}")
        if answer.status >= 300:
            raise WebhookError(f"{method} {url}: status {answer.status}")
        try:
            return orjson.loads(data) if data else None
        except orjson.JSONDecodeError:
            raise WebhookError(f"{method} {url}: the answer is not JSON") from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp

            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout))
        return self._session

    def _tls(self) -> ssl.SSLContext | bool:
        if not self.server.url.startswith("https://"):
            return True
        if self._context is None:
            server = self.server
            context = ssl.create_default_context(cadata=server.authority.decode() if server.authority else None)
            if not server.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if server.certificate:
                # The ssl module reads keys from files only; this one is ours alone and gone at once.
                with tempfile.NamedTemporaryFile() as file:
                    file.write(server.certificate + b"\n" + server.key)
                    file.flush()
                    context.load_cert_chain(file.name)
            self._context = context
        return self._context


class _Temporary(Exception):
    """What may be otherwise at the next try."""


def _named(file: Section, field: str, name: str) -> Section:
    found = next((each for each in file.sections(field) if each.text("name", "") == name), None)
    if found is None:
        raise file.error(field, f'there is no "{name}"')
    return found


def _data(section: Section, field: str, path: Path) -> bytes:
    """What is inline, or in a file that is named relative to the kubeconfig."""
    if section.has(f"{field}-data"):
        try:
            return base64.b64decode(section.text(f"{field}-data"), validate=True)
        except binascii.Error:
            raise section.error(f"{field}-data", "not base64") from None
    if not section.has(field):
        return b""
    try:
        return (path.parent / section.text(field)).read_bytes()
    except OSError as error:
        raise section.error(field, f"{error.filename}: {error.strerror}") from None

"""The server's HTTP client: one request to one address, the answer as it comes, or the connection after an upgrade.

Connections are kept and used again, by address and TLS settings, for methods that may be repeated: a connection that
the backend just closes is noticed only after a request was sent on it. Nothing is followed, decoded or added: what a
backend answers is the caller's to judge. aiohttp's client and the TLS contexts are made when the first request is sent,
as most servers send none.

`Unreachable` says why nothing came back, in the words that upstream's clients would use.
"""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
import tempfile
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import attrs

from kube_core.abc.transport import ByteStream, MessageStream
from kube_core.auth.certificates import KeyPair
from kube_core.serving.raw import RawStream

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

__all__ = ["Address", "Answer", "Body", "Disconnected", "Outgoing", "Refused", "Tls", "Unreachable"]

#: Seconds for a connection to be accepted.
CONNECT_TIMEOUT = 30.0
#: The longest message of a node's WebSocket, in bytes.
_MAXIMUM_MESSAGE = 4 * 1024 * 1024
#: The longest refusal that is read, in bytes.
_LONGEST_REFUSAL = 64 * 1024
#: Connections that are used again, that are not, and those that become WebSockets.
_Kind = Literal["kept", "fresh", "sockets"]
_REPEATABLE = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"))
#: Why certificates are not trusted, by OpenSSL's numbers, in upstream's words.
_DISTRUST = {
    9: "certificate has expired or is not yet valid",
    10: "certificate has expired or is not yet valid",
    **dict.fromkeys((18, 19, 20, 21), "certificate signed by unknown authority"),
}
#: What aiohttp would add by itself.
_AUTOMATIC = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class Unreachable(Exception):
    """There is no answer; the message says why."""


class Disconnected(Unreachable):
    """The connection was closed before anything came: one that was kept may have been closed for some time."""


class Refused(Exception):
    """The backend does not make a WebSocket of this; `text` is what it says."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@attrs.frozen
class Tls:
    """How a backend is trusted and who the server is to it. `authority` is PEM; b"" with `verify`: the system's own."""

    server_name: str = ""
    authority: bytes = b""
    verify: bool = True
    client: KeyPair | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Address:
    """Where a request goes. Without `tls` it goes in the clear."""

    host: str
    port: int
    tls: Tls | None = None

    @property
    def authority(self) -> str:
        """`host:port`, as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls is not None else 'http'}://{self.authority}"


class Body(AsyncIterator[bytes]):
    """The content of an answer. `aclose` lets go of the connection, whether or not all of it was read."""

    def __init__(self, native: aiohttp.ClientResponse) -> None:
        self._native = native

    async def __anext__(self) -> bytes:
        import aiohttp

        try:
            data = await self._native.content.readany()
        except (aiohttp.ClientError, TimeoutError) as error:
            self._native.close()
            raise ConnectionAbortedError(f"the backend broke off: {error}") from error
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        # With all of it read the connection has gone back already, and this does nothing.
        self._native.close()


@attrs.frozen
class Answer:
    """The head of an answer; the content follows in `body`. `headers` keep their order and repetition."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: Body
    _native: Any = attrs.field(repr=False)

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    async def read(self, limit: int) -> bytes:
        """The whole content. Raises `Unreachable` where it breaks off, or is longer than `limit` bytes."""
        data = bytearray()
        try:
            async for chunk in self.body:
                data += chunk
                if len(data) > limit:
                    raise Unreachable(f"the answer is longer than {limit} bytes")
        except ConnectionError as error:
            raise Unreachable(str(error)) from error
        finally:
            await self.body.aclose()
        return bytes(data)

    def switched(self) -> ByteStream:
        """The connection, of an answer 101."""
        connection = self._native.connection
        if connection is None or connection.transport is None:
            raise Unreachable("the connection is gone")
        stream = _Switched(connection.protocol, connection.transport, self._native)
        connection.protocol.set_parser(stream, None)
        return stream


class _Switched(RawStream):
    """The connection of an answer, which would be closed if the answer itself were forgotten."""

    def __init__(self, protocol: Any, transport: asyncio.Transport, native: aiohttp.ClientResponse) -> None:
        super().__init__(protocol, transport)
        self._native = native

    async def close(self) -> None:
        await super().close()
        self._native.close()


class Outgoing:
    """The client of one server."""

    def __init__(self) -> None:
        self._sessions: dict[_Kind, aiohttp.ClientSession] = {}
        self._contexts: dict[Tls, ssl.SSLContext] = {}

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    async def send(
        self,
        address: Address,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        timeout: float | None = None,
        kept: bool | None = None,
    ) -> Answer:
        """`target` is path and query, in their encoded form; `timeout` in seconds is for the whole. `kept`: on a
        connection that is used again; None decides by the method. Raises `Unreachable`."""
        import aiohttp

        switching = _asks_to_switch(headers)
        if kept is None:
            kept = method in _REPEATABLE and not switching
        try:
            native = await self._session("kept" if kept else "fresh").request(
                method,
                self._url(address, target),
                headers=headers,
                data=body or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_TIMEOUT),
                read_until_eof=not switching,
                **self._tls(address),
            )
        except aiohttp.ServerDisconnectedError as error:
            raise Disconnected("EOF") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(_describe(error, address)) from error
        received = [(name, value) for name, value in native.headers.items()]
        return Answer(native.status, received, Body(native), native)

    async def messages(
        self, address: Address, target: str, protocols: Sequence[str], headers: Sequence[tuple[str, str]] = ()
    ) -> MessageStream:
        """A WebSocket. Raises `Refused` where the backend answers otherwise, and `Unreachable`."""
        import aiohttp

        try:
            native = await self._session("sockets").ws_connect(
                self._url(address, target),
                protocols=tuple(protocols),
                headers=headers,
                max_msg_size=_MAXIMUM_MESSAGE,
                **self._tls(address),
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(_describe(error, address)) from error
        return _Messages(native)

    def _session(self, kind: _Kind) -> aiohttp.ClientSession:
        session = self._sessions.get(kind)
        if session is None:
            import aiohttp

            session = self._sessions[kind] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, force_close=kind != "kept"),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=_AUTOMATIC,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
                raise_for_status=_only_switched if kind == "sockets" else False,
            )
        return session

    def _url(self, address: Address, target: str) -> URL:
        from yarl import URL

        return URL(address.url + target, encoded=True)

    def _tls(self, address: Address) -> dict[str, Any]:
        tls = address.tls
        if tls is None:
            return {}
        context = self._contexts.get(tls)
        if context is None:
            try:
                context = _context(tls)
            except (ssl.SSLError, ValueError) as error:
                raise Unreachable(f"unable to load root certificates: {error}") from error
            if len(self._contexts) >= 256:  # certificates come and go
                self._contexts.clear()
            self._contexts[tls] = context
        return {"ssl": context, "server_hostname": tls.server_name or None}


class _Messages(MessageStream):
    """A WebSocket of aiohttp's as ours."""

    def __init__(self, native: aiohttp.ClientWebSocketResponse) -> None:
        self._native = native
        self.protocol = native.protocol or ""

    async def receive(self) -> bytes | None:
        from aiohttp import WSMsgType

        message = await self._native.receive()
        if message.type is WSMsgType.BINARY:
            return bytes(message.data)
        if message.type is WSMsgType.TEXT:
            return str(message.data).encode()
        return None

    async def send(self, data: bytes) -> None:
        await self._native.send_bytes(data)

    async def close(self) -> None:
        await self._native.close()


async def _only_switched(native: aiohttp.ClientResponse) -> None:
    if native.status != 101:
        raise Refused(native.status, (await native.content.read(_LONGEST_REFUSAL)).decode(errors="replace").strip())


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=tls.authority.decode() if tls.authority else None)
    context.set_alpn_protocols(["http/1.1"])
    # As in Go, whoever is in the bundle is trusted, a server's own certificate too; and no rule on extensions beside.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.client is not None:
        # The ssl module reads keys from files only; this one is ours alone and gone at once.
        with tempfile.NamedTemporaryFile() as file:
            file.write(tls.client.certificate + tls.client.key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _asks_to_switch(headers: Sequence[tuple[str, str]]) -> bool:
    return any(name.lower() == "upgrade" for name, _ in headers)


def _describe(error: BaseException, address: Address) -> str:
    """Why there is no answer."""
    if isinstance(error, asyncio.TimeoutError) and not isinstance(error, OSError):
        return f"dial tcp {address.authority}: i/o timeout"
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        why = _DISTRUST.get(cause.verify_code, cause.verify_message)
        return f"tls: failed to verify certificate: x509: {why}"
    number = getattr(cause, "errno", None)
    if isinstance(number, int) and number in errno.errorcode and not isinstance(cause, ssl.SSLError):
        return f"dial tcp {address.authority}: connect: {os.strerror(number).lower()}"
    return str(error) or type(error).__name__

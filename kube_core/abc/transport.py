"""Request and response: what passes between a client and a server, with or without a socket between.

The server is a `Handler`; the HTTP adapter and the client's local transport both call it. Bodies travel as bytes or
as documents: whichever the maker had; the other is made at most once, when it is asked for.
"""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs
import orjson

from kube_core.api.types import ResourceType
from kube_core.meta.documents import Document

__all__ = [
    "ByteStream",
    "ConnectionDropped",
    "EventSource",
    "EventStream",
    "Handler",
    "MessageStream",
    "Request",
    "Response",
    "Upgrade",
    "User",
    "WatchEvent",
    "WatchRequest",
]


@attrs.frozen
class User:
    """Who asks: upstream's `user.Info`."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, Sequence[str]] = attrs.field(factory=dict)

    def document(self) -> dict[str, Any]:
        """As reviews and audit events say it: upstream's `authentication.UserInfo`."""
        said = {
            "username": self.name,
            "uid": self.uid,
            "groups": list(self.groups),
            "extra": {name: list(values) for name, values in self.extra.items()},
        }
        return {field: value for field, value in said.items() if value}


class ConnectionDropped(Exception):
    """A request has no answer: its connection is to break, as it does when a server dies."""


class EventStream(AsyncIterator[bytes]):
    """Chunks of whole events, for as long as a client listens: the body of a watch."""

    overrun: Callable[[], None] | None = None
    """Called once when the client is so far behind that it is told of nothing more."""

    @abc.abstractmethod
    def end(self) -> None:
        """Let what has happened be sent, and then the stream be over."""

    @abc.abstractmethod
    async def aclose(self) -> None:
        """Be over at once."""


class ByteStream(abc.ABC):
    """A two-way stream of bytes: what an upgraded connection is once its handshake is done."""

    @abc.abstractmethod
    async def receive(self) -> bytes:
        """The next bytes; b"" at the end."""

    @abc.abstractmethod
    async def send(self, data: bytes) -> None: ...

    async def finish(self) -> None:  # noqa: B027 (most connections end both ways at once)
        """Tell the peer that nothing more is sent, where the connection can; what it sends is received on."""

    @abc.abstractmethod
    async def close(self) -> None: ...


class MessageStream(abc.ABC):
    """A two-way stream of messages: a WebSocket. `protocol` is the subprotocol that was agreed upon, "" for none."""

    protocol: str = ""

    @abc.abstractmethod
    async def receive(self) -> bytes | None:
        """The next message; None at the end."""

    @abc.abstractmethod
    async def send(self, data: bytes) -> None: ...

    async def send_text(self, text: str) -> None:
        """A message of text, where the stream tells text from bytes."""
        await self.send(text.encode())

    @abc.abstractmethod
    async def close(self) -> None: ...


@attrs.frozen
class Upgrade:
    """How a connection goes on after its handshake, for the two ways in which a client may ask."""

    protocols: tuple[str, ...] = ()
    """WebSocket subprotocols, most wanted first."""
    messages: Callable[[MessageStream], Awaitable[None]] | None = None
    """Takes over a WebSocket."""
    spdy: Callable[[ByteStream], Awaitable[None]] | None = None
    """Takes over a connection that was upgraded to SPDY/3.1."""
    spdy_headers: Mapping[str, str] = attrs.field(factory=dict)
    """Further headers of the handshake's answer."""
    passed: Callable[[ByteStream], Awaitable[None]] | None = None
    """Takes over a connection whose handshake another server has answered: `Response.passed_headers` is the answer."""


@attrs.define
class Request:
    """One request. `path` is decoded; `query` keeps order and repetition; header names are in lower case.

    The values of a header that is repeated are joined: by commas, and by newlines where a value may have a comma
    (`Impersonate-…`).

    `user` is set where the caller is known without credentials (the local transport); otherwise the pipeline
    authenticates by `peer_certificates` (in DER, the client's own first) and the Authorization header.
    """

    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = b""
    document: Any = None
    """The body as a JSON value, where the caller has it: then `body` may be left empty."""
    user: User | None = None
    peer_certificates: tuple[bytes, ...] = ()
    peer_address: str = ""
    raw_query: str = ""
    """The query as it came over a socket, for those who pass it on; "" where there is `query` only."""

    def parameter(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        return next((value for key, value in self.query if key == name), default)


@attrs.define
class Response:
    """One response: a body (bytes or document), or a stream of chunks, or an upgrade."""

    status: int = 200
    headers: dict[str, str] = attrs.field(factory=dict)
    content_type: str = "application/json"
    body: bytes | None = None
    document: Any = None
    stream: AsyncIterator[bytes] | None = None
    """Chunks to send as they come. Closed (`aclose`) when the client goes away."""
    finite: bool = False
    """The stream ends by itself: it is a long body, which is compressed and finished as any other is."""
    upgrade: Upgrade | None = None
    """Takes over the connection (exec, attach, port-forward)."""
    warnings: Sequence[str] = ()
    """Values of `Warning` headers, each of which becomes a header of its own."""
    passed_headers: Sequence[tuple[str, str]] | None = None
    """What another server answered with, of which this response is passed on: sent instead of all other headers."""

    def encoded(self) -> bytes:
        """The body as bytes."""
        if self.body is None:
            self.body = b"" if self.document is None else orjson.dumps(self.document)
        return self.body

    def decoded(self) -> Any:
        """The body as a JSON value; read-only where the server shares it."""
        if self.document is None and self.body:
            self.document = orjson.loads(self.body)
        return self.document


Handler = Callable[[Request], Awaitable[Response]]


@attrs.frozen(slots=True)
class WatchEvent:
    """`type` is ADDED, MODIFIED, DELETED, BOOKMARK or ERROR (then `object` is a Status)."""

    type: str
    object: Document


@attrs.frozen
class WatchRequest:
    """What to hear of: changes to `resource` after `resource_version` ("": what is there, and then changes).

    `namespace` and `name` are "" for all. With `metadata_only` the caller looks at metadata alone, so objects may lack
    everything else; a server whose documents are shared gives whole ones.
    """

    resource: ResourceType
    namespace: str = ""
    name: str = ""
    label_selector: str = ""
    field_selector: str = ""
    resource_version: str = ""
    metadata_only: bool = False

    @property
    def fields(self) -> str:
        """The field selector with the name in it, as it goes over HTTP."""
        named = f"metadata.name={self.name}" if self.name else ""
        return ",".join(part for part in (named, self.field_selector) if part)


class EventSource(Protocol):
    """Where the local transport gets watch events from without a socket: the server's bus, given by `cluster.py`."""

    def watch(self, wanted: WatchRequest, user: User) -> AsyncIterator[WatchEvent]:
        """Events after `wanted.resource_version`, objects frozen and shared.

        Raises `Expired` (410) where that is too old, and later when this subscriber falls too far behind.
        """
        ...

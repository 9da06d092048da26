"""What the pipeline knows of the audit log: a `Record` for each request that is noted, which is told how it goes.

A record's events are encoded when their stage is reached, so nothing that happens later to an object changes what was
noted of it. The stages are upstream's: RequestReceived once it is known who asks; ResponseStarted when a watch or
stream begins to answer; ResponseComplete at the end, or Panic where the server itself failed.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson

from kube_core._kit.clock import Clock
from kube_core._kit.random import Random
from kube_core.abc.transport import Request, Response, User
from kube_core.apiserver.audit.policy import Policy, Verdict
from kube_core.apiserver.negotiation import decode_body
from kube_core.auth.attributes import AccessAttributes
from kube_core.meta.documents import Document
from kube_core.meta.status import StatusError
from kube_core.meta.times import format_micro_time

__all__ = ["Auditor", "Backend", "Record"]

_VERSION: Final = "audit.k8s.io/v1"
_DECISION: Final = "authorization.k8s.io/decision"
_REASON: Final = "authorization.k8s.io/reason"
#: The longest object that an event carries, in bytes of its encoded form.
_LARGEST: Final = 8 * 1024 * 1024


class Backend(abc.ABC):
    """Where events go. Its queue is bounded."""

    @abc.abstractmethod
    def start(self) -> None: ...

    @abc.abstractmethod
    async def put(self, event: bytes) -> None:
        """Take an event as JSON. May wait while the queue is full, or drop it, as the backend says of itself."""

    @abc.abstractmethod
    async def stop(self) -> None:
        """Send what is waiting, and let go."""


class Auditor:
    """One server's audit log."""

    def __init__(self, policy: Policy, backends: Sequence[Backend], *, clock: Clock, random: Random) -> None:
        self._policy = policy
        self._backends = tuple(backends)
        self._clock = clock
        self._random = random

    def start(self) -> None:
        for backend in self._backends:
            backend.start()

    async def stop(self) -> None:
        await asyncio.gather(*(backend.stop() for backend in self._backends))

    async def begin(self, request: Request, asked: AccessAttributes, received: float) -> Record | None:
        """The record of a request that is to be noted; None for any other. `received`: when it came."""
        verdict = self._policy.verdict(asked)
        if verdict.level == "None":
            return None
        record = Record(self, verdict, request, asked, self._random.uid(), received)
        await record.note("RequestReceived")
        return record

    async def put(self, event: Document) -> None:
        encoded = orjson.dumps(event)
        for backend in self._backends:
            await backend.put(encoded)

    def now(self) -> float:
        return self._clock.now()


class Record:
    """One request that is noted."""

    def __init__(
        self,
        auditor: Auditor,
        verdict: Verdict,
        request: Request,
        asked: AccessAttributes,
        audit_id: str,
        received: float,
    ) -> None:
        self.annotations: dict[str, str] = {}
        self._auditor = auditor
        self._verdict = verdict
        self._request = request
        self._event: dict[str, Any] = {
            "kind": "Event",
            "apiVersion": _VERSION,
            "level": verdict.level,
            "auditID": request.headers.get("audit-id") or audit_id,
            "stage": "",
            "requestURI": _uri(request),
            "verb": asked.verb,
            "user": {"username": asked.user.name, **asked.user.document()},
            "sourceIPs": _sources(request),
        }
        if agent := request.headers.get("user-agent"):
            self._event["userAgent"] = agent
        if asked.resource:
            self._event["objectRef"] = _reference(asked)
        self._event["requestReceivedTimestamp"] = format_micro_time(received)

    @property
    def audit_id(self) -> str:
        found: str = self._event["auditID"]
        return found

    @property
    def takes_requests(self) -> bool:
        """Whether what requests contain is noted."""
        return self._verdict.level in ("Request", "RequestResponse")

    def impersonated(self, user: User, constraint: str) -> None:
        """The request is taken for somebody else's."""
        self._event["impersonatedUser"] = user.document()
        if constraint:
            self._event["authenticationMetadata"] = {"impersonationConstraint": constraint}

    def decided(self, *, allowed: bool, reason: str) -> None:
        """What the authorizers said."""
        self.annotations[_DECISION] = "allow" if allowed else "forbid"
        self.annotations[_REASON] = reason

    async def failed(self, message: str) -> None:
        """The server itself failed."""
        self._event["responseStatus"] = {"metadata": {}, "status": "Failure", "message": message, "code": 500}
        self._note_request()
        await self.note("Panic")

    async def answered(self, response: Response) -> Response:
        """Note an answer: now, or, of one that is streamed, when it starts and when it is over."""
        self._note_request()
        response.headers.setdefault("Audit-Id", self.audit_id)
        status: dict[str, Any] = {"metadata": {}, "code": response.status}
        self._event["responseStatus"] = status
        if response.stream is not None or response.upgrade is not None:
            await self.note("ResponseStarted")
            if response.stream is not None:
                response.stream = _Noted(response.stream, self)
            else:
                await self.note("ResponseComplete")
            return response
        noted = response.decoded() if response.status >= 400 or self._verdict.level == "RequestResponse" else None
        if isinstance(noted, Mapping):
            if noted.get("kind") == "Status":
                status.update({name: value for name, value in noted.items() if name not in ("kind", "apiVersion")})
            elif self._verdict.level == "RequestResponse" and _fits(response):
                self._event["responseObject"] = self._shown(noted)
        await self.note("ResponseComplete")
        return response

    async def note(self, stage: str) -> None:
        """Write an event, unless the policy leaves its stage out."""
        if stage in self._verdict.omitted_stages:
            return
        self._event["stage"] = stage
        self._event["stageTimestamp"] = format_micro_time(self._auditor.now())
        if self.annotations:
            self._event["annotations"] = dict(sorted(self.annotations.items()))
        await self._auditor.put(self._event)

    def _note_request(self) -> None:
        """The body of the request, where the level wants it."""
        request = self._request
        if not self.takes_requests or "requestObject" in self._event:
            return
        document = request.document
        if document is None and request.body and len(request.body) <= _LARGEST:
            try:
                document = decode_body(request.body, request.headers.get("content-type", ""))
            except StatusError:
                return
        if document is not None:
            self._event["requestObject"] = self._shown(document)

    def _shown(self, document: Any) -> Any:
        if not self._verdict.omit_managed_fields or not isinstance(document, Mapping):
            return document
        shown = _without_managed_fields(document)
        if isinstance(items := document.get("items"), list):
            shown["items"] = [_without_managed_fields(each) if isinstance(each, Mapping) else each for each in items]
        return shown


class _Noted(AsyncIterator[bytes]):
    """A stream whose end is noted, however it comes."""

    def __init__(self, inner: AsyncIterator[bytes], record: Record) -> None:
        self._inner = inner
        self._record: Record | None = record

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._inner)
        except StopAsyncIteration:
            await self._over()
            raise

    async def aclose(self) -> None:
        close = getattr(self._inner, "aclose", None)
        try:
            if close is not None:
                await close()
        finally:
            await self._over()

    async def _over(self) -> None:
        record, self._record = self._record, None
        if record is not None:
            await record.note("ResponseComplete")


def _reference(asked: AccessAttributes) -> dict[str, str]:
    fields = (
        ("resource", asked.resource),
        ("namespace", asked.namespace),
        ("name", asked.name),
        ("apiGroup", asked.group),
        ("apiVersion", asked.version),
        ("subresource", asked.subresource),
    )
    return {name: value for name, value in fields if value}


def _uri(request: Request) -> str:
    path = quote(request.path)
    return f"{path}?{urlencode(request.query)}" if request.query else path


def _sources(request: Request) -> list[str]:
    """Where it came from: as proxies say, then the peer."""
    forwarded = [part.strip() for part in request.headers.get("x-forwarded-for", "").split(",") if part.strip()]
    peer = request.peer_address or "127.0.0.1"
    return forwarded if forwarded and forwarded[-1] == peer else [*forwarded, peer]


def _fits(response: Response) -> bool:
    return response.body is None or len(response.body) <= _LARGEST


def _without_managed_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    shown = dict(document)
    if isinstance(metadata := shown.get("metadata"), Mapping) and "managedFields" in metadata:
        shown["metadata"] = {name: value for name, value in metadata.items() if name != "managedFields"}
    return shown

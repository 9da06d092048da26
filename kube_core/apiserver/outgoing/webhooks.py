"""The client of webhooks: a review to the URL or Service of a `clientConfig`, the answer's JSON back.

A Service is reached at one of its ready endpoints, as the host need not have a way to cluster addresses; its
certificate has to be that of `NAME.NAMESPACE.svc`. Only the configuration's `caBundle` is trusted, or without one the
system's authorities. Connections are kept. A connection that was kept and turns out to be closed is no failure: the
review is sent once more on a new one. Answers are bounded in size, and in time by the caller's timeout, which the
webhook is told in the query.

What this program answers itself has the URL `IN_PROCESS` and a path, and is called without a socket (`answer_by`), with
the same review, the same time and the same answer.

What goes wrong is worded as upstream's client words it, because administrators search for these texts. What a review
says, and what its answer means, is the callers' (admission, and the conversion of custom resources).
"""

from __future__ import annotations

import base64
import binascii
import http
import posixpath
import urllib.parse
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core.meta.documents import Document
from kube_core.meta.status import NotFound, StatusError
from kube_core.registry.service_endpoints import ServiceEndpoints
from kube_core.registry.webhooks import WebhookCaller, WebhookFailure

if TYPE_CHECKING:
    from kube_core.apiserver.outgoing.client import Address, Answer, Outgoing

__all__ = ["IN_PROCESS", "InProcess", "Webhooks"]

#: Where webhooks are that this program answers itself: a host that no resolver knows.
IN_PROCESS: Final = "https://in-process.kube-core.invalid"
#: Answers the review that is sent to a path.
InProcess = Callable[[str, Document], Awaitable[Document]]
_log = get_logger("kube_core.apiserver.webhooks")

#: The longest answer that is read, in bytes: that of an object's own limit, and as much for what is around it.
LONGEST_ANSWER: Final = 6 * 1024 * 1024
_HEADERS: Final = (
    ("Accept", "application/json, */*"),
    ("Content-Type", "application/json"),
    ("User-Agent", "kube-apiserver-admission"),
)
#: What upstream's client says of an answer that is none, by its status.
_REFUSALS: Final = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    409: "the server reported a conflict",
    413: "the request is too large",
    422: "the server rejected our request due to an error in our request",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}
#: Statuses whose text is the server's own.
_TOLD: Final = (403, 406, 415)


@attrs.frozen
class _Target:
    """Where a configuration leads. `namespace` and `name` are those of a Service, "" for a URL."""

    host: str
    port: int
    path: str
    shown: str
    authority: bytes
    namespace: str = ""
    name: str = ""


class Webhooks(WebhookCaller):
    """The webhooks of one server."""

    def __init__(self, client: Outgoing, endpoints: ServiceEndpoints, clock: Clock) -> None:
        self._client = client
        self._endpoints = endpoints
        self._clock = clock
        self._in_process: dict[str, InProcess] = {}

    def answer_by(self, path: str, answer: InProcess) -> None:
        """From now on this program answers what is sent to a path of `IN_PROCESS`."""
        self._in_process[path] = answer

    async def call(self, config: Document, review: Document, *, timeout: int) -> Any:
        url = config.get("url") or ""
        if url.startswith(IN_PROCESS):
            return await self._call_in_process(url.removeprefix(IN_PROCESS), review, timeout)
        target = _target(config)
        path = f"{target.path}?timeout={timeout}s"
        from kube_core.apiserver.outgoing.client import Unreachable

        try:
            with self._clock.hold(f"the webhook {target.shown} is asked"):
                answer = await self._send(self._address(target), path, orjson.dumps(review), timeout)
                data = await answer.read(LONGEST_ANSWER)
        except NotFound:
            raise _failed(target, path, f'service "{target.name}" not found') from None
        except StatusError as error:
            raise _failed(target, path, error.message) from None
        except Unreachable as error:
            raise _failed(target, path, "context deadline exceeded" if _timed_out(error) else str(error)) from None
        if not 200 <= answer.status <= 206:
            raise WebhookFailure(_refusal(answer.status, data))
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise WebhookFailure(f"couldn't get version/kind; json parse error: {error}") from None

    async def _call_in_process(self, path: str, review: Document, timeout: int) -> Any:
        answer = self._in_process.get(path)
        if answer is None:
            raise WebhookFailure(f"nothing in this program answers {path}: is its plugin installed?")
        try:
            async with self._clock.timeout(timeout):
                return await answer(path, review)
        except TimeoutError:
            raise WebhookFailure(f'Post "{IN_PROCESS}{path}?timeout={timeout}s": context deadline exceeded') from None
        except Exception as error:
            _log.exception("a function failed that answers for a webhook", path=path)
            raise WebhookFailure(_refusal(500, f"{type(error).__name__}: {error}".encode())) from None

    async def _send(self, address: Address, path: str, body: bytes, timeout: int) -> Answer:
        from kube_core.apiserver.outgoing.client import Disconnected

        try:
            return await self._client.send(address, "POST", path, _HEADERS, body, timeout=timeout, kept=True)
        except Disconnected:
            return await self._client.send(address, "POST", path, _HEADERS, body, timeout=timeout)

    def _address(self, target: _Target) -> Address:
        """Raises `NotFound`, `ServiceUnavailable`."""
        from kube_core.apiserver.outgoing.client import Address, Tls

        if not target.name:
            return Address(target.host, target.port, Tls(authority=target.authority))
        found = self._endpoints.resolve(target.namespace, target.name, target.port)
        return Address(found.host, found.port, Tls(server_name=target.host, authority=target.authority))


def _target(config: Document) -> _Target:
    """Raises `WebhookFailure` for what validation should have refused."""
    try:
        authority = base64.b64decode(config.get("caBundle") or "")
    except binascii.Error as error:
        raise WebhookFailure(f"unable to load root certificates: {error}") from None
    service = config.get("service")
    if service is not None:
        host, port = f"{service['name']}.{service['namespace']}.svc", service.get("port") or 443
        path = _clean(service.get("path") or "/")
        shown = f"https://{host}:{port}"
        return _Target(host, port, path, shown, authority, service["namespace"], service["name"])
    url = config.get("url")
    if not url:
        raise WebhookFailure("webhook configuration must have either service or URL")
    parts = urllib.parse.urlsplit(url)
    return _Target(parts.hostname or "", parts.port or 443, _clean(parts.path), f"https://{parts.netloc}", authority)


def _clean(path: str) -> str:
    """As upstream's client asks for it: without empty steps and a slash at the end."""
    return posixpath.normpath("/" + path.lstrip("/"))


def _failed(target: _Target, path: str, why: str) -> WebhookFailure:
    return WebhookFailure(f'Post "{target.shown}{path}": {why}')


def _timed_out(error: BaseException) -> bool:
    """Whether time was up; a connection that the network gave up on is another thing, and has a number."""
    return any(isinstance(each, TimeoutError) and not each.errno for each in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _refusal(status: int, data: bytes) -> str:
    try:
        said = orjson.loads(data)
    except orjson.JSONDecodeError:
        said = None
    if isinstance(said, dict) and said.get("kind") == "Status" and said.get("message"):
        return str(said["message"])
    text = data[:1024].decode(errors="replace").strip() or "unknown"
    if status in _TOLD:
        return text
    if known := _REFUSALS.get(status):
        return known
    if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        return f'an error on the server ("{text}") has prevented the request from succeeding'
    return f"the server responded with the status code {status} but did not return more information"

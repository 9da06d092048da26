"""The pipeline: one request in, one response out. Parse, authenticate, authorise, route, answer.

`Pipeline.handle` is the server, as the HTTP adapter and the local transport see it. Between authentication and
authorisation a request is given a seat, or has to wait for one (`fairness`). Whatever goes wrong becomes a Status; what
nobody foresaw is logged with its trace and answered as 500 InternalError, and nothing more is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core._kit.metrics import Metrics
from kube_core._kit.random import Random
from kube_core.abc.recording import Asked, Recorder, asking
from kube_core.abc.transport import ConnectionDropped, Request, Response, User
from kube_core.apiserver import negotiation, responses
from kube_core.apiserver.fairness import LEAST, Fairness, Flow, TooManyRequests
from kube_core.apiserver.metrics import RequestMetrics
from kube_core.apiserver.requests import RequestInfo, parse
from kube_core.apiserver.verbs import Verbs
from kube_core.auth import impersonation
from kube_core.auth.attributes import AccessAttributes, Decision, exact_field
from kube_core.auth.authentication import Authenticator
from kube_core.auth.authorization import Authorizer, denial
from kube_core.meta.gvk import GroupResource
from kube_core.meta.status import (
    BadRequest,
    Forbidden,
    InternalError,
    MethodNotSupported,
    NotFound,
    StatusError,
    Unauthorized,
    not_found,
)
from kube_core.registry.catalogue import Catalogue
from kube_core.registry.context import Admission, Context
from kube_core.registry.generic import Registry

if TYPE_CHECKING:
    from kube_core.apiserver.audit import Auditor, Record

__all__ = ["Pipeline", "Subresource", "not_found_text"]

_log = get_logger("kube_core.apiserver")

#: Verbs on a collection; all others are on one object.
_OF_COLLECTIONS = ("list", "watch", "create", "deletecollection")
#: Of what cannot be encoded, by what orjson says of it: what is wrong with the object. Its errors are plain TypeErrors.
_UNENCODABLE: Mapping[str, str] = {
    "Recursion limit reached": "the object provided is nested too deeply to be handled",
    "str is not valid UTF-8: surrogates not allowed": "the object provided has text that is not valid Unicode",
    "Integer exceeds 64-bit range": "the object provided has a number that is too large to be handled",
}
#: Upstream's bounds on the Warning header, in characters: of all texts, and of each once they are too many.
_WARNINGS_TOTAL, _WARNING_ITEM = 4096, 256

#: Answers a request on a subresource, whatever its verb. Raises StatusErrors.
Subresource = Callable[[Request, RequestInfo, Registry, Context], Awaitable[Response]]
#: Goes on with a request that was let in.
Onward = Callable[[Request, RequestInfo, Context], Awaitable[Response]]
#: Answers a path that is no resource, or returns None where it is not its path.
Route = Callable[[Request], Response | Awaitable[Response | None] | None]


@attrs.define
class _Noted:
    """What the audit log notes of one request, once it is known whether it does."""

    auditor: Auditor
    received: float
    record: Record | None = None

    async def begin(self, request: Request, asked: AccessAttributes) -> None:
        self.record = await self.auditor.begin(request, asked, self.received)

    async def failed(self, message: str) -> None:
        record, self.record = self.record, None
        if record is not None:
            await record.failed(message)


@attrs.define
class Pipeline:
    """One server's requests."""

    catalogue: Catalogue
    authenticator: Authenticator
    authorizer: Authorizer
    fairness: Fairness
    admission: Admission
    clock: Clock
    random: Random
    #: The answer of another server, where a path is one that it serves.
    passes_on: Callable[[Request, User], Awaitable[Response] | None] = lambda request, user: None
    #: The audit log, where there is one.
    auditor: Auditor | None = None
    #: Where requests are counted.
    metrics: RequestMetrics = attrs.field(factory=lambda: RequestMetrics(Metrics()))
    #: Who is told of requests, if anybody is.
    recorder: Recorder | None = None
    #: Called with the way to go on, where something stands between a request and its answer.
    between: Callable[[Onward, Request, RequestInfo, Context], Awaitable[Response]] | None = None
    routes: list[Route] = attrs.field(factory=list)
    #: By (group, plural, subresource); plural "*" for any. Virtual resources are under the subresource "".
    subresources: dict[tuple[str, str, str], Subresource] = attrs.field(factory=dict)
    _verbs: Verbs = attrs.field(init=False)
    _table: Mapping[str, Subresource] = attrs.field(init=False)
    #: Held while a body is read that takes long.
    _reading: asyncio.Lock = attrs.field(init=False, factory=asyncio.Lock)

    def __attrs_post_init__(self) -> None:
        verbs = self._verbs = Verbs(self.clock, self.random, self.metrics)
        self._table = {
            "get": verbs.get,
            "list": verbs.list,
            "watch": verbs.watch,
            "create": verbs.create,
            "update": verbs.update,
            "patch": verbs.patch,
            "delete": verbs.delete,
            "deletecollection": verbs.deletecollection,
        }

    @property
    def verbs(self) -> Verbs:
        return self._verbs

    async def handle(self, request: Request) -> Response:
        """Answer one request. Never raises, but for cancellation, and `ConnectionDropped` where a rule says so."""
        info = parse(request)
        if self.recorder is None:
            return await self._handle(request, info)
        return await self._recorded(self.recorder, request, info)

    async def _recorded(self, recorder: Recorder, request: Request, info: RequestInfo) -> Response:
        path = "" if info.is_resource else info.path
        resource = GroupResource(info.group, info.resource)
        number = recorder.request_began(Asked(info.verb, resource, info.key, info.subresource, path))
        token = asking.set(number)
        response = None
        try:
            response = await self._handle(request, info)
        finally:
            asking.reset(token)
            recorder.request_ended(number, response.status if response is not None else 0, _complaint(response))
        return response

    async def _handle(self, request: Request, info: RequestInfo) -> Response:
        began = self.clock.monotonic()
        inflight = self.metrics.inflight(info)
        inflight.value += 1
        try:
            if self.auditor is None:
                response = await self._respond(request, info, None)
            else:
                noted = _Noted(self.auditor, self.clock.now())
                response = await self._respond(request, info, noted)
                if noted.record is not None:
                    response = await noted.record.answered(response)
        finally:
            inflight.value -= 1
        self.metrics.answered(request, info, response, self.clock.monotonic() - began, self._knows)
        if request.user is None and "Audit-Id" not in response.headers:
            response.headers["Audit-Id"] = request.headers.get("audit-id") or self.random.uid()
        return response

    def _knows(self, info: RequestInfo) -> bool:
        """Whether a request is of a resource that is served."""
        registry = self.catalogue.registry(info.group, info.version, info.resource)
        subresource = info.subresource
        return registry is not None and (not subresource or registry.descriptor.subresource(subresource) is not None)

    async def admits(self, request: Request) -> bool:
        """Whether who asks may, so far as can be told before the body is there. What is refused is handled without."""
        try:
            await self._admit(await self._identify(request, parse(request), None), None)
        except Exception:
            return False
        return True

    async def _respond(self, request: Request, info: RequestInfo, noted: _Noted | None) -> Response:
        flow: Flow | None = None
        context: Context | None = None
        try:
            asked = await self._identify(request, info, noted)
            if self.recorder is not None:
                self.recorder.identified(asking.get(), asked.user.name)
            # What the cluster's own parts ask without a socket between never waits for a seat.
            flow = self.fairness.flow_of(asked.user, info) if request.user is None else None
            turn, work = None, LEAST
            if flow is not None:
                work = self.fairness.work(flow, request, info)
                if not self.fairness.enter(flow, work):
                    turn = await self.fairness.wait(flow, work)
            try:
                context = await self._admit(asked, noted)
                await self._read_ahead(request)
                if self.between is None:
                    response = await self._route(request, info, context)
                else:
                    response = await self.between(self._route, request, info, context)
            finally:
                if flow is not None:
                    flow.level.leave(turn, work)
        except TooManyRequests as refused:
            return refused.response
        except ConnectionDropped:
            raise
        except StatusError as error:
            response = responses.failure(request, error)
        except Exception as error:
            why = _unencodable(error)
            if why is not None:
                response = responses.failure(request, BadRequest(why))
            else:
                _log.exception("request failed", method=request.method, path=request.path)
                if noted is not None:
                    await noted.failed(str(error))
                response = responses.failure(request, InternalError(f"Internal error occurred: {type(error).__name__}"))
        if context is not None and context.warnings:
            # A request that failed is warned of what it said all the same.
            response.warnings = _warning_headers(context.warnings)
        if flow is not None:
            response.headers.update(flow.headers)
        return response

    async def _read_ahead(self, request: Request) -> None:
        """Read what takes long on a thread, one at a time: a client that sends much YAML waits for itself only."""
        if request.body and negotiation.is_slow(request.body, request.headers.get("content-type", "")):
            async with self._reading:
                with self.clock.hold("a body is being read"):
                    request.body = await asyncio.to_thread(negotiation.ReadAhead.of, request.body)

    async def _identify(self, request: Request, info: RequestInfo, noted: _Noted | None) -> AccessAttributes:
        """Who asks for what. Raises `Unauthorized`, and `Forbidden` to who may not be another."""
        try:
            user = await self.authenticator.authenticate(request)
        except Unauthorized:
            if noted is not None:
                await noted.begin(request, _access(request, User(""), info))
            raise
        asked = _access(request, user, info)
        if noted is not None:
            await noted.begin(request, asked)
        if request.headers and impersonation.is_asked_for(request.headers):
            found = await impersonation.impersonated(asked, request.headers, self._allowed, self._require)
            asked = attrs.evolve(asked, user=found.user)
            if noted is not None and noted.record is not None:
                noted.record.impersonated(found.user, found.constraint)
        return asked

    async def _admit(self, asked: AccessAttributes, noted: _Noted | None) -> Context:
        """May they. Raises `Forbidden`."""
        decision = await self.authorizer.authorize(asked)
        if noted is not None and noted.record is not None:
            noted.record.decided(allowed=decision.allowed, reason=decision.reason)
            if not decision.allowed:
                raise _forbidden(asked, decision)
            record = noted.record
            return Context(asked.user, self.admission, annotations=record.annotations, detailed=record.takes_requests)
        if not decision.allowed:
            raise _forbidden(asked, decision)
        return Context(asked.user, self.admission)

    async def _allowed(self, asked: AccessAttributes) -> bool:
        return (await self.authorizer.authorize(asked)).allowed

    async def _require(self, asked: AccessAttributes) -> None:
        """Raises `Forbidden` for what is not allowed."""
        decision = await self.authorizer.authorize(asked)
        if not decision.allowed:
            raise _forbidden(asked, decision)

    async def authorize(self, asked: AccessAttributes) -> None:
        """What a request passes before it is answered, for those that come another way. Raises `Forbidden`."""
        await self._require(asked)

    async def _route(self, request: Request, info: RequestInfo, context: Context) -> Response:
        passed_on = self.passes_on(request, context.user)
        if passed_on is not None:
            return await passed_on
        if not info.is_resource:
            return await self._answer(request) or not_found_text()
        registry = self.catalogue.registry(info.group, info.version, info.resource)
        if registry is None:
            answer = await self._answer(request)
            if answer is not None:
                return answer
            # What definitions do not serve is no path at all.
            if info.group and not self.catalogue.has_builtin_group(info.group):
                return not_found_text()
            raise _no_such_resource()
        if registry.is_custom:
            return await self._custom(request, info, registry, context)
        if info.namespace and not registry.type.namespaced:
            raise _no_such_resource()
        if request.method == "HEAD" and info.subresource != "proxy":
            raise registry.not_allowed()
        if registry.deprecation:
            context.warn(registry.deprecation)
        if registry.type.namespaced and not info.namespace and info.verb not in ("list", "watch"):
            raise MethodNotSupported("the server does not allow this method on the requested resource", details={})
        if info.subresource:
            return await self._subresource(request, info, registry, context)
        handler = self.subresources.get((info.group, info.resource, "")) or self._table.get(info.verb)
        on_collection = info.verb in _OF_COLLECTIONS
        if (
            info.verb not in registry.descriptor.verbs
            or handler is None
            or info.rest
            or on_collection == bool(info.name)
        ):
            raise registry.not_allowed()
        return await handler(request, info, registry, context)

    async def _custom(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        """Custom resources, which upstream routes by other rules than its own kinds."""
        namespaced, everywhere = registry.type.namespaced, info.verb in ("list", "watch")
        if bool(info.namespace) != namespaced and not (namespaced and everywhere):
            return not_found_text()
        if registry.deprecation:
            context.warn(registry.deprecation)
        if info.subresource:
            declared = registry.descriptor.subresource(info.subresource)
            if declared is None:
                raise not_found(registry.resource, info.name)
            handler = self.subresources.get(("*", "*", info.subresource)) or self._table.get(info.verb)
            if handler is None or info.verb not in declared.verbs:
                raise _unsupported(registry, info.verb)
            return await handler(request, attrs.evolve(info, rest=""), registry, context)
        handler = self._table.get(info.verb)
        if handler is None:
            raise _unsupported(registry, info.verb)
        if info.verb in ("update", "patch") and not info.name:
            raise BadRequest("name must be provided")
        # The name of what is made is in the body alone.
        return await handler(request, attrs.evolve(info, name="") if info.verb == "create" else info, registry, context)

    async def _subresource(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        declared = registry.descriptor.subresource(info.subresource)
        if declared is None or (info.rest and info.subresource != "proxy"):
            raise _no_such_resource()
        handler = self.subresources.get((info.group, info.resource, info.subresource)) or self.subresources.get(
            ("*", "*", info.subresource)
        )
        passes_on = info.subresource == "proxy" and request.method == "OPTIONS"
        if info.verb not in declared.verbs and not passes_on:
            raise registry.not_allowed()
        if handler is None:
            # Without a handler of its own a subresource reads and writes the whole object by the kind's rules.
            handler = self._table.get(info.verb)
        if handler is None:
            raise registry.not_allowed()
        return await handler(request, info, registry, context)

    async def _answer(self, request: Request) -> Response | None:
        for route in self.routes:
            response = route(request)
            if isinstance(response, Awaitable):
                response = await response
            if response is not None:
                return response
        return None


def _unencodable(error: Exception) -> str | None:
    """What is wrong with an object that cannot be handled; None for an error that is not the client's.

    Nobody's objects are hundreds of levels deep; what is stored never is, as it could not be encoded.
    """
    if isinstance(error, RecursionError):
        return _UNENCODABLE["Recursion limit reached"]
    return _UNENCODABLE.get(str(error)) if isinstance(error, TypeError) else None


def _access(request: Request, user: User, info: RequestInfo) -> AccessAttributes:
    """What a request asks for, as authorizers see it."""
    name, fields, labels = info.name, "", ""
    if request.query and info.verb in ("list", "watch", "deletecollection"):
        fields, labels = request.parameter("fieldSelector"), request.parameter("labelSelector")
        # A list of one object by its name is allowed to whoever may read that object.
        name = name or exact_field(fields, "metadata.name")
    return AccessAttributes(
        user,
        info.verb,
        info.group,
        info.version,
        info.resource,
        info.subresource,
        info.namespace,
        name,
        info.path,
        fields,
        labels,
    )


def _forbidden(asked: AccessAttributes, decision: Decision) -> Forbidden:
    why = denial(asked)
    if decision.reason:
        why += f": {decision.reason}"
    if not asked.resource:
        return Forbidden(f"forbidden: {why}", details={})
    resource = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    known = (("name", asked.name), ("group", asked.group), ("kind", asked.resource))
    subject = f'{resource} "{asked.name}" is forbidden: {why}' if asked.name else f"{resource} is forbidden: {why}"
    return Forbidden(subject, details={key: value for key, value in known if value})


def _complaint(response: Response | None) -> str:
    """What an answer says went wrong."""
    if response is None or response.status < 400 or not isinstance(response.document, Mapping):
        return ""
    return str(response.document.get("message") or "")


def _unsupported(registry: Registry, verb: str) -> MethodNotSupported:
    resource = registry.resource
    details = {"kind": resource.resource, **({"group": resource.group} if resource.group else {})}
    verb = "" if verb == "options" else verb  # which is no verb of resources
    return MethodNotSupported(f'{verb} is not supported on resources of kind "{resource}"', details=details)


def not_found_text() -> Response:
    """What upstream's router answers on a path that it does not know at all."""
    return Response(404, content_type="text/plain; charset=utf-8", body=b"404 page not found\n")


def _no_such_resource() -> NotFound:
    return NotFound("the server could not find the requested resource", details={})


def _warning_headers(warnings: Sequence[str]) -> Sequence[str]:
    """A header for each; when they are too long together, each is shortened, and the last are left out."""
    if sum(map(len, warnings)) > _WARNINGS_TOTAL:
        warnings = [text[:_WARNING_ITEM] for text in warnings]
    kept, total = [], 0
    for text in warnings:
        total += len(text)
        if total > _WARNINGS_TOTAL:
            break
        kept.append(f'299 - "{_quoted(text)}"')
    return kept


def _quoted(text: str) -> str:
    # A header cannot hold control characters, and what clients send may have any.
    printable = "".join(character if character.isprintable() else " " for character in text)
    return printable.replace("\\", "\\\\").replace('"', '\\"')

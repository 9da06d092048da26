"""Lets requests in: finds the flow of each, and a seat on the level of its flow.

The FlowSchemas and PriorityLevelConfigurations are read from the watch cache, and again after each change of them, so
that a change counts from the next request on. Requests that have a seat keep it, and those that wait are let in by
what counts then. The two levels and schemas without which upstream does not do, `exempt` and `catch-all`, are there
also before anybody has written them.

Not counted are requests that last: what connects (exec, attach, port-forward, proxy) and logs. A watch takes its seat
until it has begun. What the cluster's own components ask without a socket between never waits.

Called by the pipeline, between impersonation and authorisation.
"""

from __future__ import annotations

from collections import Counter

from kube_core._kit.clock import Clock
from kube_core.abc.transport import Request, Response, User
from kube_core.api import resources
from kube_core.apiserver.fairness.flows import Flow, Schema, classify
from kube_core.apiserver.fairness.levels import Level, Limits, Refused, Seats, Turn
from kube_core.apiserver.fairness.work import LEAST, Estimator, Work
from kube_core.apiserver.requests import RequestInfo
from kube_core.bus.changes import Change
from kube_core.storage.cache import WatchCache

__all__ = ["Fairness", "TooManyRequests"]

#: Upstream's --max-requests-inflight and --max-mutating-requests-inflight, which together are the server's seats.
SEATS = 400 + 200
#: Combinations of who asks and for what, of which the flow is remembered.
_REMEMBERED = 4096
#: What lasts as long as its client likes (upstream's long-running requests, but for watches).
_LASTING = frozenset(("attach", "exec", "log", "portforward", "proxy"))

_EVERYBODY = [
    {"kind": "Group", "group": {"name": "system:authenticated"}},
    {"kind": "Group", "group": {"name": "system:unauthenticated"}},
]
_ANYTHING = {
    "resourceRules": [
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
    ],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
}
_MASTERS = {"subjects": [{"kind": "Group", "group": {"name": "system:masters"}}], **_ANYTHING}
_MANDATORY_LEVELS = {
    "exempt": Limits(exempt=True, shares=0),
    "catch-all": Limits(shares=5, lendable_percent=0),
}
_MANDATORY_SCHEMAS = {
    "exempt": Schema("exempt", precedence=1, level="exempt", rules=[_MASTERS]),
    "catch-all": Schema(
        "catch-all",
        precedence=10000,
        level="catch-all",
        distinguisher="ByUser",
        rules=[{"subjects": _EVERYBODY, **_ANYTHING}],
    ),
}


class TooManyRequests(Exception):
    """The request is not let in; `response` says so."""

    def __init__(self, flow: Flow) -> None:
        super().__init__("too many requests")
        self.response = Response(
            429,
            {"Retry-After": "1", "X-Content-Type-Options": "nosniff", **flow.headers},
            "text/plain; charset=utf-8",
            b"Too many requests, please try again later.\n",
        )


class Fairness:
    """The seats of one server."""

    def __init__(self, cache: WatchCache, clock: Clock, estimator: Estimator, *, seats: int = SEATS) -> None:
        self.seats = Seats(seats)
        self.levels: dict[str, Level] = {}
        #: How many requests were let in by (schema, level), and refused by (schema, level, reason).
        self.dispatched: Counter[tuple[str, str]] = Counter()
        self.rejected: Counter[tuple[str, str, str]] = Counter()
        self._clock = clock
        self._estimator = estimator
        self._schemas: list[Schema] = []
        self._flows: dict[object, Flow | None] = {}
        self._stale = True
        self._level_objects = cache.resource(resources.PRIORITY_LEVEL_CONFIGURATIONS.group_resource)
        self._schema_objects = cache.resource(resources.FLOW_SCHEMAS.group_resource)
        self._level_objects.followers.append(self._changed)
        self._schema_objects.followers.append(self._changed)

    def flow_of(self, user: User, info: RequestInfo) -> Flow | None:
        """The flow of a request; None for what is not counted."""
        if self._stale:
            self._read()
        # No schema tells objects apart by their names, but for namespaces.
        asked: object = (
            (user.name, user.groups, info.verb, info.group, info.resource, info.subresource, info.namespace)
            if info.resource and info.resource != "namespaces"
            else (user.name, user.groups, info.verb, info.path, info.resource)
        )
        try:
            return self._flows[asked]
        except KeyError:
            pass
        if len(self._flows) >= _REMEMBERED:
            self._flows.clear()
        found = self._flows[asked] = self._classified(user, info)
        return found

    def work(self, flow: Flow, request: Request, info: RequestInfo) -> Work:
        """How many seats a request takes."""
        return LEAST if flow.level.limits.exempt else self._estimator.work(request, info, flow.level.widest)

    def enter(self, flow: Flow, work: Work) -> bool:
        """Whether there are seats for a request at once. What got some gives them back with `flow.level.leave`."""
        if not flow.level.enter(work):
            return False
        self.dispatched[flow.names] += 1
        return True

    async def wait(self, flow: Flow, work: Work) -> Turn:
        """Seats for a request whose level had none for it. Raises `TooManyRequests`."""
        try:
            turn = await flow.level.wait(flow.name, work)
        except Refused as refused:
            self.rejected[(*flow.names, refused.reason)] += 1
            raise TooManyRequests(flow) from None
        self.dispatched[flow.names] += 1
        return turn

    def _classified(self, user: User, info: RequestInfo) -> Flow | None:
        if info.subresource in _LASTING:
            return None
        return classify(self._schemas, self.levels.get, user, info)

    def _changed(self, _: Change) -> None:
        self._stale = True

    def _read(self) -> None:
        self._stale = False
        self._flows.clear()
        limits = {stored.key.name: Limits.of(stored.document) for stored in self._level_objects.list()}
        self._set_levels({**_MANDATORY_LEVELS, **limits})
        schemas = {stored.key.name: Schema.of(stored.document) for stored in self._schema_objects.list()}
        self._schemas = sorted({**_MANDATORY_SCHEMAS, **schemas}.values(), key=lambda schema: schema.order)

    def _set_levels(self, limits: dict[str, Limits]) -> None:
        """Who is on a level that is no more stays there until they are done."""
        before, self.levels = self.levels, {}
        for name, wanted in limits.items():
            level = self.levels[name] = before.get(name) or Level(name, wanted, self.seats, self._clock)
            level.limits = wanted
        self.seats.share_out(self.levels.values())

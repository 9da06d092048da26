"""Faults on demand: what goes wrong in a cluster, by rule.

    with cluster.faults.inject(Fault.answers(409, verb="update", resource="deployments", times=2)):
        ...
    cluster.faults.add(Fault.partitions("node-2"))
    cluster.faults.add(Fault.fails("runtime of node-1", "start_container", "no space left on device", probability=0.5))

A rule says what it meets and what happens then, and how often: `times` at most, each time with `probability` (of the
cluster's own chance, so a seed repeats it). Rules are asked in the order in which they were added, and the first that
meets decides. While there is no rule, nothing stands between anybody: requests are routed, and drivers called, as
without this module.

Requests are met after they were authenticated and authorised, whichever way they came. What is wrong outside of the
server (a node that is cut off, a driver, the store) is a rule like any other.
"""

from __future__ import annotations

import contextlib
import fnmatch
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import attrs

from kube_core._kit.clock import Clock
from kube_core._kit.random import Random
from kube_core.abc.network import NetworkError
from kube_core.abc.runtime import RuntimeFailure
from kube_core.abc.store import StoreError
from kube_core.abc.transport import ConnectionDropped, Request, Response
from kube_core.abc.volume import VolumeError
from kube_core.apiserver.requests import RequestInfo
from kube_core.apiserver.server import ApiServer
from kube_core.meta.status import StatusError
from kube_core.registry.context import Context

if TYPE_CHECKING:
    from kube_core.bus.bus import Subscription

__all__ = ["Fault", "Faults"]

_REASONS = {
    409: ("Conflict", "the object has been modified; please apply your changes to the latest version and try again"),
    410: ("Expired", "The resourceVersion for the provided list is too old."),
    429: ("TooManyRequests", "the server has received too many requests and has asked us to try again later"),
    500: ("InternalError", "an error on the server has prevented the request from succeeding"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    504: ("Timeout", "the server was unable to return a response in the time allotted"),
}
_ERRORS: Mapping[str, Callable[[str], Exception]] = {
    "runtime": RuntimeFailure, "network": NetworkError, "volume": VolumeError, "store": StoreError,
}  # fmt: skip
#: What a node asks for in its own name, or what is asked for it: its pods.
_NODE_FIELD = "spec.nodeName="

Outcome = Literal["answer", "drop", "stale"]


@attrs.frozen(kw_only=True)
class Fault:
    """A rule. Made by its class methods, whose further options are the fields down to `probability`."""

    verb: str = ""
    resource: str = ""
    """A plural name."""
    subresource: str | None = None
    """None: any, and none."""
    namespace: str = ""
    name: str = ""
    user: str = ""
    """It, and `name`, may be patterns (`system:serviceaccount:*`)."""
    times: int | None = None
    probability: float = 1.0
    outcome: Outcome | None = None
    """None: only latency."""
    code: int = 0
    message: str = ""
    latency: float = 0.0
    """Seconds that pass first."""
    carried_out: bool = False
    """Of `drop`: only the answer is lost."""
    node: str = ""
    part: str = ""
    operation: str = ""

    @classmethod
    def answers(cls, code: int, message: str = "", **which: Any) -> Self:
        """Requests are refused with a status, and none of them is carried out."""
        return cls(outcome="answer", code=code, message=message, **which)

    @classmethod
    def delays(cls, seconds: float, **which: Any) -> Self:
        """Requests take that much longer."""
        return cls(latency=seconds, **which)

    @classmethod
    def drops(cls, *, carried_out: bool = False, **which: Any) -> Self:
        """Connections break before requests are answered; `carried_out`: after what was asked for was done."""
        return cls(outcome="drop", carried_out=carried_out, **which)

    @classmethod
    def stale(cls, resource: str, **which: Any) -> Self:
        """Lists are as of the moment at which the rule was added."""
        return cls(outcome="stale", verb="list", resource=resource, **which)

    @classmethod
    def partitions(cls, node: str) -> Self:
        """A node and the server do not reach each other: no lease, no status, no news of its pods, no streams."""
        return cls(outcome="drop", node=node)

    @classmethod
    def fails(cls, part: str, operation: str = "*", message: str = "it fails by rule", **how: Any) -> Self:
        """A driver's operations raise. `part`: `store`, `volume`, or `runtime of node-1`, a pattern; as `operation`."""
        return cls(part=part, operation=operation, message=message, **how)

    @classmethod
    def slows(cls, part: str, seconds: float, operation: str = "*", **how: Any) -> Self:
        """A driver's operations take that much longer."""
        return cls(part=part, operation=operation, latency=seconds, **how)

    @classmethod
    def webhook_fails(cls, message: str = "connection refused", *, latency: float = 0.0, **how: Any) -> Self:
        """Webhooks do not answer, after `latency` seconds (no longer than they are waited for)."""
        return cls(part="webhooks", operation="call", message=message, latency=latency, **how)

    @classmethod
    def webhook_slows(cls, seconds: float, **how: Any) -> Self:
        """Webhooks answer that much later."""
        return cls(part="webhooks", operation="call", latency=seconds, **how)

    def meets(self, info: RequestInfo, user: str, field_selector: str) -> bool:
        """Whether a request is one of those that the rule is about."""
        if self.part:
            return False
        if self.node:
            own = fnmatch.fnmatchcase(user, f"system:node:{self.node}")
            return own or f"{_NODE_FIELD}{self.node}" in field_selector.split(",")
        return (
            (not self.verb or info.verb == self.verb)
            and (not self.resource or info.resource == self.resource)
            and (self.subresource is None or info.subresource == self.subresource)
            and (not self.namespace or info.namespace == self.namespace)
            and (not self.name or fnmatch.fnmatchcase(info.name, self.name))
            and (not self.user or fnmatch.fnmatchcase(user, self.user))
        )


@attrs.define(eq=False)
class _Rule:
    fault: Fault
    #: The revision at which it was added.
    revision: int
    used: int = 0


Route = Callable[[Request, RequestInfo, Context], Awaitable[Response]]


class Faults:
    """The rules of one cluster."""

    def __init__(self, server: ApiServer, drivers: Mapping[str, Any], clock: Clock, random: Random) -> None:
        """`drivers`: by what they are in the cluster."""
        self._server = server
        self._drivers: Mapping[str, Any] = {**drivers, "store": server.store, "webhooks": server.webhooks}
        self._clock = clock
        self._random = random
        self._rules: list[_Rule] = []

    def add(self, fault: Fault) -> Fault:
        """From now on, until it is removed or used up."""
        self._rules.append(_Rule(fault, self._server.cache.revision))
        self._apply()
        if fault.node:
            self.drop_watches(node=fault.node)
        return fault

    def remove(self, fault: Fault) -> None:
        """No longer. A rule that is not there does nothing."""
        self._rules = [rule for rule in self._rules if rule.fault is not fault]
        self._apply()

    def clear(self) -> None:
        """No rules."""
        self._rules = []
        self._apply()

    @contextlib.contextmanager
    def inject(self, *faults: Fault) -> Iterator[None]:
        """While the block runs."""
        for fault in faults:
            self.add(fault)
        try:
            yield
        finally:
            for fault in faults:
                self.remove(fault)

    def used(self, fault: Fault) -> int:
        """How often a rule has met."""
        return sum(rule.used for rule in self._rules if rule.fault is fault)

    def drop_watches(self, resource: str = "", *, expired: bool = False, node: str = "") -> int:
        """End every watch there is now (of a resource, or of a node's pods); returns how many.

        `expired`: as one that fell too far behind, with 410, so that its client lists again.
        """
        found: Sequence[Subscription] = [
            watch
            for watch in list(self._server.bus.watches.values())
            if (not resource or watch.topic.resource.resource == resource)
            and (not node or watch.interest.fields.get("spec.nodeName") == node)
        ]
        for watch in found:
            watch.cut_off() if expired else watch.close()
        return len(found)

    def may_meet(self, info: RequestInfo, user: str) -> bool:
        """Whether a rule that is in force is about such a request, or about what every write goes through."""
        rules = [rule.fault for rule in self._rules if rule.fault.times is None or rule.used < rule.fault.times]
        return any(
            fnmatch.fnmatchcase("store", each.part) if each.part else each.meets(info, user, "") for each in rules
        )

    def surely_drops(self, info: RequestInfo, user: str) -> bool:
        """Whether such a request is dropped at once, uncarried-out, whatever else happens; if so, the rule has met it.

        For who would ask again and again, and can do without the asking.
        """
        for rule in self._rules:
            fault = rule.fault
            if (fault.times is not None and rule.used >= fault.times) or not fault.meets(info, user, ""):
                continue
            always = fault.times is None and fault.probability >= 1.0
            if not always or fault.outcome != "drop" or fault.carried_out or fault.latency:
                return False
            rule.used += 1
            return True
        return False

    # -- what stands between while there are rules -------------------------------------------------------------------

    def _apply(self) -> None:
        rules = [rule.fault for rule in self._rules]
        self._server.pipeline.between = self._between if any(not rule.part for rule in rules) else None
        self._server.unreachable = frozenset(rule.node for rule in rules if rule.node)
        for part, driver in self._drivers.items():
            self._set_between(
                part, driver, [rule for rule in rules if rule.part and fnmatch.fnmatchcase(part, rule.part)]
            )

    async def _between(self, route: Route, request: Request, info: RequestInfo, context: Context) -> Response:
        selector = request.parameter("fieldSelector") if request.query else ""
        rule = self._first(lambda fault: fault.meets(info, context.user.name, selector))
        if rule is None:
            return await route(request, info, context)
        fault = rule.fault
        if fault.latency:
            await self._clock.sleep(fault.latency)
        if fault.outcome == "answer":
            raise self._error(fault, info)
        if fault.outcome == "drop":
            if fault.carried_out:
                await route(request, info, context)
            raise ConnectionDropped("the connection was dropped by rule")
        if fault.outcome == "stale":
            asked = [each for each in request.query if each[0] not in ("resourceVersion", "resourceVersionMatch")]
            past = [("resourceVersion", str(rule.revision)), ("resourceVersionMatch", "Exact")]
            request = attrs.evolve(request, query=[*asked, *past])
        return await route(request, info, context)

    def _error(self, fault: Fault, info: RequestInfo) -> StatusError:
        reason, message = _REASONS.get(fault.code, ("", "refused by rule"))
        document: dict[str, Any] = {"code": fault.code, "reason": reason, "message": fault.message or message}
        details = {"name": info.name, "group": info.group, "kind": info.resource}
        document["details"] = {key: value for key, value in details.items() if value}
        if fault.code == 429:
            document["details"]["retryAfterSeconds"] = 1
        return StatusError.from_document(document)

    def _first(self, meets: Callable[[Fault], bool]) -> _Rule | None:
        """The rule that decides, counted."""
        for rule in self._rules:
            fault = rule.fault
            if (fault.times is not None and rule.used >= fault.times) or not meets(fault):
                continue
            if fault.probability < 1.0 and self._random.uniform(0.0, 1.0) >= fault.probability:
                continue
            rule.used += 1
            return rule
        return None

    def _set_between(self, part: str, driver: Any, rules: Sequence[Fault]) -> None:
        """Put the rules in front of a driver's methods, on this one object; or take them away."""
        for name in [name for name, value in vars(driver).items() if getattr(value, "by_rule", False)]:
            delattr(driver, name)
        wanted = {name for rule in rules for name in _operations(driver) if fnmatch.fnmatchcase(name, rule.operation)}
        for name in wanted:
            setattr(driver, name, self._guarded(part, name, getattr(driver, name)))

    def _guarded(self, part: str, name: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def guarded(*arguments: Any, **named: Any) -> Any:
            rule = self._first(
                lambda fault: (
                    bool(fault.part)
                    and fnmatch.fnmatchcase(part, fault.part)
                    and fnmatch.fnmatchcase(name, fault.operation)
                )
            )
            if rule is not None:
                # Who says how long it waits (for a webhook) waits no longer for a slow one.
                limit = named.get("timeout", math.inf)
                if rule.fault.latency:
                    await self._clock.sleep(min(rule.fault.latency, limit))
                if rule.fault.latency >= limit:
                    raise _failure(part, "context deadline exceeded")
                if rule.fault.message:
                    raise _failure(part, rule.fault.message)
            return await method(*arguments, **named)

        guarded.by_rule = True  # type: ignore[attr-defined]
        return guarded


def _operations(driver: Any) -> Iterator[str]:
    """The methods that are awaited and do something to the world; starting and stopping a driver is no such thing."""
    import inspect

    for name, value in inspect.getmembers(type(driver), inspect.iscoroutinefunction):
        if not name.startswith("_") and name not in ("start", "stop", "end", "open", "close", "fork") and value:
            yield name


def _failure(part: str, message: str) -> Exception:
    if part == "webhooks":
        from kube_core.registry.webhooks import WebhookFailure

        return WebhookFailure(message)
    make = _ERRORS.get(part.partition(" ")[0], RuntimeError)
    return make(message)

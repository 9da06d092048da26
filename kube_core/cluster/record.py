"""The record of a cluster: every request, write and reconcile of late, each with its cause.

    async with Cluster(record=True) as cluster:
        ...
        assert cluster.record.writes(kind="Pod", by="replicaset-controller")
        cluster.record.assert_no_conflicts()
        print("\\n".join(cluster.record.why("pods", "web-1", "default")))

Causes are chained: a write came of a request, that of a reconcile, that of a change which its controller was told of,
which is a write again, … back to a request from outside. What is not a controller (the scheduler, a node's agent) is
known by its user; the change it answers to is then the last one before it to the same object.

Of each of the three there are at most `limit`; the oldest go first. What is recorded costs a few microseconds; without
a record nothing is told of at all. `cluster.py` makes it, and the parts of a cluster tell it by
`kube_core.abc.recording`.
"""

from __future__ import annotations

import fnmatch
import itertools
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import attrs

from kube_core._kit.clock import Clock
from kube_core.abc.recording import Asked, Recorder, Seen, Version, asking, working
from kube_core.meta.documents import Document, Key
from kube_core.meta.gvk import GroupResource
from kube_core.meta.times import format_micro_time

__all__ = ["Entry", "Reconcile", "Record", "RequestEntry", "Write"]

_CONFLICT = 409
#: Steps of one chain that are told.
_LONGEST = 64
#: Fields of one write that are named.
_FIELDS = 6
_HOUSEKEEPING = frozenset(("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"))
_T = TypeVar("_T")


@attrs.define(slots=True)
class RequestEntry:
    """A request. `seconds` is None while it is being answered."""

    number: int
    at: float
    asked: Asked
    reconcile: int
    user: str = ""
    code: int = 0
    message: str = ""
    seconds: float | None = None

    def __str__(self) -> str:
        asked = self.asked
        what = asked.path or f"{asked.resource}{'/' + asked.subresource if asked.subresource else ''}"
        told = f": {self.message}" if self.message else ""
        return f"{self.user} asked to {asked.verb} {what}{_of(asked.key)} → {self.code or '…'}{told}"


@attrs.define(slots=True)
class Write:
    """What a revision did to an object."""

    number: int
    at: float
    revision: int
    resource: GroupResource
    key: Key
    before: Version | None
    after: Version | None
    #: The request that it came of; 0: the server itself wrote it.
    request: int = 0

    @property
    def verb(self) -> str:
        return "created" if self.before is None else "deleted" if self.after is None else "changed"

    @property
    def document(self) -> Document:
        """The object as it then was, or last was."""
        version = self.after or self.before
        assert version is not None
        return version.document

    @property
    def kind(self) -> str:
        return str(self.document.get("kind") or "")

    @property
    def changes(self) -> Sequence[str]:
        """The fields that it changed, as `spec.replicas: 2 → 3`; none of a creation or deletion."""
        if self.before is None or self.after is None:
            return ()
        return list(itertools.islice(_changes("", self.before.document, self.after.document), _FIELDS + 1))

    def __str__(self) -> str:
        fields = self.changes
        named = "; ".join([*fields[:_FIELDS], "…"] if len(fields) > _FIELDS else fields)
        told = f" ({named})" if named else ""
        return f"{self.kind} {self.key} was {self.verb} at revision {self.revision}{told}"


@attrs.define(slots=True)
class Reconcile:
    """One look of a controller at one key."""

    number: int
    at: float
    controller: str
    key: Key
    because: Sequence[Seen]
    outcome: str = ""

    def __str__(self) -> str:
        return f"{self.controller} reconciled {self.key}: {self.outcome or 'under way'}"


Entry = RequestEntry | Write | Reconcile


class Record(Recorder):
    """Of one cluster."""

    def __init__(self, clock: Clock, limit: int = 10_000) -> None:
        self._clock = clock
        self._limit = limit
        self._numbers = itertools.count(1)
        self._requests: OrderedDict[int, RequestEntry] = OrderedDict()
        self._writes: OrderedDict[tuple[GroupResource, Key, int], Write] = OrderedDict()
        self._reconciles: OrderedDict[int, Reconcile] = OrderedDict()
        #: By which request a revision was made that was not seen yet.
        self._ahead: OrderedDict[tuple[GroupResource, Key, int], int] = OrderedDict()

    # -- what happened -----------------------------------------------------------------------------------------------

    def entries(self) -> Sequence[Entry]:
        """Everything, in order."""
        every: list[Entry] = [*self._requests.values(), *self._writes.values(), *self._reconciles.values()]
        return sorted(every, key=lambda entry: entry.number)

    def requests(
        self, *, verb: str = "", resource: str = "", name: str = "", user: str = "", code: int = 0
    ) -> Sequence[RequestEntry]:
        """Requests, in order. `resource` is a plural name; `name` and `user` may be patterns (`system:*`)."""
        return [
            each
            for each in self._requests.values()
            if (not verb or each.asked.verb == verb)
            and (not resource or each.asked.resource.resource == resource)
            and _fits(each.asked.key.name, name)
            and _fits(each.user, user)
            and (not code or each.code == code)
        ]

    def writes(self, *, kind: str = "", name: str = "", namespace: str = "", by: str = "") -> Sequence[Write]:
        """Writes, in order. `by`: a user, or a controller by its name; it and `name` may be patterns."""
        return [
            each
            for each in self._writes.values()
            if (not kind or each.kind == kind)
            and _fits(each.key.name, name)
            and (not namespace or each.key.namespace == namespace)
            and (not by or any(fnmatch.fnmatchcase(actor, by) for actor in self.actors(each)))
        ]

    def reconciles(self, *, controller: str = "", name: str = "") -> Sequence[Reconcile]:
        """Reconciles, in order; both may be patterns."""
        return [
            each
            for each in self._reconciles.values()
            if _fits(each.controller, controller) and _fits(each.key.name, name)
        ]

    def conflicts(self) -> Sequence[RequestEntry]:
        """Requests that came too late: somebody else had written the object meanwhile."""
        return [each for each in self.requests(code=_CONFLICT) if each.asked.verb != "create"]

    def assert_no_conflicts(self) -> None:
        """Raises AssertionError that lists them."""
        found = [f"{each} ({self._asker(each)})" for each in self.conflicts()]
        if found:
            raise AssertionError("\n".join([f"{len(found)} conflicts:", *found]))

    def counts(self) -> Mapping[tuple[str, str], int]:
        """How many writes there were, by kind and by who wrote."""
        return Counter((each.kind, self.actors(each)[0]) for each in self._writes.values())

    def tail(self, count: int = 30) -> Sequence[str]:
        """The last entries, one line each."""
        return [f"{format_micro_time(entry.at)}  {entry}" for entry in self.entries()[-count:]]

    def clear(self) -> None:
        """Forget everything."""
        for each in (self._requests, self._writes, self._reconciles, self._ahead):
            each.clear()

    # -- and why -----------------------------------------------------------------------------------------------------

    def actors(self, write: Write) -> Sequence[str]:
        """Who made a write, by every name: the controller, where it was one, and the user."""
        request = self._requests.get(write.request)
        if request is None:
            return ("the server",)
        reconcile = self._reconciles.get(request.reconcile)
        return (request.user,) if reconcile is None else (reconcile.controller, request.user)

    def chain(self, write: Write) -> Iterator[Entry]:
        """A write, what it came of, what that came of, …"""
        told = 0
        following: Write | None = write
        while following is not None and told < _LONGEST:
            present, following = following, None
            yield present
            request = self._requests.get(present.request)
            if request is None:
                return
            yield request
            reconcile = self._reconciles.get(request.reconcile)
            if reconcile is not None:
                yield reconcile
                following = self._cause(reconcile)
            elif request.user.startswith("system:") and not request.user.startswith("system:admin"):
                following = self._before(present)
            told += 1

    def why(self, resource: str, name: str, namespace: str = "") -> Sequence[str]:
        """Why an object is as it is, in sentences: its last write and what that came of. Empty where none is known.

        `resource` is a plural name, with its group where that is needed (`ingresses.networking.k8s.io`).
        """
        found = [
            each
            for each in self._writes.values()
            if resource in (each.resource.resource, str(each.resource)) and each.key == Key(namespace, name)
        ]
        if not found:
            return ()
        return [_sentence(step, first=number == 0) for number, step in enumerate(self.chain(found[-1]))]

    def _cause(self, reconcile: Reconcile) -> Write | None:
        known = (self._writes.get((seen.resource, seen.key, seen.revision)) for seen in reversed(reconcile.because))
        return next((write for write in known if write is not None), None)

    def _before(self, write: Write) -> Write | None:
        """The last change to the same object before a write."""
        earlier = (
            each
            for each in reversed(self._writes.values())
            if each.revision < write.revision and each.key == write.key and each.resource == write.resource
        )
        return next(earlier, None)

    def _asker(self, request: RequestEntry) -> str:
        reconcile = self._reconciles.get(request.reconcile)
        return f"{reconcile.controller}, for {reconcile.key}" if reconcile is not None else request.user

    # -- told by the cluster's parts ---------------------------------------------------------------------------------

    def request_began(self, asked: Asked) -> int:
        number = next(self._numbers)
        self._keep(self._requests, number, RequestEntry(number, self._clock.now(), asked, working.get()))
        return number

    def identified(self, request: int, user: str) -> None:
        if (entry := self._requests.get(request)) is not None:
            entry.user = user

    def request_ended(self, request: int, code: int, message: str) -> None:
        if (entry := self._requests.get(request)) is not None:
            entry.code, entry.message = code, message
            entry.seconds = self._clock.now() - entry.at

    def written(self, resource: GroupResource, key: Key, revision: int) -> None:
        request = asking.get()
        if (write := self._writes.get((resource, key, revision))) is not None:
            write.request = request
        elif request:
            self._keep(self._ahead, (resource, key, revision), request)

    def seen(
        self, resource: GroupResource, key: Key, revision: int, before: Version | None, after: Version | None
    ) -> None:
        identity = (resource, key, revision)
        request = self._ahead.pop(identity, 0)
        number, now = next(self._numbers), self._clock.now()
        self._keep(self._writes, identity, Write(number, now, revision, resource, key, before, after, request))

    def reconcile_began(self, actor: str, key: Key, because: Sequence[Seen]) -> int:
        number = next(self._numbers)
        self._keep(self._reconciles, number, Reconcile(number, self._clock.now(), actor, key, because))
        return number

    def reconcile_ended(self, reconcile: int, outcome: str) -> None:
        if (entry := self._reconciles.get(reconcile)) is not None:
            entry.outcome = outcome

    def _keep(self, table: OrderedDict[Any, _T], identity: Any, entry: _T) -> None:
        table[identity] = entry
        if len(table) > self._limit:
            table.popitem(last=False)


def _sentence(step: Entry, *, first: bool) -> str:
    match step:
        case Write():
            return f"{step}." if first else f"  because {step}."
        case RequestEntry():
            asked = step.asked
            what = f"{asked.resource}{'/' + asked.subresource if asked.subresource else ''}"
            return f"  {step.user} had asked to {asked.verb} {what}{_of(asked.key)},"
        case Reconcile():
            end = "," if step.because else ": it was time to look again."
            return f"  when {step.controller} reconciled {step.key}{end}"


def _of(key: Key) -> str:
    return f" {key}" if key.name else f" in {key.namespace}" if key.namespace else ""


def _fits(text: str, pattern: str) -> bool:
    return not pattern or fnmatch.fnmatchcase(text, pattern)


def _changes(path: str, before: Any, after: Any) -> Iterator[str]:
    """What differs between two JSON values, by path."""
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys([*before, *after]):
            if path == "metadata" and name in _HOUSEKEEPING:
                continue
            inner = f"{path}.{name}" if path else str(name)
            yield from _changes(inner, before.get(name), after.get(name))
        return
    yield f"{path}: {_short(before)} → {_short(after)}"


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{len(value)} fields"
    if isinstance(value, list | tuple):
        return f"{len(value)} items"
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"

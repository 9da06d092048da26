"""Keeping events few: repeats become one Event with a count, a flood of similar ones becomes one, and then none.

Pure bookkeeping, as upstream's EventCorrelator documents it, with its numbers:

* the same event again (same source, object, type, reason and message) raises the count of the one there is;
* the tenth different message within ten minutes, all else being equal, and every further one, go into a single event
  whose message begins with "(combined from similar events): ";
* one source may say 25 things about one object, and then one more every five minutes.

Memory is bounded: each of the three tables forgets what was used longest ago.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

import attrs

from kube_core.meta.documents import MutableDocument
from kube_core.meta.times import format_time

__all__ = ["COMBINED_PREFIX", "Correlator", "Occurrence"]

COMBINED_PREFIX = "(combined from similar events): "

_TABLE_SIZE = 4096
_SIMILAR_LIMIT = 10
_SIMILAR_SECONDS = 600.0
_BURST = 25.0
_REFILL_PER_SECOND = 1.0 / 300.0

_Identity = tuple[str, ...]
_V = TypeVar("_V")


@attrs.define
class Occurrence:
    """What is known of one Event in the API: how often it occurred, and under which name it is written."""

    name: str
    count: int = 0
    first_timestamp: str = ""
    written: bool = False
    """Whether the server has it, so that the next occurrence is a patch."""


@attrs.define
class _Similar:
    last: float
    messages: OrderedDict[str, None] = attrs.field(factory=OrderedDict)


@attrs.define
class _Bucket:
    tokens: float
    at: float


class _Recent(Generic[_V]):
    """A table that forgets what was used longest ago."""

    def __init__(self) -> None:
        self._entries: OrderedDict[_Identity, _V] = OrderedDict()

    def get(self, key: _Identity, make: Callable[[], _V]) -> _V:
        value = self._entries.get(key)
        if value is None:
            value = self._entries[key] = make()
            if len(self._entries) > _TABLE_SIZE:
                self._entries.popitem(last=False)
        else:
            self._entries.move_to_end(key)
        return value


class Correlator:
    """Decides, for each event, whether it is written, and as what."""

    def __init__(self) -> None:
        self._buckets: _Recent[_Bucket] = _Recent()
        self._similar: _Recent[_Similar] = _Recent()
        self._occurrences: _Recent[Occurrence] = _Recent()

    def correlate(self, event: MutableDocument, now: float) -> Occurrence | None:
        """Count the event in; sets its message, count and first timestamp. None: it is one too many."""
        group = _group_of(event)
        if not self._allowed(_subject_of(event), now):
            return None
        identity = self._combine(event, group, now)
        occurrence = self._occurrences.get(identity, lambda: Occurrence(event["metadata"]["name"]))
        occurrence.count += 1
        occurrence.first_timestamp = occurrence.first_timestamp or format_time(now)
        event["count"] = occurrence.count
        event["firstTimestamp"] = occurrence.first_timestamp
        event["metadata"]["name"] = occurrence.name
        return occurrence

    def _allowed(self, subject: _Identity, now: float) -> bool:
        bucket = self._buckets.get(subject, lambda: _Bucket(_BURST, now))
        bucket.tokens = min(_BURST, bucket.tokens + (now - bucket.at) * _REFILL_PER_SECOND)
        bucket.at = now
        if bucket.tokens < 1.0:
            return False
        bucket.tokens -= 1.0
        return True

    def _combine(self, event: MutableDocument, group: _Identity, now: float) -> _Identity:
        """What the event counts as: itself, or with many different messages the one for all of them."""
        message = event["message"]
        similar = self._similar.get(group, lambda: _Similar(now))
        if now - similar.last > _SIMILAR_SECONDS:
            similar.messages.clear()
        similar.last = now
        similar.messages[message] = None
        if len(similar.messages) < _SIMILAR_LIMIT:
            return (*group, message)
        similar.messages.popitem(last=False)
        event["message"] = COMBINED_PREFIX + message
        return group


def _subject_of(event: MutableDocument) -> _Identity:
    """Who speaks about what."""
    regarding = event["involvedObject"]
    source = event["source"]
    fields = ("kind", "namespace", "name", "uid", "apiVersion")
    return (source.get("component", ""), source.get("host", ""), *(regarding.get(field, "") for field in fields))


def _group_of(event: MutableDocument) -> _Identity:
    """Everything that makes two events similar."""
    field_path = event["involvedObject"].get("fieldPath", "")
    return (*_subject_of(event), field_path, event["type"], event["reason"], event.get("reportingInstance", ""))

"""How many seats a request takes, and for how long after its answer: upstream's work estimates.

* A list takes a seat for every 100 kB that are held at once while it is answered, which is how many objects it gives
  (or, from the store with a selector, may look at) times how large they are on average. From the watch cache it is
  sent as it goes, and never takes more than ten. A list of one object by its name is that object.
* A watch is a list as long as it gives what there is now; one that only goes on from a resource version takes one seat.
* A write takes one seat. Where ten watches or more hear of it, it keeps a seat for every ten of them for 5 ms after the
  answer, or fewer for longer.

No request takes more seats than its level allows to one (`Level.widest`). What is not stored here (another server's
objects, a resource that there is not) takes one.

Mirrors upstream's estimators with `SizeBasedListCostEstimate`, which is on by default.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import attrs

from kube_core.abc.transport import Request
from kube_core.apiserver.requests import RequestInfo
from kube_core.auth.attributes import exact_field
from kube_core.bus.bus import Bus
from kube_core.storage.cache import ResourceCache

__all__ = ["LEAST", "Estimator", "Work"]

#: The most seats of one list, and of one write; bytes of a seat, and what a list from the cache holds at most.
_MOST_OF_LISTS, _MOST_OF_WRITES = 100, 10
_SEAT, _STREAMED = 100_000, 1_000_000
#: Watches that share a seat when they hear of a write, and for how many seconds.
_WATCHES, _HEARING = 10, 0.005
_WRITES: Final = frozenset(("create", "update", "patch", "delete"))


@attrs.frozen
class Work:
    """`seats` are taken until the answer is there, and `kept` of them for `after` seconds more."""

    seats: int = 1
    kept: int = 0
    after: float = 0.0


#: Of all that is neither a list nor a write.
LEAST: Final = Work()


class Estimator:
    """Estimates by what is stored and who watches. `cache_of`: where the objects of a request are, if they are here."""

    def __init__(self, cache_of: Callable[[RequestInfo], ResourceCache | None], bus: Bus) -> None:
        self._cache_of = cache_of
        self._bus = bus

    def work(self, request: Request, info: RequestInfo, widest: int) -> Work:
        """`widest`: the most seats that the level gives to one request; 0: it does not say."""
        if info.verb == "list" or (info.verb == "watch" and _begins_with_a_list(request)):
            cache = self._cache_of(info)
            most = min(widest or _MOST_OF_LISTS, _MOST_OF_LISTS)
            return LEAST if cache is None else Work(max(1, min(_seats_of_list(request, info, cache), most)))
        if info.verb in _WRITES:
            return self._write(info, min(widest or _MOST_OF_WRITES, _MOST_OF_WRITES))
        return LEAST

    def _write(self, info: RequestInfo, most: int) -> Work:
        if info.resource == "serviceaccounts" and info.subresource == "token":
            return LEAST
        cache = self._cache_of(info)
        watches = self._bus.topic(cache.resource).hearing(info.key) if cache is not None else 0
        if watches < _WATCHES:
            return LEAST
        wanted = math.ceil(watches / _WATCHES)
        kept = min(wanted, most)
        # Who takes fewer keeps them longer, so that the whole is the same.
        return Work(kept, kept, wanted * _HEARING / kept)


def _begins_with_a_list(request: Request) -> bool:
    return request.parameter("sendInitialEvents") == "true" or request.parameter("resourceVersion") in ("", "0")


def _seats_of_list(request: Request, info: RequestInfo, cache: ResourceCache) -> int:
    stored = len(cache)
    fields = request.parameter("fieldSelector")
    if info.name or exact_field(fields, "metadata.name"):
        held = 1
    else:
        limit = request.parameter("limit")
        held = min(stored, int(limit)) if limit.isascii() and limit.isdigit() and int(limit) else stored
    from_cache = info.verb == "watch" or not _is_of_the_past(request)
    if not from_cache and (fields or request.parameter("labelSelector")):
        held = max(held, stored // 2)
    size = held * (cache.size / stored if stored else 0.0)
    return math.ceil((min(size, _STREAMED) if from_cache else size) / _SEAT)


def _is_of_the_past(request: Request) -> bool:
    """Whether a list is read from the store: what one exact version had, or the rest of what it had."""
    match = request.parameter("resourceVersionMatch")
    if match:
        return match == "Exact"
    if request.parameter("continue"):
        return True
    return request.parameter("resourceVersion") not in ("", "0") and request.parameter("limit") not in ("", "0")

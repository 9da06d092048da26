"""How many seats a request takes: the estimates are upstream's."""

from __future__ import annotations

import pytest

from kube_core.abc.transport import Request
from kube_core.apiserver.fairness.work import LEAST, Estimator, Work
from kube_core.apiserver.requests import RequestInfo
from kube_core.bus.bus import Bus, Interest
from kube_core.bus.changes import Stored
from kube_core.meta.documents import Key
from kube_core.meta.gvk import GroupResource
from kube_core.storage.cache import ResourceCache

MAPS = GroupResource("", "configmaps")


def info(verb: str = "list", name: str = "", resource: str = "configmaps", subresource: str = "") -> RequestInfo:
    return RequestInfo("/api/v1/configmaps", verb, "", "v1", resource, "default", name, subresource)


def estimator(stored: int = 0, size: int = 0, bus: Bus | None = None) -> Estimator:
    """Of a server that has so many ConfigMaps of so many bytes, and nothing else."""
    cache = ResourceCache(MAPS, 0)
    for number in range(stored):
        cache.load(Stored(Key("default", f"n{number}"), 1, b"x" * size))
    return Estimator(lambda asked: cache if asked.resource == "configmaps" else None, bus or Bus())


def asked(**query: str) -> Request:
    return Request("GET", "/api/v1/configmaps", tuple(query.items()))


@pytest.mark.parametrize(
    ("stored", "size", "query", "seats"),
    [
        (0, 0, {}, 1),
        (10, 1000, {}, 1),
        (250, 1000, {}, 3),
        # From the cache it goes out as it is made: there are never more than ten.
        (5000, 1000, {}, 10),
        (5000, 1000, {"resourceVersion": "0"}, 10),
        (5000, 1000, {"resourceVersionMatch": "NotOlderThan", "resourceVersion": "7", "limit": "500"}, 5),
        (5000, 1000, {"limit": "150"}, 2),
        (5000, 1000, {"labelSelector": "a=b"}, 10),
        (5000, 1000, {"fieldSelector": "metadata.name=n1"}, 1),
        # From the store everything is held at once.
        (5000, 1000, {"resourceVersionMatch": "Exact", "resourceVersion": "7"}, 50),
        (5000, 1000, {"resourceVersion": "7", "limit": "500"}, 5),
        (5000, 1000, {"continue": "token", "limit": "500"}, 5),
        (5000, 1000, {"continue": "token", "limit": "500", "labelSelector": "a=b"}, 25),
        (50000, 1000, {"resourceVersionMatch": "Exact", "resourceVersion": "7"}, 100),
        (5000, 1000, {"limit": "none"}, 10),
    ],
)
def test_a_list_takes_seats_by_what_is_held_at_once(stored: int, size: int, query: dict[str, str], seats: int) -> None:
    assert estimator(stored, size).work(asked(**query), info(), 0) == Work(seats)


def test_no_request_takes_more_than_its_level_allows() -> None:
    assert estimator(5000, 1000).work(asked(), info(), 4) == Work(4)


def test_a_list_of_what_is_not_stored_here_takes_one_seat() -> None:
    assert estimator(5000, 1000).work(asked(), info(resource="others"), 0) == LEAST


@pytest.mark.parametrize(
    ("query", "seats"),
    [
        ({"watch": "1"}, 3),
        ({"watch": "1", "resourceVersion": "0"}, 3),
        ({"watch": "1", "resourceVersion": "7"}, 1),
        ({"watch": "1", "resourceVersion": "7", "sendInitialEvents": "true"}, 3),
    ],
)
def test_a_watch_takes_the_seats_of_the_list_that_it_begins_with(query: dict[str, str], seats: int) -> None:
    assert estimator(250, 1000).work(asked(**query), info("watch"), 0) == Work(seats)


@pytest.mark.parametrize(
    ("watches", "widest", "work"),
    [
        (0, 0, LEAST),
        (9, 0, LEAST),
        (10, 0, Work(1, 1, 0.005)),
        (25, 0, Work(3, 3, 0.005)),
        # Never more than ten, for as much longer.
        (200, 0, Work(10, 10, 0.01)),
        (200, 4, Work(4, 4, 0.025)),
    ],
)
def test_a_write_keeps_seats_for_those_who_hear_of_it(watches: int, widest: int, work: Work) -> None:
    bus = Bus()
    for number in range(watches):
        interests = [Interest(), Interest("default"), Interest("default", "mine")]
        bus.subscribe(MAPS, interests[number % 3])
    # These do not hear of it.
    for interest in (Interest("elsewhere"), Interest("default", "other")):
        for _ in range(50):
            bus.subscribe(MAPS, interest)
    for verb in ("create", "update", "patch", "delete"):
        assert estimator(bus=bus).work(Request("POST", ""), info(verb, "mine"), widest) == work


def test_reads_of_one_object_and_tokens_take_one_seat() -> None:
    bus = Bus()
    for _ in range(50):
        bus.subscribe(MAPS)
    made = estimator(250, 1000, bus)
    assert made.work(asked(), info("get", "mine"), 0) == LEAST
    assert made.work(asked(), info("create", "mine", "serviceaccounts", "token"), 0) == LEAST


def test_what_is_stored_is_counted_as_it_comes_changes_and_goes() -> None:
    cache = ResourceCache(MAPS, 0)
    key = Key("default", "a")
    assert (len(cache), cache.size) == (0, 0)
    cache.apply(key, 1, Stored(key, 1, b"four"))
    assert (len(cache), cache.size) == (1, 4)
    cache.apply(key, 2, Stored(key, 2, b"eleven char"))
    assert (len(cache), cache.size) == (1, 11)
    copy = ResourceCache(MAPS, 0)
    copy.copy_from(cache)
    cache.apply(key, 3, None)
    cache.apply(key, 4, None)
    assert (len(cache), cache.size) == (0, 0)
    assert (len(copy), copy.size) == (1, 11)

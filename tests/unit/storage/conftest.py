"""A watch cache on a memory store."""

from __future__ import annotations

from collections.abc import AsyncIterator

import attrs
import pytest

from kube_core._kit.clock import FakeClock
from kube_core.bus.bus import Bus
from kube_core.storage.cache import WatchCache
from kube_core.storage.objects import ObjectStore
from kube_drivers.store.memory import MemoryStore


@attrs.frozen
class Storage:
    store: MemoryStore
    bus: Bus
    cache: WatchCache
    objects: ObjectStore


@pytest.fixture
async def storage() -> AsyncIterator[Storage]:
    store = MemoryStore(clock=FakeClock())
    await store.open()
    bus = Bus()
    cache = WatchCache(store, bus)
    await cache.start()
    yield Storage(store, bus, cache, ObjectStore(store, cache))
    await cache.stop()
    await store.close()

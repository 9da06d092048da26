from __future__ import annotations

from pathlib import Path

from kube_core._kit.clock import Clock
from kube_core.testing.store import StoreContract
from kube_drivers.store.memory import MemoryStore


class TestMemoryStore(StoreContract):
    def make(self, directory: Path, clock: Clock, options: str = "") -> MemoryStore:
        return MemoryStore(clock=clock, url=f"memory:{options}")

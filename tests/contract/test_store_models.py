"""Random histories of each store, played against a plain dict."""

from __future__ import annotations

from pathlib import Path

from kube_core._kit.clock import SystemClock
from kube_core.testing.storemodel import run_store_model
from kube_drivers.store.memory import MemoryStore
from kube_drivers.store.sqlite import SqliteStore


def test_the_memory_store_behaves_like_a_dict_with_a_past(tmp_path: Path) -> None:
    run_store_model(lambda directory: MemoryStore(clock=SystemClock()), tmp_path, examples=50)


def test_the_sqlite_store_behaves_like_a_dict_with_a_past(tmp_path: Path) -> None:
    run_store_model(lambda directory: SqliteStore(clock=SystemClock(), url=f"sqlite://{directory}/s.db"), tmp_path, 30)


def test_the_sqlite_store_behaves_so_when_its_past_is_in_the_file(tmp_path: Path) -> None:
    url = "sqlite://{}/s.db?recent=2"
    run_store_model(lambda directory: SqliteStore(clock=SystemClock(), url=url.format(directory)), tmp_path, 30)

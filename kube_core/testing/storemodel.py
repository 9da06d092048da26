"""The store contract as a machine for hypothesis: random histories, played against a plain dict.

def test_my_store_behaves_like_a_dict_with_a_past(tmp_path):
    run_store_model(lambda directory: MyStore(clock=SystemClock(), url=f"mine://{directory}/data"), tmp_path)

The model keeps every state there ever was, as a dict by revision; so what a read of the past, a page or a watch must
give is known exactly. It needs `hypothesis`, which is not installed with kube_core.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kube_core.abc.store import (
    Compacted,
    Compare,
    Delete,
    Entry,
    KeyRange,
    Operation,
    Put,
    Store,
    Transaction,
    WatchBatch,
    Written,
)

__all__ = ["run_store_model"]

T = TypeVar("T")
State = dict[str, Entry]

_KEYS = ["/", "/a", "/a/1", "/a/2", "/a\0", "/b", "/b/ä", "/b/€", "/\U0001f600"]
_BOUNDS = [*_KEYS, "", "0", "/a0", "/b/\U0010ffff"]

some_key = st.sampled_from(_KEYS)
some_range = st.builds(KeyRange, st.sampled_from(_BOUNDS), st.sampled_from(_BOUNDS))
some_operations = st.lists(
    st.one_of(st.builds(Put, some_key, st.binary(max_size=3)), st.builds(Delete, some_key)),
    max_size=4,
    unique_by=lambda operation: operation.key,
)


def run_store_model(make: Callable[[Path], Store], directory: Path, examples: int = 60, steps: int = 40) -> None:
    """Play `examples` random histories of up to `steps` steps. `make` gives a store that is not open."""

    class Machine(_Machine):
        def __init__(self) -> None:
            super().__init__(make, Path(tempfile.mkdtemp(dir=directory)))

    limits = settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    run_state_machine_as_test(Machine, settings=limits)


@attrs.define
class _Watcher:
    stream: AsyncIterator[WatchBatch]
    keys: KeyRange
    seen: int
    #: The revision that was read last: where the stream stands, however many it has nothing to say of come after.
    read: int


class _Machine(RuleBasedStateMachine):
    def __init__(self, make: Callable[[Path], Store], directory: Path) -> None:
        super().__init__()
        self.make = make
        self.directory = directory
        self.runner = asyncio.Runner()
        self.states: list[State] = [{}, {}]  # by revision; 0 is there to count from 1
        self.changes: list[list[Written]] = [[], []]
        self.compacted = 1
        self.watchers: list[_Watcher] = []
        self.leases: list[int] = []

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    @initialize()
    def open(self) -> None:
        self.store = self.make(self.directory)
        self.run(self.store.open())

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.run(self.store.close())
        self.runner.close()

    @property
    def revision(self) -> int:
        return len(self.states) - 1

    def expect(self, operations: list[Operation]) -> list[Written]:
        """Carry operations out on the model."""
        before = self.states[-1]
        after, revision = dict(before), self.revision + 1
        changes: list[Written] = []
        for operation in sorted(operations, key=lambda operation: operation.key):
            previous = before.get(operation.key)
            if isinstance(operation, Put):
                created, version = (previous.create_revision, previous.version) if previous else (revision, 0)
                entry = Entry(operation.key, operation.value, created, revision, version + 1, operation.lease)
                after[operation.key] = entry
                changes.append(Written(operation.key, entry, previous))
            elif previous is not None:
                del after[operation.key]
                changes.append(Written(operation.key, None, previous))
        if changes:
            self.states.append(after)
            self.changes.append(changes)
        return changes

    @rule(operations=some_operations, lease=st.integers(0, 3))
    def write(self, operations: list[Operation], lease: int) -> None:
        if self.leases and lease:
            chosen = self.leases[lease % len(self.leases)]
            operations = [attrs.evolve(o, lease=chosen) if isinstance(o, Put) else o for o in operations]
        result = self.run(self.store.transact(Transaction((), operations)))
        assert result.succeeded
        assert list(result.written) == self.expect(operations)
        assert result.revision == self.revision

    @rule(
        compared=st.lists(some_key, min_size=1, max_size=3, unique=True),
        operations=some_operations,
        off=st.integers(0, 3),
    )
    def compare_and_write(self, compared: list[str], operations: list[Operation], off: int) -> None:
        state = self.states[-1]
        compares = [Compare(key, state[key].mod_revision if key in state else 0) for key in compared]
        holds = off != 1
        if not holds:
            compares[-1] = Compare(compares[-1].key, compares[-1].mod_revision + 1)
        result = self.run(self.store.transact(Transaction(compares, operations)))
        assert result.succeeded == holds
        if holds:
            assert list(result.written) == self.expect(operations)
        else:
            assert result.current == {key: state.get(key) for key in compared}
        assert result.revision == self.revision

    @rule(batches=st.lists(some_operations, min_size=2, max_size=6))
    def write_at_once(self, batches: list[list[Operation]]) -> None:
        """Transactions that are on their way together, each of which expects what the one before it makes."""

        async def all_of_them() -> list[Any]:
            writes = [self.store.transact(Transaction((), operations)) for operations in batches]
            return await asyncio.gather(*writes)

        results = self.run(all_of_them())
        for operations, result in zip(batches, results, strict=True):
            assert list(result.written) == self.expect(operations)
        assert self.store.revision == self.revision

    @rule(keys=some_range, limit=st.integers(0, 4), back=st.integers(0, 30))
    def read(self, keys: KeyRange, limit: int, back: int) -> None:
        revision = max(self.revision - back, 1)
        if revision < self.compacted:
            try:
                self.run(self.store.range(keys, revision=revision, limit=limit))
            except Compacted:
                return
            raise AssertionError(f"revision {revision} was compacted")
        found = self.run(self.store.range(keys, revision=revision if back else 0, limit=limit))
        expected = [entry for key, entry in sorted(self.states[revision].items()) if key in keys]
        assert list(found.entries) == (expected[:limit] if limit else expected)
        assert found.count == len(expected)
        assert found.more == (len(found.entries) < len(expected))
        assert found.revision == self.revision

    @rule(key=some_key, back=st.integers(0, 30))
    def get(self, key: str, back: int) -> None:
        revision = max(self.revision - back, self.compacted)
        assert self.run(self.store.get(key, revision=revision)) == self.states[revision].get(key)
        assert self.run(self.store.get(key)) == self.states[-1].get(key)

    @rule(back=st.integers(0, 10))
    def compact(self, back: int) -> None:
        revision = max(self.revision - back, 1)
        self.run(self.store.compact(revision))
        self.compacted = max(self.compacted, revision)
        assert self.store.compacted == self.compacted

    @precondition(lambda self: len(self.watchers) < 4)
    @rule(keys=some_range, back=st.integers(0, 30))
    def watch(self, keys: KeyRange, back: int) -> None:
        after = max(self.revision - back, self.compacted)

        async def begin() -> AsyncIterator[WatchBatch]:
            return self.store.watch(keys, after=after)

        self.watchers.append(_Watcher(self.run(begin()), keys, after, after))

    @precondition(lambda self: self.watchers)
    @rule(which=st.integers(0, 3), count=st.integers(1, 20))
    def read_watch(self, which: int, count: int) -> None:
        watcher = self.watchers[which % len(self.watchers)]
        while count and watcher.seen < self.revision:
            watcher.seen += 1
            expected = [change for change in self.changes[watcher.seen] if change.key in watcher.keys]
            if not expected:
                continue
            try:
                batch = self.run(self._next(watcher))
            except Compacted:
                assert watcher.read < self.compacted
                self.watchers.remove(watcher)
                return
            assert batch.revision == watcher.seen
            assert list(batch.changes) == expected
            watcher.read = watcher.seen
            count -= 1

    async def _next(self, watcher: _Watcher) -> WatchBatch:
        async with asyncio.timeout(20):
            return await anext(watcher.stream)

    @precondition(lambda self: len(self.leases) < 3)
    @rule()
    def grant_lease(self) -> None:
        lease = self.run(self.store.grant_lease(1_000_000))
        assert lease not in self.leases
        self.leases.append(lease)

    @precondition(lambda self: self.leases)
    @rule(which=st.integers(0, 2))
    def revoke_lease(self, which: int) -> None:
        lease = self.leases.pop(which % len(self.leases))
        self.run(self.store.revoke_lease(lease))
        self.expect([Delete(key) for key, entry in self.states[-1].items() if entry.lease == lease])

    @rule()
    def restart_or_fork(self) -> None:
        if self.store.capabilities.snapshot:
            old, self.store = self.store, self.run(self.store.fork())
            self.run(old.transact(Transaction((), [Put("/", b"only in the old one")])))
            self.run(old.close())
        elif self.store.capabilities.durable:
            self.run(self.store.close())
            self.store = self.make(self.directory)
            self.run(self.store.open())
        else:
            return
        self.watchers.clear()

    @invariant()
    def revisions_agree(self) -> None:
        if hasattr(self, "store"):
            assert self.store.revision == self.revision
            assert self.store.compacted == self.compacted

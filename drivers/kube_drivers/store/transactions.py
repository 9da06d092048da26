"""What a transaction means: whether its comparisons hold, and what it changes. Pure functions of what is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kube_core.abc.store import Compare, Entry, Operation, Put, Revision, StoreError, Written

__all__ = ["Lookup", "holds", "plan"]

#: Gives the entry of a key, as a transaction is to see it.
Lookup = Callable[[str], Entry | None]


def holds(compares: Sequence[Compare], lookup: Lookup) -> bool:
    """Whether every comparison holds."""
    for compare in compares:
        entry = lookup(compare.key)
        if (0 if entry is None else entry.mod_revision) != compare.mod_revision:
            return False
    return True


def plan(operations: Sequence[Operation], lookup: Lookup, revision: Revision) -> tuple[Written, ...]:
    """The changes that operations make as `revision`, in key order. Raises `StoreError` for a key named twice."""
    if len(operations) > 1 and len({operation.key for operation in operations}) < len(operations):
        raise StoreError("a key occurs more than once in the operations of one transaction")
    changes: list[Written] = []
    for operation in operations:
        key = operation.key
        previous = lookup(key)
        if isinstance(operation, Put):
            if previous is None:
                entry = Entry(key, operation.value, revision, revision, 1, operation.lease)
            else:
                entry = Entry(
                    key, operation.value, previous.create_revision, revision, previous.version + 1, operation.lease
                )
            changes.append(Written(key, entry, previous))
        elif previous is not None:
            changes.append(Written(key, None, previous))
    if len(changes) > 1:
        changes.sort(key=lambda change: change.key)
    return tuple(changes)

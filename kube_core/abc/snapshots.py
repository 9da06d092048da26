"""What a driver gives of its state for a snapshot of its cluster, and takes for a fork.

Every contract of a driver but the store's has these two methods (a store has `fork`). Where `capabilities.snapshot`:

* `snapshot` gives the driver's whole state at this moment, as a value that never changes afterwards and that belongs
  to no event loop and no clock: what is due later is kept as what is left of its time, in seconds.
* `restore` is called on a new driver before it is started, any number of times for one value, on other drivers each
  time: none of them notices the others.

A driver whose state is outside of the program (processes, sockets, mounts) has no such capability, and refuses by name.
"""

from __future__ import annotations

from typing import Any

__all__ = ["SnapshotRefused", "Snapshots"]


class SnapshotRefused(RuntimeError):
    """The state of something cannot be taken; the message is one clear line that names it."""


class Snapshots:
    """The part of a driver's contract that is about snapshots; as it stands, that of one without the capability."""

    def snapshot(self) -> Any:
        """The state at this moment. Raises `SnapshotRefused` without the capability."""
        raise SnapshotRefused(f"{type(self).__name__} cannot be snapshot: its state is outside of the program")

    def restore(self, state: Any) -> None:
        """Go on from what `snapshot` of a driver of the same class gave. Raises `SnapshotRefused`."""
        raise SnapshotRefused(f"{type(self).__name__} takes no snapshot: its state is outside of the program")

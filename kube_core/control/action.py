"""What a reconciler answers: when it wants to look at this key again.

A reconciler that raises is asked again after its queue's back-off; there is no Action for failure.
"""

from __future__ import annotations

import attrs

__all__ = ["Action", "await_change", "requeue"]


@attrs.frozen
class Action:
    """`requeue_after` is in seconds; None: nothing to do until something that is watched changes.

    For `rest` seconds the key is not looked at again whatever changes: what has thousands of dependents, each of which
    changes several times, looks at them in batches.
    """

    requeue_after: float | None = None
    rest: float = 0.0


_AWAIT_CHANGE = Action()


def await_change() -> Action:
    """Done: come back when a watched object changes."""
    return _AWAIT_CHANGE


def requeue(after: float) -> Action:
    """Come back in `after` seconds, or earlier when a watched object changes."""
    return Action(after)

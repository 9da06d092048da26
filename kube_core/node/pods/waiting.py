"""Why a container is not running though it should be: what `state.waiting` of its status says."""

from __future__ import annotations

import attrs

__all__ = ["LOOK_AGAIN", "NotStarted", "Waiting"]

#: How long until what is wrong with a container, and not backed off from, is looked at again.
LOOK_AGAIN = 10.0


@attrs.frozen
class Waiting:
    """Why a container is not running: `CrashLoopBackOff`, `ErrImagePull`, …"""

    reason: str
    message: str = ""


class NotStarted(Exception):
    """Why a container could not be started. `retry_after` in seconds."""

    def __init__(self, reason: str, message: str, *, retry_after: float = LOOK_AGAIN) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

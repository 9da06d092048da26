"""How long a failed thing waits before it is tried again: 10 s, doubling to 5 min, forgotten after 10 quiet minutes."""

from __future__ import annotations

import attrs

__all__ = ["Backoffs", "duration_text"]

_FIRST = 10.0
_LONGEST = 300.0
_FORGET = 600.0


@attrs.define
class _Entry:
    delay: float
    updated: float


@attrs.define
class Backoffs:
    """By key, which begins with the pod's uid: a container's, or an image's. `longest` in seconds."""

    longest: float = _LONGEST
    notes: dict[str, str] = attrs.field(factory=dict)
    """What went wrong, for as long as it is waited out."""
    _entries: dict[str, _Entry] = attrs.field(factory=dict)

    def delay(self, key: str) -> float:
        """The present delay; 0 where nothing failed lately."""
        entry = self._entries.get(key)
        return entry.delay if entry else 0.0

    def updated(self, key: str) -> float:
        """When `next` was last said of it; 0.0: never."""
        entry = self._entries.get(key)
        return entry.updated if entry else 0.0

    def remaining(self, key: str, since: float, now: float) -> float:
        """Seconds from `now` until what failed at `since` may be tried again."""
        entry = self._entries.get(key)
        if entry is None or now - entry.updated > _FORGET:
            return 0.0
        return max(0.0, since + entry.delay - now)

    def next(self, key: str, now: float) -> None:
        """It is tried again now: wait longer the next time."""
        entry = self._entries.get(key)
        if entry is None or now - entry.updated > _FORGET:
            self._entries[key] = _Entry(min(_FIRST, self.longest), now)
        else:
            entry.delay = min(entry.delay * 2, self.longest)
            entry.updated = now

    def forget(self, key: str) -> None:
        self._entries.pop(key, None)
        self.notes.pop(key, None)

    def forget_all(self, uid: str) -> None:
        """A pod is gone."""
        for key in [key for key in (*self._entries, *self.notes) if key.startswith(f"{uid}/")]:
            self.forget(key)


def duration_text(seconds: float) -> str:
    """As Go prints a duration: `10s`, `2m40s`, `5m0s`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"

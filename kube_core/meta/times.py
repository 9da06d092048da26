"""Times as Kubernetes writes them: RFC 3339 in UTC, to the second (`Time`) or the microsecond (`MicroTime`).

Durations (`metav1.Duration`) are those of configuration files, as Go writes them: `1h30m`, `500ms`.
"""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime
from typing import Final

__all__ = ["format_micro_time", "format_time", "parse_duration", "parse_time"]

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def format_time(seconds: float) -> str:
    """`metav1.Time` of a moment in seconds since the epoch: `2026-01-01T00:00:00Z`."""
    return _second(int(seconds))


def format_micro_time(seconds: float) -> str:
    """`metav1.MicroTime`: `2026-01-01T00:00:00.000000Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")[:26] + "Z"


def parse_time(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time with any offset. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.timestamp()


def parse_duration(text: str) -> float:
    """Seconds of a duration, which is not negative: `1m30s`. Raises ValueError."""
    parts = _PART.findall(text)
    if text != "0" and (not parts or "".join(number + unit for number, unit in parts) != text):
        raise ValueError(f"{text!r} is not a duration")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


# A second has many writes, and each says several times when it was.
@functools.lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19] + "Z"

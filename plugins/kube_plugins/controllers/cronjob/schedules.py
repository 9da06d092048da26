"""Schedules: when a CronJob is due, from its five fields, a macro like `@hourly`, or `@every 90m`.

A `Schedule` is asked for the moments after and up to a given one, as seconds since the epoch; it counts in its own
time zone (UTC where none is named), and knows nothing of what is run.

The fields are read by cronsim, after they are put into words that it takes as upstream does (its page "CronJob",
"Schedule syntax"): `?` is `*`; and a day field restricts, unless it is `*` itself, so that of `*/2` in both day fields
either may match. A text may begin with a zone of its own (`TZ=Asia/Tokyo 0 9 * * *`), as that of an old CronJob does;
no new one may. Where the clocks change cronsim does as Debian's cron: what would fall into the hour that is left out is
due right after it.
"""

from __future__ import annotations

import functools
import re
import zoneinfo
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, tzinfo

import attrs

__all__ = ["Schedule", "ScheduleError", "parse_schedule", "parse_zone"]

_MACROS: Mapping[str, str] = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
#: How a text begins that names its zone.
_ZONED = ("TZ=", "CRON_TZ=")
_DAYS_OF_MONTH, _DAYS_OF_WEEK = "1-31", "0-6"
_SPAN = re.compile(r"([0-9.]+)(ns|us|µs|ms|s|m|h)")
_UNITS: Mapping[str, float] = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class ScheduleError(ValueError):
    """A schedule or time zone that cannot be understood, and why."""


@attrs.frozen
class Schedule:
    """`expression` in cron's five fields, in `zone`; or, where `every` is set, so many seconds after one another."""

    expression: str = ""
    zone: tzinfo = UTC
    every: float = 0.0

    def after(self, moment: float) -> float | None:
        """The first time that is due after a moment; None where there is none in sight (the 30th of February)."""
        if self.every:
            return float(int(moment) + self.every)
        return next(self._times(float(int(moment))), None)

    def latest(self, first: float, now: float) -> float:
        """The last time that is due up to now; `first` is an earlier time that was."""
        if self.every:
            return first + (now - first) // self.every * self.every
        found = next(self._times(float(int(now)) + 1.0, reverse=True), first)
        return max(found, first)

    def in_zone(self, moment: float) -> datetime:
        return datetime.fromtimestamp(moment, self.zone)

    def _times(self, moment: float, *, reverse: bool = False) -> Iterator[float]:
        # Only clusters that have CronJobs pay for it.
        from cronsim import CronSim

        return (each.timestamp() for each in CronSim(self.expression, self.in_zone(moment), reverse=reverse))


@functools.lru_cache(maxsize=1024)
def parse_schedule(text: str, zone: tzinfo = UTC) -> Schedule:
    """The schedule that a text means, in `zone` unless it names its own. Raises `ScheduleError`."""
    from cronsim import CronSim, CronSimError

    if text.startswith(_ZONED):
        place, _, text = text.partition(" ")
        zone, text = _own_zone(place.partition("=")[2]), text.strip()
    if text.startswith("@every "):
        return Schedule(zone=zone, every=_seconds(text.removeprefix("@every ")))
    parts = _MACROS.get(text, text).replace("?", "*").split()
    if len(parts) != 5:
        raise ScheduleError(f"expected exactly 5 fields, found {len(parts)}: [{' '.join(parts)}]")
    parts[2] = _restricting(parts[2], _DAYS_OF_MONTH)
    parts[4] = _restricting(parts[4], _DAYS_OF_WEEK)
    schedule = Schedule(" ".join(parts), zone)
    try:
        CronSim(schedule.expression, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ScheduleError(str(error)) from None
    return schedule


def parse_zone(name: str) -> tzinfo:
    """The time zone of that name; UTC for "". Raises `ScheduleError`."""
    if not name:
        return UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleError(f"unknown time zone {name}") from None


def _own_zone(name: str) -> tzinfo:
    try:
        return parse_zone(name)
    except ScheduleError as error:
        raise ScheduleError(f"provided bad location {name}: {error}") from None


def _restricting(field: str, everything: str) -> str:
    """A day field; a step through all days is written as a range, since cronsim takes a star as no restriction."""
    return everything + field[1:] if field.startswith("*/") and field != "*/1" else field


def _seconds(text: str) -> float:
    spans = _SPAN.findall(text)
    if not spans or "".join(number + unit for number, unit in spans) != text:
        raise ScheduleError(f"failed to parse duration @every {text}")
    try:
        total = sum(float(number) * _UNITS[unit] for number, unit in spans)
    except ValueError:
        raise ScheduleError(f"failed to parse duration @every {text}") from None
    return float(max(int(total), 1))

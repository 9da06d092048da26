"""From what the metrics want to what is done: between the bounds, not too fast, and not back and forth. Pure.

Mirrors upstream's documented "Configurable scaling behavior": recommendations of the last while are remembered, and
within a stabilization window a decrease goes no lower than the highest of them (an increase no higher than the lowest).
How much may change in a period is said by policies, of which the one with the greatest change counts (or the smallest,
or none at all). Without a `behavior` decreases are stabilized over five minutes, and increases at most double (or go to
four).

A `History` is one autoscaler's. Its owner is the controller; the functions here add to it. Moments are monotonic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

__all__ = ["STABILIZATION_WINDOW", "Bounds", "History", "Outcome", "limit", "remember_change"]

#: Seconds in which a decrease is held back by earlier recommendations, unless `behavior` says otherwise.
STABILIZATION_WINDOW = 300.0
#: The longest window and period that there may be.
_LONGEST = 3600.0
_UP_FACTOR, _UP_LEAST = 2, 4

Rules = Mapping[str, Any]

_DEFAULT_UP: Sequence[Rules] = (
    {"type": "Pods", "value": 4, "periodSeconds": 15},
    {"type": "Percent", "value": 100, "periodSeconds": 15},
)
_DEFAULT_DOWN: Sequence[Rules] = ({"type": "Percent", "value": 100, "periodSeconds": 15},)

_WITHIN = ("False", "DesiredWithinRange", "the desired count is within the acceptable range")
_TOO_FAST = ("True", "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
_TOO_MANY = ("True", "TooManyReplicas", "the desired replica count is more than the maximum replica count")
_TOO_FAST_DOWN = (
    "True",
    "ScaleDownLimit",
    "the desired replica count is decreasing faster than the maximum scale rate",
)
_TOO_FEW = ("True", "TooFewReplicas", "the desired replica count is less than the minimum replica count")
_READY = ("ReadyForNewScale", "recommended size matches current size")
_HELD_DOWN = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)
_HELD_UP = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)


@attrs.frozen
class _Event:
    """`replicas`: what was recommended, or by how many replicas it changed."""

    moment: float
    replicas: int


@attrs.define
class History:
    """What was recommended and done of late."""

    recommendations: list[_Event] = attrs.field(factory=list)
    increases: list[_Event] = attrs.field(factory=list)
    decreases: list[_Event] = attrs.field(factory=list)

    def recommend(self, replicas: int, moment: float) -> None:
        """Remember a recommendation, as long as any window may ask for it."""
        self.recommendations = [each for each in self.recommendations if each.moment >= moment - _LONGEST]
        self.recommendations.append(_Event(moment, replicas))


@attrs.frozen
class Bounds:
    least: int
    most: int


@attrs.frozen
class Outcome:
    """What is to be, and what the conditions AbleToScale (reason, message) and ScalingLimited (with status) say."""

    replicas: int
    able: tuple[str, str]
    limited: tuple[str, str, str]


def limit(
    wanted: int, current: int, bounds: Bounds, behavior: Rules | None, history: History, moment: float
) -> Outcome:
    """What becomes of what is wanted. The recommendation is remembered."""
    if behavior is None:
        return _by_default(wanted, current, bounds, history, moment)
    up, down = _rules(behavior, "scaleUp", 0.0), _rules(behavior, "scaleDown", STABILIZATION_WINDOW)
    stable = _stabilized(wanted, current, up, down, history, moment)
    able = _READY if stable == wanted else _HELD_UP if wanted >= current else _HELD_DOWN
    replicas, limited = stable, _WITHIN
    if stable > current:
        fastest = max(_most(current, up, history, moment), current)
        most, why = (fastest, _TOO_FAST) if fastest < bounds.most else (bounds.most, _TOO_MANY)
        if stable > most:
            replicas, limited = most, why
    elif stable < current:
        fastest = min(_least(current, down, history, moment), current)
        least, why = (fastest, _TOO_FAST_DOWN) if fastest > bounds.least else (bounds.least, _TOO_FEW)
        if stable < least:
            replicas, limited = least, why
    return Outcome(replicas, able, limited)


def remember_change(before: int, after: int, behavior: Rules | None, history: History, moment: float) -> None:
    """The number of replicas was changed: that counts for the policies."""
    if behavior is None:
        return
    events = history.increases if after > before else history.decreases
    events[:] = [each for each in events if each.moment >= moment - _LONGEST]
    events.append(_Event(moment, abs(after - before)))


@attrs.frozen
class _Rules:
    window: float
    select: str
    policies: Sequence[Rules]


def _rules(behavior: Rules, direction: str, window: float) -> _Rules:
    said: Rules = behavior.get(direction) or {}
    seconds = said.get("stabilizationWindowSeconds")
    return _Rules(
        window if seconds is None else float(seconds),
        str(said.get("selectPolicy") or "Max"),
        said.get("policies") or (_DEFAULT_UP if direction == "scaleUp" else _DEFAULT_DOWN),
    )


def _by_default(wanted: int, current: int, bounds: Bounds, history: History, moment: float) -> Outcome:
    since = moment - STABILIZATION_WINDOW
    stable = max([wanted, *(each.replicas for each in history.recommendations if each.moment >= since)])
    history.recommend(wanted, moment)
    able = _READY if stable == wanted else _HELD_DOWN
    fastest = max(_UP_FACTOR * current, _UP_LEAST)
    most, why = (fastest, _TOO_FAST) if fastest < bounds.most else (bounds.most, _TOO_MANY)
    if stable < bounds.least:
        return Outcome(bounds.least, able, _TOO_FEW)
    if stable > most:
        return Outcome(most, able, why)
    return Outcome(stable, able, _WITHIN)


def _stabilized(wanted: int, current: int, up: _Rules, down: _Rules, history: History, moment: float) -> int:
    """The present number, moved into the range of what was recommended within the windows."""
    recent = history.recommendations
    lowest = min([wanted, *(each.replicas for each in recent if each.moment > moment - up.window)])
    highest = max([wanted, *(each.replicas for each in recent if each.moment > moment - down.window)])
    history.recommend(wanted, moment)
    return min(max(current, lowest), highest)


def _most(current: int, rules: _Rules, history: History, moment: float) -> int:
    """Up to how many replicas the policies let it grow."""
    if rules.select == "Disabled":
        return current
    proposed = [
        begun + int(policy["value"])
        if policy["type"] == "Pods"
        # Rounded up, as otherwise a small number would never grow.
        else math.ceil(begun * (1 + int(policy["value"]) / 100))
        for policy, begun in _at_begin(current, rules, history, moment)
    ]
    return min(proposed) if rules.select == "Min" else max(proposed)


def _least(current: int, rules: _Rules, history: History, moment: float) -> int:
    """Down to how many replicas the policies let it shrink."""
    if rules.select == "Disabled":
        return current
    proposed = [
        begun - int(policy["value"]) if policy["type"] == "Pods" else int(begun * (1 - int(policy["value"]) / 100))
        for policy, begun in _at_begin(current, rules, history, moment)
    ]
    return max(proposed) if rules.select == "Min" else min(proposed)


def _at_begin(current: int, rules: _Rules, history: History, moment: float) -> Sequence[tuple[Rules, int]]:
    """Each policy, with the number of replicas at the beginning of its present period."""
    return [
        (
            policy,
            current
            - _changed(history.increases, moment - float(policy["periodSeconds"]))
            + _changed(history.decreases, moment - float(policy["periodSeconds"])),
        )
        for policy in rules.policies
    ]


def _changed(events: Sequence[_Event], since: float) -> int:
    return sum(each.replicas for each in events if each.moment > since)

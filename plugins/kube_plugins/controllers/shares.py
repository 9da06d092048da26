"""Numbers that may be given as a percentage of something: `maxSurge`, `maxUnavailable`, `minAvailable`.

One reading for every controller that has such a field; which way a fraction is rounded is the field's own matter
(upstream documents it with each).
"""

from __future__ import annotations

__all__ = ["percent_or_number"]


def percent_or_number(value: int | str | None, whole: int, *, round_up: bool) -> int:
    """`3`, or a share of `whole` written as `25%`; nothing is 0."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    share = whole * int(value.removesuffix("%"))
    return -(-share // 100) if round_up else share // 100

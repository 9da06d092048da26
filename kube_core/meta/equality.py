"""Equality of JSON values: true is not 1, and 1 is 1.0.

Python's own `==` takes `True` for 1, which a test in a patch, an enumeration or a value that an update left alone must
not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["same"]


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)

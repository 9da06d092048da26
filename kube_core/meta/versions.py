"""API versions in order of preference: `v2` before `v1`, before `v2beta1`, before `v1alpha1`, before any other word.

Upstream's "version priority", as its documentation of versions in CustomResourceDefinitions tells it: general
availability first, then beta, then alpha, each by descending numbers; whatever is no such version comes last, by name.
"""

from __future__ import annotations

import re

__all__ = ["version_order"]

_VERSION = re.compile(r"v([1-9][0-9]*)(?:(alpha|beta)([1-9][0-9]*))?")
_STAGES = {"": 0, "beta": 1, "alpha": 2}


def version_order(version: str) -> tuple[int, int, int, str]:
    """A sort key: the most preferred version is the smallest."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return (3, 0, 0, version)
    major, stage, minor = match.groups(default="")
    return (_STAGES[stage], -int(major), -int(minor or 0), "")

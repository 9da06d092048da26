"""The level that a namespace asks for, by its labels `pod-security.kubernetes.io/<mode>[-version]`."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Literal

import attrs

from kube_core.meta import fields
from kube_core.meta.fields import FieldError, Path

__all__ = ["LEVELS", "MODES", "Policy", "label_errors", "policy_of"]

Mode = Literal["enforce", "audit", "warn"]
MODES: tuple[Mode, ...] = ("enforce", "audit", "warn")
LEVELS = ("privileged", "baseline", "restricted")
_PREFIX = "pod-security.kubernetes.io/"
_VERSION = re.compile(r"latest|v1\.(0|[1-9][0-9]*)")


@attrs.frozen
class Policy:
    """A level as of a version."""

    level: str
    version: str = "latest"

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"


def policy_of(labels: Mapping[str, str], mode: Mode) -> Policy:
    """What a namespace asks for. What cannot be read counts as the strictest."""
    level = labels.get(_PREFIX + mode, "privileged")
    version = labels.get(f"{_PREFIX}{mode}-version", "latest")
    return _policy(level, version)


@functools.lru_cache(maxsize=256)
def _policy(level: str, version: str) -> Policy:
    return Policy(level if level in LEVELS else "restricted", version if _VERSION.fullmatch(version) else "latest")


def label_errors(labels: Mapping[str, str]) -> Iterator[FieldError]:
    """What is wrong with the labels themselves."""
    path = Path("metadata").child("labels")
    for mode in MODES:
        level = labels.get(_PREFIX + mode)
        if level is not None and level not in LEVELS:
            yield fields.invalid(path.key(_PREFIX + mode), level, f"must be one of {', '.join(LEVELS)}")
        version = labels.get(f"{_PREFIX}{mode}-version")
        if version is not None and not _VERSION.fullmatch(version):
            yield fields.invalid(path.key(f"{_PREFIX}{mode}-version"), version, 'must be "latest" or "v1.x"')

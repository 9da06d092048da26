"""Paths within volumes and containers: which may be written in a pod."""

from __future__ import annotations

from kube_core.meta import fields
from kube_core.meta.fields import Path
from kube_core.registry.kinds.checks import Errors

__all__ = ["local_descending", "local_non_reserved", "no_backsteps"]


def no_backsteps(path: Path, text: str) -> Errors:
    if ".." in text.split("/"):
        yield fields.invalid(path, text, "must not contain '..'")


def local_descending(path: Path, text: str) -> Errors:
    """Relative, and never upwards."""
    if text.startswith("/"):
        yield fields.invalid(path, text, "must be a relative path")
    yield from no_backsteps(path, text)


def local_non_reserved(path: Path, text: str) -> Errors:
    """As above, and no name that begins with two dots: those are kept for atomic updates."""
    yield from local_descending(path, text)
    if text.startswith("..") and not text.startswith("../") and text != "..":
        yield fields.invalid(path, text, "must not start with '..'")

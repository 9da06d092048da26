"""JSON merge patch (RFC 7386): objects merge member by member, null removes, all else replaces.

Two observable habits of upstream's library are kept: members that are null inside values which the patch brings in
anew are dropped, also inside lists; and objects that were merged come out with sorted keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kube_core.meta.documents import Document, shareable, thaw

__all__ = ["apply", "diff"]


def apply(document: Document, patch: Mapping[str, Any]) -> dict[str, Any]:
    """The merged document."""
    merged = {key: _merge(value, patch[key]) if key in patch else shareable(value) for key, value in document.items()}
    merged |= {key: _without_nulls(value) for key, value in patch.items() if key not in document}
    return {key: merged[key] for key in sorted(merged) if key not in patch or patch[key] is not None}


def diff(old: Document, new: Document) -> dict[str, Any]:
    """The smallest merge patch that makes `new` of `old`. Neither may have null members: a patch cannot say them."""
    patch: dict[str, Any] = dict.fromkeys((key for key in old if key not in new), None)
    for key, value in new.items():
        present = old.get(key)
        if isinstance(value, Mapping) and isinstance(present, Mapping):
            if inner := diff(present, value):
                patch[key] = inner
        elif key not in old or present != value or type(present) is not type(value):
            patch[key] = thaw(value)
    return patch


def _merge(value: Any, patch: Any) -> Any:
    if isinstance(value, Mapping) and isinstance(patch, Mapping):
        return apply(value, patch)
    return _without_nulls(patch)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(member) for key, member in value.items() if member is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value

"""Pod templates: when two are the same, and the hash that tells a Deployment's replica sets apart.

The hash is written in the label `pod-template-hash`, in the replica set's name and in its selector. It is stable
across processes, and written in the alphabet of generated names. Two templates may collide: the Deployment's
`collisionCount` then makes another hash. Clients compare hashes with each other, never with one that they computed
themselves, so the function is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from kube_core._kit.random import SUFFIX_ALPHABET
from kube_core.meta.documents import Document

__all__ = ["HASH_LABEL", "same_template", "template_hash"]

HASH_LABEL = "pod-template-hash"

_FNV_OFFSET, _FNV_PRIME = 2166136261, 16777619


def template_hash(template: Document, collisions: int = 0) -> str:
    """The hash of a pod template, up to ten characters long."""
    text = orjson.dumps(_without_hash(template), option=orjson.OPT_SORT_KEYS)
    if collisions:
        text += b"#%d" % collisions
    value = _FNV_OFFSET
    for byte in text:
        value = ((value ^ byte) * _FNV_PRIME) & 0xFFFFFFFF
    return "".join(SUFFIX_ALPHABET[int(digit) % len(SUFFIX_ALPHABET)] for digit in str(value))


def same_template(one: Document, other: Document) -> bool:
    """Whether two templates would make the same pods: the same but for the hash label."""
    return _without_hash(one) == _without_hash(other)


def _without_hash(template: Document) -> dict[str, Any]:
    metadata: Mapping[str, Any] = template.get("metadata") or {}
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != HASH_LABEL}
    bare = {key: value for key, value in metadata.items() if key not in ("labels", "creationTimestamp") and value}
    return {**template, "metadata": {**bare, "labels": labels}}

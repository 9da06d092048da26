"""Files of one volume that are asked for at the same path, or at paths of which one is above the other.

They are accepted: which of them is there is not defined. Only warned of (`pods.warnings`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kube_core.registry.kinds.pods.token_volume import TOKEN_PROJECTION

__all__ = ["overlapping_paths"]

Part = Mapping[str, Any]
#: A path, and what puts a file there; "" where the whole volume has one source.
Placed = tuple[str, str]

_CERTIFICATE_PATHS = (
    ("certificateChainPath", "PodCertificate chain"),
    ("keyPath", "PodCertificate key"),
    ("credentialBundlePath", "PodCertificate credential bundle"),
)


def overlapping_paths(volumes: Sequence[Part]) -> Iterator[str]:
    """A warning for each pair."""
    for volume in volumes:
        name = volume.get("name") or ""
        for field, title, named_by in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")):
            if (part := volume.get(field)) is not None:
                yield from _overlaps(name, f'{title} "{part.get(named_by) or ""}"', _items(part, ""))
        if (part := volume.get("downwardAPI")) is not None:
            yield from _overlaps(name, "DownwardAPI", _items(part, ""))
        if (part := volume.get("projected")) is not None and part != TOKEN_PROJECTION:
            placed: list[Placed] = []
            for source in part.get("sources") or ():
                if not any(value is not None for value in source.values()):
                    yield f'volume "{name}" (Projected) has no sources provided'
                placed += _projected(source)
            yield from _overlaps(name, "Projected", placed)


def _overlaps(volume: str, what: str, placed: Iterable[Placed]) -> Iterator[str]:
    seen: list[Placed] = []
    for given, source in placed:
        path = given.rstrip("/")
        for other, other_source in seen:
            if path and other and (f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/")):
                pair = f"{_shown(path, source)} with {_shown(other, other_source)}"
                yield f'volume "{volume}" ({what}): overlapping paths: {pair}'
        seen.append((path, source))


def _projected(source: Part) -> list[Placed]:
    for field, title in (("configMap", "ConfigMap"), ("secret", "Secret")):
        if (part := source.get(field)) is not None:
            return _items(part, f'{title} "{part.get("name") or ""}"')
    if (part := source.get("downwardAPI")) is not None:
        return _items(part, "DownwardAPI")
    if (part := source.get("serviceAccountToken")) is not None:
        return [(part.get("path") or "", "ServiceAccountToken")]
    if (part := source.get("clusterTrustBundle")) is not None:
        return [(part.get("path") or "", f'ClusterTrustBundle "{part.get("name") or part.get("signerName") or ""}"')]
    part = source.get("podCertificate") or {}
    return [(part[field], title) for field, title in _CERTIFICATE_PATHS if part.get(field)]


def _items(part: Part, source: str) -> list[Placed]:
    return [(item.get("path") or "", source) for item in part.get("items") or ()]


def _shown(path: str, source: str) -> str:
    return f'"{path}" ({source})' if source else f'"{path}"'

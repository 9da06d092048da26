"""What cells hold: durations, labels, selectors and lists as `kubectl get` shows them.

Everything here is a pure function on document values; `now` is in seconds since the epoch. Texts are upstream's: ages
get coarser with size, an unset value reads `<none>`, `<unset>` or `<unknown>`, long lists end in `+ N more...`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kube_core.meta.documents import Document, metadata_of
from kube_core.meta.times import parse_time

__all__ = [
    "NONE",
    "UNKNOWN",
    "UNSET",
    "access_modes",
    "age_of",
    "containers_of",
    "duration",
    "labels_text",
    "limited",
    "selector_text",
    "since",
    "spec_of",
    "status_of",
]

NONE, UNSET, UNKNOWN = "<none>", "<unset>", "<unknown>"

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86_400, 365 * 86_400
_NOTHING: Mapping[str, Any] = {}
_SHORT_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def spec_of(document: Document) -> Mapping[str, Any]:
    return document.get("spec") or _NOTHING


def status_of(document: Document) -> Mapping[str, Any]:
    return document.get("status") or _NOTHING


def duration(seconds: float) -> str:
    """A length of time: `90s`, `5m30s`, `3h`, `2d4h`, `400d`, `3y20d`."""
    if int(seconds) < -1:
        return "<invalid>"
    whole = max(int(seconds), 0)
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    if whole < 10 * _MINUTE:
        return _two(whole, _MINUTE, "m", 1, "s")
    if whole < 3 * _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < 8 * _HOUR:
        return _two(whole, _HOUR, "h", _MINUTE, "m")
    if whole < 2 * _DAY:
        return f"{whole // _HOUR}h"
    if whole < 8 * _DAY:
        return _two(whole, _DAY, "d", _HOUR, "h")
    if whole < 2 * _YEAR:
        return f"{whole // _DAY}d"
    if whole < 8 * _YEAR:
        return _two(whole, _YEAR, "y", _DAY, "d")
    return f"{whole // _YEAR}y"


def since(time: str | None, now: float) -> str:
    """How long ago an RFC 3339 time was."""
    if not time:
        return UNKNOWN
    try:
        return duration(now - parse_time(time))
    except ValueError:
        return "<invalid>"


def age_of(document: Document, now: float) -> str:
    return since(metadata_of(document).get("creationTimestamp"), now)


def labels_text(labels: Mapping[str, str] | None) -> str:
    """`app=web,tier=back`, sorted."""
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels)) if labels else NONE


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """A LabelSelector: `app=web,env in (a,b),!old`, sorted by label."""
    if not selector:
        return NONE
    terms = [(key, f"{key}={value}") for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        key, values = expression.get("key", ""), ",".join(sorted(expression.get("values") or ()))
        text = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }.get(expression.get("operator", ""))
        if text is None:
            return "<error>"
        terms.append((key, text))
    return ",".join(text for _, text in sorted(terms)) or NONE


def containers_of(pod_spec: Mapping[str, Any] | None) -> tuple[str, str]:
    """The names and the images of a pod template's containers, each in one text."""
    containers = (pod_spec or _NOTHING).get("containers") or ()
    names = ",".join(container.get("name", "") for container in containers)
    return names, ",".join(container.get("image", "") for container in containers)


def access_modes(modes: Iterable[str] | None) -> str:
    """`RWO,ROX`, in upstream's order."""
    present = set(modes or ())
    return ",".join(short for mode, short in _SHORT_MODES.items() if mode in present)


def limited(items: Sequence[str], limit: int, *, separator: str = ",", empty: str = "") -> str:
    """The first items, and how many are left out."""
    text = separator.join(items[:limit])
    if len(items) > limit:
        return f"{text} + {len(items) - limit} more..."
    return text or empty


def _two(whole: int, unit: int, name: str, small: int, small_name: str) -> str:
    """Whole units, and the rest in smaller ones where there is one."""
    rest = whole % unit // small
    return f"{whole // unit}{name}{rest}{small_name}" if rest else f"{whole // unit}{name}"

"""Since when endpoints should have been what they are written as: `endpoints.kubernetes.io/last-change-trigger-time`.

What publishes a Service's endpoints notes on each write the earliest moment of the changes that led to it: when a pod
became ready or ceased to be, or when the Service was made. From that it is measured how long the network takes to learn
of a change. A write without a cause of that kind has no such annotation. Mirrors upstream's trigger time tracker.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from kube_core.control.conditions import condition_of
from kube_core.meta.documents import Document, Key, key_of, metadata_of, name_of

__all__ = ["TRIGGER_TIME", "TriggerTimes", "with_trigger_time"]

TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"


@attrs.frozen
class _Seen:
    """What was known of a Service when its endpoints were last looked at: its moment, and those of its pods."""

    service: str
    pods: dict[str, str]


class TriggerTimes:
    """What was seen of each Service."""

    def __init__(self) -> None:
        self._seen: dict[Key, _Seen] = {}

    def observe(self, service: Document, pods: Iterable[Document]) -> str:
        """The moment of the first change since the last look, as the API writes it; "" where there is none."""
        key, created = key_of(service), str(metadata_of(service).get("creationTimestamp") or "")
        before = self._seen.get(key)
        seen = _Seen(created, {name_of(pod): moment for pod in pods if (moment := _moment(pod))})
        self._seen[key] = seen
        if before is None:
            return created
        # Times of the API have one form, and so compare as text.
        changed = [moment for name, moment in seen.pods.items() if moment > before.pods.get(name, "")]
        if created > before.service:
            changed.append(created)
        return min(changed, default="")

    def forget(self, service: Key) -> None:
        self._seen.pop(service, None)


def with_trigger_time(annotations: dict[str, str], moment: str) -> dict[str, str]:
    """`annotations` with the moment, or without any."""
    rest = {key: value for key, value in annotations.items() if key != TRIGGER_TIME}
    return {**rest, TRIGGER_TIME: moment} if moment else rest


def _moment(pod: Document) -> str:
    return str((condition_of(pod, "Ready") or {}).get("lastTransitionTime") or "")

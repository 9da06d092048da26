"""What the storage counts, under the names that upstream has for its etcd where the meaning is the same.

A request is one call of the store: a transaction that creates, updates or deletes one object, or the reading of a range
(`list`). Its time ends when the store says that it is durable, as upstream's ends with etcd's answer. Reads that the
watch cache answers never reach the store, here as there, and are counted by the cache (`ResourceCache.reads`).

Upstream's behaviour: the "Kubernetes Metrics Reference", `etcd_request*`.
"""

from __future__ import annotations

from typing import Final, Literal

import attrs

from kube_core._kit.metrics import Cell, Distribution, Metrics
from kube_core.meta.gvk import GroupResource

__all__ = ["Operation", "StorageMetrics"]

Operation = Literal["create", "update", "delete", "list"]

_SECONDS: Final = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60)


@attrs.frozen
class _Cells:
    total: Cell
    seconds: Distribution


class StorageMetrics:
    """Counts what is asked of a store."""

    def __init__(self, metrics: Metrics | None = None) -> None:
        declared, labels = metrics or Metrics(), ("group", "operation", "resource")
        self._total = declared.counter("etcd_requests_total", "Requests to the store.", *labels)
        self._errors = declared.counter("etcd_request_errors_total", "Requests to the store that failed.", *labels)
        self._seconds = declared.histogram(
            "etcd_request_duration_seconds", "How long the store took.", _SECONDS, *labels
        )
        self._cells: dict[tuple[str, GroupResource], _Cells] = {}

    def answered(self, operation: Operation, resource: GroupResource, seconds: float) -> None:
        key = (operation, resource)
        cells = self._cells.get(key)
        if cells is None:
            labels = (resource.group, operation, resource.resource)
            cells = self._cells[key] = _Cells(self._total.cell(*labels), self._seconds.cell(*labels))
        cells.total.value += 1
        cells.seconds.observe(seconds)

    def failed(self, operation: Operation, resource: GroupResource) -> None:
        self._errors.cell(resource.group, operation, resource.resource).value += 1

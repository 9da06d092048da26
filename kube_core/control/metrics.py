"""What controllers count, under the names of controller-runtime and client-go where the meaning is the same.

A runtime that is given a `ControllerMetrics` counts into it; without one nothing is counted. Names, labels and buckets
are those documented in controller-runtime's metrics reference (`controller_runtime_*`, `workqueue_*`, `rest_client_*`,
`leader_election_*`), so that dashboards made for those programs show these too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from kube_core._kit.metrics import Cell, Distribution, Metrics

if TYPE_CHECKING:
    from kube_core._kit.workqueue import WorkQueue

__all__ = ["ControllerMeter", "ControllerMetrics"]

_RECONCILE_SECONDS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    *(1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0),
    *(50.0, 60.0),
)
_QUEUE_SECONDS = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)
_RESULTS = ("error", "requeue_after", "success")


@attrs.frozen
class ControllerMeter:
    """One controller's cells. It is also the meter of the controller's queue."""

    results: dict[str, Cell]
    errors: Cell
    panics: Cell
    timeouts: Cell
    seconds: Distribution
    active: Cell
    adds: Cell
    retries: Cell
    waited: Distribution
    worked: Distribution

    def added(self) -> None:
        self.adds.value += 1

    def taken(self, waited: float) -> None:
        self.waited.observe(waited)
        self.active.value += 1

    def done(self, worked: float) -> None:
        self.worked.observe(worked)
        self.seconds.observe(worked)
        self.active.value -= 1

    def retried(self) -> None:
        self.retries.value += 1


class ControllerMetrics:
    """The metrics of one program's controllers."""

    def __init__(self, metrics: Metrics | None = None) -> None:
        self.metrics = metrics or Metrics()
        self._queues: dict[str, WorkQueue[Any]] = {}
        self._workers: dict[str, int] = {}
        declare, of = self.metrics, "controller"
        prefix = "controller_runtime"
        self._total = declare.counter(
            f"{prefix}_reconcile_total", "Total number of reconciliations per controller", of, "result"
        )
        self._errors = declare.counter(
            f"{prefix}_reconcile_errors_total", "Total number of reconciliation errors per controller", of
        )
        self._panics = declare.counter(
            f"{prefix}_reconcile_panics_total", "Total number of reconciliations that crashed, per controller", of
        )
        self._timeouts = declare.counter(
            f"{prefix}_reconcile_timeouts_total", "Total number of reconciliations that took too long", of
        )
        self._seconds = declare.histogram(
            f"{prefix}_reconcile_time_seconds", "Length of time per reconciliation", _RECONCILE_SECONDS, of
        )
        self._active = declare.gauge(f"{prefix}_active_workers", "Number of workers that have a key", of)
        declare.reading(
            f"{prefix}_max_concurrent_reconciles",
            "Maximum number of concurrent reconciles per controller",
            lambda: [((name,), float(workers)) for name, workers in self._workers.items()],
            of,
        )
        self._adds = declare.counter("workqueue_adds_total", "Total number of adds", "name", of)
        self._retries = declare.counter("workqueue_retries_total", "Total number of retries", "name", of)
        self._waited = declare.histogram(
            "workqueue_queue_duration_seconds", "How long a key stays in the queue", _QUEUE_SECONDS, "name", of
        )
        self._worked = declare.histogram(
            "workqueue_work_duration_seconds", "How long processing a key takes", _QUEUE_SECONDS, "name", of
        )
        declare.reading(
            "workqueue_depth",
            "Current depth of the queue",
            lambda: [((name, name), float(len(queue))) for name, queue in self._queues.items()],
            "name",
            of,
        )
        declare.reading(
            "workqueue_unfinished_work_seconds",
            "Seconds of work that is under way",
            lambda: [((name, name), queue.unfinished()[0]) for name, queue in self._queues.items()],
            "name",
            of,
        )
        declare.reading(
            "workqueue_longest_running_processor_seconds",
            "Seconds of the longest work that is under way",
            lambda: [((name, name), queue.unfinished()[1]) for name, queue in self._queues.items()],
            "name",
            of,
        )
        self.requests = declare.counter(
            "rest_client_requests_total", "Number of requests, by status code and method", "code", "method"
        )
        self.slow_renewals = declare.counter(
            "leader_election_slowpath_total", "Renewals for which the lease had to be read again first", "name"
        )
        self.leading = declare.gauge("leader_election_master_status", "1: this program leads; 0: it stands by", "name")

    def meter(self, controller: str) -> ControllerMeter:
        """The cells of one controller, all of them there from the beginning."""
        return ControllerMeter(
            results={result: self._total.cell(controller, result) for result in _RESULTS},
            errors=self._errors.cell(controller),
            panics=self._panics.cell(controller),
            timeouts=self._timeouts.cell(controller),
            seconds=self._seconds.cell(controller),
            active=self._active.cell(controller),
            adds=self._adds.cell(controller, controller),
            retries=self._retries.cell(controller, controller),
            waited=self._waited.cell(controller, controller),
            worked=self._worked.cell(controller, controller),
        )

    def observe_queue(self, controller: str, queue: WorkQueue[Any], workers: int) -> None:
        """Read from this queue when somebody asks."""
        self._queues[controller] = queue
        self._workers[controller] = workers

    def text(self) -> str:
        return self.metrics.text()

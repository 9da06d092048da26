"""What the scheduler counts, under upstream's names (the "Kubernetes Metrics Reference", `scheduler_*`).

A scheduler that is given a `SchedulerMetrics` counts into it; without one nothing is counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from kube_core._kit.metrics import Metrics

if TYPE_CHECKING:
    from kube_core.scheduler.queue import SchedulingQueue

__all__ = ["Outcome", "SchedulerMetrics"]

Outcome = Literal["scheduled", "unschedulable", "error"]

_SECONDS: Final = tuple(0.001 * 2**power for power in range(15))
_ATTEMPTS: Final = (1, 2, 4, 8, 16)


class SchedulerMetrics:
    """The metrics of one program's schedulers."""

    def __init__(self, metrics: Metrics) -> None:
        of = ("profile", "result")
        self._queues: list[SchedulingQueue] = []
        self._attempts = metrics.counter(
            "scheduler_schedule_attempts_total", "Attempts to schedule pods, by what came of them.", *of
        )
        self._seconds = metrics.histogram(
            "scheduler_scheduling_attempt_duration_seconds",
            "How long an attempt took, from the queue to the binding.",
            _SECONDS,
            *of,
        )
        self._needed = metrics.histogram(
            "scheduler_pod_scheduling_attempts", "Attempts until a pod was scheduled.", _ATTEMPTS
        )
        metrics.reading(
            "scheduler_pending_pods", "Pods that have no node yet, by where they wait.", self._pending, "queue"
        )

    def observe_queue(self, queue: SchedulingQueue) -> None:
        """Read from this queue when somebody asks."""
        self._queues.append(queue)

    def attempt(self, profile: str, outcome: Outcome, seconds: float, number: int) -> None:
        """The pod's attempt of this number is over."""
        self._attempts.cell(profile, outcome).value += 1
        self._seconds.cell(profile, outcome).observe(seconds)
        if outcome == "scheduled":
            self._needed.cell().observe(number)

    def _pending(self) -> list[tuple[tuple[str, ...], float]]:
        places = ("active", "backoff", "unschedulable")
        counts = [queue.counts() for queue in self._queues]
        return [((place,), sum(each[index] for each in counts)) for index, place in enumerate(places)]

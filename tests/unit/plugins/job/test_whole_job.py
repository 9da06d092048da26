"""A Job from its first pod to its last, whatever its pods do and in whatever order it is seen."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.jobs import job, job_pod
from fakes.objects import NOW
from kube_core.api import pods
from kube_core.meta.documents import uid_of
from kube_plugins.controllers.job.backoff import Streak
from kube_plugins.controllers.job.counting import note, settle
from kube_plugins.controllers.job.indexes import completion_index, parse_indexes
from kube_plugins.controllers.job.observation import Observation
from kube_plugins.controllers.job.scaling import plan_pods
from kube_plugins.controllers.job.status import finish, follow
from kube_plugins.controllers.job.verdict import decide

BACKOFF_LIMIT = 3


class World:
    """A Job and its pods; the controller's steps without a server between."""

    def __init__(self, **spec: Any) -> None:
        self.job = job(backoffLimit=BACKOFF_LIMIT, **spec)
        self.pods: list[dict[str, Any]] = []
        self.streak = Streak()
        self.now = NOW
        self.made = 0
        self.ended = {"Succeeded": 0, "Failed": 0}

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.job["status"]
        return found

    @property
    def finished(self) -> str:
        kinds = [each["type"] for each in self.status.get("conditions") or () if each["status"] == "True"]
        return next((kind for kind in ("Complete", "Failed") if kind in kinds), "")

    def reconcile(self) -> None:
        if self.finished:
            return
        seen = Observation(self.job, list(self.pods), self.now)
        self.streak = self.streak.observe(self.job, seen.pods, self.now)
        verdict = decide(seen)
        deleted, made = list(seen.active), 0
        if verdict is None:
            plan = plan_pods(seen, self.streak)
            deleted = list(plan.delete)
            made = len(plan.create)
            for index in plan.create:
                self.made += 1
                self.pods.append(job_pod(self.job, f"p{self.made}", index=index))
        for pod in deleted:
            if verdict is None:
                pod["metadata"]["finalizers"] = []
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        noted = note(seen, verdict)
        status = follow(seen, noted.status, verdict, made=made, deleted=len(deleted))
        for pod in noted.release:
            pod["metadata"]["finalizers"] = []
        status = settle(seen, status, [uid_of(pod) for pod in noted.release])
        self.job["status"] = finish(seen, status, verdict) if verdict is not None else status

    def end(self, number: int, phase: str) -> None:
        running = [pod for pod in self.pods if pods.is_active(pod)]
        if running:
            pod = running[number % len(running)]
            pod["status"]["phase"] = phase
            self.ended[phase] += 1

    def collect(self) -> None:
        """Pods that are being deleted go once they are counted."""
        self.pods = [
            pod for pod in self.pods if "deletionTimestamp" not in pod["metadata"] or pod["metadata"]["finalizers"]
        ]


happenings = st.lists(
    st.tuples(st.sampled_from(["see", "see", "succeed", "succeed", "fail", "collect", "wait"]), st.integers(0, 5)),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(completions=st.integers(0, 6), parallelism=st.integers(1, 4), indexed=st.booleans(), happenings=happenings)
def test_a_job_keeps_its_parallelism_counts_rightly_and_ends(
    completions: int, parallelism: int, indexed: bool, happenings: list[tuple[str, int]]
) -> None:
    world = World(
        completions=completions, parallelism=parallelism, completionMode="Indexed" if indexed else "NonIndexed"
    )
    for what, number in happenings:
        match what:
            case "see":
                world.reconcile()
            case "succeed":
                world.end(number, "Succeeded")
            case "fail":
                world.end(number, "Failed")
            case "collect":
                world.collect()
            case _:
                world.now += 60.0 * number
        assert sum(1 for pod in world.pods if pods.is_active(pod)) <= parallelism
        assert world.status.get("succeeded", 0) <= world.ended["Succeeded"]
        if indexed:
            active = [completion_index(pod) for pod in world.pods if pods.is_active(pod)]
            assert len(active) == len(set(active))
    for _ in range(4 * completions + 8):
        world.now += 600.0
        world.reconcile()
        world.collect()
        world.end(0, "Succeeded")
    assert world.finished == ("Failed" if world.ended["Failed"] > BACKOFF_LIMIT else "Complete")
    if world.finished == "Complete":
        assert world.status.get("succeeded", 0) == completions
        assert world.status.get("failed", 0) == world.ended["Failed"]
        if indexed:
            assert parse_indexes(world.status.get("completedIndexes", ""), completions) == set(range(completions))
    assert world.status["uncountedTerminatedPods"] == {}

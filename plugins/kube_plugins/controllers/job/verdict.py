"""Whether a Job has come to its end, and why.

Pure. A verdict stands once it is written as a condition, `FailureTarget` or `SuccessCriteriaMet`: the pods that still
run are then ended, and when none is left `Failed` or `Complete` follows with the same reason (upstream: "Terminal Job
conditions"). Failures are looked at before successes, in upstream's order: what the failure policy says, the back-off
limit, the deadline, failed indexes, the success policy, the number of completions.
"""

from __future__ import annotations

from typing import Literal

import attrs

from kube_core.api import pods
from kube_core.meta.times import parse_time
from kube_plugins.controllers.job.observation import Observation, condition
from kube_plugins.controllers.job.policies import has_failed, judge, matched_success_rule

__all__ = ["Verdict", "decide", "until_deadline"]


@attrs.frozen
class Verdict:
    """How the Job ends, as the condition that says so first."""

    kind: Literal["FailureTarget", "SuccessCriteriaMet"]
    reason: str
    message: str

    @property
    def is_failure(self) -> bool:
        return self.kind == "FailureTarget"

    @property
    def final(self) -> str:
        """The condition that follows when no pod is left."""
        return "Failed" if self.is_failure else "Complete"


def decide(seen: Observation) -> Verdict | None:
    """The verdict on a Job that is not finished; None while it goes on."""
    return _standing(seen) or _failure(seen) or _success(seen)


def until_deadline(seen: Observation) -> float | None:
    """Seconds until `activeDeadlineSeconds` is over, 0 when it is; None where it does not run."""
    seconds, start = seen.spec.get("activeDeadlineSeconds"), seen.status.get("startTime")
    if seconds is None or seen.is_suspended:
        return None
    elapsed = seen.now - parse_time(str(start)) if start else 0.0
    return max(float(seconds) - elapsed, 0.0)


def _standing(seen: Observation) -> Verdict | None:
    """What was written before."""
    for kind in ("FailureTarget", "SuccessCriteriaMet"):
        found = condition(seen.job, kind)
        if found is not None:
            return Verdict(kind, str(found.get("reason") or ""), str(found.get("message") or ""))
    return None


def _failure(seen: Observation) -> Verdict | None:
    if message := _forbidden_failure(seen):
        return Verdict("FailureTarget", "PodFailurePolicy", message)
    if seen.failed > _backoff_limit(seen) or _restarted_too_often(seen):
        return Verdict("FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    if until_deadline(seen) == 0.0:
        return Verdict("FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline")
    failed, allowed = len(seen.failed_indexes), seen.spec.get("maxFailedIndexes")
    if allowed is not None and failed > int(allowed):
        message = "Job has exceeded the specified maximal number of failed indexes"
        return Verdict("FailureTarget", "MaxFailedIndexesExceeded", message)
    if failed and len(seen.failed_indexes | seen.succeeded_indexes) >= (seen.completions or 0):
        return Verdict("FailureTarget", "FailedIndexes", "Job has failed indexes")
    return None


def _success(seen: Observation) -> Verdict | None:
    if seen.is_indexed and seen.spec.get("successPolicy"):
        rule = matched_success_rule(seen.job, seen.succeeded_indexes)
        if rule is not None:
            return Verdict("SuccessCriteriaMet", "SuccessPolicy", f"Matched rules at index {rule}")
    enough = seen.succeeded > 0 if seen.completions is None else seen.succeeded >= seen.completions
    if enough and not seen.active:
        return Verdict("SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods")
    return None


def _forbidden_failure(seen: Observation) -> str:
    """The message of the first failure that the failure policy does not allow, or ""."""
    if not seen.spec.get("podFailurePolicy"):
        return ""
    failures = (judge(seen.job, pod).fails_job for pod in seen.pods if has_failed(seen.job, pod))
    return next((message for message in failures if message), "")


def _backoff_limit(seen: Observation) -> int:
    limit = seen.spec.get("backoffLimit")
    return 6 if limit is None else int(limit)


def _restarted_too_often(seen: Observation) -> bool:
    """Where containers are restarted in place, their restarts are the failures."""
    if ((seen.spec.get("template") or {}).get("spec") or {}).get("restartPolicy") != "OnFailure":
        return False
    restarts = sum(
        int(each.get("restartCount") or 0)
        for pod in seen.pods
        if pods.phase_of(pod) in ("Pending", "Running")
        for name in ("initContainerStatuses", "containerStatuses")
        for each in (pod.get("status") or {}).get(name) or ()
    )
    return restarts > 0 if _backoff_limit(seen) == 0 else restarts >= _backoff_limit(seen)

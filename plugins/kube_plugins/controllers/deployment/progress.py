"""The Progressing condition: does the rollout get on, has it ended, is it stuck?

A rollout makes progress while pods of the new revision appear or become ready or available, or old ones go. When
`progressDeadlineSeconds` pass without any, the condition turns False, with the reason `ProgressDeadlineExceeded`;
nothing is rolled back. A rollout that is complete stays so until the template changes. Deployments without a deadline
have no such condition. Reasons and messages are upstream's ("Deployments", "Deployment status"), for `kubectl rollout
status` reads them.

Pure; `now` is in seconds since the epoch.
"""

from __future__ import annotations

from kube_core.meta.documents import Document, MutableDocument, name_of
from kube_core.meta.times import parse_time
from kube_plugins.controllers.deployment.status import (
    condition_of,
    is_complete,
    make_condition,
    remove_condition,
    set_condition,
)

__all__ = ["has_deadline", "note_found", "note_made", "note_pause", "seconds_until_stuck", "update_progress"]

_NO_DEADLINE = 2**31 - 1


def has_deadline(deployment: Document) -> bool:
    seconds = deployment["spec"].get("progressDeadlineSeconds")
    return seconds is not None and seconds != _NO_DEADLINE


def update_progress(deployment: Document, new: Document | None, status: MutableDocument, now: float) -> None:
    """Bring the Progressing condition of a freshly calculated `status` up to date."""
    if not has_deadline(deployment):
        remove_condition(status, "Progressing")
        return
    present = condition_of(deployment.get("status"), "Progressing")
    # Once complete, a rollout stays complete: pods that fail later are a matter of availability.
    settled = status.get("replicas", 0) == status.get("updatedReplicas", 0)
    if settled and present is not None and present.get("reason") == "NewReplicaSetAvailable":
        return
    what = f'ReplicaSet "{name_of(new)}"' if new is not None else f'Deployment "{name_of(deployment)}"'
    if is_complete(deployment, status):
        message = f"{what} has successfully progressed."
        set_condition(status, make_condition("Progressing", "True", "NewReplicaSetAvailable", message, now))
    elif _has_progressed(deployment.get("status") or {}, status):
        condition = make_condition("Progressing", "True", "ReplicaSetUpdated", f"{what} is progressing.", now)
        if present is not None and present.get("status") == "True":
            condition["lastTransitionTime"] = present.get("lastTransitionTime")
        # Not `set_condition`: each bit of progress sets the time that the deadline counts from.
        remove_condition(status, "Progressing")
        status["conditions"].append(condition)
    elif _is_stuck(deployment, status, now):
        message = f"{what} has timed out progressing."
        set_condition(status, make_condition("Progressing", "False", "ProgressDeadlineExceeded", message, now))


def note_made(status: MutableDocument, new: Document, now: float) -> None:
    """The new replica set was just created."""
    message = f'Created new replica set "{name_of(new)}"'
    set_condition(status, make_condition("Progressing", "True", "NewReplicaSetCreated", message, now))


def note_found(status: MutableDocument, new: Document, now: float) -> None:
    """There already was a replica set with this template, and no condition yet."""
    message = f'Found new replica set "{name_of(new)}"'
    set_condition(status, make_condition("Progressing", "True", "FoundNewReplicaSet", message, now))


def note_failed(status: MutableDocument, message: str, now: float) -> None:
    """The new replica set could not be created."""
    set_condition(status, make_condition("Progressing", "False", "ReplicaSetCreateError", message, now))


def note_pause(deployment: Document, status: MutableDocument, now: float) -> bool:
    """Write down that the rollout was paused, or resumed; the deadline does not count meanwhile. Returns whether."""
    present = condition_of(status, "Progressing")
    if not has_deadline(deployment) or (present is not None and present.get("reason") == "ProgressDeadlineExceeded"):
        return False
    noted = present is not None and present.get("reason") == "DeploymentPaused"
    paused = bool(deployment["spec"].get("paused"))
    if paused == noted:
        return False
    reason, message = (
        ("DeploymentPaused", "Deployment is paused") if paused else ("DeploymentResumed", "Deployment is resumed")
    )
    set_condition(status, make_condition("Progressing", "Unknown", reason, message, now))
    return True


def seconds_until_stuck(deployment: Document, status: Document, now: float) -> float | None:
    """When to look whether the deadline has passed; None when nothing needs to be looked at."""
    present = condition_of(status, "Progressing")
    if not has_deadline(deployment) or present is None or is_complete(deployment, status):
        return None
    if present.get("reason") in ("ProgressDeadlineExceeded", "NewReplicaSetAvailable") or deployment["spec"].get(
        "paused"
    ):
        return None
    since = parse_time(str(present["lastUpdateTime"]))
    # A second more, for the condition's times are written in whole seconds.
    return max(since + int(deployment["spec"]["progressDeadlineSeconds"]) - now, 0.0) + 1.0


def _has_progressed(before: Document, after: Document) -> bool:
    def grew(counter: str) -> bool:
        return int(after.get(counter) or 0) > int(before.get(counter) or 0)

    def old_pods(status: Document) -> int:
        return int(status.get("replicas") or 0) - int(status.get("updatedReplicas") or 0)

    return (
        grew("updatedReplicas")
        or grew("readyReplicas")
        or grew("availableReplicas")
        or old_pods(after) < old_pods(before)
    )


def _is_stuck(deployment: Document, status: Document, now: float) -> bool:
    condition = condition_of(status, "Progressing")
    if condition is None or condition.get("reason") == "NewReplicaSetAvailable":
        return False
    if condition.get("reason") == "ProgressDeadlineExceeded":
        return True
    since = parse_time(str(condition["lastUpdateTime"]))
    return since + int(deployment["spec"]["progressDeadlineSeconds"]) < now

"""What a failed pod means for its Job (`podFailurePolicy`), and when some successes are enough (`successPolicy`).

Pure; documented upstream under "Pod failure policy" and "Success policy". A pod whose failure no rule speaks of counts
towards the back-off limit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import attrs

from kube_core.api import pods
from kube_core.meta.documents import Document, is_deleting, name_of, namespace_of
from kube_plugins.controllers.job.indexes import parse_indexes

__all__ = ["Judgement", "has_failed", "judge", "matched_success_rule", "replaces_only_failed"]


@attrs.frozen
class Judgement:
    """What a pod's failure means. `fails_job` is the message of the rule that ends the Job, "" where none does."""

    counts: bool = True
    fails_job: str = ""
    fails_index: bool = False
    ignored: bool = False


def replaces_only_failed(job: Document) -> bool:
    """Whether a pod that is going is replaced only once it has gone, and counts as failed only then."""
    return str(job["spec"].get("podReplacementPolicy") or "") == "Failed"


def has_failed(job: Document, pod: Document) -> bool:
    """Whether a pod is one that failed; one that is being deleted counts, unless the Job waits for its end."""
    if pods.phase_of(pod) == "Failed":
        return True
    return not replaces_only_failed(job) and is_deleting(pod) and pods.phase_of(pod) != "Succeeded"


def judge(job: Document, pod: Document) -> Judgement:
    """What the first rule that matches says of a failed pod."""
    rules: Iterable[Mapping[str, Any]] = (job["spec"].get("podFailurePolicy") or {}).get("rules") or ()
    for position, rule in enumerate(rules):
        found = _matching(rule, pod)
        if not found:
            continue
        match rule.get("action"):
            case "FailJob":
                return Judgement(fails_job=f"{found} matching FailJob rule at index {position}")
            case "FailIndex":
                return Judgement(fails_index=True)
            case "Ignore":
                return Judgement(counts=False, ignored=True)
            case _:
                return Judgement()
    return Judgement()


def matched_success_rule(job: Document, succeeded: Collection[int]) -> int | None:
    """The position of the first success rule that the succeeded indexes meet."""
    rules: Iterable[Mapping[str, Any]] = (job["spec"].get("successPolicy") or {}).get("rules") or ()
    for position, rule in enumerate(rules):
        meant: Collection[int] = succeeded
        needed = rule.get("succeededCount")
        if rule.get("succeededIndexes"):
            named = parse_indexes(str(rule["succeededIndexes"]), int(job["spec"].get("completions") or 0))
            meant = named.intersection(succeeded)
            needed = len(named) if needed is None else needed
        if needed is not None and len(meant) >= int(needed):
            return position
    return None


def _matching(rule: Mapping[str, Any], pod: Document) -> str:
    """What of the pod matches the rule, as a message says it; "" where nothing does."""
    where = f"{namespace_of(pod)}/{name_of(pod)}"
    if rule.get("onExitCodes") is not None:
        container = _container(rule["onExitCodes"], pod)
        if container is None:
            return ""
        code = container["state"]["terminated"]["exitCode"]
        return f"Container {container.get('name')} for pod {where} failed with exit code {code}"
    for pattern in rule.get("onPodConditions") or ():
        condition = pods.pod_condition(pod, str(pattern.get("type")))
        if condition is not None and condition.get("status") == pattern.get("status"):
            return f"Pod {where} has condition {condition['type']}"
    return ""


def _container(requirement: Mapping[str, Any], pod: Document) -> Mapping[str, Any] | None:
    status = pod.get("status") or {}
    name, codes = requirement.get("containerName"), requirement.get("values") or ()
    for each in [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]:
        ended = (each.get("state") or {}).get("terminated")
        if not ended or not ended.get("exitCode") or (name and each.get("name") != name):
            continue
        if (ended["exitCode"] in codes) is (requirement.get("operator") == "In"):
            found: Mapping[str, Any] = each
            return found
    return None

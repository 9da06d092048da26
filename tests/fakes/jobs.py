"""Jobs and their pods as a server would have them, for tests."""

from __future__ import annotations

from typing import Any

from fakes.objects import NOW, metadata, pod
from kube_core.meta.times import format_time
from kube_plugins.controllers.job.indexes import INDEX_ANNOTATION
from kube_plugins.controllers.job.observation import TRACKING_FINALIZER


def job(name: str = "work", *, status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(name),
        "spec": {
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": 6,
            "completionMode": "NonIndexed",
            "podReplacementPolicy": "TerminatingOrFailed",
            "selector": {"matchLabels": {"app": "work"}},
            "template": {
                "metadata": {"labels": {"app": "work"}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "work:1"}]},
            },
            **spec,
        },
        "status": status or {},
    }


def job_pod(
    owner: dict[str, Any],
    name: str,
    *,
    index: int | None = None,
    phase: str = "Running",
    tracked: bool = True,
    ended: float = 0,
    exit_code: int | None = None,
    annotations: dict[str, str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """`ended`: how many seconds ago its container ended, where it did."""
    found = pod(name, node="n", phase=phase, owner=owner, labels={"app": "work"}, **more)
    found["metadata"]["annotations"] = dict(annotations or {})
    if index is not None:
        found["metadata"]["annotations"][INDEX_ANNOTATION] = str(index)
    if tracked:
        found["metadata"]["finalizers"] = [TRACKING_FINALIZER]
    if phase in ("Succeeded", "Failed"):
        code = exit_code if exit_code is not None else int(phase == "Failed")
        state = {"terminated": {"exitCode": code, "finishedAt": format_time(NOW - ended)}}
        found["status"]["containerStatuses"] = [{"name": "c", "state": state}]
    return found

"""The pods of a Job, as they are created.

Pure. Each carries the tracking finalizer; a pod of an indexed Job knows its index by annotation, label, host name and
the environment variable `JOB_COMPLETION_INDEX` (upstream: "Completion mode").
"""

from __future__ import annotations

from kube_core.control.claims import controller_reference
from kube_core.meta.documents import (
    Document,
    MutableDocument,
    annotations_of,
    finalizers_of,
    labels_of,
    name_of,
    namespace_of,
    thaw,
)
from kube_plugins.controllers.job.backoff import FAILURES_ANNOTATION, IGNORED_FAILURES_ANNOTATION
from kube_plugins.controllers.job.indexes import INDEX_ANNOTATION
from kube_plugins.controllers.job.observation import TRACKING_FINALIZER

__all__ = ["make_pod"]

_VARIABLE = "JOB_COMPLETION_INDEX"


def make_pod(job: Document, index: int | None = None, failures: tuple[int, int] | None = None) -> MutableDocument:
    """A pod for `index` (None: a Job without indexes); `failures` are counts to carry, where each index has a limit."""
    template = job["spec"]["template"]
    labels, annotations = dict(labels_of(template)), dict(annotations_of(template))
    spec: MutableDocument = thaw(template.get("spec") or {})
    prefix = f"{name_of(job)}-"
    if index is not None:
        prefix = f"{name_of(job)}-{index}-"
        labels[INDEX_ANNOTATION] = annotations[INDEX_ANNOTATION] = str(index)
        spec["hostname"] = f"{name_of(job)}-{index}"
        for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
            _tell_index(container)
    if failures is not None:
        annotations[FAILURES_ANNOTATION] = str(failures[0])
        if failures[1]:
            annotations[IGNORED_FAILURES_ANNOTATION] = str(failures[1])
    metadata: MutableDocument = {
        "generateName": prefix,
        "namespace": namespace_of(job),
        "labels": labels,
        "finalizers": [*finalizers_of(template), TRACKING_FINALIZER],
        "ownerReferences": [controller_reference(job)],
    }
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _tell_index(container: MutableDocument) -> None:
    variables = container.setdefault("env", [])
    if all(variable.get("name") != _VARIABLE for variable in variables):
        where = {"fieldPath": f"metadata.labels['{INDEX_ANNOTATION}']"}
        variables.append({"name": _VARIABLE, "valueFrom": {"fieldRef": where}})

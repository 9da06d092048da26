"""The strategy of Pods: what is reset, kept and checked on each kind of write.

A pod's containers hardly change once it exists; what may is in `updates.py`. A new pod is Pending, with its quality of
service class, and with scheduling held back where it has gates (documented under "Pod Lifecycle", "Pod Quality of
Service Classes", "Pod Scheduling Readiness").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kube_core.api.qos import qos_class
from kube_core.meta.documents import Document, FrozenDict, MutableDocument, thaw
from kube_core.meta.fields import FieldError
from kube_core.meta.times import format_time
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.pods import scheduling, status, updates, validation, warnings
from kube_core.registry.kinds.pods.defaults import default_pod

__all__ = ["PodStrategy"]

_FIELD_LABELS = (
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.podIPs",
    "status.nominatedNodeName",
)


class PodStrategy(BuiltinStrategy):
    keeps_generation = True
    graceful = True
    returns_deleted = True
    takes_stored_parts = True

    def default(self, document: MutableDocument) -> None:
        if not isinstance(document.get("spec"), FrozenDict):
            default_pod(document)
        status.default_status(document.get("status") or {})

    def initial_status(self) -> None:
        """None: `prepare_for_create` makes it of the spec."""

    def prepare_for_create(self, document: MutableDocument) -> None:
        super().prepare_for_create(document)
        scheduling.apply_label_keys(document["spec"], document["metadata"].get("labels") or {})
        state: dict[str, Any] = {"phase": "Pending"}
        if document["spec"].get("schedulingGates"):
            state["conditions"] = [_gated(self.context.clock.now())]
        state["qosClass"] = qos_class(document["spec"])
        document["status"] = state

    def prepare_for_status_update(self, document: MutableDocument, old: Document) -> None:
        super().prepare_for_status_update(document, old)
        # Only who deletes may say when, and only the owner's writes change who owns.
        for name in ("deletionTimestamp", "ownerReferences"):
            if name in old["metadata"]:
                document["metadata"][name] = thaw(old["metadata"][name])
            else:
                document["metadata"].pop(name, None)
        state = document.setdefault("status", {})
        if "qosClass" not in state and (old.get("status") or {}).get("qosClass"):
            state["qosClass"] = old["status"]["qosClass"]

    def prepare_for_subresource_update(self, subresource: str, document: MutableDocument, old: Document) -> None:
        updates.keep_all_but(subresource, document, old)
        # Where a pod runs is the scheduler's answer to what it describes, not another description.
        if subresource != "binding":
            self.bump_generation(document, old)

    def grace_period(self, document: Document, asked: int | None) -> int:
        """What was asked for, or else the pod's own; nothing for a pod that no node runs, or that has ended."""
        spec, state = document.get("spec") or {}, document.get("status") or {}
        if not spec.get("nodeName") or state.get("phase") in ("Succeeded", "Failed"):
            return 0
        period = asked if asked is not None else spec.get("terminationGracePeriodSeconds") or 0
        return 1 if period < 0 else int(period)

    def validate(self, document: Document) -> Iterable[FieldError]:
        return validation.validate_pod(document, self.context)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        return updates.validate_update(document, old, self.context)

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        return status.validate_status(document, old, self.context)

    def validate_subresource_update(self, subresource: str, document: Document, old: Document) -> Iterable[FieldError]:
        return updates.validate_subresource(subresource, document, old, self.context)

    def warnings(self, document: Document, old: Document | None = None) -> Sequence[str]:
        return warnings.pod_warnings(document, old)

    def field_labels(self) -> Sequence[str]:
        return _FIELD_LABELS

    def fields(self, document: Document) -> Mapping[str, str]:
        spec, state = document.get("spec") or {}, document.get("status") or {}
        return {
            "spec.nodeName": spec.get("nodeName") or "",
            "spec.restartPolicy": spec.get("restartPolicy") or "",
            "spec.schedulerName": spec.get("schedulerName") or "",
            "spec.serviceAccountName": spec.get("serviceAccountName") or "",
            "spec.hostNetwork": "true" if spec.get("hostNetwork") else "false",
            "status.phase": state.get("phase") or "",
            "status.podIP": _first_ip(state),
            "status.nominatedNodeName": state.get("nominatedNodeName") or "",
        }

    def index_fields(self) -> Sequence[str]:
        return ("spec.nodeName",)


def _gated(now: float) -> dict[str, Any]:
    return {
        "type": "PodScheduled",
        "status": "False",
        "lastProbeTime": None,
        "lastTransitionTime": format_time(now),
        "reason": "SchedulingGated",
        "message": "Scheduling is blocked due to non-empty scheduling gates",
    }


def _first_ip(state: Mapping[str, Any]) -> str:
    addresses = state.get("podIPs") or ()
    return str(addresses[0].get("ip") or "") if addresses else str(state.get("podIP") or "")

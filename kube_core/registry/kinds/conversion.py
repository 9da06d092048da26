"""The few built-in objects that have two forms: from one to the other.

Events are served by the core group and by `events.k8s.io`; HorizontalPodAutoscalers as `v1` and `v2`. Both forms show
the same stored object, so whoever reads in one form what was written in the other needs `convert`; `shared_resource`
says under which name both are stored. All other built-in kinds have one form, and `convert` gives them back as is.

Always true: there and back again loses nothing that the two forms can say. What the older autoscaler has no field for
(metrics other than processor utilisation, behaviour, conditions) is carried in annotations, as upstream documents it
for `autoscaling/v1`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from kube_core.api import schemas
from kube_core.api.types import ResourceDescriptor
from kube_core.meta.documents import Document, thaw
from kube_core.meta.gvk import GroupResource
from kube_core.registry.decoding import DecodingError, read

__all__ = ["convert", "has_forms", "shared_resource"]

Part = Mapping[str, Any]

_EVENTS = GroupResource("", "events")
_NEW_EVENTS = GroupResource("events.k8s.io", "events")
_AUTOSCALERS = GroupResource("autoscaling", "horizontalpodautoscalers")

#: Fields of a core Event by their names in `events.k8s.io`.
_EVENT_NAMES: Final = {
    "regarding": "involvedObject",
    "note": "message",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
    "reportingController": "reportingComponent",
}
_CORE_NAMES: Final = {core: new for new, core in _EVENT_NAMES.items()}

_PREFIX: Final = "autoscaling.alpha.kubernetes.io/"
_METRICS: Final = f"{_PREFIX}metrics"
_CURRENT: Final = f"{_PREFIX}current-metrics"
_CONDITIONS: Final = f"{_PREFIX}conditions"
_BEHAVIOR: Final = f"{_PREFIX}behavior"
#: What an annotation carries: the field of the newer autoscaler, and the schema that has it.
_SPEC: Final = "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerSpec"
_STATUS: Final = "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerStatus"
_CARRIED: Final = {
    _METRICS: (_SPEC, "metrics"),
    _BEHAVIOR: (_SPEC, "behavior"),
    _CONDITIONS: (_STATUS, "conditions"),
    _CURRENT: (_STATUS, "currentMetrics"),
}


def has_forms(resource: GroupResource) -> bool:
    """Whether objects of this resource are served in more than one form."""
    return resource in (_EVENTS, _NEW_EVENTS, _AUTOSCALERS)


def shared_resource(resource: GroupResource) -> GroupResource:
    """The resource under whose name the objects of `resource` are stored: itself, nearly always."""
    return _EVENTS if resource == _NEW_EVENTS else resource


def convert(document: Document, to: ResourceDescriptor) -> Document:
    """The object in the form of `to`; itself, where it already has it. The result is new and may be changed."""
    api_version = to.type.api_version
    if document.get("apiVersion") == api_version:
        return document
    match to.type.group_resource:
        case r if r == _EVENTS:
            converted = _renamed(document, _EVENT_NAMES)
        case r if r == _NEW_EVENTS:
            converted = _renamed(document, _CORE_NAMES)
        case r if r == _AUTOSCALERS:
            converted = thaw(document)
            (_to_old if to.type.version == "v1" else _to_new)(converted)
        case _:
            converted = thaw(document)
    converted["apiVersion"], converted["kind"] = api_version, to.type.kind
    return read(converted, schemas.builtin(to.schema), "Ignore")[0]


def _renamed(document: Document, names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(field, field): thaw(value) for field, value in document.items()}


# -- autoscaling/v2 to v1 --


def _to_old(document: dict[str, Any]) -> None:
    spec, status = document.get("spec") or {}, document.get("status") or {}
    notes: dict[str, Any] = {}
    others = []
    for metric in spec.pop("metrics", None) or ():
        target = (metric.get("resource") or {}).get("target") or {}
        if _is_utilization(metric, target) and "targetCPUUtilizationPercentage" not in spec:
            spec["targetCPUUtilizationPercentage"] = target["averageUtilization"]
        else:
            others.append(metric)
    if others:
        notes[_METRICS] = others
    if (behavior := spec.pop("behavior", None)) is not None:
        notes[_BEHAVIOR] = behavior
    if conditions := status.pop("conditions", None):
        notes[_CONDITIONS] = conditions
    current = status.pop("currentMetrics", None) or []
    for metric in current:
        now = (metric.get("resource") or {}).get("current") or {}
        if (metric.get("resource") or {}).get("name") == "cpu" and now.get("averageUtilization") is not None:
            status["currentCPUUtilizationPercentage"] = now["averageUtilization"]
    if current:
        notes[_CURRENT] = current
    if notes:
        annotations = document["metadata"].setdefault("annotations", {})
        annotations.update({name: orjson.dumps(value).decode() for name, value in notes.items()})


def _is_utilization(metric: Part, target: Part) -> bool:
    resource = metric.get("resource") or {}
    return (
        metric.get("type") == "Resource"
        and resource.get("name") == "cpu"
        and target.get("averageUtilization") is not None
    )


# -- autoscaling/v1 to v2 --


def _to_new(document: dict[str, Any]) -> None:
    spec, status = document.setdefault("spec", {}), document.setdefault("status", {})
    percentage = spec.pop("targetCPUUtilizationPercentage", None)
    metrics = []
    if percentage is not None:
        target = {"type": "Utilization", "averageUtilization": percentage}
        metrics.append({"type": "Resource", "resource": {"name": "cpu", "target": target}})
    metrics += _noted(document, _METRICS) or []
    if metrics:
        spec["metrics"] = metrics
    if (behavior := _noted(document, _BEHAVIOR)) is not None:
        spec["behavior"] = behavior
    if conditions := _noted(document, _CONDITIONS):
        status["conditions"] = conditions
    utilization = status.pop("currentCPUUtilizationPercentage", None)
    current = _noted(document, _CURRENT)
    if not current and utilization is not None:
        now = {"averageUtilization": utilization, "averageValue": "0"}
        current = [{"type": "Resource", "resource": {"name": "cpu", "current": now}}]
    if current:
        status["currentMetrics"] = current


def _noted(document: dict[str, Any], name: str) -> Any:
    """What an annotation carries, which is then taken off; None for nothing.

    Anybody can write an annotation: one that is not what it should be is left where it is.
    """
    annotations: dict[str, str] = document["metadata"].get("annotations") or {}
    if name not in annotations:
        return None
    schema, field = _CARRIED[name]
    try:
        value = read({field: orjson.loads(annotations[name])}, schemas.builtin(schema))[0].get(field)
    except (orjson.JSONDecodeError, DecodingError):
        return None
    del annotations[name]
    if not annotations:
        del document["metadata"]["annotations"]
    return value
